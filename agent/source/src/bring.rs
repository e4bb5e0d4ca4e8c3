//! What is missing comes into the cache, and what cannot be had is in nobody's way who wants something else.

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

/// Most commits that the server is told of, so that it sends only what has changed since.
const HAVES: usize = 64;

/// The commits that are wanted.
pub(crate) struct Wanted {
    pub(crate) commits: Vec<ObjectId>,
    /// Those of them that the history of the branches and tags, as these are now, does not have.
    pub(crate) searched: HashSet<ObjectId>,
    /// Those that somebody follows by their ids, whether he asks for them now or not. They were here.
    pub(crate) kept: Vec<ObjectId>,
}

/// What became of the commits that are wanted.
pub(crate) struct Brought {
    /// Where they are.
    pub(crate) store: Arc<Store>,
    /// Whether anything was asked for.
    pub(crate) is_new: bool,
    /// Why some are not there.
    pub(crate) failed: HashMap<ObjectId, SourceError>,
}

type Failures = HashMap<ObjectId, FetchError>;

/// Brings commits into the cache. What is here already is not asked for.
///
/// If what is here cannot be built upon, all that is wanted is fetched anew, once.
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

/// Says whether a commit can be read, or cannot for a reason that no fetch would change.
fn is_here(store: &Store, id: ObjectId) -> bool {
    !matches!(store.commit(id), Ok(None) | Err(ObjectError::Damaged(_)))
}

/// Returns commits that were fetched without their history.
fn known_commits(store: &Store) -> Vec<ObjectId> {
    let mut commits = shallow_commits(store);
    // What the file lists and the store lacks was lost. Naming it would have the server leave out what depends on it.
    commits.retain(|id| matches!(store.commit(*id), Ok(Some(_))));
    commits.truncate(HAVES);
    commits
}

/// Says whether a server that speaks version 2 refuses a commit because no branch and no tag leads to it, from however far.
fn has_searched(refused: &str, id: ObjectId, location: &Location) -> bool {
    // git sends whatever exists. JGit goes through the history, but through ssh it may have been told to look at tips only.
    refused.contains("not our ref")
        || matches!(location, Location::Http(_))
            && refused.contains(&format!("want {id} not valid"))
}

/// Counts the commits of a store that somebody may follow: those that are wanted now, those that are kept, and those that
/// branches lead to, as who wants these may ask another time. Tags stay where they are also when nobody follows them any more.
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

/// What is wanted, and from whom.
struct Errand<'a> {
    dial: &'a Dial<'a>,
    slot: &'a Slot,
    refs: &'a Refs,
    wanted: &'a Wanted,
}

impl Errand<'_> {
    /// Fetches anew what has grown too much, or adds to it after all where not all of it can be had again: a commit may by
    /// now be too large to be sent at once, or no branch may lead to it any more. That it is tried is noted first, so that it is in
    /// the way of one fetch at most, however it ends.
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
            "what has grown too much cannot be fetched anew: it is added to, and this is tried again when there is twice as much of it"
        );
        if failed.values().any(|error| !error.is_about_commits()) {
            return (store, failed);
        }
        self.dial.conversation.forgive();
        self.onto(None, store, missing)
    }

    /// Adds to what is here.
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
        // Where nothing was there is nothing that could be to blame.
        if unfit.is_empty() || was_empty || is_lost {
            return (store, failed);
        }
        tracing::warn!(
            url = self.dial.conversation.url(),
            "a fetch does not fit what is in the cache: fetching all of it anew"
        );
        // Nothing can be added to what is here: a commit that is only kept, and is nowhere else, must not leave it at that for ever.
        let (store, again) = self.anew(None, store, &unfit, &[]);
        failed.retain(|id, _| !unfit.contains(id));
        failed.extend(again);
        (store, failed)
    }

    /// Fetches into an empty repository: first what is missing, and if any of that comes, all else that is wanted or kept and
    /// was here. It takes the place of the old one if nothing of that is lost.
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
            // Then it was not what is here that was in the way.
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
        // That a server has no such commit is no failure of the fetch, and the commit may be here and nowhere else.
        let gone = rest.iter().find(|id| !is_here(draft.store(), **id));
        let adopted = match gone {
            None => draft.adopt().map_err(FetchError::Known),
            // What becomes of one that is only kept says nothing of those that are missing.
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

    /// Fetches what a server may send, all tips at once. If that fails because of one of them, each is fetched alone.
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

/// A connection that is made anew when the last fetch has used it up.
struct Line<'a> {
    dial: &'a Dial<'a>,
    refs: &'a Refs,
    searched: &'a HashSet<ObjectId>,
    store: &'a Store,
    /// Whether the store is to take the place of another one.
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

    /// Fetches one commit, which may be no tip. That there is none such is no failure.
    fn one(&mut self, id: ObjectId) -> Result<(), FetchError> {
        if self.refs.is_tip(&id) {
            return self.tips(&[id]);
        }
        let is_old = self.session()?.is_old();
        let refused = match self.tips(&[id]) {
            Ok(()) => return Ok(()),
            // Before version 2 a refusal comes where objects would.
            Err(FetchError::Objects(reason)) if is_old => reason,
            // Through ssh it arrives as the end of the server's process.
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
        // Older servers, and some others, send tips only; then the commit may still be in their history.
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
        // What an old server leaves out of a history because it takes a commit that is here for all before it would count as
        // not there at all. And what takes the place of something that did not fit is to depend on nothing.
        let is_silent = is_old && (self.is_draft || *depth == Shallow::undo());
        let haves = if is_silent {
            Vec::new()
        } else {
            known_commits(self.store)
        };
        let is_unusual = is_old && !haves.is_empty();
        match self.turn(wants, haves, depth) {
            // Before version 2 git's own client says in several turns what it has. To say it in one is allowed, but not
            // every server may be ready for that.
            Err(
                FetchError::Refused(_)
                | FetchError::Objects(_)
                | FetchError::Known(
                    SourceError::Protocol { .. }
                    // One that says when to come again means just that.
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
        // A flaw in a decoder is about what it decodes, and must not be in the way of anything else.
        let fetched = caught(|| session.fetch(store, wants, haves, depth)).unwrap_or_else(|said| {
            let reason = format!("the decoder failed: {said}");
            Err(FetchError::Objects(reason))
        });
        // Version 2 takes one command after the other; before it a connection is for one fetch.
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
