//! The page with the figures.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Machine, Measured, PROCESS_TARGET, RenderArgs, Results, WARM_TARGET};

const PAGE: &str = "render.md";
/// The marks around what is replaced. The text before and after is written by people.
const BEGIN: &str = "<!-- cargo xtask bench render writes what follows -->";
const END: &str = "<!-- cargo xtask bench render wrote this -->";

/// Writes the figures into the page in the folder, and returns the page's path.
pub(super) fn write(
    out: &Path,
    results: &Results,
    machine: &Machine,
    args: &RenderArgs,
) -> Result<PathBuf> {
    let page = out.join(PAGE);
    let before = match fs::read_to_string(&page) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("# Pintle beside Helm\n\n{BEGIN}\n{END}\n")
        }
        Err(error) => return Err(error).with_context(|| format!("read {}", page.display())),
    };
    let text = replaced(&before, &figures(results, machine, args))
        .with_context(|| format!("{} has no lines {BEGIN:?} and {END:?}", page.display()))?;
    fs::write(&page, text).with_context(|| format!("write {}", page.display()))?;
    Ok(page)
}

fn replaced(page: &str, figures: &str) -> Option<String> {
    let (head, rest) = page.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n\n{figures}\n{END}{tail}"))
}

fn figures(results: &Results, machine: &Machine, args: &RenderArgs) -> String {
    let mut text = format!(
        "{} runs of each program with each chart, in turn; medians in milliseconds. `{}` and Helm {}, on {} cores ({}, Linux {}).\n\n",
        args.runs,
        machine.pintle,
        machine.kubernetes,
        machine.cores,
        machine.processor,
        machine.kernel
    );
    for (index, row) in rows(results).iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if index == 0 {
            let rule: Vec<&str> = (0..row.len())
                .map(|column| if column == 0 { "---" } else { "---:" })
                .collect();
            let _ = writeln!(text, "| {} |", rule.join(" | "));
        }
    }
    let component = &results.component;
    let _ = writeln!(
        text,
        "\nThe renderer is a component of {} KiB. Compiling it, once on a machine, took {:.0} ms; loading what was compiled, in a \
         new process, {:.2} ms.",
        component.bytes >> 10,
        component.compile_ms,
        component.load_ms
    );
    text
}

/// Returns the table, with its heading. A figure that misses its target is bold.
pub(super) fn rows(results: &Results) -> Vec<Vec<String>> {
    let head = [
        "chart",
        "objects",
        "KiB",
        "helm template",
        "pintle render",
        "times faster",
        "warm",
        "times faster",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(results.charts.iter().map(row));
    rows
}

fn row(one: &Measured) -> Vec<String> {
    let ratio = |ratio: f64, target: f64| {
        if ratio >= target {
            format!("{ratio:.1}")
        } else {
            format!("**{ratio:.1}**")
        }
    };
    vec![
        one.chart.clone(),
        one.objects.to_string(),
        (one.bytes >> 10).to_string(),
        format!("{:.1}", one.helm.median),
        format!("{:.1}", one.pintle.median),
        ratio(one.process_ratio(), PROCESS_TARGET),
        format!("{:.2}", one.warm.median),
        ratio(one.warm_ratio(), WARM_TARGET),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::Times;
    use super::*;

    #[test]
    fn what_people_wrote_stays_and_what_misses_its_target_is_bold() {
        let page = format!("# Mine\n{BEGIN}\nold\n{END}\nmore\n");
        let new = replaced(&page, "new").unwrap();
        assert_eq!(new, format!("# Mine\n{BEGIN}\n\nnew\n{END}\nmore\n"));
        assert_eq!(replaced("# Mine\n", "new"), None);
        let times = |median| Times {
            fastest: median,
            median,
        };
        let one = Measured {
            chart: "web".to_owned(),
            objects: 3,
            bytes: 4096,
            helm: times(60.0),
            pintle: times(10.0),
            warm: times(1.0),
        };
        assert_eq!(
            row(&one),
            ["web", "3", "4", "60.0", "10.0", "**6.0**", "1.00", "60.0"]
        );
    }
}
