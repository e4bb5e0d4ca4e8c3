//! PEM (RFC 7468), with what Go's `encoding/pem` tolerates.

use crate::go::base;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";

/// A block: its declared kind, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) kind: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// Encodes a block with lines of 64 characters.
pub(super) fn encode(kind: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8(base::encode64(bytes)).expect("base 64 is ASCII");
    let mut out = format!("-----BEGIN {kind}-----\n");
    let mut rest = &*text;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out + &format!("-----END {kind}-----\n")
}

/// Returns the first complete block in a text. Text around it and broken blocks before it are skipped.
pub(super) fn decode(text: &[u8]) -> Option<Block> {
    let mut rest = text;
    loop {
        let end = find(rest, END)?;
        if let Some(block) = block_before(rest, end) {
            return Some(block);
        }
        rest = &rest[end + END.len()..];
    }
}

/// Returns the block whose last line begins at `end`.
fn block_before(text: &[u8], end: usize) -> Option<Block> {
    // The last BEGIN counts, so blocks without an END are skipped.
    let begin = text[..end]
        .windows(BEGIN.len())
        .rposition(|window| window == BEGIN)?;
    if begin > 0 && text[begin - 1] != b'\n' {
        return None;
    }
    let (line, next) = line(text, begin + BEGIN.len());
    let kind = line.strip_suffix(DASHES)?;
    let at = skip_headers(text, next)?;
    if at > next && at > end {
        return None;
    }
    // An empty block's END is on the line after BEGIN, whose line break is then the first byte of `END`.
    let body = text.get(at..end).unwrap_or_default();
    let trailer = text[end + END.len()..]
        .strip_prefix(kind)?
        .strip_prefix(DASHES)?;
    if !self::line(trailer, 0).0.is_empty() {
        return None;
    }
    let digits: Vec<u8> = body
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b' ' | b'\t'))
        .collect();
    Some(Block {
        kind: kind.to_vec(),
        bytes: base::decode64(&digits).ok()?,
    })
}

/// Returns the end of the lines that contain a colon.
fn skip_headers(text: &[u8], mut at: usize) -> Option<usize> {
    while at < text.len() {
        let (line, next) = line(text, at);
        if !line.contains(&b':') {
            return Some(at);
        }
        at = next;
    }
    None
}

/// Returns the line that begins at `at`, without trailing spaces, and the start of the next line.
fn line(text: &[u8], at: usize) -> (&[u8], usize) {
    let rest = &text[at..];
    let (line, next) = match rest.iter().position(|&byte| byte == b'\n') {
        Some(len) => {
            let line = &rest[..len];
            (line.strip_suffix(b"\r").unwrap_or(line), at + len + 1)
        }
        None => (rest, text.len()),
    };
    let spaces = line
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b' ' | b'\t'));
    let len = line.len() - spaces.count();
    (&line[..len], next)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Option<(String, Vec<u8>)> {
        let block = decode(text.as_bytes())?;
        Some((String::from_utf8(block.kind).unwrap(), block.bytes))
    }

    #[test]
    fn blocks_are_read_as_they_are_written() {
        for len in [0, 1, 47, 48, 49, 1000] {
            let bytes = vec![0xA5; len];
            let text = encode("TEST KEY", &bytes);
            assert_eq!(
                decoded(&text),
                Some(("TEST KEY".to_owned(), bytes)),
                "{text}"
            );
        }
        assert_eq!(
            encode("X", b"abc"),
            "-----BEGIN X-----\nYWJj\n-----END X-----\n"
        );
    }

    #[test]
    fn what_go_tolerates() {
        let abc = Some(("X".to_owned(), b"abc".to_vec()));
        for text in [
            "text before\n-----BEGIN X-----\nYWJj\n-----END X-----\nand after",
            "-----BEGIN X-----\r\nYW Jj\r\n-----END X-----",
            "-----BEGIN X-----  \nProc-Type: 4\nA: b\n\nYW\nJj\n-----END X-----\t\n",
            "-----BEGIN Y-----\n-----BEGIN X-----\nYWJj\n-----END X-----\n",
            "-----BEGIN Y-----\n!\n-----END Y-----\n-----BEGIN X-----\nYWJj\n-----END X-----\n",
        ] {
            assert_eq!(decoded(text), abc, "{text}");
        }
    }

    #[test]
    fn what_is_no_block() {
        for text in [
            "",
            "YWJj",
            "-----BEGIN X-----\nYWJj\n",
            "-----BEGIN X-----\nYWJj\n-----END Y-----\n",
            "-----BEGIN X-----\nYWJj\n-----END X----- more\n",
            " -----BEGIN X-----\nYWJj\n-----END X-----\n",
            "-----BEGIN X\nYWJj\n-----END X-----\n",
            "-----BEGIN X-----\nYWJj-----END X-----\n",
            "-----BEGIN X-----\nA: b\n-----END X-----\nC: d",
            "\n-----END ",
        ] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
