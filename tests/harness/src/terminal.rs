//! A program on a terminal of its own, recorded as a user sees it.

use std::fmt::Write as _;
use std::io::Read as _;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The rows and columns of the terminal.
const ROWS: NonZeroU16 = NonZeroU16::new(30).expect("not zero");
const COLUMNS: NonZeroU16 = NonZeroU16::new(110).expect("not zero");
/// A screen counts once nothing has been drawn for this long. Before that, it may be half drawn.
const QUIET: Duration = Duration::from_millis(40);

/// What a terminal showed over time.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The command that was typed.
    pub command: String,
    /// Each screen that differs from the previous one by more than a spinner, with the time since the start.
    pub frames: Vec<(Duration, String)>,
    /// The program's exit code.
    pub code: Option<i32>,
}

impl Recording {
    /// Returns the last screen.
    pub fn last(&self) -> &str {
        self.frames.last().map_or("", |(_, screen)| screen)
    }

    /// Formats it as text: each screen under the time at which it was seen.
    pub fn text(&self) -> String {
        let mut text = format!("$ {}\n", self.command);
        for (time, screen) in &self.frames {
            let _ = write!(
                text,
                "\n----- after {:.1} s\n{screen}\n",
                time.as_secs_f64()
            );
        }
        let _ = match self.code {
            Some(code) => writeln!(text, "\n----- exit code {code}"),
            None => writeln!(text, "\n----- ended by a signal"),
        };
        text
    }
}

/// Runs a program on a terminal until it ends, and records what the terminal shows. For each new screen, `interrupt_when` decides
/// whether Ctrl-C is pressed now.
pub fn record(
    mut command: Command,
    typed: &str,
    limit: Duration,
    interrupt_when: impl Fn(&str) -> bool,
) -> Result<Recording> {
    let size = Winsize {
        ws_row: ROWS.get(),
        ws_col: COLUMNS.get(),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(&size, None).context("open a terminal")?;
    let end = |fd: &OwnedFd| fd.try_clone().map(Stdio::from);
    command
        .stdin(end(&pty.slave)?)
        .stdout(end(&pty.slave)?)
        .stderr(end(&pty.slave)?)
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR");
    let started = Instant::now();
    let mut child = Running(command.spawn().with_context(|| format!("start {typed}"))?);
    // Only the program still holds the terminal open, so the terminal closes when the program does so.
    drop(command);
    drop(pty.slave);
    let output = read(pty.master);
    let mut screen = vt100::Parser::new(ROWS, COLUMNS, 0);
    let mut frames: Vec<(Duration, String)> = Vec::new();
    let mut is_interrupted = false;
    loop {
        if started.elapsed() > limit {
            bail!("{typed} did not end within {limit:?}: {frames:#?}");
        }
        match output.recv_timeout(QUIET) {
            Ok(bytes) => {
                screen.process(&bytes);
                continue;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        keep(&mut frames, &screen, started);
        let last = frames.last().map_or("", |(_, text)| text);
        if !is_interrupted && interrupt_when(last) {
            is_interrupted = true;
            let pid = Pid::from_raw(i32::try_from(child.0.id()).context("a process id")?);
            kill(pid, Signal::SIGINT).context("press Ctrl-C")?;
        }
    }
    keep(&mut frames, &screen, started);
    let code = child.0.wait()?.code();
    Ok(Recording {
        command: typed.to_owned(),
        frames,
        code,
    })
}

/// A child process that ends with its recorder.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The program may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read(terminal: OwnedFd) -> mpsc::Receiver<Vec<u8>> {
    let (send, output) = mpsc::channel();
    std::thread::spawn(move || {
        let mut terminal = std::fs::File::from(terminal);
        let mut bytes = vec![0; 16 << 10];
        // On Linux, reading a terminal that nobody writes to any more returns an error, not the end of the file.
        while let Ok(count @ 1..) = terminal.read(&mut bytes) {
            if send.send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    output
}

fn keep(frames: &mut Vec<(Duration, String)>, screen: &vt100::Parser, started: Instant) {
    // The screen is read row by row: a line that fills its row is not joined with the next one.
    let rows = screen.screen().rows(0, COLUMNS.get());
    let rows: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
    let text = rows.join("\n").trim_end().to_owned();
    let is_same = |known: &str| still(known) == still(&text);
    if !text.is_empty() && frames.last().is_none_or(|(_, known)| !is_same(known)) {
        frames.push((started.elapsed(), text));
    }
}

/// Returns a screen without what moves by itself: the spinner, and the elapsed time at the end of its line.
fn still(screen: &str) -> String {
    let is_spinner = |sign: char| ('\u{2800}'..='\u{28ff}').contains(&sign);
    let lines = screen.lines().map(|line| {
        if line.starts_with(is_spinner) {
            line.trim_end_matches(|sign: char| sign.is_ascii_digit() || "smh ".contains(sign))
                .trim_start_matches(is_spinner)
        } else {
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screens_are_seen_as_they_are_drawn_over_each_other() {
        let mut command = Command::new("sh");
        let script =
            "test -t 1 && printf 'one\\n'; sleep 0.3; printf '\\033[1A\\033[2Ktwo\\n'; exit 3";
        command.args(["-c", script]);
        let recording = record(command, "sh", Duration::from_secs(30), |_| false).unwrap();
        let screens: Vec<&str> = recording
            .frames
            .iter()
            .map(|(_, screen)| screen.as_str())
            .collect();
        assert_eq!((screens, recording.code), (vec!["one", "two"], Some(3)));
    }

    #[test]
    fn a_spinner_makes_no_new_screen_and_can_be_interrupted() {
        // A shell cannot trap a signal that was ignored when it started, as SIGINT is for everything that runs in the background.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", "sh"]);
        let script = "trap 'exit 0' INT; while :; do printf '\\r⠋ waiting 1s'; sleep 0.1; printf '\\r⠙ waiting 2s'; sleep 0.1; done";
        command.args(["-c", script]);
        let limit = Duration::from_secs(30);
        let recording = record(command, "sh", limit, |screen| screen.contains("waiting")).unwrap();
        assert_eq!((recording.frames.len(), recording.code), (1, Some(0)));
        assert!(recording.text().contains("exit code 0"));
    }
}
