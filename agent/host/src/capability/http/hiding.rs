//! Hiding of secrets in answers.

use memchr::{memchr, memmem};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use url::{Position, Url};

use super::Secrets;

/// The minimum number of bytes of a value that is searched for. Shorter values would be found where they do not occur.
const TELLING: usize = 6;

/// Puts placeholders back into a server's answer. Many servers repeat what they were sent when they reject it.
pub(super) struct Hiding<'a> {
    /// The values to search for, each with the name of its secret.
    wanted: Vec<(&'a str, Vec<u8>)>,
}

impl Secrets {
    pub(super) fn hiding(&self) -> Hiding<'_> {
        let mut wanted = Vec::new();
        for (name, value) in self.all() {
            let value = value.trim_ascii_end();
            let parts = parts(value);
            for value in parts.iter().flatten().map(String::as_bytes).chain([value]) {
                // If the value is sent percent-encoded, a server may show it decoded.
                let meant = Decoded::new(value, percent).bytes;
                if meant != value {
                    wanted.push((name, meant));
                }
                wanted.push((name, value.to_vec()));
            }
        }
        wanted.retain(|(_, value)| value.len() >= TELLING);
        // If one value contains another, the longer one is the one that is named.
        wanted.sort_by_key(|(_, value)| value.len());
        Hiding { wanted }
    }
}

/// Returns what servers repeat of a URL that they do not serve: its path, and its path with the query.
fn parts(value: &[u8]) -> Option<[String; 2]> {
    let url = Url::parse(str::from_utf8(value).ok()?).ok()?;
    let with_query = &url[Position::BeforePath..Position::AfterQuery];
    matches!(url.scheme(), "http" | "https").then(|| [url.path().into(), with_query.into()])
}

impl Hiding<'_> {
    /// Returns whether a body with these headers could contain a secret that cannot be found: it is encoded although that was not
    /// requested.
    pub(super) fn is_blind(&self, headers: &HeaderMap) -> bool {
        let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
        !self.wanted.is_empty()
            && encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    }

    /// Hides secrets in a body. The result may be longer than the body; it ends soon after `most` bytes.
    pub(super) fn bytes(&self, bytes: Vec<u8>, most: usize) -> Vec<u8> {
        let Some(marks) = self.marks(&bytes) else {
            return bytes;
        };
        let mut hidden = Vec::with_capacity(bytes.len());
        let mut rest = bytes.as_slice();
        for run in marks.chunk_by(|a, b| a == b) {
            let (part, after) = rest.split_at(run.len());
            rest = after;
            match usize::from(run[0]).checked_sub(1) {
                None => hidden.extend_from_slice(part),
                Some(index) => {
                    let placeholder = format!("${{secret:{}}}", self.wanted[index].0);
                    hidden.extend_from_slice(placeholder.as_bytes());
                }
            }
            if hidden.len() > most {
                break;
            }
        }
        hidden
    }

    /// Hides secrets in a header value.
    pub(super) fn text(&self, value: &[u8], most: usize) -> String {
        String::from_utf8_lossy(&self.bytes(value.to_vec(), most)).into_owned()
    }

    /// Returns, for each byte, the secret that it belongs to, counted from one, or zero if it belongs to none. Returns `None` if
    /// no byte belongs to a secret.
    ///
    /// All secrets are searched for in the answer itself, and none in the placeholder of another. Notifiers have few secrets, and
    /// each is searched for as at most six values, so their number fits into a byte.
    fn marks(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        // Servers write parts of a URL as they were sent, or encode them anew. Many answer in JSON.
        let decoded: Vec<_> = ESCAPES
            .into_iter()
            .filter(|(begin, _)| memchr(*begin, bytes).is_some())
            .map(|(_, unescape)| Decoded::new(bytes, unescape))
            .collect();
        let mut marks = vec![0; bytes.len()];
        let mut is_any = false;
        for (mark, (_, value)) in (1_u8..).zip(&self.wanted) {
            // The values that follow are at least as long.
            if value.len() > bytes.len() {
                break;
            }
            for at in memmem::find_iter(bytes, value) {
                marks[at..at + value.len()].fill(mark);
                is_any = true;
            }
            for Decoded { bytes, starts } in &decoded {
                for at in memmem::find_iter(bytes, value) {
                    marks[starts[at]..starts[at + value.len()]].fill(mark);
                    is_any = true;
                }
            }
        }
        is_any.then_some(marks)
    }
}

/// Decodes one escape at the beginning of a text, appends what it stands for, and returns the rest.
type Unescape = for<'t> fn(&'t [u8], &mut Vec<u8>) -> Option<&'t [u8]>;

/// The supported escapes, by their first byte.
const ESCAPES: [(u8, Unescape); 2] = [(b'%', percent), (b'\\', json)];

/// Bytes with their escapes decoded.
struct Decoded {
    bytes: Vec<u8>,
    /// The offset of each decoded byte in the encoded text, followed by the end of the text.
    starts: Vec<usize>,
}

impl Decoded {
    fn new(encoded: &[u8], unescape: Unescape) -> Self {
        let mut bytes = Vec::with_capacity(encoded.len());
        let mut starts = Vec::with_capacity(encoded.len() + 1);
        let mut rest = encoded;
        while let Some((first, after)) = rest.split_first() {
            let start = encoded.len() - rest.len();
            rest = unescape(rest, &mut bytes).unwrap_or_else(|| {
                bytes.push(*first);
                after
            });
            starts.resize(bytes.len(), start);
        }
        starts.push(encoded.len());
        Self { bytes, starts }
    }
}

/// Decodes `%` and two digits (RFC 3986, section 2.1).
fn percent<'t>(text: &'t [u8], meant: &mut Vec<u8>) -> Option<&'t [u8]> {
    let ([byte], after) = digits::<1>(text.strip_prefix(b"%")?)?;
    meant.push(byte);
    Some(after)
}

/// Decodes a JSON escape (RFC 8259, section 7), except for characters that neither a URL nor a header can contain.
fn json<'t>(text: &'t [u8], meant: &mut Vec<u8>) -> Option<&'t [u8]> {
    let (kind, after) = text.strip_prefix(b"\\")?.split_first()?;
    match kind {
        b'"' | b'\\' | b'/' => {
            meant.push(*kind);
            Some(after)
        }
        b'u' => {
            let (character, after) = character(after)?;
            meant.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            Some(after)
        }
        _ => None,
    }
}

/// Decodes what follows `\u`.
fn character(text: &[u8]) -> Option<(char, &[u8])> {
    let (unit, after) = digits::<2>(text)?;
    let unit = u16::from_be_bytes(unit);
    if let Some(character) = char::from_u32(unit.into()) {
        return Some((character, after));
    }
    // A character beyond the first 65,536 takes two units.
    let (low, after) = digits::<2>(after.strip_prefix(b"\\u")?)?;
    let units = [unit, u16::from_be_bytes(low)];
    let character = char::decode_utf16(units).next()?.ok()?;
    Some((character, after))
}

/// Parses two hexadecimal digits per byte.
fn digits<const BYTES: usize>(text: &[u8]) -> Option<([u8; BYTES], &[u8])> {
    let (digits, after) = text.split_at_checked(2 * BYTES)?;
    let mut bytes = [0; BYTES];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some((bytes, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(values: &[(&str, &str)], answer: &str) -> String {
        let secrets = Secrets::of(values);
        secrets.hiding().text(answer.as_bytes(), answer.len() * 100)
    }

    #[test]
    fn an_answer_that_repeats_a_secret_is_given_its_placeholder() {
        let values = [("token", "s3cret-value\n"), ("key", "Jefe")];
        assert_eq!(
            hidden(&values, "bad token s3cret-value, s3cret-valu, Jefe"),
            "bad token ${secret:token}, s3cret-valu, Jefe"
        );
        assert_eq!(hidden(&values, "nothing of it"), "nothing of it");
    }

    #[test]
    fn a_secret_is_found_percent_encoded_too() {
        let values = [("path", "T0/a b=ü"), ("odd", "50%25 off%")];
        for (answer, expected) in [
            ("/hooks/T0/a%20b=%C3%BC!", "/hooks/${secret:path}!"),
            ("/hooks/T0%2fa%20b%3d%c3%bc!", "/hooks/${secret:path}!"),
            ("%54%30%2F%61%20%62%3D%C3%BC", "${secret:path}"),
            ("%T0/a b=ü%2", "%${secret:path}%2"),
            ("50%25 off%", "${secret:odd}"),
            ("50%2525%20off%25", "${secret:odd}"),
            ("50% off%", "${secret:odd}"),
            ("100%: T0/a%2", "100%: T0/a%2"),
        ] {
            assert_eq!(hidden(&values, answer), expected, "{answer}");
        }
    }

    #[test]
    fn a_secret_is_found_as_json_writes_it_too() {
        let values = [("path", "/T0/a&b=ü\"😀"), ("odd", r"50\/ off\")];
        for (answer, expected) in [
            (
                r#"{"at":"\/T0\/a\u0026b=\u00FC\"\uD83d\ude00!"}"#,
                r#"{"at":"${secret:path}!"}"#,
            ),
            (r#"\u002fT0/a&b=ü\"😀"#, "${secret:path}"),
            (r"\/T0\/a\u0026b=\u00FC", r"\/T0\/a\u0026b=\u00FC"),
            (r"50\/ off\", "${secret:odd}"),
            (r"50\\\/ off\\", "${secret:odd}"),
            (
                r"\n\u12 \uD83D \uD83D\u0041 \",
                r"\n\u12 \uD83D \uD83D\u0041 \",
            ),
        ] {
            assert_eq!(hidden(&values, answer), expected, "{answer}");
        }
    }

    #[test]
    fn of_a_url_that_is_a_secret_the_path_is_one_too() {
        let values = [
            ("hook", "https://hooks.example.com/services/T0/B0/XX\n"),
            ("room", "https://chat.example.com/v1/rooms?token=s3cret"),
            ("spaces", "https://a.example/a b/%C3%BC"),
            ("host", "https://only.example.com/"),
            ("none", "user:/password"),
        ];
        for (answer, expected) in [
            (
                "Cannot POST /services/T0/B0/XX",
                "Cannot POST ${secret:hook}",
            ),
            (
                r#"{"path":"\/services\/T0\/B0\/XX"}"#,
                r#"{"path":"${secret:hook}"}"#,
            ),
            (
                "at https://hooks.example.com/services/T0/B0/XX",
                "at ${secret:hook}",
            ),
            ("no /v1/rooms?token=s3cret", "no ${secret:room}"),
            ("no /v1/rooms", "no ${secret:room}"),
            (
                "no /a%20b/%C3%BC, /a b/ü",
                "no ${secret:spaces}, ${secret:spaces}",
            ),
            (
                "/ of only.example.com, /password",
                "/ of only.example.com, /password",
            ),
        ] {
            assert_eq!(hidden(&values, answer), expected, "{answer}");
        }
    }

    #[test]
    fn all_that_is_looked_for_has_a_number() {
        let mut most = Secrets::default();
        for number in 0..32 {
            let value = format!("https://a.example/hook/%41{number}?token=%42{number}");
            most.add(format!("s{number}"), value).unwrap();
        }
        assert!(most.hiding().wanted.len() == 32 * 6);
        let answer = "/hook/A31?token=B31";
        assert_eq!(most.hiding().text(answer.as_bytes(), 100), "${secret:s31}");
    }

    #[test]
    fn of_secrets_that_hold_each_other_nothing_is_shown() {
        let values = [("a", "s3cret"), ("b", "s3cret-value"), ("c", "value-more")];
        assert_eq!(
            hidden(&values, "s3cret s3cret-value s3cret-value-more"),
            "${secret:a} ${secret:b} ${secret:b}${secret:c}"
        );
    }

    #[test]
    fn placeholders_are_not_looked_through_for_other_secrets() {
        let names = ["aaaaaa".repeat(10), "bbbbbb".repeat(10)];
        let values = [
            (names[0].as_str(), "s3cret-value"),
            (names[1].as_str(), "aaaaaa"),
            ("c", "bbbbbb"),
        ];
        assert_eq!(
            hidden(&values, "s3cret-value aaaaaa"),
            format!("${{secret:{}}} ${{secret:{}}}", names[0], names[1])
        );
    }

    #[test]
    fn an_answer_of_secrets_does_not_grow_without_end() {
        let long = "n".repeat(200);
        let secrets = Secrets::of(&[(long.as_str(), "s3cret"), ("b", "hidden")]);
        let answer = "s3crethidden".repeat(1000);
        let most = answer.len();
        let hidden = secrets.hiding().bytes(answer.into_bytes(), most);
        assert!(hidden.len() > most && hidden.len() < most + 500);
    }
}
