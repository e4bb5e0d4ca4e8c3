//! Live progress: a line that changes in place on a terminal, plain lines elsewhere, nothing when machines read.

use std::{collections::BTreeMap, io::IsTerminal as _, sync::Mutex, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use owo_colors::OwoColorize as _;
use pintle_core::{
    health::{Assessment, Status},
    object::ObjectId,
    plan::Action,
};

use super::output;

/// Tells a person what is going on.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    silent: bool,
    /// The last thing said of each object, so that nothing is said twice.
    said: Mutex<BTreeMap<ObjectId, String>>,
}

impl Progress {
    /// Makes the progress of a command; silent if its output is for machines.
    pub(crate) fn new(silent: bool) -> Self {
        let bar = (!silent && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}")
                .expect("the template is constant");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            bar,
            silent,
            said: Mutex::default(),
        }
    }

    /// Says which stage begins.
    pub(crate) fn stage(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => self.line(text),
        }
    }

    /// Says what was done to an object.
    pub(crate) fn done(&self, id: &ObjectId, action: Action) {
        let word = match action {
            Action::Create => "created",
            Action::Update => "updated",
            Action::Replace => "replaced",
            Action::Delete => "deleted",
            Action::Unchanged => return,
        };
        self.line(&format!("{:>9} {id}", word.green()));
    }

    /// Says that something could not be done to an object.
    pub(crate) fn failed(&self, id: &ObjectId, reason: &str) {
        self.line(&format!("{:>9} {id}: {reason}", "failed".red()));
    }

    /// Says how an object is, once for each change.
    pub(crate) fn health(&self, id: &ObjectId, assessment: &Assessment) {
        let text = format!("{}: {}", assessment.status, assessment.message);
        {
            let mut said = self
                .said
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if said
                .insert(id.clone(), text)
                .is_some_and(|before| said.get(id) == Some(&before))
            {
                return;
            }
        }
        let status = format!("{:>9}", assessment.status.name());
        let status = match assessment.status {
            Status::Healthy => status.green().to_string(),
            Status::Degraded => status.red().to_string(),
            Status::Progressing | Status::Suspended | Status::Unknown => {
                status.yellow().to_string()
            }
        };
        self.line(&format!("{status} {id}: {}", assessment.message));
    }

    /// Ends the changing line.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Writes a line, above the one that changes.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            _ if self.silent => {}
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
