//! Which application claims which objects, so that an object that moves between applications is handed over.
//!
//! An object that left the render of one application is deleted unless another application's render has it. Both may follow the
//! same source, and then a single commit moves it. The application that is about to delete an object therefore asks first, and
//! the applications that follow that source answer once they have rendered that commit, too. Other replicas are asked as well:
//! each answers for its own shards.

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

/// The minimum time for which a deletion of an application is remembered. By then, any application that was refused one of its
/// objects has asked again, and what was left behind on purpose belongs to another application.
const REMEMBERED: Duration = Duration::from_hours(24);
/// The number of rollouts in a row that may be superseded by newer ones. After that, an object that none of them has reached no
/// longer counts as claimed.
const SUPERSEDED: u32 = 6;

/// The claims of the applications that this replica works on.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    /// Where to send the request to look at a source, or the news that an object was released.
    controller: OnceLock<mpsc::Sender<Message>>,
    /// The task that asks the other replicas.
    replicas: OnceLock<mpsc::Sender<Ask>>,
}

#[derive(Debug, Default)]
struct State {
    applications: Applications,
    /// Deleted applications by label. At most some of their objects are left. They are never asked.
    deleted: BTreeMap<String, Deleted>,
    sources: BTreeMap<SourceKey, Told>,
    /// The shards whose applications' claims are known here.
    shards: ShardSet,
    /// Whether all applications of these shards are known.
    is_complete: bool,
}

/// What a source has reported.
#[derive(Debug, Default)]
struct Told {
    revision: Option<String>,
    /// How often it has answered.
    answers: u64,
}

/// An application that no longer exists. It wants none of the objects that carry its label.
#[derive(Debug)]
struct Deleted {
    shard: Shard,
    since: Instant,
}

impl Claims {
    /// Sets the controller that is notified.
    pub(crate) fn connect(&self, controller: mpsc::Sender<Message>) {
        // There is only one controller.
        let _ = self.controller.set(controller);
    }

    /// Sets the task that asks other replicas.
    pub(crate) fn join(&self, replicas: mpsc::Sender<Ask>) {
        // There is only one such task.
        let _ = self.replicas.set(replicas);
    }

    /// Sets the shards whose applications' claims will be known here. `has_more` means that some of those applications are not
    /// known yet.
    pub(crate) fn assigned(&self, shards: ShardSet, has_more: bool) {
        self.change(|state| {
            state.shards = shards;
            state.is_complete &= !has_more;
            // While a shard belonged to another replica, this one learned nothing about its applications, not even which were
            // deleted.
            let is_held = |name: &ApplicationName| shards.contains(Shard::of(name));
            state.applications.retain(is_held);
            let is_held = |deleted: &Deleted| shards.contains(deleted.shard);
            state.deleted.retain(|_, deleted| is_held(deleted));
            true
        });
    }

    /// Records that all existing applications are known.
    pub(crate) fn complete(&self) {
        self.change(|state| assign(&mut state.is_complete, true));
    }

    /// Records an application and the cluster of its objects. `is_idle` means that it will not render anything for now.
    pub(crate) fn follow(&self, name: &ApplicationName, cluster: String, is_idle: bool) {
        self.change(|state| {
            let (known, mut is_news) = state.applications.enter(name);
            // It may have been deleted and created again.
            is_news |= state.deleted.remove(&name.label_value()).is_some();
            is_news |= assign(&mut known.cluster, cluster);
            if is_idle {
                is_news |= known.settle();
            }
            is_news
        });
    }

    /// Records the cluster of an application that is being deleted, if nothing is known about the application, as after a
    /// restart. The questions of its removal are about objects in that cluster.
    pub(crate) fn locate(&self, name: &ApplicationName, cluster: String) {
        self.change(|state| {
            let is_news = state.applications.get(&name.label_value()).is_none();
            if is_news {
                state.applications.enter(name).0.cluster = cluster;
            }
            is_news
        });
    }

    /// Records the source that an application follows.
    pub(crate) fn source(&self, name: &ApplicationName, topic: Digest) {
        self.change_known(name, |known| assign(&mut known.topic, Some(topic)));
    }

    /// Records that an application has a revision to render.
    pub(crate) fn expect(&self, name: &ApplicationName, revision: &str) {
        self.change_known(name, |known| {
            assign(&mut known.wanted, Some(revision.to_owned()))
        });
    }

    /// Records that an application's source gives a revision, which the application has to render unless it has done so already.
    /// Each push is reported repeatedly. Without that check, two applications that wait for each other's render of a revision
    /// that both have rendered would wait in vain.
    pub(crate) fn hear(&self, name: &ApplicationName, revision: &str) {
        self.change_known(name, |known| {
            let has_to = known.rendered.as_deref() != Some(revision);
            has_to && assign(&mut known.wanted, Some(revision.to_owned()))
        });
    }

    /// Records the objects in an application's render of a revision. Returns whether the previous render had an object that this
    /// one does not have.
    pub(crate) fn rendered<'a>(
        &self,
        name: &ApplicationName,
        revision: &str,
        objects: impl Iterator<Item = &'a ObjectId>,
    ) -> bool {
        // Hashed before the lock is taken, so that nobody who asks waits for that many digests. An application that is moved to
        // another cluster meanwhile renders again for that one.
        let (cluster, _) = self.place(name);
        let objects: HashSet<Key> = objects.map(|id| Key::of(&cluster, id)).collect();
        let mut has_left = false;
        self.change(|state| {
            let known = state.known(name);
            // A run may end after its application was deleted or went to another replica. That render says nothing.
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

    /// Returns whether an application claims an object.
    pub(crate) fn has(&self, name: &ApplicationName, id: &ObjectId) -> bool {
        let state = self.lock();
        let known = state.applications.get(&name.label_value());
        known.is_some_and(|known| known.claims(Key::of(&known.cluster, id)))
    }

    /// Adds to the objects that the API server did not let an application write.
    pub(crate) fn forbid<'a>(
        &self,
        name: &ApplicationName,
        objects: impl Iterator<Item = &'a ObjectId>,
    ) {
        self.change_known(name, |known| {
            extend(&mut known.forbidden, &known.cluster, objects)
        });
    }

    /// Adds to the objects that an application has not reached, and may have no right to.
    pub(crate) fn bar<'a>(
        &self,
        name: &ApplicationName,
        objects: impl Iterator<Item = &'a ObjectId>,
    ) {
        self.change_known(name, |known| {
            extend(&mut known.barred, &known.cluster, objects)
        });
    }

    /// Records that an application has written these objects, or was refused them only because another application has them: it
    /// has the right to write them.
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

    /// Records that an application can be assumed to have the right to these objects, except for those that it was refused.
    pub(crate) fn reach<'a>(
        &self,
        name: &ApplicationName,
        objects: impl Iterator<Item = &'a ObjectId>,
    ) {
        self.change_known(name, |known| {
            lift([&mut known.barred], &known.cluster, objects)
        });
    }

    /// Records that an application has written its whole render.
    pub(crate) fn unbar(&self, name: &ApplicationName) {
        self.change_known(name, |known| {
            known.superseded = 0;
            let forbidden = std::mem::take(&mut known.forbidden);
            let barred = std::mem::take(&mut known.barred);
            !(forbidden.is_empty() && barred.is_empty())
        });
    }

    /// Records that a rollout was superseded by a newer one before everything was written. Returns whether that has happened too
    /// often in a row.
    pub(crate) fn supersede(&self, name: &ApplicationName) -> bool {
        let mut state = self.lock();
        state.known(name).is_some_and(|known| {
            known.superseded = known.superseded.saturating_add(1);
            known.superseded > SUPERSEDED
        })
    }

    /// Records that an application will not render its revision for now: it waits for a change, has failed too often, or is
    /// suspended.
    pub(crate) fn settle(&self, name: &ApplicationName) {
        self.change_known(name, Known::settle);
    }

    /// Records that an application has failed to render its revision and is about to try again. That render is still expected.
    pub(crate) fn fail(&self, name: &ApplicationName) {
        self.change_known(name, |known| assign(&mut known.is_new, false));
    }

    /// Records that an application belongs to another replica. Its claims are no longer known here.
    pub(crate) fn forget(&self, name: &ApplicationName) {
        self.change(|state| state.applications.remove(&name.label_value()));
    }

    /// Records that an application is being deleted, or was deleted. It no longer claims anything. Returns whether it may have
    /// had claims.
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

    /// Records the revision that a source gives, or `None` while it has not given one.
    pub(crate) fn told(&self, key: &SourceKey, revision: Option<&str>) {
        self.change(|state| {
            // The last answer of a source that no application follows any more is ignored: the source would never be asked again.
            let Some(told) = state.sources.get_mut(key) else {
                return false;
            };
            told.revision = revision.map(ToOwned::to_owned);
            told.answers += 1;
            true
        });
    }

    /// Records a source that is polled from now on.
    pub(crate) fn asking(&self, key: &SourceKey) {
        self.change(|state| {
            let is_news = !state.sources.contains_key(key);
            if is_news {
                state.sources.insert(key.clone(), Told::default());
            }
            is_news
        });
    }

    /// Records that a source is no longer polled.
    pub(crate) fn leave_source(&self, key: &SourceKey) {
        self.change(|state| state.sources.remove(key).is_some());
    }

    /// Returns the claim of the application with a label on an object, or `None` if this replica does not have the application.
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

    /// Returns the cluster of an application's objects, and the source that it follows.
    fn place(&self, name: &ApplicationName) -> (String, Option<Digest>) {
        let state = self.lock();
        let known = state.applications.get(&name.label_value());
        known.map_or_else(Default::default, |known| {
            (known.cluster.clone(), known.topic)
        })
    }

    /// Changes the state. Waiting tasks are woken only if the change was news: most of what is recorded here is known already,
    /// and each wake-up would look at all open questions.
    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let is_news = change(&mut self.lock());
        if is_news {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Changes what is known about an application that is recorded here, as [`change`](Self::change) does.
    fn change_known(&self, name: &ApplicationName, change: impl FnOnce(&mut Known) -> bool) {
        self.change(|state| state.known(name).is_some_and(change));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Assigns a value and returns whether it differs from the old one.
fn assign<T: PartialEq>(place: &mut T, value: T) -> bool {
    let is_news = *place != value;
    *place = value;
    is_news
}

/// Adds objects and returns whether any of them is new.
fn extend<'a>(
    keys: &mut HashSet<Key>,
    cluster: &str,
    objects: impl Iterator<Item = &'a ObjectId>,
) -> bool {
    let before = keys.len();
    keys.extend(objects.map(|id| Key::of(cluster, id)));
    keys.len() != before
}

/// Removes objects and returns whether any of them was there.
fn lift<'a, const N: usize>(
    mut sets: [&mut HashSet<Key>; N],
    cluster: &str,
    objects: impl Iterator<Item = &'a ObjectId>,
) -> bool {
    // The sets are mostly empty, and then nobody who asks should have to wait for that many digests.
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
    /// Returns what is known about an application that is recorded here.
    fn known(&mut self, name: &ApplicationName) -> Option<&mut Known> {
        self.applications.get_mut(&name.label_value())
    }

    /// Remembers that an application was deleted, and forgets deletions from long ago. Returns whether this one is news.
    fn bury(&mut self, name: &ApplicationName, now: Instant) -> bool {
        let is_recent = |deleted: &Deleted| now.duration_since(deleted.since) < REMEMBERED;
        self.deleted.retain(|_, deleted| is_recent(deleted));
        let deleted = Deleted {
            shard: Shard::of(name),
            since: now,
        };
        self.deleted.insert(name.label_value(), deleted).is_none()
    }

    /// Returns an application whose next render the answer to a question depends on now, if there is one.
    fn unsettled(&self, question: &Question, now: Instant) -> Option<&ApplicationName> {
        let is_behind = |known: &&Known| {
            let follows = question.source.as_ref().map(|(topic, _)| *topic);
            let may_have_moved = known.topic.is_some() && known.topic == follows;
            known.is_beginning(now) || may_have_moved && known.wanted.is_some()
        };
        // An application that is being deleted claims nothing any more, whatever its source gives until it is gone.
        let is_asked = |label: &str, known: &Known| {
            label != question.by && known.cluster == question.cluster && !known.is_leaving
        };
        let others = self.applications.iter();
        let others = others.filter(|(label, known)| is_asked(label, known));
        let mut others = others.map(|(_, known)| known);
        others.find(is_behind).map(|known| &known.name)
    }

    /// Returns the owner that the question names if its render has the object. Where the question names no owner, returns any
    /// application that claims the object, other than the one that asks.
    fn claimant(&self, question: &Question, key: Key) -> Option<&Known> {
        if let Some(owner) = &question.owner {
            let known = self.applications.get(owner);
            return known.filter(|known| known.keeps(key));
        }
        let mut all = self.applications.that_claim(key);
        let other = all.find(|(label, _)| *label != question.by);
        other.map(|(_, known)| known)
    }

    /// Returns the answer to a question, and the applications that claim the objects that it is about.
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

    /// Returns whether the claims of the application with a label are known.
    fn knows(&self, label: &str) -> bool {
        let known = self.applications.get(label);
        self.deleted.contains_key(label) || known.is_some_and(Known::has_rendered)
    }
}

#[cfg(test)]
mod tests;
