//! Splits a stream of documents where Helm splits it.

use memchr::{memchr_iter, memmem};

/// The beginning of a line that ends a document.
const SEPARATOR: &[u8] = b"---";

/// One document of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// The line at which the text begins, from 1.
    pub line: usize,
    /// The position in the stream at which the text begins, in bytes.
    pub start: usize,
    /// The text, without the white space before it.
    pub text: &'a [u8],
}

/// Splits at each line that begins with `---`, whatever follows it: `---apiVersion: v1` begins a document with `apiVersion: v1`.
/// Documents that contain only white space are omitted.
pub fn split(text: &[u8]) -> Vec<Document<'_>> {
    let mut found = Vec::new();
    let mut rest = trim(text);
    let mut line = 1 + newlines(&text[..text.len() - rest.len()]);
    // The text begins with a line, but the rest after a separator does not.
    let mut end = if rest.starts_with(SEPARATOR) {
        Some(0)
    } else {
        separator(rest)
    };
    loop {
        let (document, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let trimmed = trim(document);
        if !trimmed.is_empty() {
            let space = &document[..document.len() - trimmed.len()];
            found.push(Document {
                line: line + newlines(space),
                start: text.len() - rest.len() + space.len(),
                text: trimmed,
            });
        }
        if end.is_none() {
            return found;
        }
        line += newlines(document);
        let behind = &behind[SEPARATOR.len()..];
        let blanks = behind
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'));
        rest = &behind[blanks.count()..];
        end = separator(rest);
    }
}

/// Returns the start of the next line that begins with a separator. The start of the text does not count as a line.
fn separator(text: &[u8]) -> Option<usize> {
    memmem::find(text, b"\n---").map(|at| at + 1)
}

fn newlines(text: &[u8]) -> usize {
    memchr_iter(b'\n', text).count()
}

/// Returns the text without leading white space, as Unicode defines it.
fn trim(text: &[u8]) -> &[u8] {
    let mut rest = text;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(behind) = rest.strip_prefix(b"\x0b") {
            rest = behind;
            continue;
        }
        // A non-ASCII character has at most four bytes.
        let head = &rest[..rest.len().min(4)];
        let valid = match std::str::from_utf8(head) {
            Ok(valid) => valid,
            Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
        };
        match valid.chars().next() {
            Some(first) if first.is_whitespace() => rest = &rest[first.len_utf8()..],
            _ => return rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(usize, String)> {
        let documents = split(text.as_bytes()).into_iter();
        documents
            .map(|one| (one.line, String::from_utf8_lossy(one.text).into_owned()))
            .collect()
    }

    #[test]
    fn documents_and_where_they_are() {
        assert_eq!(texts(""), []);
        assert_eq!(texts(" \n---\n\n---"), []);
        assert_eq!(
            texts("\n\na: 1\n--- \n\nb: 1\n---c: 1\nd: ---\n"),
            [
                (3, "a: 1\n".to_owned()),
                (6, "b: 1\n".to_owned()),
                (7, "c: 1\nd: ---\n".to_owned()),
            ]
        );
        // Four hyphens are a separator and a hyphen. What follows a separator is not another one.
        assert_eq!(texts("----"), [(1, "-".to_owned())]);
        assert_eq!(texts("---------"), [(1, "------".to_owned())]);
        assert_eq!(texts("--- ---"), [(1, "---".to_owned())]);
        assert_eq!(
            texts("a: 1\n------\nb: 1"),
            [(1, "a: 1\n".to_owned()), (2, "---\nb: 1".to_owned())]
        );
        assert_eq!(texts("---\n---\na: 1"), [(3, "a: 1".to_owned())]);
        assert_eq!(texts("---\t# x\r\na: 1"), [(1, "# x\r\na: 1".to_owned())]);
        assert_eq!(texts("\u{a0}\u{b}a"), [(1, "a".to_owned())]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost_but_space_and_separators(text in "[a\n \t-]{0,40}") {
            let documents = split(text.as_bytes());
            let kept: usize = documents.iter().map(|one| String::from_utf8_lossy(one.text).matches('a').count()).sum();
            proptest::prop_assert_eq!(kept, text.matches('a').count());
            for one in documents {
                proptest::prop_assert!(text.as_bytes()[one.start..].starts_with(one.text));
                let line = text.lines().nth(one.line - 1).unwrap_or_default();
                let first = String::from_utf8_lossy(one.text);
                let first = first.lines().next().unwrap_or_default();
                proptest::prop_assert!(line.ends_with(first), "{:?} {:?}", line, first);
            }
        }
    }
}
