//! Everything that is printed passes here: results on standard output, all else on standard error.
use std::{
    borrow::Cow,
    io::{ErrorKind, IsTerminal as _, Write as _},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use owo_colors::OwoColorize as _;
use pintle_core::{causes::chain, plain};
use serde::Serialize;
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use super::{
    args::{Format, LogArgs},
    screen::aside,
};

/// Says what is logged, if no flag does.
const LOG: &str = "PINTLE_LOG";

/// Whether the log is lines of JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Starts logging to standard error.
pub(crate) fn start_logs(args: &LogArgs, agent: bool) {
    // What a server refuses is told as what failed; its HTTP status alone, or each try of a watch, helps nobody.
    let default = if agent {
        "info,kube_client=off,kube_runtime=off"
    } else {
        "warn,kube_client=off,kube_runtime=off"
    };
    let variable = std::env::var_os(LOG).unwrap_or_default();
    let variable = Some(variable.to_string_lossy()).filter(|filter| !filter.is_empty());
    let given = args.log.as_deref().or(variable.as_deref());
    let (filter, refused) = match given.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        // A flag was checked when it was read.
        Some(Err(error)) => (EnvFilter::new(default), Some(error)),
        None => (EnvFilter::new(default), None),
    };
    let json = args.log_json || (agent && !std::io::stderr().is_terminal());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A line that is lost would be told by one that panics.
        .log_internal_errors(false)
        .with_writer(|| Aside);
    // The first subscriber wins; there is no other in this process.
    let _ = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .try_init()
    };
    IS_JSON.store(json, Ordering::Relaxed);
    if let Some(error) = refused {
        let text = format!("{LOG} is left out: {error}");
        if json {
            tracing::warn!("{text}");
        } else {
            warning(&text);
        }
    }
}

/// Writes to standard error, above what is drawn there in place. Where that takes no more, the work goes on without being told of.
struct Aside;

impl std::io::Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = aside(|| std::io::stderr().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let _ = std::io::stderr().flush();
        Ok(())
    }
}

/// What this program itself writes for colours and styles, and the end of each.
const COLOURS: [&str; 9] = [
    "\u{1b}[0m",
    "\u{1b}[1m",
    "\u{1b}[2m",
    "\u{1b}[9m",
    "\u{1b}[31m",
    "\u{1b}[32m",
    "\u{1b}[33m",
    "\u{1b}[34m",
    "\u{1b}[39m",
];

/// Returns text for people as a terminal may have it. Much of it is of others, such as what a container says before it ends: it
/// must not hide lines, pretend to be others, or reach what is beside the terminal's picture.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    plain::keeping(text, &COLOURS)
}

/// Why standard output takes no more, if it does not: of the first write that failed.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// What was printed is not whole.
#[derive(Debug, thiserror::Error)]
#[error("standard output: {0}")]
pub(crate) struct Unwritten(&'static std::io::Error);

/// Says whether standard output takes no more, as far as something was written since: whoever has read it has gone (`| head`),
/// or the disk is full. What would go on for ever has nobody to go on for.
pub(crate) fn is_lost() -> bool {
    LOST.get().is_some()
}

/// Returns why what was printed is not whole, if it is not. A reader that went away has what it wanted.
pub(crate) fn unwritten() -> Option<Unwritten> {
    let error = LOST.get()?;
    (error.kind() != ErrorKind::BrokenPipe).then_some(Unwritten(error))
}

/// Takes note of how a write ended. What is under way is brought to its end, and what was lost is told then.
fn wrote(result: std::io::Result<()>) {
    if let Err(error) = result {
        // The first one says why.
        let _ = LOST.set(error);
    }
}

/// Prints what clap has to say: help and versions to standard output, what is wrong to standard error.
pub(crate) fn usage(error: &clap::Error) {
    let printed = error.print();
    if !error.use_stderr() {
        wrote(printed.and_then(|()| std::io::stdout().flush()));
    }
}

/// Prints text for people to standard output.
pub(crate) fn text(text: &str) {
    aside(|| print(&printable(text)));
}

fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    let is_open = !text.is_empty() && !text.ends_with('\n');
    let end = if is_open { "\n" } else { "" };
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(end.as_bytes()))
        .and_then(|()| out.flush());
    wrote(written);
}

/// Prints a document to standard output, byte for byte: unlike text for people it has no colours that a terminal might not
/// know, and it may be megabytes, in several pieces.
pub(crate) fn document(pieces: &[String]) {
    let mut out = std::io::stdout().lock();
    let mut pieces = pieces.iter();
    let written = pieces.try_for_each(|piece| out.write_all(piece.as_bytes()));
    wrote(written.and_then(|()| out.flush()));
}

/// Prints a line for people to standard error.
pub(crate) fn note(text: &str) {
    let text = printable(text);
    // Where it takes no more, as [`Aside`].
    let _ = aside(|| writeln!(anstream::stderr().lock(), "{text}"));
}

/// Prints a warning to standard error.
pub(crate) fn warning(text: &str) {
    note(&format!("{} {text}", "warning:".yellow().bold()));
}

/// Prints an error and its causes to standard error, each cause once: where the log is JSON, as a line of it, for whoever reads
/// nothing else.
pub(crate) fn error(error: &anyhow::Error) {
    let text = chain(&**error);
    if IS_JSON.load(Ordering::Relaxed) && tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("{text}");
    } else {
        note(&format!("{} {text}", "error:".red().bold()));
    }
}

/// Prints a machine-readable result.
pub(crate) fn machine(format: Format, value: &impl Serialize) -> anyhow::Result<()> {
    let value = serde_json::to_value(value)?;
    let text = match format {
        Format::Json => serde_json::to_string_pretty(&value)?,
        Format::Yaml => yaml(&value),
        Format::Jsonl => value.to_string(),
    };
    aside(|| print(&text));
    Ok(())
}

/// Writes one value as a YAML document that every YAML reader, 1.1 or 1.2, reads as the same value.
pub(crate) fn yaml(value: &Value) -> String {
    super::super::pipeline::yaml::write(value)
}

/// Lays rows out in columns.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain([header[column].len()])
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (cell, width) in cells.zip(&widths) {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', width + 3 - cell.chars().count()));
        }
        out.trim_end().to_owned() + "\n"
    };
    let mut out = line(&mut header.iter().copied());
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_what_else_steers_a_terminal_does_not() {
        let (mark, name) = ("✓".green().to_string(), "shop".bold().to_string());
        let ours = format!("{mark} {name} {}", "42s".dimmed());
        assert_eq!(printable(&ours), ours);
        for colour in [
            "a".red().to_string(),
            "a".yellow().to_string(),
            "a".blue().to_string(),
            "a".red().strikethrough().to_string(),
        ] {
            assert_eq!(printable(&colour), colour);
        }
        let theirs = format!("{mark} \u{1b}]52;c;AAAA\u{7}\u{1b}[1A\u{1b}[8m\rReady");
        let expected = format!("{mark} \u{fffd}]52;c;AAAA\u{fffd}\u{fffd}Ready");
        assert_eq!(printable(&theirs), expected);
    }

    #[test]
    fn tables_line_up() {
        let rows = vec![
            vec!["shop/web".into(), "True".into()],
            vec!["a".into(), "False".into()],
        ];
        assert_eq!(
            table(&["NAME", "READY"], &rows),
            "NAME       READY\nshop/web   True\na          False\n"
        );
    }

    #[test]
    fn errors_with_context_say_each_thing_once() {
        let error = anyhow::anyhow!("connection refused")
            .context("x: connection refused")
            .context("cannot fetch");
        assert_eq!(chain(&*error), "cannot fetch: x: connection refused");
    }
}
