//! The memory that a parsed manifest takes: many times the size of its text.

use serde_json::Value;

/// An item of a list, or a further member of an object, with the spare room that either keeps for more.
const ENTRY: u64 = 112;

/// The first items of a list.
const LIST: u64 = 128;

/// The first members of an object: the nodes of its tree have room for eleven.
const OBJECT: u64 = 640;

/// The overhead of a string that the allocator adds to its bytes.
const STRING: u64 = 24;

// If this grows, the estimates are too low.
const _: () = assert!(size_of::<Value>() <= 32);

/// Estimates, too high rather than too low, the bytes that JSON takes once it is parsed. This is cheap compared to parsing it.
pub(super) fn of(json: &str) -> u64 {
    let mut bytes = json.bytes();
    let mut weight = json.len() as u64;
    while let Some(byte) = bytes.next() {
        weight += match byte {
            b'"' => {
                skip_string(&mut bytes);
                STRING
            }
            b',' => ENTRY,
            b'[' => LIST,
            b'{' => OBJECT,
            _ => 0,
        };
    }
    weight
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_when_it_is_read_weighs_more_than_its_text() {
        let zeros = format!("[{}]", vec!["0"; 10_000].join(","));
        let values = 10_000 * size_of::<Value>() as u64;
        assert!(of(&zeros) >= 2 * values, "a list grows by doubling");
        let objects = format!("[{}]", vec![r#"{"":0}"#; 1_000].join(","));
        assert!(of(&objects) >= 1_000 * 640);
    }

    #[test]
    fn what_stands_in_a_text_does_not_count() {
        let text = |inside: &str| of(&format!(r#"{{"a":"{inside}"}}"#));
        assert_eq!(text("[{,}]"), text("xxxxx"));
        assert_eq!(text(r#"\",[\\"#), text("xxxxxx"));
        assert_eq!(of(r#"{"a":"b"}"#), 9 + OBJECT + 2 * STRING);
        assert_eq!(of("\"[,"), 3 + STRING, "malformed, and no reason to fail");
    }
}
