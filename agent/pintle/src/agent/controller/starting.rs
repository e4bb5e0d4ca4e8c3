//! The effects that state machines ask for: runs, and times at which to wake up.

use std::{sync::Arc, time::Duration};

use pintle_core::{
    machine::{Cause, Effect, Event, Millis, Outcome, Retry, RunId},
    names::ApplicationName,
};
use tokio_util::sync::CancellationToken;

use super::{Controller, Message};
use crate::{
    agent::{
        drift::Disputed,
        job::{Job, Work},
        run,
        sources::SourceKey,
    },
    pipeline::steady_ms,
};

impl Controller {
    /// Performs an effect that a state machine asks for.
    pub(super) fn perform(&mut self, name: &ApplicationName, effect: Effect) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        match effect {
            Effect::Start {
                run,
                cause,
                revision,
            } => {
                let Some(snapshot) = app.fetched_of(&revision) else {
                    // This is a bug in the agent. A run that nobody ends would keep all others from starting.
                    tracing::error!(application = %name, revision, "what is to run was never fetched");
                    return self.never_began(name, run, Retry::OnChange);
                };
                let cause = app.patience.begin(revision, cause);
                self.start(name, run, Work::Converge { snapshot, cause });
            }
            Effect::Guard { run, repairs } => {
                let work = Work::Guard {
                    repairs,
                    is_tried_again: app.machine.retries().is_some(),
                    applied: app.applied.clone(),
                };
                self.start(name, run, work);
            }
            Effect::Tell { run } => self.start(name, run, Work::Tell),
            Effect::Rest { run } => self.start(name, run, Work::Rest),
            Effect::Remove { run } => self.start(name, run, Work::Remove),
            Effect::Cancel { run } => {
                if let Some((_, cancel)) = app.run.as_ref().filter(|(current, _)| *current == run) {
                    cancel.cancel();
                }
            }
            Effect::WakeAt(time) => self.wake_at(name.clone(), time),
        }
    }

    fn start(&mut self, name: &ApplicationName, run: RunId, work: Work) {
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        if let Work::Converge { cause, snapshot } = &work {
            let revision = &snapshot.revision().commit;
            self.shared.claims.expect(name, revision);
            tracing::debug!(application = %name, ?cause, "starting");
            if *cause == Cause::Settings {
                // A plugin or the spec has changed, so earlier results do not count.
                app.memory = app
                    .memory
                    .take()
                    .filter(|memory| memory.generation == app.application.generation);
            }
        }
        let Some(shared) = self.targets.of(name) else {
            // Nothing has failed that could be reported. The run begins when the cluster has answered, or is known not to.
            return self.never_began(name, run, Retry::Backoff);
        };
        let is_rollout = matches!(work, Work::Converge { .. });
        let waits_for = self.obstacles(name, &work);
        let Some(app) = self.apps.get_mut(name) else {
            return;
        };
        let cancel = CancellationToken::new();
        app.run = Some((run, cancel.clone()));
        let job = Job {
            run,
            application: app.application.clone(),
            is_unsure: app.is_unsure,
            work,
            is_suspended: Arc::clone(&app.is_suspended),
            origin: app.source.as_ref().map(SourceKey::origin),
            memory: app.memory.clone(),
            fetching: Arc::clone(&app.fetching),
            requested: app.requests.answerable().cloned(),
            // A person who asks wants what is wanted now to be repaired, and not what was wanted before.
            repairs_for: app.requests.unrepaired().filter(|_| is_rollout).cloned(),
            disputed: Disputed {
                held: app.disputes.held(steady_ms()),
                fights: app.disputes.going_on(),
                told: app.told_drift.clone(),
            },
            waits_for,
            rollback: app.course.decided().cloned(),
            left: app.course.left(),
            rollback_answer: app.course.answer().cloned(),
            failure: app.away().cloned(),
            refused: app.refused.clone(),
            awaited: app.awaited.clone(),
            rules: app.rules.clone(),
            told: app.told.clone(),
        };
        self.runs.spawn(run::run(shared, job, cancel));
    }

    /// Tells the state machine that a run which it asked for is over, with nothing done.
    fn never_began(&mut self, name: &ApplicationName, run: RunId, retry: Retry) {
        let (outcome, now) = (Outcome::Failed(retry), steady_ms());
        self.step(name, Event::Finished { run, outcome, now });
    }

    pub(in crate::agent) fn wake_at(&self, name: ApplicationName, time: Millis) {
        let (messages, pause) = (
            self.messages.clone(),
            Duration::from_millis(time.saturating_sub(steady_ms())),
        );
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            // The agent may have stopped meanwhile.
            let _ = messages.send(Message::Woke(name)).await;
        });
    }
}
