//! Which revision of an application should run: the source's current one, or an earlier one after a rollback.
//!
//! The decision is pure and separate from [`crate::machine`]: the machine decides when something runs, this decides what. A new
//! commit supersedes a rollback unless it renders the same as what was rolled back. The agent rolls back by itself at most once
//! per commit, so two revisions can never alternate.

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    history::{HistoryEntry, healthy_before, last_healthy, was_healthy, written},
};

/// When the agent rolls back by itself.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum RollbackPolicy {
    /// Never: a revision that failed stays until somebody acts.
    #[default]
    Never,
    /// When a revision was applied and does not become healthy in time, or could not be applied in full.
    OnFailure,
}

/// An earlier revision that should run instead of the source's current one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// The revision that should run.
    pub to: String,
    /// The source's current revision, which should not run.
    pub instead_of: String,
    /// Who requested the rollback; absent if the agent rolled back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The reason for the rollback: what failed, or the reason that this person gave.
    pub reason: String,
    /// Since when the rollback is in force, in RFC 3339 format.
    pub since: String,
    /// Digest of what was rolled back; absent if it is not known. A commit that renders the same does not supersede the rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_digest: Option<Digest>,
}

/// Something that may change which revision should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The source's newest revision.
    Head(&'a str),
    /// A revision renders the same as what was rolled back.
    SameAsLeft(&'a str),
    /// A revision was applied, and is unhealthy or was not applied in full.
    Failed {
        /// The revision.
        revision: &'a str,
        /// The digest of its objects.
        rendered: Digest,
        /// What went wrong.
        reason: &'a str,
        /// Whether the application asks for a rollback in that case.
        policy: RollbackPolicy,
    },
    /// A person requests an earlier revision.
    Asked {
        /// The revision. If absent, the last one that was healthy before the running one and rendered something else.
        to: Option<&'a str>,
        /// The digest of the objects that were last written, even if only in part.
        begun: Option<Digest>,
        /// The person.
        by: &'a str,
        /// The reason that the person gave.
        reason: &'a str,
    },
    /// A person requests the source's current revision now.
    Retry,
}

/// The reason why a rollback is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    /// The revision is not in the history.
    #[error("there is no {0} in its history to go back to")]
    Unknown(String),
    /// Nothing else was healthy before the running revision.
    #[error(
        "no earlier revision of it from this source was healthy and renders something else, as far as its history goes back"
    )]
    NoneHealthy,
    /// The source has not answered yet.
    #[error("it is not known yet what its source gives")]
    NoHead,
}

/// Decides which revision should run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steering {
    head: Option<String>,
    /// A revision that was healthy without leaving a trace in the history. After a restart the agent checks it in full, and then
    /// there is a trace.
    unchanged: Option<String>,
    /// The revision that was last rendered, with the digest of its whole render. The history may not have it: the revision may
    /// continue what another one began, or change nothing.
    came_to: Option<(String, Digest)>,
    rollback: Option<Rollback>,
    /// A rollback that a new commit supersedes if it renders something other than what was rolled back, which is not known yet.
    left: Option<Rollback>,
}

impl Steering {
    /// Restores what an earlier agent had decided.
    pub fn restore(rollback: Option<Rollback>) -> Self {
        Self {
            rollback,
            ..Self::default()
        }
    }

    /// Returns the rollback in force, or `None` while it is not known whether a new commit has superseded it.
    pub fn rollback(&self) -> Option<&Rollback> {
        self.head.as_ref()?;
        self.rollback.as_ref()
    }

    /// Returns the rollback that was decided, even while it is not known whether a new commit has superseded it. Until then it is
    /// not forgotten.
    pub fn decided(&self) -> Option<&Rollback> {
        self.rollback.as_ref().or(self.left.as_ref())
    }

    /// Returns the digest of what was rolled back, if it is not known whether a new commit renders something else.
    pub fn left(&self) -> Option<Digest> {
        self.left.as_ref()?.left_digest
    }

    /// Returns the revision that should run, or `None` before the source has answered.
    pub fn target(&self) -> Option<&str> {
        let head = self.head.as_deref()?;
        Some(
            self.rollback
                .as_ref()
                .map_or(head, |rollback| rollback.to.as_str()),
        )
    }

    /// Forgets the source's current revision, because the source is now another one that has not answered yet. That source may
    /// not have the revision that was rolled back to, so only the same commit keeps the rollback.
    pub fn forget_head(&mut self) {
        (self.head, self.left, self.came_to) = (None, None, None);
        if let Some(rollback) = &mut self.rollback {
            rollback.left_digest = None;
        }
    }

    /// Records that a commit renders something other than what was rolled back.
    pub fn supersede(&mut self) {
        self.left = None;
    }

    /// Records that a revision changes nothing about what is in the cluster and healthy, so it is healthy too.
    pub fn found_unchanged(&mut self, revision: &str) {
        self.unchanged = Some(revision.to_owned());
    }

    /// Records what a revision renders: the digest of its objects and of what its folder says about them. The revision may have
    /// been rolled back before that was known.
    pub fn found_render(&mut self, revision: &str, whole: Digest) {
        if let Some(rollback) = &mut self.rollback
            && rollback.instead_of == revision
        {
            rollback.left_digest.get_or_insert(whole);
        }
        self.came_to = Some((revision.to_owned(), whole));
    }

    /// Handles an event. `origin` names the source that is followed; `now` is the time in RFC 3339.
    pub fn step(
        &mut self,
        event: Event<'_>,
        history: &[HistoryEntry],
        origin: Option<Digest>,
        now: &str,
    ) -> Result<(), RollbackError> {
        match event {
            Event::Head(head) => {
                let decided = self.rollback.take().or(self.left.take());
                match decided {
                    Some(one) if one.instead_of == head => self.rollback = Some(one),
                    // What the revision comes to is unknown until it is rendered.
                    Some(one) if one.left_digest.is_some() && one.to != head => {
                        self.left = Some(one);
                    }
                    _ => {}
                }
                self.head = Some(head.to_owned());
            }
            Event::SameAsLeft(revision) => {
                if self.head.as_deref() == Some(revision)
                    && let Some(left) = self.left.take()
                {
                    self.rollback = Some(Rollback {
                        instead_of: revision.to_owned(),
                        ..left
                    });
                }
            }
            Event::Retry => (self.rollback, self.left) = (None, None),
            Event::Failed {
                revision,
                rendered,
                reason,
                policy,
            } => {
                let is_head = self.head.as_deref() == Some(revision);
                // If the revision was healthy before it failed, the commit did not break it. Otherwise, anything else that was
                // healthy is another revision and rendered something else.
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
                        left_digest: self.comes_to(revision),
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
                let left_digest = self.comes_to(&head);
                self.left = None;
                self.rollback = (to != head).then(|| Rollback {
                    to,
                    instead_of: head,
                    by: Some(by.to_owned()),
                    reason: reason.to_owned(),
                    since: now.to_owned(),
                    left_digest,
                });
            }
        }
        Ok(())
    }

    /// Returns the digest of what is rolled back: the render of the newest revision or, if that was not rendered yet or could not
    /// be, of what had already been rolled back. Returns `None` if neither is known.
    fn comes_to(&self, head: &str) -> Option<Digest> {
        match &self.came_to {
            Some((revision, whole)) if revision == head => Some(*whole),
            _ => self.decided()?.left_digest,
        }
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

/// Returns the revision to roll back to if nobody names one: the last that was healthy before the running one and rendered
/// something else. Rolling back once more goes further back. `begun` is the digest of the objects that were last written, even if
/// only in part; `origin` names the source that is followed.
pub fn earlier<'a>(
    history: &'a [HistoryEntry],
    rollback: Option<&Rollback>,
    begun: Option<Digest>,
    origin: Option<Digest>,
) -> Option<&'a HistoryEntry> {
    let (runs, objects) = if let Some(rollback) = rollback {
        let mut of_it = history.iter().filter(|entry| entry.revision == rollback.to);
        let objects = of_it.find_map(|entry| entry.rendered_digest);
        (rollback.to.as_str(), objects)
    } else {
        // The source's current revision may not have been tried yet, or may have changed nothing.
        let entry = written(history, begun)?;
        (entry.revision.as_str(), begun.or(entry.rendered_digest))
    };
    healthy_before(history, runs, objects, origin)
}

#[cfg(test)]
mod tests;
