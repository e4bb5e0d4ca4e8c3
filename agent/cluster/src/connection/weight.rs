//! How much memory an answer takes once it is read: many times what its text does.

use serde_json::Value;

/// A byte of text: as it came, in one piece with all others, and in the value.
const BYTE: usize = 3;

/// An item of a list, or a further member of an object, with the room that either keeps for more.
const ENTRY: usize = 112;

/// The first items of a list.
const LIST: usize = 128;

/// The first members of an object: the nodes of its tree have room for eleven.
const OBJECT: usize = 640;

/// A text beside its bytes: what the allocator adds.
const STRING: usize = 24;

// What is counted with is too little if this grows.
const _: () = assert!(size_of::<Value>() <= 32);

/// Weighs JSON that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Scale {
    is_in_string: bool,
    is_escaped: bool,
}

impl Scale {
    /// Estimates, rather too high than too low, the bytes that a piece takes once it is read. It is cheap beside reading it.
    pub(super) fn weigh(&mut self, piece: &[u8]) -> usize {
        let entries = piece.iter().map(|byte| self.entry(*byte));
        piece.len() * BYTE + entries.sum::<usize>()
    }

    fn entry(&mut self, byte: u8) -> usize {
        match byte {
            // No text goes on in the next line. What follows a line that is malformed is weighed all the same.
            b'\n' => *self = Self::default(),
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = self.is_in_string,
            b'"' => {
                self.is_in_string = !self.is_in_string;
                return if self.is_in_string { STRING } else { 0 };
            }
            _ if self.is_in_string => {}
            b',' => return ENTRY,
            b'[' => return LIST,
            b'{' => return OBJECT,
            _ => {}
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> usize {
        Scale::default().weigh(text.as_bytes())
    }

    #[test]
    fn what_grows_when_it_is_read_weighs_more_than_its_text() {
        let zeros = format!("[{}]", vec!["0"; 10_000].join(","));
        let values = 10_000 * size_of::<Value>();
        assert!(of(&zeros) >= 2 * values, "a list grows by doubling");
        let objects = format!("[{}]", vec![r#"{"":0}"#; 1_000].join(","));
        assert!(of(&objects) >= 1_000 * OBJECT);
    }

    #[test]
    fn what_stands_in_a_text_does_not_count() {
        let text = |inside: &str| of(&format!(r#"{{"a":"{inside}"}}"#));
        assert_eq!(text("[{,}]"), text("xxxxx"));
        assert_eq!(text(r#"\",[\\"#), text("xxxxxx"));
        assert_eq!(of(r#"{"a":"b"}"#), 9 * BYTE + OBJECT + 2 * STRING);
    }

    #[test]
    fn pieces_weigh_what_the_whole_does() {
        let whole = r#"{"a\"[":["\\",{"b":"}"}]}"#;
        for at in 0..whole.len() {
            let (first, second) = whole.as_bytes().split_at(at);
            let mut scale = Scale::default();
            assert_eq!(scale.weigh(first) + scale.weigh(second), of(whole), "{at}");
        }
    }

    #[test]
    fn a_text_without_an_end_hides_nothing_of_the_next_line() {
        let objects = "[{},{}]";
        for malformed in ["\"\n", "\"\\\n"] {
            assert_eq!(
                of(&format!("{malformed}{objects}")),
                of(malformed) + of(objects)
            );
        }
    }
}
