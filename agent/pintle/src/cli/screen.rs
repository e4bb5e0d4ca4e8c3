//! A part of the terminal that changes in place: a heading with a spinner, and lines below it.

use std::{
    io::IsTerminal as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use console::{Term, strip_ansi_codes, truncate_str};
use owo_colors::OwoColorize as _;

use super::output::printable;

/// The time between two pictures of the spinner.
const TICK: Duration = Duration::from_millis(100);
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// The screen that is open, if any. Everything else that is written to the terminal goes above it.
static OPEN: Mutex<Weak<Mutex<Drawing>>> = Mutex::new(Weak::new());

/// Writes to the terminal, above what is drawn in place.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    let open = OPEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .upgrade();
    let Some(open) = open else { return write() };
    let mut drawing = lock(&open);
    drawing.erase();
    drawing.flush();
    let written = write();
    drawing.draw();
    written
}

/// The part at the lower end of a terminal that is redrawn, on standard error.
pub(crate) struct Screen(Arc<Mutex<Drawing>>);

struct Drawing {
    term: Term,
    colours: bool,
    heading: String,
    lines: Vec<String>,
    started: Instant,
    ticks: usize,
    /// How many lines are on the terminal now.
    drawn: usize,
    is_open: bool,
}

impl Screen {
    /// Takes the lower end of the terminal, or returns `None` if standard error is not a terminal.
    pub(crate) fn open() -> Option<Self> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let choice = anstream::AutoStream::choice(&std::io::stderr());
        let drawing = Arc::new(Mutex::new(Drawing {
            term: Term::buffered_stderr(),
            colours: choice != anstream::ColorChoice::Never,
            heading: String::new(),
            lines: Vec::new(),
            started: Instant::now(),
            ticks: 0,
            drawn: 0,
            is_open: true,
        }));
        let weak = Arc::downgrade(&drawing);
        weak.clone_into(&mut OPEN.lock().unwrap_or_else(PoisonError::into_inner));
        std::thread::spawn(move || {
            while let Some(drawing) = weak.upgrade() {
                let mut drawing = lock(&drawing);
                if !drawing.is_open {
                    return;
                }
                drawing.ticks += 1;
                drawing.draw();
                drop(drawing);
                std::thread::sleep(TICK);
            }
        });
        Some(Self(drawing))
    }

    /// Sets the line that says what is going on.
    pub(crate) fn heading(&self, text: &str) {
        let mut drawing = lock(&self.0);
        drawing.heading = line(text);
        drawing.is_open = true;
        drawing.draw();
    }

    /// Draws these lines below the heading in place of the previous ones. Each is cut at the terminal's width, and lines that
    /// exceed its height are left out.
    pub(crate) fn show(&self, lines: Vec<String>) {
        let mut drawing = lock(&self.0);
        drawing.lines = lines.iter().map(|text| line(text)).collect();
        drawing.draw();
    }

    /// Gives the place back.
    pub(crate) fn close(&self) {
        let mut drawing = lock(&self.0);
        drawing.erase();
        drawing.flush();
        drawing.lines.clear();
        drawing.is_open = false;
    }
}

/// Turns a text into one line that can be drawn. Characters that move the cursor would leave parts of the line behind.
fn line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

fn lock(drawing: &Mutex<Drawing>) -> MutexGuard<'_, Drawing> {
    drawing.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drawing {
    fn draw(&mut self) {
        if !self.is_open || self.heading.is_empty() {
            return;
        }
        self.erase();
        let (height, width) = size();
        let spinner = SPINNER[self.ticks % SPINNER.len()];
        let seconds = format!("{}s", self.started.elapsed().as_secs());
        let heading = format!("{spinner} {} {}", self.heading, seconds.dimmed());
        let lines = std::iter::once(&heading).chain(&self.lines);
        // A line that fills its row, or a picture that fills the terminal, would scroll what is above.
        let lines: Vec<String> = lines
            .take(height.saturating_sub(1).max(1))
            .map(|line| truncate_str(line, width.saturating_sub(1), "…").into_owned())
            .collect();
        for line in &lines {
            let line = if self.colours {
                line.clone()
            } else {
                strip_ansi_codes(line).into_owned()
            };
            // A terminal that cannot be written to shows nothing, and the work continues.
            let _ = self.term.write_line(&line);
        }
        self.drawn = lines.len();
        self.flush();
    }

    fn erase(&mut self) {
        let _ = self.term.move_cursor_up(self.drawn);
        let _ = self.term.write_str("\r");
        let _ = self.term.clear_to_end_of_screen();
        self.drawn = 0;
    }

    fn flush(&mut self) {
        let _ = self.term.flush();
    }
}

/// Returns the height and the width of the terminal.
pub(crate) fn size() -> (usize, usize) {
    let (height, width) = Term::stderr().size();
    (usize::from(height), usize::from(width))
}
