//! Cutting of long messages: a status has to fit into etcd together with the inventory and everything else in it.

use std::borrow::Cow;

/// The maximum number of bytes of a message in a status, and in what notifiers receive.
pub const MESSAGE_BYTES: usize = 4096;
/// The number of bytes reserved for the remark on how much was left out.
const REMARK_BYTES: usize = 64;

/// Returns whether a message is too long.
pub fn is_long(message: &str) -> bool {
    message.len() > MESSAGE_BYTES
}

/// Returns a message, or as many of its lines as fit and a remark on how many more there are. A line that takes up most of the
/// room by itself is cut in the middle.
pub fn cut(message: &str) -> Cow<'_, str> {
    cut_to(message, MESSAGE_BYTES)
}

/// Returns a message with a tail, such as advice on what to do. The message is cut before the tail is; the tail is cut only if it
/// leaves no room for anything else.
pub fn cut_before(message: &str, tail: &str) -> String {
    let is_left = MESSAGE_BYTES.saturating_sub(message.len());
    let tail = cut_to(tail, is_left.max(MESSAGE_BYTES / 2));
    let message = cut_to(message, MESSAGE_BYTES - tail.len());
    format!("{message}{tail}")
}

/// Works like [`cut`], with room for the given number of bytes.
pub fn cut_to(message: &str, room: usize) -> Cow<'_, str> {
    if message.len() <= room {
        return Cow::Borrowed(message);
    }
    let end = message.floor_char_boundary(room.saturating_sub(REMARK_BYTES));
    let (head, tail) = message.split_at(end);
    let (kept, mark, left_out) = match head.rfind('\n') {
        Some(line_end) if line_end >= end / 2 => (&head[..line_end], "", &message[line_end + 1..]),
        _ => (
            head,
            "…",
            tail.split_once('\n').map_or("", |(_, lines)| lines),
        ),
    };
    let remark = match left_out.lines().count() {
        0 => String::new(),
        more => format!("\n… and {more} more"),
    };
    Cow::Owned(format!("{kept}{mark}{remark}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_as_it_is() {
        let longest = "ü".repeat(MESSAGE_BYTES / 2);
        for message in ["", "one\ntwo\n", &longest] {
            assert_eq!(cut(message), message);
        }
    }

    #[test]
    fn lines_stay_whole_and_those_left_out_are_counted() {
        let line = |number: usize| format!("deny guardrails/größe: ConfigMap shop/{number}\n");
        let all: String = (0..3000).map(line).collect();
        let message = format!("policy refuses the plan, nothing was written:\n{all}");
        let short = cut(&message);
        assert!(short.len() <= MESSAGE_BYTES, "{}", short.len());
        let (kept, remark) = short.rsplit_once('\n').unwrap();
        assert!(message.starts_with(&format!("{kept}\n")), "{short}");
        let lines = kept.lines().count();
        assert_eq!(remark, format!("… and {} more", 3001 - lines));
        assert!(lines > 50, "{lines}");
        assert_eq!(cut(&short), short, "once is enough");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        // Each two-byte character begins at an odd offset, and the room ends at an even one.
        let long = format!("a{}", "ü".repeat(MESSAGE_BYTES));
        let short = cut(&long);
        assert!(short.len() <= MESSAGE_BYTES);
        assert!(long.starts_with(short.strip_suffix('…').unwrap()));
        let second = format!("it was refused:\n{long}\nand\nmore\n");
        assert!(cut(&second).ends_with("ü…\n… and 2 more"));
    }

    #[test]
    fn what_comes_after_a_message_is_there_however_long_the_message_is() {
        let tail = "\nto let it go, set `deletionPolicy: Orphan`";
        assert_eq!(cut_before("it failed", tail), format!("it failed{tail}"));

        let all = "ConfigMap shop/größe: the account may not do this\n".repeat(200);
        let short = cut_before(&all, tail);
        assert!(short.len() <= MESSAGE_BYTES, "{}", short.len());
        assert_eq!(cut(&short), short, "nothing more is cut");
        let kept = short.strip_suffix(tail).unwrap();
        let (kept, remark) = kept.rsplit_once('\n').unwrap();
        assert!(all.starts_with(&format!("{kept}\n")), "{kept}");
        assert_eq!(remark, format!("… and {} more", 200 - kept.lines().count()));
    }

    #[test]
    fn what_comes_after_a_message_leaves_it_room() {
        let long = "ü".repeat(MESSAGE_BYTES);
        let short = cut_before(&long, &long);
        assert!(short.len() <= MESSAGE_BYTES, "{}", short.len());
        assert_eq!(short.matches('…').count(), 2, "{short}");
        let short = cut_before("it failed: ", &long);
        assert!(short.starts_with("it failed: ü"), "{short}");
        assert!(short.len() > MESSAGE_BYTES * 3 / 4, "{}", short.len());
    }
}
