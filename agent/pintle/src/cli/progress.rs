//! Live progress: a table that changes in place on a terminal, plain lines elsewhere, JSON lines where a program reads them, and
//! nothing where a program reads only the result.

use std::sync::{Mutex, MutexGuard, PoisonError};

use owo_colors::OwoColorize as _;
use pintle_cluster::Unsettled;
use pintle_core::{health::Status, object::ObjectId, plan::Action};
use serde_json::{Value, json};

use super::{
    args::Format,
    board::{Board, News, explanation_lines, word},
    output,
    screen::{Screen, size},
};

/// The maximum number of rows of the table that remains at the end.
const STAYING_ROWS: usize = 60;

/// Shows a person what is going on.
pub(crate) struct Progress {
    place: Place,
    board: Mutex<Board>,
}

enum Place {
    /// Drawn in place.
    Screen(Screen),
    /// Line by line, with only what is new.
    Lines,
    /// One JSON document in each line of standard output.
    Stream,
    Nowhere,
}

impl Progress {
    /// Creates the progress of a command. The output format says whether a person or a program follows it.
    pub(crate) fn new(format: Option<Format>) -> Self {
        let place = match format {
            Some(Format::Jsonl) => Place::Stream,
            Some(Format::Json | Format::Yaml) => Place::Nowhere,
            None => Screen::open().map_or(Place::Lines, Place::Screen),
        };
        Self {
            place,
            board: Mutex::default(),
        }
    }

    /// Reports which stage begins.
    pub(crate) fn stage(&self, text: &str) {
        match &self.place {
            Place::Screen(screen) => screen.heading(text),
            Place::Stream => stream(&json!({ "event": "stage", "message": text })),
            Place::Lines | Place::Nowhere => self.line(text),
        }
    }

    /// Reports what was done to an object.
    pub(crate) fn done(&self, id: &ObjectId, action: Action) {
        let Some(word) = word(action) else { return };
        self.board().done(id, action);
        match &self.place {
            Place::Screen(screen) => self.draw(screen),
            Place::Stream => stream(&json!({ "event": word, "object": id })),
            Place::Lines | Place::Nowhere => self.line(&format!("{:>11} {id}", word.green())),
        }
    }

    /// Reports that something could not be done to an object.
    pub(crate) fn failed(&self, id: &ObjectId, reason: &str) {
        self.board().failed(id, reason);
        match &self.place {
            Place::Screen(screen) => self.draw(screen),
            Place::Stream => stream(&json!({ "event": "failed", "object": id, "message": reason })),
            Place::Lines | Place::Nowhere => {
                self.line(&format!("{:>11} {id}: {reason}", "failed".red()));
            }
        }
    }

    /// Reports which objects are not healthy, and why. All others are healthy.
    pub(crate) fn health(&self, unsettled: &[Unsettled]) {
        let news = self.board().unsettled(unsettled);
        match &self.place {
            Place::Screen(screen) => self.draw(screen),
            Place::Stream => {
                for news in &news {
                    stream(&document(news));
                }
            }
            Place::Lines | Place::Nowhere => {
                for news in &news {
                    self.line(&plain(news));
                }
            }
        }
    }

    /// Reports that everything is healthy.
    pub(crate) fn all_healthy(&self) {
        self.health(&[]);
        self.board().all_healthy();
    }

    /// Ends the live part. The table remains in its last state.
    pub(crate) fn finish(&self) {
        if let Place::Screen(screen) = &self.place {
            screen.close();
            let lines = std::mem::take(&mut *self.board()).lines(STAYING_ROWS, false);
            for line in &lines {
                output::note(line);
            }
        }
    }

    /// Writes a line above the live part.
    pub(crate) fn line(&self, text: &str) {
        match &self.place {
            Place::Screen(_) | Place::Lines => output::note(text),
            Place::Stream => stream(&json!({ "event": "note", "message": text })),
            Place::Nowhere => {}
        }
    }

    fn draw(&self, screen: &Screen) {
        let height = size().0.saturating_sub(3);
        screen.show(self.board().lines(height, true));
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn stream(document: &Value) {
    output::document(&[document.to_string() + "\n"]);
}

fn document(news: &News) -> Value {
    match news {
        News::Healthy(id) => json!({ "event": "healthy", "object": id }),
        News::Unsettled(object) => {
            let mut document = json!({
                "event": object.assessment.status,
                "object": object.id,
                "message": object.assessment.message,
            });
            if let Some(explanation) = &object.explanation {
                document["explanation"] = json!(explanation);
            }
            document
        }
    }
}

fn plain(news: &News) -> String {
    match news {
        News::Healthy(id) => format!("{:>11} {id}", "healthy".green()),
        News::Unsettled(object) => {
            let status = format!("{:>11}", object.assessment.status.name());
            let status = match object.assessment.status {
                Status::Degraded => status.red().to_string(),
                _ => status.yellow().to_string(),
            };
            let mut text = format!("{status} {}: {}", object.id, object.assessment.message);
            for line in explanation_lines(object) {
                text.push_str("\n            ");
                text.push_str(&line);
            }
            text
        }
    }
}
