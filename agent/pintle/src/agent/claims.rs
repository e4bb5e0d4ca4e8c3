//! Which application claims which objects, so that one that moves between applications is handed over.
//!
//! An object that left the render of one application is deleted, unless another one's render has it. Both may follow the same
//! source, and then one commit moves it: so whoever is about to delete asks first, and those who follow that source answer
//! when they have rendered that commit, too. Other replicas are asked as well: each answers for its own shards.

mod applications;
mod inquiry;
mod question;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use pintle_cluster::Claim;
use pintle_core::{
    digest::Digest,
    names::ApplicationName,
    object::ObjectId,
    sharding::{Shard, ShardSet},
};
use tokio::sync::{mpsc, watch};

use super::{controller::Message, sources::SourceKey};
use applications::{Applications, Known};
pub(crate) use inquiry::{RunClaims, serve};
pub(crate) use question::{Answer, Ask, Asked, Key, Question};

/// For how long it is known at least that an application was deleted. Whoever was refused one of its objects has asked again by
/// then, and what was left behind on purpose is another's.
const REMEMBERED: Duration = Duration::from_hours(24);
/// How many rollouts in a row may be stopped for newer ones before what none of them has come to counts for nothing.
const SUPERSEDED: u32 = 6;

/// What the applications claim that this replica works on.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    /// Whom to tell that a source is to be asked, or that something may be had.
    controller: OnceLock<mpsc::Sender<Message>>,
    /// Who asks the other replicas.
    replicas: OnceLock<mpsc::Sender<Ask>>,
}

#[derive(Debug, Default)]
struct State {
    applications: Applications,
    /// By label: applications of which only objects are left, if anything is. They are none of those that are asked.
    deleted: BTreeMap<String, Deleted>,
    sources: BTreeMap<SourceKey, Told>,
    /// Of whose applications it is known what they claim.
    shards: ShardSet,
    /// Whether all applications of these shards are known.
    is_complete: bool,
}

/// What a source has said.
#[derive(Debug, Default)]
struct Told {
    revision: Option<String>,
    /// How often it was asked with an answer.
    answers: u64,
}

/// An application that is not there any more: what carries its label it does not want.
#[derive(Debug)]
struct Deleted {
    shard: Shard,
    since: Instant,
}

impl Claims {
    /// Says whom to tell.
    pub(crate) fn connect(&self, controller: mpsc::Sender<Message>) {
        // There is one controller.
        let _ = self.controller.set(controller);
    }

    /// Says who asks other replicas.
    pub(crate) fn join(&self, replicas: mpsc::Sender<Ask>) {
        // There is one task that does.
        let _ = self.replicas.set(replicas);
    }

    /// Says of whose applications it will be known what they claim. `has_more` says that some are not known yet.
    pub(crate) fn assigned(&self, shards: ShardSet, has_more: bool) {
        self.change(|state| {
            state.shards = shards;
            state.is_complete &= !has_more;
            // Of what was another's in between nothing is known, not even that it was deleted.
            let is_held = |name: &ApplicationName| shards.contains(Shard::of(name));
            state.applications.retain(is_held);
            let is_held = |deleted: &Deleted| shards.contains(deleted.shard);
            state.deleted.retain(|_, deleted| is_held(deleted));
            true
        });
    }

    /// Says that all applications are known that there are.
    pub(crate) fn complete(&self) {
        self.change(|state| assign(&mut state.is_complete, true));
    }

    /// Takes note of an application, and where its objects are. `is_idle` says that it will not render anything for now.
    pub(crate) fn follow(&self, name: &ApplicationName, cluster: String, is_idle: bool) {
        self.change(|state| {
            let (known, mut is_news) = state.applications.enter(name);
            // It may have been made again.
            is_news |= state.deleted.remove(&name.label_value()).is_some();
            is_news |= assign(&mut known.cluster, cluster);
            if is_idle {
                is_news |= known.settle();
            }
            is_news
        });
    }

    /// Says where the objects of an application are that is being deleted, if nothing is known of it, as after a restart: those are
    /// what its removal asks about.
    pub(crate) fn locate(&self, name: &ApplicationName, cluster: String) {
        self.change(|state| {
            let is_news = state.applications.get(&name.label_value()).is_none();
            if is_news {
                state.applications.enter(name).0.cluster = cluster;
            }
            is_news
        });
    }

    /// Takes note of what an application follows.
    pub(crate) fn source(&self, name: &ApplicationName, topic: Digest) {
        self.change_known(name, |known| assign(&mut known.topic, Some(topic)));
    }

    /// Says that an application has a revision to render.
    pub(crate) fn expect(&self, name: &ApplicationName, revision: &str) {
        self.change_known(name, |known| {
            assign(&mut known.wanted, Some(revision.to_owned()))
        });
    }

    /// Says that the source of an application gives a revision: it has that to render, unless it has done so already. Each
    /// push is told again and again, and two that wait for each other's render of what both have rendered would wait in vain.
    pub(crate) fn hear(&self, name: &ApplicationName, revision: &str) {
        self.change_known(name, |known| {
            let has_to = known.rendered.as_deref() != Some(revision);
            has_to && assign(&mut known.wanted, Some(revision.to_owned()))
        });
    }

    /// Keeps what an application's render of a revision has. Says whether something was in the one before that is not in it.
    pub(crate) fn rendered<'a>(
        &self,
        name: &ApplicationName,
        revision: &str,
        objects: impl Iterator<Item = &'a ObjectId>,
    ) -> bool {
        // Nobody who asks waits for that many digests. Whoever is given another cluster meanwhile renders for that one again.
        let (cluster, _) = self.place(name);
        let objects: HashSet<Key> = objects.map(|id| Key::of(&cluster, id)).collect();
        let mut has_left = false;
        self.change(|state| {
            let known = state.known(name);
            // The end of a run of an application that was deleted, or is another replica's by now, says nothing.
            let Some(known) = known.filter(|known| !known.is_leaving) else {
                return false;
            };
            known.is_new = false;
            known.rendered = Some(revision.to_owned());
            // A newer one may be due already.
            known.wanted = known.wanted.take().filter(|wanted| wanted != revision);
            has_left = state.applications.render(&name.label_value(), objects);
            true
        });
        has_left
    }

    /// Says whether an application claims an object.
    pub(crate) fn has(&self, name: &ApplicationName, id: &ObjectId) -> bool {
        let state = self.lock();
        let known = state.applications.get(&name.label_value());
        known.is_some_and(|known| known.claims(Key::of(&known.cluster, id)))
    }

    /// Takes note of objects that the API server did not let an application write, beside those that are known.
    pub(crate) fn forbid<'a>(
        &self,
        name: &ApplicationName,
        objects: impl Iterator<Item = &'a ObjectId>,
    ) {
        self.change_known(name, |known| {
            extend(&mut known.forbidden, &known.cluster, objects)
        });
    }

    /// Takes note of objects that an application has not come to, and may have no right to, beside those that are known.
    pub(crate) fn bar<'a>(
        &self,
        name: &ApplicationName,
        objects: impl Iterator<Item = &'a ObjectId>,
    ) {
        self.change_known(name, |known| {
            extend(&mut known.barred, &known.cluster, objects)
        });
    }

    /// Takes note of objects that an application has written, or was refused only because another one has them: it has the right.
    pub(crate) fn prove<'a>(
        &self,
        name: &ApplicationName,
        objects: impl Iterator<Item = &'a ObjectId>,
    ) {
        self.change_known(name, |known| {
            let sets = [&mut known.forbidden, &mut known.barred];
            lift(sets, &known.cluster, objects)
        });
    }

    /// Takes note of objects that an application can be taken to have the right to, beside those that it was refused.
    pub(crate) fn reach<'a>(
        &self,
        name: &ApplicationName,
        objects: impl Iterator<Item = &'a ObjectId>,
    ) {
        self.change_known(name, |known| {
            lift([&mut known.barred], &known.cluster, objects)
        });
    }

    /// Says that an application has written all that its render has.
    pub(crate) fn unbar(&self, name: &ApplicationName) {
        self.change_known(name, |known| {
            known.superseded = 0;
            let forbidden = std::mem::take(&mut known.forbidden);
            let barred = std::mem::take(&mut known.barred);
            !(forbidden.is_empty() && barred.is_empty())
        });
    }

    /// Takes note of a rollout that was stopped for a newer one before all was written. Says whether that goes on for too long.
    pub(crate) fn supersede(&self, name: &ApplicationName) -> bool {
        let mut state = self.lock();
        state.known(name).is_some_and(|known| {
            known.superseded = known.superseded.saturating_add(1);
            known.superseded > SUPERSEDED
        })
    }

    /// Says that an application will not render its revision for now: it waits for a change, has failed too often, or rests.
    pub(crate) fn settle(&self, name: &ApplicationName) {
        self.change_known(name, Known::settle);
    }

    /// Says that an application has failed to render its revision, and is about to try again: that is still to come.
    pub(crate) fn fail(&self, name: &ApplicationName) {
        self.change_known(name, |known| assign(&mut known.is_new, false));
    }

    /// Says that an application is another replica's. What it claims is not known here any more.
    pub(crate) fn forget(&self, name: &ApplicationName) {
        self.change(|state| state.applications.remove(&name.label_value()));
    }

    /// Says that an application is being deleted, or was. It claims nothing any more; says whether it may have done so.
    pub(crate) fn leave(&self, name: &ApplicationName) -> bool {
        let mut has_claimed = false;
        self.change(|state| {
            let Some(known) = state.known(name) else {
                has_claimed = state.bury(name, Instant::now());
                return has_claimed;
            };
            let may_claim = !known.has_rendered();
            let mut is_news = known.settle();
            is_news |= assign(&mut known.is_leaving, true);
            let label = name.label_value();
            has_claimed = state.applications.render(&label, HashSet::new()) || may_claim;
            is_news || has_claimed
        });
        has_claimed
    }

    /// Takes note of what a source says; nothing while it has not said anything.
    pub(crate) fn told(&self, key: &SourceKey, revision: Option<&str>) {
        self.change(|state| {
            // The last answer of a source that nobody follows any more says nothing: it would never be asked again.
            let Some(told) = state.sources.get_mut(key) else {
                return false;
            };
            told.revision = revision.map(ToOwned::to_owned);
            told.answers += 1;
            true
        });
    }

    /// Takes note of a source that is asked from now on.
    pub(crate) fn asking(&self, key: &SourceKey) {
        self.change(|state| {
            let is_news = !state.sources.contains_key(key);
            if is_news {
                state.sources.insert(key.clone(), Told::default());
            }
            is_news
        });
    }

    /// Takes note of a source that is not asked any more.
    pub(crate) fn leave_source(&self, key: &SourceKey) {
        self.change(|state| state.sources.remove(key).is_some());
    }

    /// Says what the application with a label wants; nothing if it is not this replica's.
    fn claim_here(&self, owner: &str, id: &ObjectId) -> Option<Claim> {
        let state = self.lock();
        let Some(known) = state.applications.get(owner) else {
            return state.deleted.contains_key(owner).then_some(Claim::Left);
        };
        Some(if known.keeps(Key::of(&known.cluster, id)) {
            Claim::Wanted
        } else if known.has_rendered() {
            Claim::Left
        } else if known.is_beginning(Instant::now()) {
            Claim::Beginning
        } else {
            Claim::Unanswered
        })
    }

    /// Says where the objects of an application are, and what it follows.
    fn place(&self, name: &ApplicationName) -> (String, Option<Digest>) {
        let state = self.lock();
        let known = state.applications.get(&name.label_value());
        known.map_or_else(Default::default, |known| {
            (known.cluster.clone(), known.topic)
        })
    }

    /// Changes what is known. Whoever waits is woken only by what says that something is another than before: most of what is
    /// told here is known, and all questions that are open would be looked at for it.
    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let is_news = change(&mut self.lock());
        if is_news {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Changes what is known of an application that is there, as [`change`](Self::change) does.
    fn change_known(&self, name: &ApplicationName, change: impl FnOnce(&mut Known) -> bool) {
        self.change(|state| state.known(name).is_some_and(change));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says whether it is another value than before.
fn assign<T: PartialEq>(place: &mut T, value: T) -> bool {
    let is_news = *place != value;
    *place = value;
    is_news
}

/// Adds objects, and says whether one is new.
fn extend<'a>(
    keys: &mut HashSet<Key>,
    cluster: &str,
    objects: impl Iterator<Item = &'a ObjectId>,
) -> bool {
    let before = keys.len();
    keys.extend(objects.map(|id| Key::of(cluster, id)));
    keys.len() != before
}

/// Takes objects out, and says whether one was there.
fn lift<'a, const N: usize>(
    mut sets: [&mut HashSet<Key>; N],
    cluster: &str,
    objects: impl Iterator<Item = &'a ObjectId>,
) -> bool {
    // Mostly none is there, and nobody who asks waits for that many digests.
    if sets.iter().all(|keys| keys.is_empty()) {
        return false;
    }
    let mut is_news = false;
    for id in objects {
        let key = Key::of(cluster, id);
        for keys in &mut sets {
            is_news |= keys.remove(&key);
        }
    }
    is_news
}

impl State {
    /// Returns what is known of an application that is there.
    fn known(&mut self, name: &ApplicationName) -> Option<&mut Known> {
        self.applications.get_mut(&name.label_value())
    }

    /// Remembers that an application was deleted, and forgets what was so long ago; says whether it is news.
    fn bury(&mut self, name: &ApplicationName, now: Instant) -> bool {
        let is_recent = |deleted: &Deleted| now.duration_since(deleted.since) < REMEMBERED;
        self.deleted.retain(|_, deleted| is_recent(deleted));
        let deleted = Deleted {
            shard: Shard::of(name),
            since: now,
        };
        self.deleted.insert(name.label_value(), deleted).is_none()
    }

    /// Returns an application on whose render the answer to a question depends now, if there is one.
    fn unsettled(&self, question: &Question, now: Instant) -> Option<&ApplicationName> {
        let is_behind = |known: &&Known| {
            let follows = question.source.as_ref().map(|(topic, _)| *topic);
            let may_have_moved = known.topic.is_some() && known.topic == follows;
            known.is_beginning(now) || may_have_moved && known.wanted.is_some()
        };
        // Who is being deleted claims nothing any more, whatever its source says until it is gone.
        let is_asked = |label: &str, known: &Known| {
            label != question.by && known.cluster == question.cluster && !known.is_leaving
        };
        let others = self.applications.iter();
        let others = others.filter(|(label, known)| is_asked(label, known));
        let mut others = others.map(|(_, known)| known);
        others.find(is_behind).map(|known| &known.name)
    }

    /// Returns the owner of an object if its render has it, or where none is named an application, other than who asks.
    fn claimant(&self, question: &Question, key: Key) -> Option<&Known> {
        if let Some(owner) = &question.owner {
            let known = self.applications.get(owner);
            return known.filter(|known| known.keeps(key));
        }
        let mut all = self.applications.that_claim(key);
        let other = all.find(|(label, _)| *label != question.by);
        other.map(|(_, known)| known)
    }

    /// Returns the answer to a question, and who claims what it is about.
    fn answer(&self, question: &Question) -> (Answer, BTreeSet<ApplicationName>) {
        let (mut claims, mut claimants) = (BTreeMap::new(), BTreeSet::new());
        for key in &question.objects {
            if let Some(known) = self.claimant(question, *key) {
                claims.insert(*key, known.name.label_value());
                claimants.insert(known.name.clone());
            }
        }
        let owner = question.owner.as_deref();
        let found = owner.and_then(|owner| self.applications.get(owner));
        let answer = Answer {
            shards: self.shards,
            claims,
            knows_owner: owner.is_some_and(|owner| self.knows(owner)),
            has_owner: found.is_some(),
            is_owner_beginning: found.is_some_and(|known| known.is_beginning(Instant::now())),
        };
        (answer, claimants)
    }

    /// Says whether it is known what the application with a label claims.
    fn knows(&self, label: &str) -> bool {
        let known = self.applications.get(label);
        self.deleted.contains_key(label) || known.is_some_and(Known::has_rendered)
    }
}

#[cfg(test)]
mod tests;
