//! Text from another party, such as a container's log, without the sequences that control the reader's terminal.

use std::borrow::Cow;

/// Returns a text without control characters other than line feeds and tabs. Control sequences, such as colours, are removed. Any
/// other control character is replaced, so that the reader sees that something was there.
pub fn of(text: &str) -> Cow<'_, str> {
    keeping(text, &[])
}

/// Works like [`of`], but leaves the given sequences as they are.
pub fn keeping<'t>(text: &'t str, kept: &[&str]) -> Cow<'t, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(steers) {
        let (before, found) = rest.split_at(at);
        plain.push_str(before);
        rest = if let Some(kept) = kept.iter().find(|one| found.starts_with(**one)) {
            plain.push_str(kept);
            &found[kept.len()..]
        } else if let Some(after) = found.strip_prefix("\r\n") {
            plain.push('\n');
            after
        } else if let Some(after) = after_sequence(found) {
            after
        } else {
            plain.push(char::REPLACEMENT_CHARACTER);
            found.strip_prefix(steers).unwrap_or_default()
        };
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Returns the end of a log as it is shown, at most `bytes` long.
pub fn end_of(log: &str, bytes: usize) -> String {
    let log = of(log.trim_end());
    let start = log.ceil_char_boundary(log.len().saturating_sub(bytes));
    log[start..].to_owned()
}

fn steers(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

/// Returns what follows a control sequence, or `None` if the text does not begin with one.
///
/// <https://ecma-international.org/publications-and-standards/standards/ecma-48/> (5.4)
fn after_sequence(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let intermediate = parameters.trim_start_matches(|c: char| matches!(c, '0'..='?'));
    let last = intermediate.trim_start_matches(|c: char| matches!(c, ' '..='/'));
    last.strip_prefix(|c: char| matches!(c, '@'..='~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_taken_out_and_text_stays() {
        let cases = [
            ("two lines\n\tü ✓\n", "two lines\n\tü ✓\n"),
            ("\u{1b}[1;32mgreen\u{1b}[0m", "green"),
            ("up \u{1b}[2K\u{1b}[1A\u{1b}[?25l!", "up !"),
            ("\u{1b}]52;c;AAAA\u{7}", "\u{fffd}]52;c;AAAA\u{fffd}"),
            ("windows\r\nover\rwritten", "windows\nover\u{fffd}written"),
            ("\u{9b}31m\u{7f}\0", "\u{fffd}31m\u{fffd}\u{fffd}"),
            ("open \u{1b}[3", "open \u{fffd}[3"),
            ("\u{1b}\u{1b}[31m", "\u{fffd}"),
        ];
        for (text, plain) in cases {
            assert_eq!(of(text), plain, "{text:?}");
        }
    }

    #[test]
    fn a_sequence_that_is_kept_stays() {
        let text = "\u{1b}[31mred\u{1b}[39m\u{1b}[2J";
        let plain = keeping(text, &["\u{1b}[31m", "\u{1b}[39m"]);
        assert_eq!(plain, "\u{1b}[31mred\u{1b}[39m");
    }

    #[test]
    fn of_a_log_the_end_is_told() {
        assert_eq!(end_of("one\ntwo\u{1b}[0m\n\n", 5), "e\ntwo");
        assert_eq!(end_of("üü", 3), "ü");
        assert_eq!(end_of("", 3), "");
    }
}
