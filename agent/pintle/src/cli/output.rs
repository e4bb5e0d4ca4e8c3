//! All output: results go to standard output, everything else to standard error.
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

/// The variable that sets the log filter, if no flag does.
const LOG: &str = "PINTLE_LOG";

/// Whether the log consists of lines of JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Starts logging to standard error.
pub(crate) fn start_logs(args: &LogArgs, agent: bool) {
    // A server's refusal is reported as part of what failed. Only its HTTP status, or each try of a watch, helps nobody.
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
        // A flag was checked when it was parsed.
        Some(Err(error)) => (EnvFilter::new(default), Some(error)),
        None => (EnvFilter::new(default), None),
    };
    let json = args.log_json || (agent && !std::io::stderr().is_terminal());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A lost line would be reported by code that panics.
        .log_internal_errors(false)
        .with_writer(|| Aside);
    // The first subscriber wins. There is no other in this process.
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

/// Writes to standard error, above what is drawn there in place. If that can no longer be written to, work continues without
/// reports.
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

/// The sequences for colours and styles that this program itself writes, and the end of each.
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

/// Returns text for people in a form that is safe for a terminal. Much of it comes from others, such as the last words of a
/// container: it must not hide lines, fake others, or reach anything outside of the terminal's screen.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    plain::keeping(text, &COLOURS)
}

/// Why standard output can no longer be written to, if that is so: the error of the first write that failed.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// The printed output is incomplete.
#[derive(Debug, thiserror::Error)]
#[error("standard output: {0}")]
pub(crate) struct Unwritten(&'static std::io::Error);

/// Returns whether standard output is lost, as far as something was written since: its reader has gone (`| head`), or the disk is
/// full. A command that would go on for ever has nobody left to go on for.
pub(crate) fn is_lost() -> bool {
    LOST.get().is_some()
}

/// Returns why the printed output is incomplete, if it is. A reader that went away has what it wanted.
pub(crate) fn unwritten() -> Option<Unwritten> {
    let error = LOST.get()?;
    (error.kind() != ErrorKind::BrokenPipe).then_some(Unwritten(error))
}

/// Records the result of a write. Work in progress is finished, and the loss is reported then.
fn wrote(result: std::io::Result<()>) {
    if let Err(error) = result {
        // The first error says why.
        let _ = LOST.set(error);
    }
}

/// Prints clap's output: help and versions to standard output, errors to standard error.
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

/// Prints a document to standard output, byte for byte. Unlike text for people, it has no colours that a terminal might not know,
/// and it may have megabytes, in several pieces.
pub(crate) fn document(pieces: &[String]) {
    let mut out = std::io::stdout().lock();
    let mut pieces = pieces.iter();
    let written = pieces.try_for_each(|piece| out.write_all(piece.as_bytes()));
    wrote(written.and_then(|()| out.flush()));
}

/// Prints a line for people to standard error.
pub(crate) fn note(text: &str) {
    let text = printable(text);
    // If it can no longer be written to, the same holds as for [`Aside`].
    let _ = aside(|| writeln!(anstream::stderr().lock(), "{text}"));
}

/// Prints a warning to standard error.
pub(crate) fn warning(text: &str) {
    note(&format!("{} {text}", "warning:".yellow().bold()));
}

/// Prints an error and its causes to standard error, each cause once. If the log is JSON, the error is a line of the log, for
/// readers that read nothing else.
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

/// Formats a value as a YAML document that every YAML reader, 1.1 or 1.2, reads as the same value.
pub(crate) fn yaml(value: &Value) -> String {
    super::super::pipeline::yaml::write(value)
}

/// Formats rows in columns.
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
