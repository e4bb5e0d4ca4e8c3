//! Secrets in what is answered.

use memchr::{memchr, memmem};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use url::{Position, Url};

use super::Secrets;

/// Bytes from which on a value is looked for: shorter ones would be found where they are not.
const TELLING: usize = 6;

/// Puts placeholders back into what a server answers: many repeat what they were sent when they refuse it.
pub(super) struct Hiding<'a> {
    /// What is looked for, and the name of the secret that it is.
    wanted: Vec<(&'a str, Vec<u8>)>,
}

impl Secrets {
    pub(super) fn hiding(&self) -> Hiding<'_> {
        let mut wanted = Vec::new();
        for (name, value) in self.all() {
            let value = value.trim_ascii_end();
            let parts = parts(value);
            for value in parts.iter().flatten().map(String::as_bytes).chain([value]) {
                // Where it is sent percent-encoded, a server may show what that stands for.
                let meant = Decoded::new(value, percent).bytes;
                if meant != value {
                    wanted.push((name, meant));
                }
                wanted.push((name, value.to_vec()));
            }
        }
        wanted.retain(|(_, value)| value.len() >= TELLING);
        // Where one value is in another, it is the longer one that is told.
        wanted.sort_by_key(|(_, value)| value.len());
        Hiding { wanted }
    }
}

/// Takes what servers repeat of a URL where nothing is: its path, and its path and query.
fn parts(value: &[u8]) -> Option<[String; 2]> {
    let url = Url::parse(str::from_utf8(value).ok()?).ok()?;
    let with_query = &url[Position::BeforePath..Position::AfterQuery];
    matches!(url.scheme(), "http" | "https").then(|| [url.path().into(), with_query.into()])
}

impl Hiding<'_> {
    /// Says whether a body with these headers could hold a secret without its being found: it is encoded, although that was
    /// not asked for.
    pub(super) fn is_blind(&self, headers: &HeaderMap) -> bool {
        let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
        !self.wanted.is_empty()
            && encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    }

    /// Hides secrets in a body. What comes of it may be longer; it ends soon after `most` bytes.
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

    /// Hides secrets in the value of a header.
    pub(super) fn text(&self, value: &[u8], most: usize) -> String {
        String::from_utf8_lossy(&self.bytes(value.to_vec(), most)).into_owned()
    }

    /// Says of each byte which secret it is of, counted from one; zero if of none. Nothing if all are of none.
    ///
    /// All secrets are looked for in what was answered, and none in the placeholder of another. Notifiers have few, each of
    /// which is looked for as six values at most: their number is one of a byte.
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
            // As are those that follow.
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

/// Reads one escape at the beginning of a text, adds what it stands for, and gives what follows it.
type Unescape = for<'t> fn(&'t [u8], &mut Vec<u8>) -> Option<&'t [u8]>;

/// The escapes that are read, by how they begin.
const ESCAPES: [(u8, Unescape); 2] = [(b'%', percent), (b'\\', json)];

/// What bytes with escapes stand for.
struct Decoded {
    bytes: Vec<u8>,
    /// Where each of them begins in what was decoded, and then where that ends.
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

/// Reads `%` and two digits (RFC 3986, section 2.1).
fn percent<'t>(text: &'t [u8], meant: &mut Vec<u8>) -> Option<&'t [u8]> {
    let ([byte], after) = digits::<1>(text.strip_prefix(b"%")?)?;
    meant.push(byte);
    Some(after)
}

/// Reads a backslash and what it makes of a character in JSON (RFC 8259, section 7), but for those that neither a URL nor a
/// header can have.
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

/// Reads what follows `\u`.
fn character(text: &[u8]) -> Option<(char, &[u8])> {
    let (unit, after) = digits::<2>(text)?;
    let unit = u16::from_be_bytes(unit);
    if let Some(character) = char::from_u32(unit.into()) {
        return Some((character, after));
    }
    // Beyond the first 65,536 a character takes two.
    let (low, after) = digits::<2>(after.strip_prefix(b"\\u")?)?;
    let units = [unit, u16::from_be_bytes(low)];
    let character = char::decode_utf16(units).next()?.ok()?;
    Some((character, after))
}

/// Reads two hexadecimal digits for each byte.
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
