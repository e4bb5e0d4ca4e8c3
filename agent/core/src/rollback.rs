//! Which revision of an application is to run: the one that its source gives, or an earlier one that was gone back to.
//!
//! The decision is pure, and apart from [`crate::machine`], which decides when something runs: this says what. A new
//! commit always supersedes a rollback, and the agent goes back by itself at most once for each commit: there is no way in
//! which two revisions could take turns.

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    history::{HistoryEntry, healthy_before, last_healthy, was_healthy, written},
};

/// When the agent goes back by itself.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum RollbackPolicy {
    /// Never: what failed stays until somebody acts.
    #[default]
    Never,
    /// When a revision was applied and is not healthy in time, or could not be applied as a whole.
    OnFailure,
}

/// An earlier revision that is to run instead of the one that the source gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// The revision that is to run.
    pub to: String,
    /// The revision that the source gives, and that is not to run.
    pub instead_of: String,
    /// Who asked for it; absent if the agent went back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why: what failed, or what that person said.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// Something that may change which revision is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The source's newest revision is this one.
    Head(&'a str),
    /// A revision was applied, and is not healthy or not applied as a whole.
    Failed {
        /// Which.
        revision: &'a str,
        /// Digest of its objects.
        rendered: Digest,
        /// What went wrong.
        reason: &'a str,
        /// Whether the application asks for a rollback then.
        policy: RollbackPolicy,
    },
    /// A person wants an earlier revision.
    Asked {
        /// Which; without one the last that was healthy before the one that runs.
        to: Option<&'a str>,
        /// Digest of the objects that were written last, as far as that went.
        begun: Option<Digest>,
        /// Who.
        by: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// A person wants what the source gives, now.
    Retry,
}

/// Why there is nothing to go back to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    /// The revision is not in the history.
    #[error("there is no {0} in its history to go back to")]
    Unknown(String),
    /// Nothing was healthy before the one that runs.
    #[error(
        "no earlier revision of it from this source was healthy, as far as its history goes back"
    )]
    NoneHealthy,
    /// The source has not answered yet.
    #[error("it is not known yet what its source gives")]
    NoHead,
}

/// Knows which revision is to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steering {
    head: Option<String>,
    /// What was healthy without a trace in the history. An agent that starts anew looks at it as a whole, and then there is one.
    unchanged: Option<String>,
    rollback: Option<Rollback>,
}

impl Steering {
    /// Takes up what an earlier agent had decided.
    pub fn restore(rollback: Option<Rollback>) -> Self {
        Self {
            head: None,
            unchanged: None,
            rollback,
        }
    }

    /// Returns the rollback that is in force; nothing as long as it is not known whether a new commit has superseded it.
    pub fn rollback(&self) -> Option<&Rollback> {
        self.head.as_ref()?;
        self.rollback.as_ref()
    }

    /// Returns the rollback that was decided, also while it is not known whether a new commit has superseded it: until then it
    /// is not forgotten.
    pub fn decided(&self) -> Option<&Rollback> {
        self.rollback.as_ref()
    }

    /// Returns the revision that is to run; nothing before the source has answered.
    pub fn target(&self) -> Option<&str> {
        let head = self.head.as_deref()?;
        Some(
            self.rollback
                .as_ref()
                .map_or(head, |rollback| rollback.to.as_str()),
        )
    }

    /// Forgets what the source gives: it is another one, which has not answered yet.
    pub fn forget_head(&mut self) {
        self.head = None;
    }

    /// Takes notice of a revision that changes nothing of what is in the cluster and healthy: so it is healthy too.
    pub fn found_unchanged(&mut self, revision: &str) {
        self.unchanged = Some(revision.to_owned());
    }

    /// Takes an event. `origin` names the source that is followed; `now` is the time, RFC 3339.
    pub fn step(
        &mut self,
        event: Event<'_>,
        history: &[HistoryEntry],
        origin: Option<Digest>,
        now: &str,
    ) -> Result<(), RollbackError> {
        match event {
            Event::Head(head) => {
                self.rollback = self.rollback.take().filter(|one| one.instead_of == head);
                self.head = Some(head.to_owned());
            }
            Event::Retry => self.rollback = None,
            Event::Failed {
                revision,
                rendered,
                reason,
                policy,
            } => {
                let is_head = self.head.as_deref() == Some(revision);
                // What was healthy before it failed was not broken by the commit. So whatever else was healthy is another
                // revision, and rendered something else.
                let was_healthy = self.unchanged.as_deref() == Some(revision)
                    || was_healthy(history, revision, rendered);
                if policy == RollbackPolicy::OnFailure
                    && is_head
                    && !was_healthy
                    && self.rollback.is_none()
                    && let Some(earlier) = last_healthy(history, origin)
                {
                    self.rollback = Some(Rollback {
                        to: earlier.revision.clone(),
                        instead_of: revision.to_owned(),
                        by: None,
                        reason: reason.to_owned(),
                        since: now.to_owned(),
                    });
                }
            }
            Event::Asked {
                to,
                begun,
                by,
                reason,
            } => {
                let head = self.head.clone().ok_or(RollbackError::NoHead)?;
                let to = self.wanted(to, begun, history, origin)?;
                self.rollback = (to != head).then(|| Rollback {
                    to,
                    instead_of: head,
                    by: Some(by.to_owned()),
                    reason: reason.to_owned(),
                    since: now.to_owned(),
                });
            }
        }
        Ok(())
    }

    fn wanted(
        &self,
        to: Option<&str>,
        begun: Option<Digest>,
        history: &[HistoryEntry],
        origin: Option<Digest>,
    ) -> Result<String, RollbackError> {
        if let Some(to) = to {
            let is_known = history.iter().any(|entry| entry.revision == to);
            let unknown = || RollbackError::Unknown(to.to_owned());
            return is_known.then(|| to.to_owned()).ok_or_else(unknown);
        }
        earlier(history, self.rollback.as_ref(), begun, origin)
            .map(|entry| entry.revision.clone())
            .ok_or(RollbackError::NoneHealthy)
    }
}

/// Returns what is gone back to where nobody names a revision: the last that was healthy before the one that runs. Once more
/// goes further back. `begun` is the digest of the objects that were written last, as far as that went; `origin` names the source
/// that is followed.
pub fn earlier<'a>(
    history: &'a [HistoryEntry],
    rollback: Option<&Rollback>,
    begun: Option<Digest>,
    origin: Option<Digest>,
) -> Option<&'a HistoryEntry> {
    let back = rollback.map(|one| one.to.as_str());
    // What the source gives may not have been tried yet, or may have changed nothing.
    let runs = written(history, begun).map(|entry| entry.revision.as_str());
    healthy_before(history, back.or(runs)?, origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Attempt, Ending, Trigger, record};
    use proptest::prelude::*;

    /// What a commit renders is named by its first letter: `b2` changes nothing of `b1`.
    fn rendered(revision: &str) -> Digest {
        Digest::of(&revision[..1])
    }

    fn ran(history: &mut Vec<HistoryEntry>, revision: &str, ending: Ending) {
        ran_from(None, history, revision, ending);
    }

    fn ran_from(
        origin: Option<Digest>,
        history: &mut Vec<HistoryEntry>,
        revision: &str,
        ending: Ending,
    ) {
        let attempt = Attempt {
            revision: revision.into(),
            reference: String::new(),
            author: String::new(),
            summary: String::new(),
            trigger: Trigger::Revision,
            requested_by: None,
            reason: None,
            origin,
            rendered: Some(rendered(revision)),
            plan: None,
            ending,
            message: None,
        };
        record(history, attempt, "t");
    }

    fn failed(revision: &str) -> Event<'_> {
        Event::Failed {
            revision,
            rendered: rendered(revision),
            reason: "web is not healthy",
            policy: RollbackPolicy::OnFailure,
        }
    }

    #[test]
    fn another_source_gives_nothing_until_it_has_answered() {
        let mut steering = Steering::default();
        step(&mut steering, Event::Head("a"), &[]);
        steering.forget_head();
        step(&mut steering, Event::Retry, &[]);
        assert_eq!(steering.target(), None);
        step(&mut steering, Event::Head("b"), &[]);
        assert_eq!(steering.target(), Some("b"));
    }

    fn step(steering: &mut Steering, event: Event<'_>, history: &[HistoryEntry]) {
        steering.step(event, history, None, "t").unwrap();
    }

    #[test]
    fn a_failure_goes_back_once_and_a_new_commit_supersedes_it() {
        let mut history = Vec::new();
        let mut steering = Steering::default();
        ran(&mut history, "a", Ending::Healthy);
        step(&mut steering, Event::Head("b"), &history);
        ran(&mut history, "b", Ending::Unhealthy);
        step(&mut steering, failed("b"), &history);
        assert_eq!(steering.target(), Some("a"));
        let rollback = steering.rollback().unwrap();
        assert_eq!((rollback.instead_of.as_str(), &rollback.by), ("b", &None));
        // What was gone back to fails as well: that is the end of it.
        ran(&mut history, "a", Ending::Unhealthy);
        step(&mut steering, failed("a"), &history);
        assert_eq!(steering.target(), Some("a"));
        // The agent starts anew, and the source gives what it gave.
        let mut restarted = Steering::restore(steering.rollback().cloned());
        assert_eq!((restarted.target(), restarted.rollback()), (None, None));
        step(&mut restarted, Event::Head("b"), &history);
        assert_eq!(restarted.target(), Some("a"));
        step(&mut restarted, Event::Head("c"), &history);
        assert_eq!(
            (restarted.target(), restarted.rollback()),
            (Some("c"), None)
        );
    }

    #[test]
    fn nothing_is_gone_back_to_where_that_would_help_nobody() {
        let mut history = Vec::new();
        let mut steering = Steering::default();
        step(&mut steering, Event::Head("a"), &history);
        ran(&mut history, "a", Ending::Unhealthy);
        step(&mut steering, failed("a"), &history);
        assert_eq!(steering.target(), Some("a"), "nothing was ever healthy");
        ran(&mut history, "a", Ending::Healthy);
        step(&mut steering, Event::Head("b"), &history);
        let never = Event::Failed {
            revision: "b",
            rendered: rendered("b"),
            reason: "",
            policy: RollbackPolicy::Never,
        };
        step(&mut steering, never, &history);
        assert_eq!(steering.target(), Some("b"), "nobody asked for it");
        ran(&mut history, "b", Ending::Healthy);
        ran(&mut history, "b", Ending::Unhealthy);
        step(&mut steering, failed("b"), &history);
        assert_eq!(steering.target(), Some("b"), "it had been healthy");
    }

    #[test]
    fn an_outage_after_a_commit_that_changes_nothing_is_no_reason_to_go_back() {
        let mut history = Vec::new();
        let mut steering = Steering::default();
        for revision in ["a1", "b1"] {
            step(&mut steering, Event::Head(revision), &history);
            ran(&mut history, revision, Ending::Healthy);
        }
        // It is healthy at once, and the history does not tell of it until something breaks.
        step(&mut steering, Event::Head("b2"), &history);
        ran(&mut history, "b2", Ending::Unhealthy);
        step(&mut steering, failed("b2"), &history);
        assert_eq!((steering.target(), steering.rollback()), (Some("b2"), None));
        // Other settings are no fault of a commit that was healthy before them.
        step(&mut steering, Event::Head("b3"), &history);
        steering.found_unchanged("b3");
        let otherwise = Event::Failed {
            revision: "b3",
            rendered: rendered("x"),
            reason: "",
            policy: RollbackPolicy::OnFailure,
        };
        step(&mut steering, otherwise, &history);
        assert_eq!((steering.target(), steering.rollback()), (Some("b3"), None));
        // What changes something meanwhile, and does not mend it, is gone back from to what worked.
        step(&mut steering, Event::Head("c1"), &history);
        ran(&mut history, "c1", Ending::Unhealthy);
        step(&mut steering, failed("c1"), &history);
        assert_eq!(steering.target(), Some("b1"));
    }

    #[test]
    fn what_another_source_gave_is_not_gone_back_to() {
        let [old, new] = ["old", "new"].map(|name| Some(Digest::of(name)));
        let mut history = Vec::new();
        let mut steering = Steering::default();
        ran_from(old, &mut history, "a", Ending::Healthy);
        ran_from(new, &mut history, "b", Ending::Unhealthy);
        let mut take = |event, origin| steering.step(event, &history, origin, "t");
        assert_eq!(take(Event::Head("b"), new), Ok(()));
        assert_eq!(take(failed("b"), new), Ok(()));
        let asked = Event::Asked {
            to: None,
            begun: None,
            by: "ada",
            reason: "",
        };
        assert_eq!(take(asked, new), Err(RollbackError::NoneHealthy));
        assert_eq!(steering.rollback(), None);
        // The source is the one of before again.
        let again = steering.step(failed("b"), &history, old, "t");
        assert_eq!(again, Ok(()));
        assert_eq!(steering.target(), Some("a"));
    }

    #[test]
    fn a_person_goes_back_and_forth() {
        let mut history = Vec::new();
        let mut steering = Steering::default();
        let ask = |to| Event::Asked {
            to,
            begun: None,
            by: "ada",
            reason: "checkout is slow",
        };
        let early = steering.step(ask(None), &history, None, "t");
        assert_eq!(early, Err(RollbackError::NoHead));
        for revision in ["a", "b", "c"] {
            step(&mut steering, Event::Head(revision), &history);
            ran(&mut history, revision, Ending::Healthy);
        }
        step(&mut steering, ask(None), &history);
        assert_eq!(steering.target(), Some("b"));
        // What was gone back to is the newest of the history now, and what was gone back from comes next.
        ran(&mut history, "b", Ending::Healthy);
        step(&mut steering, ask(None), &history);
        assert_eq!(steering.target(), Some("a"), "once more goes further back");
        let unknown = steering.step(ask(Some("z")), &history, None, "t");
        let unknown = unknown.unwrap_err();
        insta::assert_snapshot!(unknown, @"there is no z in its history to go back to");
        step(&mut steering, ask(Some("c")), &history);
        assert_eq!((steering.target(), steering.rollback()), (Some("c"), None));
        step(&mut steering, ask(Some("a")), &history);
        step(&mut steering, Event::Retry, &history);
        assert_eq!(steering.target(), Some("c"));
    }

    #[test]
    fn what_was_decided_is_known_before_the_source_answers() {
        let rollback = Rollback {
            to: "a".to_owned(),
            instead_of: "b".to_owned(),
            by: None,
            reason: String::new(),
            since: "t".to_owned(),
        };
        let mut steering = Steering::restore(Some(rollback.clone()));
        assert_eq!(steering.rollback(), None, "there may be a new commit");
        assert_eq!(steering.decided(), Some(&rollback));
        step(&mut steering, Event::Head("b"), &[]);
        assert_eq!(steering.rollback(), Some(&rollback));
        steering.forget_head();
        assert_eq!(steering.decided(), Some(&rollback));
        step(&mut steering, Event::Head("c"), &[]);
        assert_eq!(steering.decided(), None);
    }

    #[test]
    fn a_commit_that_changes_nothing_is_not_what_is_gone_back_from() {
        let mut history = Vec::new();
        let mut steering = Steering::default();
        for revision in ["a", "b"] {
            step(&mut steering, Event::Head(revision), &history);
            ran(&mut history, revision, Ending::Healthy);
        }
        step(&mut steering, Event::Head("same"), &history);
        let asked = Event::Asked {
            to: None,
            begun: None,
            by: "ada",
            reason: "",
        };
        step(&mut steering, asked, &history);
        assert_eq!(steering.target(), Some("a"));
    }

    #[test]
    fn what_was_refused_before_anything_was_written_is_not_what_runs() {
        let mut history = Vec::new();
        for (revision, ending) in [
            ("a", Ending::Healthy),
            ("b", Ending::Healthy),
            ("c", Ending::Failed),
        ] {
            ran(&mut history, revision, ending);
        }
        let back = |begun: Option<&str>| {
            let earlier = earlier(&history, None, begun.map(rendered), None);
            earlier.map(|entry| entry.revision.as_str())
        };
        assert_eq!(back(Some("b")), Some("a"));
        assert_eq!(back(Some("c")), Some("b"), "it was written in part");
        // Nothing is known of what was written, or the history goes not back to it.
        assert_eq!([back(None), back(Some("z"))], [Some("b"), Some("b")]);
        let mut steering = Steering::default();
        step(&mut steering, Event::Head("c"), &history);
        let asked = Event::Asked {
            to: None,
            begun: Some(rendered("b")),
            by: "ada",
            reason: "",
        };
        step(&mut steering, asked, &history);
        assert_eq!(steering.target(), Some("a"));
    }

    #[derive(Debug, Clone)]
    enum Happening {
        /// A commit. Where it changes nothing that was read, nothing runs, and nothing is recorded of it.
        Head(String),
        /// What is to run ran.
        Ran(Ending),
        Asked(Option<String>),
        Retry,
        Restart,
    }

    fn happening() -> impl Strategy<Value = Happening> {
        let ending = prop_oneof![
            Just(Ending::Healthy),
            Just(Ending::Unhealthy),
            Just(Ending::Failed)
        ];
        prop_oneof![
            3 => "[a-d][12]".prop_map(Happening::Head),
            4 => ending.prop_map(Happening::Ran),
            1 => prop::option::of("[a-d][12]").prop_map(Happening::Asked),
            1 => Just(Happening::Retry),
            1 => Just(Happening::Restart),
        ]
    }

    proptest! {
        #[test]
        fn there_is_no_loop_and_the_newest_commit_wins(happenings in prop::collection::vec(happening(), 0..80)) {
            let mut history = Vec::new();
            let mut steering = Steering::default();
            let mut head: Option<String> = None;
            // How often the agent went back by itself since somebody had a say.
            let mut by_itself = 0;
            // The objects in the cluster, if they were healthy since they were written.
            let mut worked = None;
            for happening in happenings {
                let before = steering.clone();
                match happening {
                    Happening::Head(new) => {
                        let is_new = head.as_ref() != Some(&new);
                        step(&mut steering, Event::Head(&new), &history);
                        if is_new {
                            by_itself = 0;
                            if before.head.is_some() { prop_assert_eq!(steering.target(), Some(new.as_str())); }
                        }
                        head = Some(new);
                    }
                    Happening::Ran(ending) => {
                        let Some(revision) = before.target() else { continue };
                        let objects = rendered(revision);
                        ran(&mut history, revision, ending);
                        if ending == Ending::Healthy {
                            worked = Some(objects);
                        } else {
                            step(&mut steering, failed(revision), &history);
                            worked = worked.filter(|worked| *worked == objects);
                        }
                        if steering.rollback() != before.rollback() {
                            by_itself += 1;
                            prop_assert_eq!(worked, None, "an outage is no fault of the commit");
                            let to = steering.rollback().map(|rollback| rendered(&rollback.to));
                            prop_assert_ne!(to, Some(objects));
                        }
                    }
                    Happening::Asked(to) => {
                        if steering.step(Event::Asked { to: to.as_deref(), begun: None, by: "ada", reason: "" }, &history, None, "t").is_ok() { by_itself = 0; }
                    }
                    Happening::Retry => { step(&mut steering, Event::Retry, &history); by_itself = 0; }
                    Happening::Restart => {
                        steering = Steering::restore(steering.rollback.clone());
                        if let Some(head) = &head { step(&mut steering, Event::Head(head), &history); }
                        prop_assert_eq!(&steering.rollback, &before.rollback);
                    }
                }
                prop_assert!(by_itself <= 1, "two revisions take turns");
                prop_assert_eq!(steering.target().is_some(), head.is_some());
                if let Some(rollback) = steering.rollback() {
                    prop_assert_ne!(&rollback.to, &rollback.instead_of);
                    prop_assert_eq!(Some(&rollback.instead_of), head.as_ref());
                }
            }
        }
    }
}
