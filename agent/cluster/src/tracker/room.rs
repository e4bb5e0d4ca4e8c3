//! Memory that all trackers of a process share. What servers report may come from anyone, and there may be many servers.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// A limit on the bytes that may be kept.
#[derive(Debug)]
pub(super) struct Room {
    most: usize,
    taken: AtomicUsize,
}

impl Room {
    pub(super) const fn of(most: usize) -> Self {
        Self {
            most,
            taken: AtomicUsize::new(0),
        }
    }

    /// Takes this many bytes; `None` if there are not enough.
    pub(super) fn take(&'static self, bytes: usize) -> Option<Share> {
        let share = Share { room: self, bytes };
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        // If it is too much, dropping the share gives it back.
        (before.saturating_add(bytes) <= self.most).then_some(share)
    }
}

/// A part of a [`Room`], which is returned on drop.
#[derive(Debug)]
pub(super) struct Share {
    room: &'static Room,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Returns roughly how many bytes of memory a value takes.
pub(super) fn weight(value: &Value) -> usize {
    let within = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                std::mem::size_of::<String>() + key.len() + weight(value)
            };
            fields.iter().map(field).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    std::mem::size_of::<Value>() + within
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_given_back_may_be_taken_again() {
        static ROOM: Room = Room::of(10);
        let six = ROOM.take(6);
        assert!(six.is_some() && ROOM.take(5).is_none());
        let four = ROOM.take(4);
        assert!(four.is_some() && ROOM.take(1).is_none());
        drop(six);
        assert!(ROOM.take(6).is_some() && ROOM.take(7).is_none());
    }

    #[test]
    fn all_that_is_in_a_value_counts() {
        let text = "x".repeat(1000);
        for value in [json!(text), json!([text]), json!({"a": {"b": [text]}})] {
            assert!(weight(&value) > 1000, "{value}");
        }
        let key = json!({text: null});
        assert!(weight(&key) > 1000);
        assert!(weight(&json!(vec![0; 1000])) > 1000);
    }
}
