//! Long messages, cut to what there is room for: a status has to fit into etcd, with the inventory and all else that is in it.

use std::borrow::Cow;

/// Most bytes of a message in a status, and in what notifiers are told.
pub const MESSAGE_BYTES: usize = 4096;
/// What is kept free for the remark on how much was left out.
const REMARK_BYTES: usize = 64;

/// Says whether a message is longer than there is room for.
pub fn is_long(message: &str) -> bool {
    message.len() > MESSAGE_BYTES
}

/// Returns a message, or as many of its lines as there is room for and how many more it has. A line that takes most of the room
/// by itself is cut within.
pub fn cut(message: &str) -> Cow<'_, str> {
    if !is_long(message) {
        return Cow::Borrowed(message);
    }
    let end = message.floor_char_boundary(MESSAGE_BYTES - REMARK_BYTES);
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
        // A character of two bytes begins at each odd place, and the room ends at an even one.
        let long = format!("a{}", "ü".repeat(MESSAGE_BYTES));
        let short = cut(&long);
        assert!(short.len() <= MESSAGE_BYTES);
        assert!(long.starts_with(short.strip_suffix('…').unwrap()));
        let second = format!("it was refused:\n{long}\nand\nmore\n");
        assert!(cut(&second).ends_with("ü…\n… and 2 more"));
    }
}
