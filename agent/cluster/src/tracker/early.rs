//! Objects that were seen before their application was known.
//!
//! When an agent starts, the first application opens a watch that reports the objects of all applications. They are kept as they
//! are for a while, which is cheaper than requesting them again, application by application.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use serde_json::Value;

use super::room::{Room, Share};

/// How long an application may take to become known. Afterwards, the objects of applications that are managed elsewhere, for
/// example by the command line, are dropped.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);
/// The most bytes that are kept of what one cluster reports.
const CAPACITY: usize = 32 << 20;
/// The room for what all clusters report.
static ROOM: Room = Room::of(3 * CAPACITY);
/// For how many applications it is remembered that objects were dropped: more than a single cluster has. Most of these never
/// become known, because other replicas look after them or they were deleted.
const REMEMBERED: usize = 250_000;

/// What an application that becomes known has missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missed {
    /// These objects, as JSON.
    Objects(Vec<Box<str>>),
    /// It is not known what was missed: the objects have to be requested.
    Unknown,
}

/// An object as JSON, by `apiVersion`: which version counts is known once its application is.
type Texts = HashMap<Box<str>, (Box<str>, Share)>;

/// The objects that are kept; see the module's documentation.
#[derive(Debug)]
pub(super) struct Early {
    /// By label, then by uid.
    kept: HashMap<String, HashMap<Box<str>, Texts>>,
    bytes: usize,
    room: &'static Room,
    /// The labels whose objects were dropped, each as a hash. If two labels share a hash, objects are requested that were not
    /// missed.
    dropped: HashSet<u64>,
    numbers: RandomState,
    /// Whether it is no longer known which labels were dropped: it may be any.
    is_any: bool,
    is_timed: bool,
}

impl Default for Early {
    fn default() -> Self {
        Self::within(&ROOM)
    }
}

impl Early {
    fn within(room: &'static Room) -> Self {
        Self {
            kept: HashMap::new(),
            bytes: 0,
            room,
            dropped: HashSet::new(),
            numbers: RandomState::new(),
            is_any: false,
            is_timed: false,
        }
    }

    /// Keeps an object. Returns whether the caller has to set a timer that calls [`Early::expire`].
    pub(super) fn keep(&mut self, label: &str, uid: &str, object: &Value) -> bool {
        if self.is_any || self.dropped.contains(&self.number(label)) {
            return false;
        }
        let text: Box<str> = object.to_string().into();
        let fits = self.bytes + text.len() <= CAPACITY;
        let Some(share) = fits.then(|| self.room.take(text.len())).flatten() else {
            self.drop_all();
            self.forget(label);
            return false;
        };
        self.bytes += text.len();
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let objects = self.kept.entry(label.to_owned()).or_default();
        let texts = objects.entry(uid.into()).or_default();
        if let Some((before, _)) = texts.insert(version.into(), (text, share)) {
            self.bytes -= before.len();
        }
        !std::mem::replace(&mut self.is_timed, true)
    }

    /// Removes an object that is gone.
    pub(super) fn remove(&mut self, uid: &str) {
        for objects in self.kept.values_mut() {
            let texts = objects.remove(uid).unwrap_or_default();
            self.bytes -= texts.values().map(|(text, _)| text.len()).sum::<usize>();
        }
    }

    /// Takes what an application that now becomes known has missed.
    pub(super) fn take(&mut self, label: &str) -> Option<Missed> {
        let number = self.number(label);
        if self.dropped.remove(&number) || self.is_any {
            return Some(Missed::Unknown);
        }
        let objects = self.kept.remove(label)?.into_values();
        let texts: Vec<Box<str>> = objects
            .flat_map(Texts::into_values)
            .map(|(text, _)| text)
            .collect();
        self.bytes -= texts.iter().map(|text| text.len()).sum::<usize>();
        Some(Missed::Objects(texts))
    }

    /// Records that objects of a label are not kept from now on.
    pub(super) fn forget(&mut self, label: &str) {
        let number = self.number(label);
        self.dropped.insert(number);
        self.bound();
    }

    fn number(&self, label: &str) -> u64 {
        self.numbers.hash_one(label)
    }

    /// Drops everything that no application has claimed.
    pub(super) fn expire(&mut self) {
        self.is_timed = false;
        self.drop_all();
    }

    fn drop_all(&mut self) {
        let numbers = &self.numbers;
        let labels = self.kept.drain().map(|(label, _)| label);
        self.dropped
            .extend(labels.map(|label| numbers.hash_one(label.as_str())));
        self.bytes = 0;
        self.bound();
    }

    /// Bounds what is remembered: requesting objects that were not missed costs requests but is never wrong.
    fn bound(&mut self) {
        if self.dropped.len() > REMEMBERED {
            self.dropped = HashSet::new();
            self.is_any = true;
            self.kept.clear();
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_came_early_is_handed_over_once() {
        let mut early = Early::default();
        assert!(
            early.keep("a", "1", &json!({"v": 1})),
            "the first one starts the timer"
        );
        assert!(!early.keep("a", "1", &json!({"v": 2})));
        early.keep("a", "2", &json!({}));
        early.remove("2");
        assert_eq!(
            early.take("a"),
            Some(Missed::Objects(vec![r#"{"v":2}"#.into()]))
        );
        assert_eq!(early.take("a"), None);
        assert_eq!(early.bytes, 0);
    }

    #[test]
    fn each_version_of_an_object_is_kept() {
        let mut early = Early::default();
        for version in ["v1", "v1beta1", "v1"] {
            early.keep("a", "1", &json!({"apiVersion": version}));
        }
        early.keep("a", "2", &json!({"apiVersion": "v1"}));
        early.remove("2");
        let Some(Missed::Objects(mut kept)) = early.take("a") else {
            panic!("nothing was kept");
        };
        kept.sort();
        let all = [r#"{"apiVersion":"v1"}"#, r#"{"apiVersion":"v1beta1"}"#];
        assert_eq!(kept, all.map(Box::<str>::from));
        assert_eq!(early.bytes, 0);
    }

    #[test]
    fn what_was_dropped_has_to_be_asked_for() {
        let mut early = Early::default();
        early.keep("a", "1", &json!({}));
        early.expire();
        assert!(
            !early.keep("a", "1", &json!({})),
            "no use: others are missing already"
        );
        assert_eq!(early.take("a"), Some(Missed::Unknown));
        assert_eq!(early.take("a"), None);
        early.forget("b");
        assert_eq!(early.take("b"), Some(Missed::Unknown));
    }

    #[test]
    fn of_whom_objects_were_dropped_is_not_remembered_without_end() {
        let mut early = Early::default();
        early.keep("kept", "1", &json!({}));
        for number in 0..=REMEMBERED {
            early.forget(&number.to_string());
        }
        assert!(early.dropped.is_empty());
        for label in ["kept", "0", "another"] {
            assert!(!early.keep(label, "2", &json!({})));
            assert_eq!(early.take(label), Some(Missed::Unknown));
        }
        assert_eq!(early.bytes, 0);
    }

    #[test]
    fn it_never_holds_more_than_it_may() {
        let mut early = Early::default();
        let big = json!("x".repeat(CAPACITY / 2));
        early.keep("a", "1", &big);
        early.keep("b", "2", &big);
        assert!(early.bytes <= CAPACITY);
        assert_eq!(early.take("a"), Some(Missed::Unknown));
        assert_eq!(early.take("b"), Some(Missed::Unknown));
    }

    #[test]
    fn all_together_hold_no_more_than_there_is_room_for() {
        static ROOM: Room = Room::of(20);
        let (mut one, mut other) = (Early::within(&ROOM), Early::within(&ROOM));
        one.keep("a", "1", &json!("0123456789"));
        other.keep("b", "2", &json!("0123456789"));
        assert_eq!(other.take("b"), Some(Missed::Unknown));
        assert!(matches!(one.take("a"), Some(Missed::Objects(_))));
        other.keep("c", "3", &json!("0123456789"));
        assert!(matches!(other.take("c"), Some(Missed::Objects(_))));
    }
}
