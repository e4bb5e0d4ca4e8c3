//! Line plots.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Colours that people with any colour vision can tell apart (Okabe and Ito).
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];

/// One line, given by its points.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot with linear or logarithmic axes.
pub(crate) struct Plot<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    pub(crate) logarithmic: bool,
    pub(crate) lines: Vec<Line>,
}

impl Plot<'_> {
    pub(crate) fn svg(&self) -> String {
        let all = || self.lines.iter().flat_map(|line| line.points.iter());
        let (low_x, high_x) = self.range(all().map(|point| point.0));
        let (low_y, high_y) = self.range(all().map(|point| point.1));
        let place = |value: f64, low: f64, high: f64| {
            if self.logarithmic {
                (value.max(low).ln() - low.ln()) / (high.ln() - low.ln())
            } else {
                (value - low) / (high - low)
            }
        };
        let x = |value: f64| LEFT + place(value, low_x, high_x) * (WIDTH - LEFT - RIGHT);
        let y =
            |value: f64| HEIGHT - BOTTOM - place(value, low_y, high_y) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
            self.title
        );
        for tick in self.ticks(low_x, high_x) {
            let at = x(tick);
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#dddddd\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 16.0,
                short(tick)
            );
        }
        for tick in self.ticks(low_y, high_y) {
            let at = y(tick);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\" stroke=\"#dddddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                short(tick)
            );
        }
        for (number, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let points = line
                .points
                .iter()
                .map(|(px, py)| format!("{:.1},{:.1}", x(*px), y(*py)));
            let points: Vec<String> = points.collect();
            let label = TOP + 14.0 + f64::from(u32::try_from(number).unwrap_or_default()) * 18.0;
            let _ = writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{label:.1}\" fill=\"{colour}\">{}</text>",
                points.join(" "),
                WIDTH - RIGHT + 12.0,
                line.name
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text x=\"16\" y=\"{:.1}\" transform=\"rotate(-90 16 {:.1})\" text-anchor=\"middle\">{}</text>\n</svg>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 12.0,
            self.x,
            HEIGHT / 2.0,
            HEIGHT / 2.0,
            self.y
        );
        svg
    }

    fn range(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if self.logarithmic {
            let low = 10f64.powf(low.max(0.001).log10().floor());
            (low, 10f64.powf(high.log10().ceil()).max(low * 10.0))
        } else {
            (0.0, if high > 0.0 { high } else { 1.0 })
        }
    }

    fn ticks(&self, low: f64, high: f64) -> Vec<f64> {
        if self.logarithmic {
            let decades = std::iter::successors(Some(low), |tick| Some(tick * 10.0));
            return decades.take_while(|tick| *tick <= high * 1.001).collect();
        }
        let rough = (high - low) / 5.0;
        let base = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * base)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let ticks = std::iter::successors(Some(low), |tick| Some(tick + step));
        ticks.take_while(|tick| *tick <= high * 1.001).collect()
    }
}

fn short(value: f64) -> String {
    if value >= 1e6 {
        format!("{}M", value / 1e6)
    } else if value >= 1e4 {
        format!("{}k", value / 1e3)
    } else {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}
