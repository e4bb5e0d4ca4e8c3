//! The plot: four panels of bars, as SVG.
//!
//! It needs only rectangles and text, so it is written here rather than with a plotting library, which would bring along fonts
//! and back ends. It has no background, and takes its text colour from the reader's theme.

use std::fmt::Write as _;

use super::course::PUSH;
use super::results::{Run, Walked, mib, requests};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 40.0;
const GAP: f64 = 36.0;

/// One quantity that is compared.
struct Panel {
    title: &'static str,
    figure: fn(&Walked) -> f64,
}

const PANELS: [Panel; 4] = [
    Panel {
        title: "until all are Ready (s)",
        figure: |walked| walked.phase(PUSH).map_or(0.0, |phase| phase.wall_seconds),
    },
    Panel {
        title: "controller's CPU (s)",
        figure: |walked| walked.phase(PUSH).map_or(0.0, |phase| phase.cpu_seconds),
    },
    Panel {
        title: "API requests",
        figure: |walked| walked.phase(PUSH).map_or(0.0, requests),
    },
    Panel {
        title: "peak memory (MiB)",
        figure: |walked| mib(walked.peak_memory()),
    },
];

/// One of the two contenders.
struct Contender {
    name: &'static str,
    /// The class in the style sheet.
    class: &'static str,
    figures: fn(&Run) -> &Walked,
}

const SIDES: [Contender; 2] = [
    Contender {
        name: "Pintle",
        class: "pintle",
        figures: |run| &run.pintle_figures,
    },
    Contender {
        name: "Flux",
        class: "flux",
        figures: |run| &run.flux_figures,
    },
];

const STYLE: &str = "text { font: 12px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 } \
    .value { font-size: 11px; text-anchor: middle } .label { text-anchor: middle } .axis { stroke: #8c959f } \
    .pintle { fill: #0969da } .flux { fill: #9a9fa6 } \
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .pintle { fill: #58a6ff } .flux { fill: #6e7681 } }";

/// Draws the first push at each size. The smallest size is on the left of each panel.
pub(super) fn svg(runs: &[Run]) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>Pintle and Flux: the first push, by number of applications</title>\n<style>{STYLE}</style>\n"
    );
    for (index, Contender { name, class, .. }) in (0_u8..).zip(&SIDES) {
        let x = f64::from(index) * 90.0;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "<rect class=\"{class}\" x=\"{x}\" y=\"8\" width=\"12\" height=\"12\"/><text x=\"{}\" y=\"18\">{name}</text>",
            x + 18.0
        );
    }
    let width = (WIDTH - GAP * 3.0) / 4.0;
    for (index, panel) in (0_u8..).zip(&PANELS) {
        let left = f64::from(index) * (width + GAP);
        text += &bars(panel, runs, left, width);
    }
    text.push_str("</svg>\n");
    text
}

fn bars(panel: &Panel, runs: &[Run], left: f64, width: f64) -> String {
    let highest = runs
        .iter()
        .flat_map(|run| SIDES.iter().map(|side| (panel.figure)((side.figures)(run))))
        .fold(f64::MIN_POSITIVE, f64::max);
    let floor = HEIGHT - BOTTOM;
    let slots = f64::from(u32::try_from(runs.len().max(1)).unwrap_or(u32::MAX));
    let slot = width / slots;
    let bar = slot * 0.38;
    let mut text = format!(
        "<text class=\"title\" x=\"{left:.1}\" y=\"44\">{}</text>\n\
         <line class=\"axis\" x1=\"{left:.1}\" x2=\"{:.1}\" y1=\"{floor}\" y2=\"{floor}\"/>\n",
        panel.title,
        left + width
    );
    for (index, run) in (0_u32..).zip(runs) {
        let middle = left + slot * (f64::from(index) + 0.5);
        let places = [middle - bar - 1.0, middle + 1.0];
        for (place, Contender { class, figures, .. }) in places.into_iter().zip(&SIDES) {
            let value = (panel.figure)(figures(run));
            let height = (floor - TOP - 14.0) * value / highest;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "<rect class=\"{class}\" x=\"{place:.1}\" y=\"{:.1}\" width=\"{bar:.1}\" height=\"{height:.1}\"/>\
                 <text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                floor - height,
                place + bar / 2.0,
                floor - height - 4.0,
                short(value)
            );
        }
        let _ = writeln!(
            text,
            "<text class=\"label\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
            floor + 18.0,
            run.apps
        );
    }
    text
}

/// Formats a value with three digits at most, so that a label is no wider than two bars.
fn short(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{:.0}k", value / 1000.0),
        value if value >= 1000.0 => format!("{:.1}k", value / 1000.0),
        value if value >= 10.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::run;
    use super::*;

    #[test]
    fn each_size_has_two_bars_in_each_panel() {
        let drawn = svg(&[run(100), run(500), run(1000)]);
        let bars = drawn.matches("class=\"value\"").count();
        assert_eq!(bars, 3 * 2 * PANELS.len());
        assert!(
            drawn.ends_with("</svg>\n") && !drawn.contains("NaN"),
            "{drawn}"
        );
    }

    #[test]
    fn nothing_measured_draws_nothing_and_does_not_fail() {
        assert!(!svg(&[]).contains("NaN"));
    }

    #[test]
    fn labels_are_short() {
        let values = [0.25, 9.9, 17.9, 3401.0, 35_122.0].map(short);
        assert_eq!(values, ["0.2", "9.9", "18", "3.4k", "35k"]);
    }
}
