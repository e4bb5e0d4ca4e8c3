//! Runs that state machines request. If the answer to a status was lost, the status is read before anything is created.

use pintle_core::machine::{Event, Outcome, Retry, RunId};

use super::World;
use crate::run::{Run, Work};

impl World<'_> {
    /// Does what a state machine requests. With an old inventory, objects would be created that the inventory in the cluster does
    /// not list, and the watch may report that one too late.
    pub(super) fn run(&mut self, replica: usize, application: usize, id: RunId, work: Work) {
        let Some(kept) = self.replicas[replica].applications.get_mut(&application) else {
            return;
        };
        if !kept.unsure {
            return self.perform(replica, application, id, work);
        }
        kept.run = Some(Run::reading(id, kept.resource.clone(), work));
        self.go_on(replica, application);
    }

    /// Continues now that the current state is known.
    pub(super) fn known(&mut self, replica: usize, application: usize, id: RunId, work: Work) {
        if let Some(kept) = self.replicas[replica].applications.get_mut(&application) {
            kept.end_run();
        }
        self.perform(replica, application, id, work);
    }

    fn perform(&mut self, replica: usize, application: usize, id: RunId, work: Work) {
        match work {
            // A policy denies the revision, and nothing is written.
            Work::Converge(_) if self.strikes(self.schedule.weather / 8) => {
                let outcome = Outcome::Failed(Retry::OnChange);
                self.finished(replica, application, id, outcome);
            }
            Work::Converge(revision) => self.begin(replica, application, id, Some(revision)),
            Work::Guard { repairs } => self.guard(replica, application, id, repairs),
            Work::Tell => self.told(replica, application, id),
            Work::Remove => self.begin(replica, application, id, None),
        }
    }

    /// Finishes a run that only reports: nobody reads the report.
    fn told(&mut self, replica: usize, application: usize, run: RunId) {
        let (outcome, now) = (Outcome::Done, self.now);
        self.step(replica, application, Event::Finished { run, outcome, now });
        self.look_for_drift(replica, application);
    }
}
