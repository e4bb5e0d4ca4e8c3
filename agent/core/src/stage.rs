//! The state machine that runs the hooks of one event, one after the other.
//!
//! Like that of an application, it is pure: [`Stage::effect`] returns what has to be done next, other code does it, and
//! [`Stage::step`] takes the result. What survives a crash is kept outside: which tickets have succeeded, and the objects in the
//! cluster with the tickets that they carry. From these, a new stage continues where a killed one stopped.

use std::collections::BTreeSet;

use crate::{
    digest::Digest,
    hook::{HookDeletion, HookState, completes},
    prune::ProtectedKind,
    release::HookRun,
};

/// What is found out about a hook's object before the hook runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// It does not exist.
    Absent,
    /// It exists.
    Present {
        /// The ticket that it carries.
        ticket: Option<Digest>,
        /// Its progress.
        state: HookState,
    },
}

/// Something that has to be done. Numbers are indexes into the list of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Look up the object; answer with [`Event::Found`].
    Look(usize),
    /// Delete the object and wait until it is gone; answer with [`Event::Gone`].
    Delete(usize),
    /// Create the object with the run's ticket; answer with [`Event::Made`].
    Make(usize),
    /// Wait until it has ended; answer with [`Event::Ended`].
    Await(usize),
    /// Record that the run has succeeded; answer with [`Event::Recorded`].
    Record(usize),
    /// Delete the object if it carries the run's ticket; answer with [`Event::Gone`].
    CleanUp(usize),
    /// All runs have succeeded.
    Succeeded,
    /// A run has failed, for this reason.
    Failed(usize, String),
}

/// The result of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The object was looked up.
    Found(Sighting),
    /// It is gone.
    Gone,
    /// It was created.
    Made,
    /// It has ended; if it failed, with the reason.
    Ended(Result<(), String>),
    /// It is recorded.
    Recorded,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Doing {
    Look,
    Delete,
    Make,
    Await,
    Record,
    /// The runs whose objects are left to delete, the next one last.
    CleanUp(Vec<usize>),
}

/// The state of the hooks of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    runs: Vec<HookRun>,
    at: usize,
    doing: Doing,
    failure: Option<String>,
    succeeded: BTreeSet<Digest>,
}

impl Stage {
    /// Creates a stage from runs in order, some of which may have succeeded before.
    pub fn new(runs: Vec<HookRun>, succeeded: BTreeSet<Digest>) -> Self {
        let mut stage = Self {
            runs,
            at: 0,
            doing: Doing::Look,
            failure: None,
            succeeded,
        };
        stage.skip();
        stage
    }

    /// Returns the runs.
    pub fn runs(&self) -> &[HookRun] {
        &self.runs
    }

    /// Returns what has to be done.
    pub fn effect(&self) -> Effect {
        match &self.doing {
            Doing::Look => Effect::Look(self.at),
            Doing::Delete => Effect::Delete(self.at),
            Doing::Make => Effect::Make(self.at),
            Doing::Await => Effect::Await(self.at),
            Doing::Record => Effect::Record(self.at),
            Doing::CleanUp(left) => match (left.last(), &self.failure) {
                (Some(next), _) => Effect::CleanUp(*next),
                (None, Some(failure)) => Effect::Failed(self.at, failure.clone()),
                (None, None) => Effect::Succeeded,
            },
        }
    }

    /// Handles the result of an effect. The result of any other effect changes nothing.
    #[must_use]
    pub fn step(mut self, event: Event) -> Self {
        match (&mut self.doing, event) {
            (Doing::Look, Event::Found(sighting)) => self.doing = self.found(&sighting),
            (Doing::Delete, Event::Gone) => self.doing = Doing::Make,
            (Doing::Make, Event::Made) => self.doing = Doing::Await,
            (Doing::Await, Event::Ended(Ok(()))) => self.doing = Doing::Record,
            (Doing::Await, Event::Ended(Err(why))) => self.fail(why),
            (Doing::Record, Event::Recorded) => {
                let ticket = self.runs[self.at].ticket;
                self.succeeded.insert(ticket);
                self.at += 1;
                self.doing = Doing::Look;
                self.skip();
            }
            (Doing::CleanUp(left), Event::Gone) => {
                left.pop();
            }
            _ => {}
        }
        self
    }

    fn found(&self, sighting: &Sighting) -> Doing {
        let run = &self.runs[self.at];
        let Sighting::Present { ticket, state } = sighting else {
            return Doing::Make;
        };
        let is_this_run = *ticket == Some(run.ticket);
        match state {
            // An earlier attempt failed, and this is the next one.
            HookState::Failed(_) if is_this_run => Doing::Delete,
            _ if is_this_run => Doing::Await,
            _ if !may_delete(run) => Doing::Make,
            _ if run.hook.is_deleted(HookDeletion::BeforeCreation) => Doing::Delete,
            // An object that has ended, or will end, cannot run again as it is.
            _ if completes(&run.id) => Doing::Delete,
            _ => Doing::Make,
        }
    }

    /// Advances to the first run that has not succeeded or, after the last one, to cleaning up.
    fn skip(&mut self) {
        while let Some(run) = self.runs.get(self.at) {
            if !self.succeeded.contains(&run.ticket) {
                return;
            }
            self.at += 1;
        }
        // The last one goes first, since they may need one another.
        self.doing = Doing::CleanUp(self.cleared(HookDeletion::Succeeded, 0..self.runs.len()));
    }

    fn fail(&mut self, why: String) {
        self.failure = Some(why);
        let mut left = self.cleared(HookDeletion::Succeeded, 0..self.at);
        left.extend(self.cleared(HookDeletion::Failed, self.at..self.at + 1));
        self.doing = Doing::CleanUp(left);
    }

    fn cleared(&self, when: HookDeletion, among: std::ops::Range<usize>) -> Vec<usize> {
        among
            .filter(|index| may_delete(&self.runs[*index]))
            .filter(|index| self.runs[*index].hook.is_deleted(when))
            .collect()
    }
}

fn may_delete(run: &HookRun) -> bool {
    !ProtectedKind::outlives_hooks(&run.id)
}

#[cfg(test)]
mod tests;
