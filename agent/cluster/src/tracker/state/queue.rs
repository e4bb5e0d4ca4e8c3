//! The objects of an application that wait for their health checks.

use std::collections::BTreeMap;

use pintle_core::object::ObjectId;

/// A queue in which each object waits once: it has the newest state, but the place where it began to wait. An object that changes
/// all the time therefore takes no more room and no more turns than any other, and loses no turn either.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: BTreeMap<u64, (ObjectId, T)>,
    places: BTreeMap<ObjectId, u64>,
    last: u64,
    is_served: bool,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            places: BTreeMap::new(),
            last: 0,
            is_served: false,
        }
    }

    /// Queues an object, in the place that it already has if it is waiting. Returns whether the caller has to start serving the
    /// queue, by taking from it until it is empty.
    pub(super) fn put(&mut self, id: ObjectId, what: T) -> bool {
        let place = self.places.get(&id).copied().unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        self.places.insert(id.clone(), place);
        self.waiting.insert(place, (id, what));
        !std::mem::replace(&mut self.is_served, true)
    }

    /// Takes the object that has waited longest. If there is none, the queue is no longer served.
    pub(super) fn take(&mut self) -> Option<(ObjectId, T)> {
        let Some((_, (id, what))) = self.waiting.pop_first() else {
            self.is_served = false;
            return None;
        };
        self.places.remove(&id);
        Some((id, what))
    }

    /// Removes an object that is gone.
    pub(super) fn remove(&mut self, id: &ObjectId) {
        if let Some(place) = self.places.remove(id) {
            self.waiting.remove(&place);
        }
    }

    /// Returns whether an object is waiting.
    pub(super) fn has(&self, id: &ObjectId) -> bool {
        self.places.contains_key(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: None,
            name: name.into(),
        }
    }

    fn queue(names: &[(&str, u32)]) -> Queue<u32> {
        let mut queue = Queue::new();
        for (name, what) in names {
            queue.put(id(name), *what);
        }
        queue
    }

    fn rest(mut queue: Queue<u32>) -> Vec<(String, u32)> {
        let next = || queue.take().map(|(id, what)| (id.name, what));
        std::iter::from_fn(next).collect()
    }

    fn named(names: &[(&str, u32)]) -> Vec<(String, u32)> {
        let owned = names.iter().map(|(name, what)| ((*name).to_owned(), *what));
        owned.collect()
    }

    #[test]
    fn who_came_first_is_next_with_what_came_last() {
        let queue = queue(&[("b", 1), ("a", 1), ("b", 2), ("c", 1), ("b", 3)]);
        assert_eq!(queue.waiting.len(), 3);
        assert_eq!(rest(queue), named(&[("b", 3), ("a", 1), ("c", 1)]));
    }

    #[test]
    fn who_was_served_comes_after_those_who_wait() {
        let mut queue = queue(&[("a", 1), ("b", 1)]);
        assert_eq!(queue.take(), Some((id("a"), 1)));
        assert!(!queue.has(&id("a")) && queue.has(&id("b")));
        queue.put(id("a"), 2);
        assert_eq!(rest(queue), named(&[("b", 1), ("a", 2)]));
    }

    #[test]
    fn who_is_gone_does_not_wait() {
        let mut queue = queue(&[("a", 1), ("b", 1)]);
        queue.remove(&id("a"));
        queue.remove(&id("x"));
        queue.put(id("a"), 2);
        assert_eq!(rest(queue), named(&[("b", 1), ("a", 2)]));
    }

    #[test]
    fn one_serves_until_nobody_waits() {
        let mut queue = Queue::new();
        assert!(queue.put(id("a"), 1));
        assert!(!queue.put(id("b"), 1));
        queue.take();
        queue.take();
        assert!(!queue.put(id("c"), 1), "who serves has not seen the end");
        queue.take();
        assert_eq!(queue.take(), None);
        assert!(queue.put(id("c"), 2));
    }
}
