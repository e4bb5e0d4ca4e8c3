//! Fetches missing commits into the cache, without letting one that cannot be fetched hold up the others.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    sync::Arc,
};

use gix::{ObjectId, protocol::fetch::Shallow};

use crate::{
    cache::{Slot, is_crowded, is_empty, note_try, shallow_commits},
    error::{SourceError, caught},
    location::Location,
    refs::Refs,
    session::{Dial, FetchError, Session},
    store::{ObjectError, Store},
};

/// The most commits that the server is told we have, so that it sends only what has changed since.
const HAVES: usize = 64;

/// The commits that are wanted, and what is known about them.
pub(crate) struct Wanted {
    pub(crate) commits: Vec<ObjectId>,
    /// The wanted commits that are known not to be in the history of the branches and tags as these are now.
    pub(crate) searched: HashSet<ObjectId>,
    /// Commits that somebody follows by id, whether or not they are asked for now. They were in the cache.
    pub(crate) kept: Vec<ObjectId>,
}

/// The outcome for the commits that are wanted.
pub(crate) struct Brought {
    /// The store that holds them.
    pub(crate) store: Arc<Store>,
    /// Whether the server was asked for any of them.
    pub(crate) is_new: bool,
    /// Why some of them are not in the store.
    pub(crate) failed: HashMap<ObjectId, SourceError>,
}

type Failures = HashMap<ObjectId, FetchError>;

/// Fetches commits into the cache, except those that are already there.
///
/// If the cached repository cannot be built upon, everything that is wanted is fetched anew, once.
pub(crate) fn bring(
    session: Session,
    dial: &Dial<'_>,
    slot: &Slot,
    store: Arc<Store>,
    refs: &Refs,
    wanted: &Wanted,
) -> Brought {
    let missing: Vec<ObjectId> = wanted
        .commits
        .iter()
        .copied()
        .filter(|id| !is_here(&store, *id))
        .collect();
    if missing.is_empty() {
        session.close();
        return Brought {
            store,
            is_new: false,
            failed: HashMap::new(),
        };
    }
    let errand = Errand {
        dial,
        slot,
        refs,
        wanted,
    };
    let (store, failed) = if is_crowded(&store, || followed(&store, refs, wanted)) {
        errand.instead(session, store, &missing)
    } else {
        errand.onto(Some(session), store, &missing)
    };
    let failed = failed
        .into_iter()
        .map(|(id, error)| (id, error.into_source(dial.conversation.url())));
    Brought {
        store,
        is_new: true,
        failed: failed.collect(),
    }
}

/// Returns whether a commit needs no fetch: it can be read, or cannot be for a reason that no fetch would change.
fn is_here(store: &Store, id: ObjectId) -> bool {
    !matches!(store.commit(id), Ok(None) | Err(ObjectError::Damaged(_)))
}

/// Returns the commits that were fetched without their history.
fn known_commits(store: &Store) -> Vec<ObjectId> {
    let mut commits = shallow_commits(store);
    // A commit that the file lists but the store lacks was lost. Naming it would make the server leave out what depends on it.
    commits.retain(|id| matches!(store.commit(*id), Ok(Some(_))));
    commits.truncate(HAVES);
    commits
}

/// Returns whether a server that speaks version 2 refused a commit because no branch or tag leads to it, at any distance.
fn has_searched(refused: &str, id: ObjectId, location: &Location) -> bool {
    // git sends any commit that exists. JGit searches the history, but over SSH it may be set to look at tips only.
    refused.contains("not our ref")
        || matches!(location, Location::Http(_))
            && refused.contains(&format!("want {id} not valid"))
}

/// Counts the commits of a store that somebody may follow: those that are wanted now, those that are kept, and those that
/// branches lead to, since whoever wants the latter may ask another time. Tags do not count: they stay where they are even when
/// nobody follows them any more.
fn followed(store: &Store, refs: &Refs, wanted: &Wanted) -> usize {
    let heads = refs.heads();
    let mut commits: HashSet<ObjectId> = wanted.commits.iter().copied().collect();
    commits.extend(wanted.kept.iter().filter(|id| is_here(store, **id)));
    let known = shallow_commits(store).into_iter();
    commits.extend(known.filter(|id| heads.contains(id)));
    commits.len()
}

fn all(ids: &[ObjectId], error: &FetchError) -> impl Iterator<Item = (ObjectId, FetchError)> {
    ids.iter().map(|id| (*id, error.clone()))
}

/// What is wanted, and from which server.
struct Errand<'a> {
    dial: &'a Dial<'a>,
    slot: &'a Slot,
    refs: &'a Refs,
    wanted: &'a Wanted,
}

impl Errand<'_> {
    /// Fetches an overgrown repository anew. If not all of it can be fetched again, adds to the existing one after all: a
    /// commit may by now be too large to be sent at once, or no branch may lead to it any more. The attempt is recorded first,
    /// so that it gets in the way of at most one fetch, however it ends.
    fn instead(
        &self,
        session: Session,
        store: Arc<Store>,
        missing: &[ObjectId],
    ) -> (Arc<Store>, Failures) {
        note_try(&store);
        let (store, failed) = self.anew(Some(session), store, missing, &self.wanted.kept);
        if failed.len() < missing.len() {
            return (store, failed);
        }
        tracing::warn!(
            url = self.dial.conversation.url(),
            error = missing
                .iter()
                .find_map(|id| failed.get(id))
                .map(FetchError::reason),
            "the cached repository has grown too much and cannot be fetched anew: adding to it, and trying again once it holds twice as much"
        );
        if failed.values().any(|error| !error.is_about_commits()) {
            return (store, failed);
        }
        self.dial.conversation.forgive();
        self.onto(None, store, missing)
    }

    /// Adds to the cached repository.
    fn onto(
        &self,
        session: Option<Session>,
        store: Arc<Store>,
        missing: &[ObjectId],
    ) -> (Arc<Store>, Failures) {
        let was_empty = is_empty(&store);
        let mut failed = self.attempt(session, &store, missing, false);
        let unfit: Vec<ObjectId> = missing
            .iter()
            .copied()
            .filter(|id| matches!(failed.get(id), Some(FetchError::Objects(_))))
            .collect();
        let is_lost = failed.values().any(|error| !error.is_about_commits());
        // If the cache was empty, it cannot be to blame.
        if unfit.is_empty() || was_empty || is_lost {
            return (store, failed);
        }
        tracing::warn!(
            url = self.dial.conversation.url(),
            "a fetch does not fit what is in the cache: fetching all of it anew"
        );
        // Nothing can be added to the cached repository. A commit that is only kept, and exists nowhere else, must not leave it
        // in that state forever.
        let (store, again) = self.anew(None, store, &unfit, &[]);
        failed.retain(|id, _| !unfit.contains(id));
        failed.extend(again);
        (store, failed)
    }

    /// Fetches into an empty repository: first the missing commits, then, if any of those arrive, everything else that is
    /// wanted or kept and was cached. The new repository replaces the old one if nothing of that is lost.
    fn anew(
        &self,
        session: Option<Session>,
        old: Arc<Store>,
        missing: &[ObjectId],
        kept: &[ObjectId],
    ) -> (Arc<Store>, Failures) {
        let draft = match self.slot.draft() {
            Ok(draft) => draft,
            Err(error) => return (old, all(missing, &FetchError::Known(error)).collect()),
        };
        let mut failed = self.attempt(session, draft.store(), missing, true);
        if failed.len() == missing.len() {
            // Then the cached repository was not the obstacle.
            return (old, failed);
        }
        let wants = &self.wanted.commits;
        let kept = kept.iter().filter(|id| !wants.contains(id));
        let rest: Vec<ObjectId> = wants
            .iter()
            .chain(kept)
            .copied()
            .filter(|id| !missing.contains(id) && is_here(&old, *id))
            .collect();
        let mut lost = self.attempt(None, draft.store(), &rest, true);
        // A server that lacks a commit does not make the fetch fail, and the commit may exist here and nowhere else.
        let gone = rest.iter().find(|id| !is_here(draft.store(), **id));
        let adopted = match gone {
            None => draft.adopt().map_err(FetchError::Known),
            // The fate of a commit that is only kept says nothing about the missing ones.
            Some(id) => Err(lost
                .remove(id)
                .filter(|_| wants.contains(id))
                .unwrap_or_else(|| {
                    let reason = format!(
                        "commit {id}, which is followed too, is not sent any more: push it again with a tag, or follow another one"
                    );
                    FetchError::Refused(reason)
                })),
        };
        match adopted {
            Ok(store) => (store, failed),
            Err(error) => {
                for (id, error) in all(missing, &error) {
                    failed.entry(id).or_insert(error);
                }
                (old, failed)
            }
        }
    }

    /// Fetches what the server may send, all tips at once. If one of them makes that fail, fetches each on its own.
    fn attempt(
        &self,
        session: Option<Session>,
        store: &Store,
        wants: &[ObjectId],
        is_draft: bool,
    ) -> Failures {
        let (tips, mut alone): (Vec<ObjectId>, Vec<ObjectId>) =
            wants.iter().copied().partition(|id| self.refs.is_tip(id));
        let mut failed = Failures::new();
        let mut lost = None;
        let mut line = Line {
            dial: self.dial,
            refs: self.refs,
            searched: &self.wanted.searched,
            store,
            is_draft,
            open: session,
        };
        if let Err(error) = line.tips(&tips) {
            if !error.is_about_commits() {
                failed.extend(all(&tips, &error));
                lost = Some(error);
            } else if tips.len() > 1 {
                self.dial.conversation.forgive();
                alone = [tips.as_slice(), &alone].concat();
            } else {
                self.dial.conversation.forgive();
                failed.extend(all(&tips, &error));
            }
        }
        for id in alone {
            let fetched = match &lost {
                Some(error) => Err(FetchError::clone(error)),
                None => line.one(id),
            };
            let Err(error) = fetched else { continue };
            if error.is_about_commits() {
                self.dial.conversation.forgive();
            } else {
                lost = Some(error.clone());
            }
            failed.insert(id, error);
        }
        line.close();
        for id in wants {
            if self.refs.is_tip(id) && !failed.contains_key(id) && !is_here(store, *id) {
                let reason = format!("commit {id} did not come, or not all of it");
                failed.insert(*id, FetchError::Objects(reason));
            }
        }
        failed
    }
}

/// A connection that is reopened after a fetch has used it up.
struct Line<'a> {
    dial: &'a Dial<'a>,
    refs: &'a Refs,
    searched: &'a HashSet<ObjectId>,
    store: &'a Store,
    /// Whether the store is meant to replace another one.
    is_draft: bool,
    open: Option<Session>,
}

impl Line<'_> {
    fn session(&mut self) -> Result<&mut Session, FetchError> {
        let session = match self.open.take() {
            Some(session) => session,
            None => Session::open(self.dial).map_err(FetchError::Known)?,
        };
        Ok(self.open.insert(session))
    }

    /// Fetches one commit, which need not be a tip. It is not a failure if no such commit exists.
    fn one(&mut self, id: ObjectId) -> Result<(), FetchError> {
        if self.refs.is_tip(&id) {
            return self.tips(&[id]);
        }
        let is_old = self.session()?.is_old();
        let refused = match self.tips(&[id]) {
            Ok(()) => return Ok(()),
            // Before version 2, a refusal arrives where the objects would.
            Err(FetchError::Objects(reason)) if is_old => reason,
            // Over SSH it arrives as the end of the server's process.
            Err(
                FetchError::Refused(reason)
                | FetchError::Known(SourceError::Protocol { reason, .. }),
            ) => reason,
            Err(error) => return Err(error),
        };
        self.dial.conversation.forgive();
        let is_searched = self.searched.contains(&id);
        if is_searched || !is_old && has_searched(&refused, id, self.dial.location) {
            return Ok(());
        }
        // Older servers, and some others, send tips only. The commit may still be in the history of those.
        let fetched = self.fetch(&self.refs.tips(), &Shallow::undo());
        fetched.map_err(|error| match error {
            FetchError::Known(SourceError::TooLarge { url, what, limit }) => {
                FetchError::Known(SourceError::NoTip {
                    url,
                    commit: id.to_string(),
                    what,
                    limit,
                })
            }
            error => error,
        })
    }

    /// Fetches commits without their history.
    fn tips(&mut self, ids: &[ObjectId]) -> Result<(), FetchError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.fetch(ids, &Shallow::DepthAtRemote(NonZeroU32::MIN))
    }

    fn fetch(&mut self, wants: &[ObjectId], depth: &Shallow) -> Result<(), FetchError> {
        let is_old = self.session()?.is_old();
        // An old server assumes that whoever has a commit has everything before it. What it leaves out of a history for that
        // reason would count as nonexistent. And a replacement for a store that did not fit must not depend on anything.
        let is_silent = is_old && (self.is_draft || *depth == Shallow::undo());
        let haves = if is_silent {
            Vec::new()
        } else {
            known_commits(self.store)
        };
        let is_unusual = is_old && !haves.is_empty();
        match self.turn(wants, haves, depth) {
            // Before version 2, git's own client lists what it has over several turns. Listing it all in one turn is allowed,
            // but not every server may be prepared for that.
            Err(
                FetchError::Refused(_)
                | FetchError::Objects(_)
                | FetchError::Known(
                    SourceError::Protocol { .. }
                    // A server that says when to come back means just that.
                    | SourceError::Unavailable {
                        retry_after: None, ..
                    },
                ),
            ) if is_unusual => {
                self.dial.conversation.forgive();
                self.turn(wants, Vec::new(), depth)
            }
            fetched => fetched,
        }
    }

    fn turn(
        &mut self,
        wants: &[ObjectId],
        haves: Vec<ObjectId>,
        depth: &Shallow,
    ) -> Result<(), FetchError> {
        let (refs, store) = (self.refs, self.store);
        let session = self.session()?;
        let listed = session.is_old().then(|| refs.listed(wants));
        let wants = listed.as_deref().unwrap_or(wants);
        // A flaw in a decoder concerns only what it decodes, and must not get in the way of anything else.
        let fetched = caught(|| session.fetch(store, wants, haves, depth)).unwrap_or_else(|said| {
            let reason = format!("the decoder failed: {said}");
            Err(FetchError::Objects(reason))
        });
        // Version 2 accepts one command after another. Before it, a connection serves one fetch.
        if fetched.is_err() || session.is_old() {
            self.open = None;
        }
        fetched
    }

    fn close(self) {
        if let Some(session) = self.open {
            session.close();
        }
    }
}
