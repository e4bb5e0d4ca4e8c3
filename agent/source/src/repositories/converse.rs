//! One conversation with a server, shared by all callers that wait for its results.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use gix::ObjectId;
use pintle_core::{application::Reference, digest::Digest};
use tokio::runtime::Handle;

use super::{Repository, Shared, Waiting, guarded, lock};
use crate::{
    bring::{Brought, Wanted, bring},
    cache::Slot,
    error::SourceError,
    local::object_error,
    refs::{Refs, parse_commit},
    session::{Dial, Session},
    snapshot::Snapshot,
    store::Store,
    transport::Conversation,
    turns::{Heard, Turn},
};

/// The results of a conversation.
struct Told {
    refs: Refs,
    /// The digest of all these references.
    listed: Digest,
    store: Arc<Store>,
    /// Why wanted commits are not in the store.
    failed: HashMap<ObjectId, SourceError>,
    /// Whether any of it was fetched.
    is_new: bool,
}

/// Holds one conversation, and answers the callers for which its list is fresh enough.
pub(super) fn converse(
    shared: &Arc<Shared>,
    repository: &Arc<Repository>,
    runtime: Handle,
    turn: Turn,
) {
    let url = repository.location.to_string();
    let before = lock(&repository.queue).waiting.len();
    let mut served = Vec::new();
    let limits = shared.options.limits;
    let conversation = Conversation::new(url.clone(), limits, runtime, shared.stop.clone());
    let outcome = guarded(&url, || {
        let _watch = conversation.watch();
        let dial = Dial {
            location: &repository.location,
            credentials: &repository.credentials,
            clients: &shared.clients,
            keys_dir: shared.cache.keys_dir(),
            ambient_ssh: shared.options.ambient_ssh,
            conversation: Arc::clone(&conversation),
        };
        let mut session = Session::open(&dial)?;
        {
            let mut queue = lock(&repository.queue);
            let count = if session.listed_early() {
                before
            } else {
                queue.waiting.len()
            };
            served = queue.waiting.drain(..count).collect();
        }
        let now = Instant::now();
        let refs = session.refs()?;
        let listed = refs.digest();
        let mut wanted = wanted(repository, &refs, listed, &served, now);
        let brought = provide(shared, repository, session, &dial, &refs, &mut wanted)?;
        let told = Told {
            refs,
            listed,
            store: brought.store,
            failed: brought.failed,
            is_new: brought.is_new,
        };
        remember(repository, now, &told, &wanted.commits, &served);
        Ok(told)
    });
    turn.end(heard(&outcome, &conversation));
    lock(&repository.rest).heed(outcome.as_ref().err(), Instant::now());
    if served.is_empty() {
        // The conversation failed before any caller was chosen: all that came in the meantime share the failure.
        served = std::mem::take(&mut lock(&repository.queue).waiting);
    }
    for waiting in served {
        let answer = match &outcome {
            Ok(told) => answer(shared, &url, told, &waiting.reference),
            Err(error) => Err(error.clone()),
        };
        // A caller that has lost interest needs no answer.
        let _ = waiting.answer.send(answer);
    }
    if outcome.is_ok_and(|told| told.is_new) {
        let limit = shared.options.cache_bytes;
        shared.cache.grown(&repository.id, limit);
    }
}

/// Returns what a conversation reveals about its host.
fn heard(outcome: &Result<Told, SourceError>, conversation: &Conversation) -> Heard {
    match outcome {
        // This comes first, whatever the outcome: a host that sends just enough to count as alive keeps others waiting as long
        // as one that sends nothing.
        _ if conversation.has_trickled() => Heard::Silence,
        Ok(told) if told.failed.values().any(SourceError::is_silence) => Heard::Silence,
        Ok(_) => Heard::Answer,
        Err(error) if error.is_silence() => Heard::Silence,
        Err(_) => Heard::Nothing,
    }
}

/// Returns the requested commits, each once. References that mean nothing are answered later.
fn wanted(
    repository: &Repository,
    refs: &Refs,
    listed: Digest,
    served: &[Waiting],
    now: Instant,
) -> Wanted {
    // A range is compared with each of many tags. That is done once, and before anybody has to wait for the lock on `last`.
    let references: BTreeSet<&Reference> =
        served.iter().map(|waiting| &waiting.reference).collect();
    let mut commits: Vec<ObjectId> = references
        .into_iter()
        .filter_map(|reference| Some(refs.find(reference).ok()??.id))
        .collect();
    commits.sort_unstable();
    commits.dedup();
    let last = lock(&repository.last);
    let unchanged = last.listed == Some(listed);
    commits.retain(|id| !(unchanged && last.absent.is_recent(id, now)));
    let searched = commits.iter().copied();
    let searched = searched.filter(|id| unchanged && last.absent.contains(id));
    Wanted {
        searched: searched.collect(),
        commits,
        kept: Vec::new(),
    }
}

/// Opens the cache, and fetches what is missing. If the cache is full, makes room in it once.
fn provide(
    shared: &Shared,
    repository: &Repository,
    session: Session,
    dial: &Dial<'_>,
    refs: &Refs,
    wanted: &mut Wanted,
) -> Result<Brought, SourceError> {
    let opened = match open(shared, repository, dial) {
        Err(error) if error.is_full() => {
            shared.cache.make_room();
            open(shared, repository, dial)
        }
        opened => opened,
    };
    let (slot, store) = opened?;
    // Read only once the slot is held: until then somebody may find one more.
    wanted.kept = lock(&repository.last).pinned.recent(Instant::now());
    let mut brought = bring(session, dial, &slot, store, refs, wanted);
    if brought.failed.values().any(SourceError::is_full) {
        tracing::warn!(
            url = dial.conversation.url(),
            "the cache is full: removing half of it, as far as it is not in use"
        );
        shared.cache.make_room();
        dial.conversation.forgive();
        if let Ok(session) = Session::open(dial) {
            let store = Arc::clone(&brought.store);
            brought = bring(session, dial, &slot, store, refs, wanted);
        }
    }
    Ok(brought)
}

/// Opens the cached repository, locked against other processes.
fn open(
    shared: &Shared,
    repository: &Repository,
    dial: &Dial<'_>,
) -> Result<(Slot, Arc<Store>), SourceError> {
    let slot = shared.cache.lock(&repository.id, &dial.conversation)?;
    slot.sweep();
    let store = known(repository, &slot).map_or_else(|| slot.open(), Ok)?;
    Ok((slot, store))
}

/// Returns the store that is already open, if the slot continues with it.
fn known(repository: &Repository, slot: &Slot) -> Option<Arc<Store>> {
    let known = lock(&repository.last).store.clone();
    known.filter(|store| slot.is_current(store))
}

/// Finds a commit in the cache; returns `None` if it is not there, or if somebody is fetching into it right now.
pub(super) fn cached(
    shared: &Shared,
    repository: &Repository,
    runtime: Handle,
    id: ObjectId,
) -> Option<Snapshot> {
    let url = repository.location.to_string();
    let limits = shared.options.limits;
    let conversation = Conversation::new(url.clone(), limits, runtime, shared.stop.clone());
    let found = guarded(&url, || {
        let Some(slot) = shared.cache.find(&repository.id, &conversation)? else {
            return Ok(None);
        };
        let store = match known(repository, &slot) {
            Some(store) => Some(store),
            None => slot.open_newest()?,
        };
        let Some(store) = store else { return Ok(None) };
        let Ok(Some(commit)) = store.commit(id) else {
            return Ok(None);
        };
        let before = {
            let mut last = lock(&repository.last);
            last.pinned.note(id, Instant::now());
            last.store.replace(Arc::clone(&store))
        };
        // Closing its files takes longer than others should wait for the lock on `last`.
        drop(before);
        Ok(Some(Snapshot::new(store, commit, String::new(), limits)))
    });
    found.ok().flatten()
}

fn remember(
    repository: &Repository,
    now: Instant,
    told: &Told,
    wants: &[ObjectId],
    served: &[Waiting],
) {
    let is_absent = |id: &ObjectId| {
        // A commit that failed may arrive next time.
        !told.failed.contains_key(id) && matches!(told.store.commit(*id), Ok(None))
    };
    let absent: Vec<ObjectId> = wants.iter().copied().filter(is_absent).collect();
    let pinned = served.iter().filter_map(|waiting| {
        let Reference::Commit(commit) = &waiting.reference else {
            return None;
        };
        let id = parse_commit(commit).ok()?;
        matches!(told.store.commit(id), Ok(Some(_))).then_some(id)
    });
    let pinned: Vec<ObjectId> = pinned.collect();
    let mut last = lock(&repository.last);
    if last.listed != Some(told.listed) {
        last.absent.clear();
    }
    last.listed = Some(told.listed);
    for id in absent {
        last.absent.note(id, now);
    }
    for id in pinned {
        last.pinned.note(id, now);
    }
    last.store = Some(Arc::clone(&told.store));
}

fn answer(
    shared: &Shared,
    url: &str,
    told: &Told,
    reference: &Reference,
) -> Result<Snapshot, SourceError> {
    let tip = told.refs.tip(url, reference)?;
    let commit = told.store.commit(tip.id);
    if let Some(error) = told.failed.get(&tip.id)
        && !matches!(commit, Ok(Some(_)))
    {
        return Err(error.clone());
    }
    match commit {
        Ok(Some(commit)) => Ok(Snapshot::new(
            Arc::clone(&told.store),
            commit,
            tip.name,
            shared.options.limits,
        )),
        Ok(None) if matches!(reference, Reference::Commit(_)) => Err(SourceError::NoCommit {
            url: url.to_owned(),
            commit: tip.id.to_string(),
        }),
        Ok(None) => Err(SourceError::Objects {
            url: url.to_owned(),
            reason: format!("it did not send commit {}", tip.id),
        }),
        Err(error) => Err(object_error(url, &tip.name, error)),
    }
}
