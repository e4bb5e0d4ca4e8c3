//! The applications of this replica, and which of them have rendered an object.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use pintle_core::{digest::Digest, names::ApplicationName};

use super::Key;

/// How long to wait for an application's first revision. Its source may take far longer, or never answer, and may belong to a
/// tenant. Without a limit, nobody could delete anything meanwhile.
pub(super) const FIRST_REVISION: Duration = Duration::from_mins(2);

/// The applications, indexed by label and by the objects that they have rendered. A question about hundreds of objects therefore
/// looks at none of the thousands of applications that have nothing to do with them.
#[derive(Debug, Default)]
pub(super) struct Applications {
    by_label: BTreeMap<Arc<str>, Known>,
    /// Each object of each application's last render, with the label of the application.
    by_object: BTreeSet<(Key, Arc<str>)>,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: ApplicationName,
    /// The cluster of its objects. An empty name is the agent's own cluster.
    pub(super) cluster: String,
    /// The source that it follows.
    pub(super) topic: Option<Digest>,
    /// The objects that it rendered last, or `None` before its first render. Must change together with `by_object`.
    objects: Option<HashSet<Key>>,
    /// The objects that the API server did not let it write. It cannot have them, whatever its render says.
    pub(super) forbidden: HashSet<Key>,
    /// The objects that it has not reached, and may have no right to. It does not claim these either, as long as it has not been
    /// seen to have the right.
    pub(super) barred: HashSet<Key>,
    /// How many rollouts in a row were superseded by newer ones.
    pub(super) superseded: u32,
    /// Whether it has neither rendered anything nor failed to.
    pub(super) is_new: bool,
    /// When it became known here.
    since: Instant,
    /// The revision that it rendered last.
    pub(super) rendered: Option<String>,
    /// The revision that it is about to render.
    pub(super) wanted: Option<String>,
    /// Whether it is being deleted.
    pub(super) is_leaving: bool,
}

impl Known {
    fn new(name: &ApplicationName) -> Self {
        Self {
            name: name.clone(),
            cluster: String::new(),
            topic: None,
            objects: None,
            forbidden: HashSet::new(),
            barred: HashSet::new(),
            superseded: 0,
            is_new: true,
            since: Instant::now(),
            rendered: None,
            wanted: None,
            is_leaving: false,
        }
    }

    /// Returns whether its claims are known.
    pub(super) fn has_rendered(&self) -> bool {
        self.objects.is_some()
    }

    /// Returns whether it wants an object, whichever application has it now.
    pub(super) fn claims(&self, key: Key) -> bool {
        self.keeps(key) && !self.barred.contains(&key)
    }

    /// Returns whether it wants an object that carries its label. It has written that object, even if none of its runs has ended
    /// since.
    pub(super) fn keeps(&self, key: Key) -> bool {
        let objects = self.objects.as_ref();
        objects.is_some_and(|objects| objects.contains(&key)) && !self.forbidden.contains(&key)
    }

    /// Returns whether it may be about to render something for the first time.
    pub(super) fn is_beginning(&self, now: Instant) -> bool {
        let is_recent = now.duration_since(self.since) < FIRST_REVISION;
        self.is_new && (self.wanted.is_some() || is_recent)
    }

    /// Records that it will not render for now. Returns whether that is news.
    pub(super) fn settle(&mut self) -> bool {
        let was_awaited = self.is_new || self.wanted.is_some();
        (self.is_new, self.wanted) = (false, None);
        was_awaited
    }
}

impl Applications {
    pub(super) fn get(&self, label: &str) -> Option<&Known> {
        self.by_label.get(label)
    }

    pub(super) fn get_mut(&mut self, label: &str) -> Option<&mut Known> {
        self.by_label.get_mut(label)
    }

    /// Returns all applications, with their labels.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Known)> {
        self.by_label.iter().map(|(label, known)| (&**label, known))
    }

    /// Returns an application, which is added if necessary, and whether it is new: it was not there, or the one that was there is
    /// being deleted.
    pub(super) fn enter(&mut self, name: &ApplicationName) -> (&mut Known, bool) {
        let label = name.label_value();
        let is_there = self.get(&label).is_some_and(|known| !known.is_leaving);
        if !is_there {
            self.remove(&label);
        }
        let known = self.by_label.entry(label.into());
        (known.or_insert_with(|| Known::new(name)), !is_there)
    }

    /// Records an application's render. Returns whether the previous render had an object that this one does not have.
    pub(super) fn render(&mut self, label: &str, objects: HashSet<Key>) -> bool {
        let Some((label, _)) = self.by_label.get_key_value(label) else {
            return false;
        };
        let label = Arc::clone(label);
        let Some(known) = self.by_label.get_mut(&label) else {
            return false;
        };
        let before = known.objects.take().unwrap_or_default();
        for key in objects.difference(&before) {
            self.by_object.insert((*key, Arc::clone(&label)));
        }
        let mut has_left = false;
        for key in before.difference(&objects) {
            self.by_object.remove(&(*key, Arc::clone(&label)));
            has_left = true;
        }
        known.objects = Some(objects);
        has_left
    }

    /// Removes an application and returns whether it was there.
    pub(super) fn remove(&mut self, label: &str) -> bool {
        let Some((label, known)) = self.by_label.remove_entry(label) else {
            return false;
        };
        for key in known.objects.into_iter().flatten() {
            self.by_object.remove(&(key, Arc::clone(&label)));
        }
        true
    }

    /// Removes all applications but those that `is_held` selects.
    pub(super) fn retain(&mut self, is_held: impl Fn(&ApplicationName) -> bool) {
        let lost = self.iter().filter(|(_, known)| !is_held(&known.name));
        let lost: Vec<String> = lost.map(|(label, _)| label.to_owned()).collect();
        for label in lost {
            self.remove(&label);
        }
    }

    /// Returns the applications that claim an object, with their labels.
    pub(super) fn that_claim(&self, key: Key) -> impl Iterator<Item = (&str, &Known)> {
        let first = (key, Arc::<str>::from(""));
        let rendered = self.by_object.range(first..);
        let rendered = rendered.take_while(move |(one, _)| *one == key);
        let known = rendered.filter_map(move |(_, label)| {
            let known = self.by_label.get(label)?;
            Some((&**label, known))
        });
        known.filter(move |(_, known)| known.claims(key))
    }
}

#[cfg(test)]
mod tests {
    use pintle_core::object::ObjectId;
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    fn key(name: u8) -> Key {
        let id = ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: Some("shop".into()),
            name: name.to_string(),
        };
        Key::of("", &id)
    }

    /// Makes a random change to one of six applications, with some of eight objects.
    fn change(applications: &mut Applications, random: &mut StdRng) {
        let number: u8 = random.random_range(0..6);
        let name = ApplicationName::new("shop", number.to_string());
        let label = name.label_value();
        let some: HashSet<Key> = (0..8).filter(|_| random.random()).map(key).collect();
        let what: u8 = random.random_range(0..9);
        match what {
            0 | 1 => {
                applications.enter(&name);
            }
            2..=5 => {
                applications.render(&label, some);
            }
            6 => {
                if let Some(known) = applications.get_mut(&label) {
                    let kept_from = if random.random() {
                        &mut known.forbidden
                    } else {
                        &mut known.barred
                    };
                    *kept_from = some;
                    known.is_leaving = random.random_bool(0.2);
                }
            }
            7 => {
                applications.remove(&label);
            }
            _ => applications.retain(|one| *one != name),
        }
    }

    #[test]
    fn who_claims_an_object_is_found_as_if_all_were_looked_at() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut applications = Applications::default();
            for _ in 0..60 {
                change(&mut applications, &mut random);
                let of = |one: &Known| one.objects.as_ref().map_or(0, HashSet::len);
                let listed: usize = applications.iter().map(|(_, known)| of(known)).sum();
                assert_eq!(applications.by_object.len(), listed, "seed {seed}");
                for key in (0..8).map(key) {
                    let all = applications.iter().filter(|(_, known)| known.claims(key));
                    let all: Vec<&str> = all.map(|(label, _)| label).collect();
                    let found = applications.that_claim(key);
                    let found: Vec<&str> = found.map(|(label, _)| label).collect();
                    assert_eq!(found, all, "seed {seed}");
                }
            }
        }
    }
}
