//! Which revision of an application is to run: the one that its source gives, or an earlier one that was gone back to.
//!
//! The decision is pure, and apart from [`crate::machine`], which decides when something runs: this says what. A new
//! commit supersedes a rollback, unless it comes to what was gone back from, and the agent goes back by itself at most once for
//! each commit: there is no way in which two revisions could take turns.

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
    /// Digest of what was gone back from: a commit that comes to the same does not supersede this. Absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_digest: Option<Digest>,
}

/// Something that may change which revision is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The source's newest revision is this one.
    Head(&'a str),
    /// A revision comes to what was gone back from.
    SameAsLeft(&'a str),
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
        /// Which; without one the last that was healthy before the one that runs, and rendered something else.
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
    /// Nothing else was healthy before the one that runs.
    #[error(
        "no earlier revision of it from this source was healthy and renders something else, as far as its history goes back"
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
    /// The revision that was rendered last, and the digest of all that it comes to. The history may not have it: it may go on with
    /// what another one began, or change nothing.
    came_to: Option<(String, Digest)>,
    rollback: Option<Rollback>,
    /// A rollback that a new commit supersedes if it comes to something else than what was gone back from, which is not known yet.
    left: Option<Rollback>,
}

impl Steering {
    /// Takes up what an earlier agent had decided.
    pub fn restore(rollback: Option<Rollback>) -> Self {
        Self {
            rollback,
            ..Self::default()
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
        self.rollback.as_ref().or(self.left.as_ref())
    }

    /// Returns the digest of what was gone back from, if it is not known whether a new commit comes to something else.
    pub fn left(&self) -> Option<Digest> {
        self.left.as_ref()?.left_digest
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

    /// Forgets what the source gives: it is another one, which has not answered yet. It may not have what was gone back to, so
    /// only the same commit keeps that.
    pub fn forget_head(&mut self) {
        (self.head, self.left, self.came_to) = (None, None, None);
        if let Some(rollback) = &mut self.rollback {
            rollback.left_digest = None;
        }
    }

    /// Takes notice of a commit that comes to something else than what was gone back from.
    pub fn supersede(&mut self) {
        self.left = None;
    }

    /// Takes notice of a revision that changes nothing of what is in the cluster and healthy: so it is healthy too.
    pub fn found_unchanged(&mut self, revision: &str) {
        self.unchanged = Some(revision.to_owned());
    }

    /// Takes notice of what a revision comes to: the digest of its objects, and of what its folder says about them. It may have been
    /// gone back from before that was known.
    pub fn found_render(&mut self, revision: &str, whole: Digest) {
        if let Some(rollback) = &mut self.rollback
            && rollback.instead_of == revision
        {
            rollback.left_digest.get_or_insert(whole);
        }
        self.came_to = Some((revision.to_owned(), whole));
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
                let decided = self.rollback.take().or(self.left.take());
                match decided {
                    Some(one) if one.instead_of == head => self.rollback = Some(one),
                    // What it comes to is not known before it is rendered.
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

    /// Returns the digest of what is gone back from: of what the newest revision comes to, or of what was gone back from already if
    /// that one was not rendered yet, or could not be. Nothing if neither is known.
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

/// Returns what is gone back to where nobody names a revision: the last that was healthy before the one that runs, and rendered
/// something else. Once more goes further back. `begun` is the digest of the objects that were written last, as far as that went;
/// `origin` names the source that is followed.
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
        // What the source gives may not have been tried yet, or may have changed nothing.
        let entry = written(history, begun)?;
        (entry.revision.as_str(), begun.or(entry.rendered_digest))
    };
    healthy_before(history, runs, objects, origin)
}

#[cfg(test)]
mod tests;
