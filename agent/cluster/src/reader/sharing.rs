//! A few watches for many receivers of changes.
//!
//! Each watch is a connection of its own, and callers may ask for a thousand names of one kind, or for one name a thousand times.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::{sync::watch, task::AbortHandle};

use super::{Change, Changes};
use crate::{connection::Connection, discovery::ResourceType, watching::Selection};

/// How many objects of a kind in one namespace have watches of their own. All others in the namespace share one.
const NAMES: usize = 8;
/// How many watches a kind may have before any further request shares one for all namespaces.
const WATCHES: usize = 16;

/// The part of a kind that is asked for or watched: everything, the objects in a namespace, or those with a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    namespace: Option<String>,
    name: Option<String>,
}

impl Scope {
    pub(crate) fn new(namespace: Option<&str>, name: Option<&str>) -> Self {
        Self {
            namespace: namespace.map(ToOwned::to_owned),
            name: name.map(ToOwned::to_owned),
        }
    }

    /// Returns the scope to watch for this one, given what is already watched.
    fn seen_by<T>(&self, watched: &BTreeMap<Self, T>) -> Self {
        let everything = Self::default();
        let neighbours = Self {
            name: None,
            ..self.clone()
        };
        for scope in [&everything, &neighbours, self] {
            if watched.contains_key(scope) {
                return scope.clone();
            }
        }
        let is_beside = |one: &&Self| one.name.is_some() && one.namespace == self.namespace;
        let names = watched.keys().filter(is_beside).count();
        if watched.len() >= WATCHES {
            everything
        } else if self.name.is_some() && names >= NAMES {
            neighbours
        } else {
            self.clone()
        }
    }
}

/// The shared watches of one cluster.
#[derive(Debug, Default)]
pub(crate) struct SharedWatches {
    open: Mutex<BTreeMap<ResourceType, BTreeMap<Scope, Weak<Watching>>>>,
}

impl SharedWatches {
    /// Reports changes to a kind, under the connection's own identity. Uses an open watch if a suitable one exists.
    pub(crate) fn follow(
        &self,
        connection: &Connection,
        resource: ResourceType,
        scope: Scope,
    ) -> SharedChanges {
        let mut open = lock(&self.open);
        open.retain(|_, watched| {
            watched.retain(|_, watching| watching.strong_count() > 0);
            !watched.is_empty()
        });
        let watched = open.entry(resource.clone()).or_default();
        let seen_by = scope.seen_by(watched);
        let known = watched.get(&seen_by).and_then(Weak::upgrade);
        let watching = known.unwrap_or_else(|| {
            let watching = Arc::new(Watching::begin(connection, resource, &seen_by));
            watched.insert(seen_by, Arc::downgrade(&watching));
            watching
        });
        let changed = lock(&watching.audience).join(&scope);
        SharedChanges {
            changed,
            _seat: Seat { scope, watching },
        }
    }
}

/// One watch, kept open until it has no more followers.
#[derive(Debug)]
struct Watching {
    audience: Arc<Mutex<Audience>>,
    task: AbortHandle,
}

impl Watching {
    fn begin(connection: &Connection, resource: ResourceType, scope: &Scope) -> Self {
        let (namespace, name) = (scope.namespace.as_deref(), scope.name.as_deref());
        let selection = Selection::of(resource, namespace, name);
        let changes = Changes::of(connection, selection);
        let audience = Arc::<Mutex<Audience>>::default();
        let task = tokio::spawn(tell(changes, Arc::clone(&audience))).abort_handle();
        Self { audience, task }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Notifies the followers of a watch of the changes that concern them.
async fn tell(mut changes: Changes, audience: Arc<Mutex<Audience>>) {
    loop {
        let change = changes.next_change().await;
        lock(&audience).hear(&change);
    }
}

/// The followers of a watch, by scope.
#[derive(Debug, Default)]
struct Audience {
    /// Whether the watch has been open: later followers are told so at once.
    was_open: bool,
    by_scope: BTreeMap<Scope, watch::Sender<()>>,
}

impl Audience {
    fn join(&mut self, scope: &Scope) -> watch::Receiver<()> {
        let sender = self.by_scope.entry(scope.clone());
        let mut changed = sender.or_insert_with(|| watch::Sender::new(())).subscribe();
        if self.was_open {
            changed.mark_changed();
        }
        changed
    }

    /// Forgets a scope that has no more followers.
    fn leave(&mut self, scope: &Scope) {
        let sender = self.by_scope.get(scope);
        if sender.is_some_and(|sender| sender.receiver_count() == 0) {
            self.by_scope.remove(scope);
        }
    }

    fn hear(&mut self, change: &Change) {
        match change {
            Change::OfAny => {
                self.was_open = true;
                for sender in self.by_scope.values() {
                    sender.send_replace(());
                }
            }
            Change::Of(object) => {
                let text = |field: &str| object["metadata"][field].as_str();
                let (namespace, name) = (text("namespace"), text("name"));
                // These are all the same scope for objects without a namespace.
                let scopes: BTreeSet<Scope> = [
                    Scope::new(namespace, name),
                    Scope::new(namespace, None),
                    Scope::new(None, name),
                    Scope::default(),
                ]
                .into();
                for sender in scopes.iter().filter_map(|scope| self.by_scope.get(scope)) {
                    sender.send_replace(());
                }
            }
        }
    }
}

/// Reports changes to some objects, through a watch that others may follow as well.
#[derive(Debug)]
pub struct SharedChanges {
    /// Declared first, so that it is dropped before the seat is given up.
    changed: watch::Receiver<()>,
    _seat: Seat,
}

impl SharedChanges {
    /// Waits for a change. The first is reported when the watch is open: what was read before may be stale by then.
    pub async fn next(&mut self) {
        // The sender lives at least as long as this value.
        let _ = self.changed.changed().await;
    }
}

/// A place in the audience of a watch, which goes on for as long as there is one.
#[derive(Debug)]
struct Seat {
    scope: Scope,
    watching: Arc<Watching>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.watching.audience).leave(&self.scope);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns what is watched for all requested scopes, each with the scope that it was last watched for.
    fn watched(asked: impl IntoIterator<Item = Scope>) -> BTreeMap<Scope, Scope> {
        let mut watched = BTreeMap::new();
        for scope in asked {
            let seen_by = scope.seen_by(&watched);
            let sees = |wide: &Option<String>, own: &Option<String>| wide.is_none() || wide == own;
            assert!(
                sees(&seen_by.namespace, &scope.namespace) && sees(&seen_by.name, &scope.name),
                "{scope:?} is not seen by {seen_by:?}"
            );
            watched.insert(seen_by, scope);
        }
        watched
    }

    #[test]
    fn however_much_is_asked_for_there_are_few_watches() {
        let same = (0..1000).map(|_| Scope::new(Some("shop"), Some("tide")));
        assert_eq!(watched(same).len(), 1);
        let names: Vec<String> = (0..1000).map(|number| format!("x{number}")).collect();
        let few = names.iter().take(NAMES);
        let few = watched(few.map(|name| Scope::new(Some("shop"), Some(name))));
        assert!(few.len() == NAMES && few.keys().all(|one| one.name.is_some()));
        let in_one = watched(
            names
                .iter()
                .map(|name| Scope::new(Some("shop"), Some(name))),
        );
        assert_eq!(in_one.len(), NAMES + 1);
        assert!(in_one.contains_key(&Scope::new(Some("shop"), None)));
        for name in [None, Some("tide")] {
            let in_many = watched(names.iter().map(|one| Scope::new(Some(one), name)));
            assert_eq!(in_many.len(), WATCHES + 1);
            assert!(in_many.contains_key(&Scope::default()));
        }
        let nowhere = watched(names.iter().map(|name| Scope::new(None, Some(name))));
        assert_eq!(nowhere.len(), NAMES + 1);
    }

    #[test]
    fn who_follows_a_watch_is_told_of_nothing_but_what_is_wanted() {
        let mut audience = Audience::default();
        let scopes = [
            Scope::new(Some("shop"), Some("tide")),
            Scope::new(Some("shop"), Some("wind")),
            Scope::new(Some("shop"), None),
            Scope::new(None, Some("tide")),
            Scope::new(Some("bank"), None),
            Scope::default(),
        ];
        let mut all = scopes.clone().map(|scope| audience.join(&scope));
        let told = |all: &mut [watch::Receiver<()>]| {
            let is_told = |one: &mut watch::Receiver<()>| {
                let is_told = one.has_changed().expect("it is told");
                one.mark_unchanged();
                is_told
            };
            all.iter_mut().map(is_told).collect::<Vec<bool>>()
        };
        assert_eq!(told(&mut all), [false; 6], "the watch is not open yet");
        audience.hear(&Change::OfAny);
        assert_eq!(told(&mut all), [true; 6]);
        let tide = json!({"metadata": {"namespace": "shop", "name": "tide"}});
        audience.hear(&Change::Of(tide));
        assert_eq!(told(&mut all), [true, false, true, true, false, true]);
        let node = json!({"metadata": {"name": "tide"}});
        audience.hear(&Change::Of(node));
        assert_eq!(told(&mut all), [false, false, false, true, false, true]);
        // A later follower knows at once that the watch is open.
        let late = audience.join(&Scope::new(Some("shop"), Some("tide")));
        assert!(late.has_changed().expect("it is told"));

        drop((all, late));
        for scope in &scopes {
            audience.leave(scope);
        }
        assert!(audience.by_scope.is_empty());
    }
}
