//! Secrets in what is answered.

use memchr::{memchr, memmem};

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
            // Where it is sent percent-encoded, a server may show what that stands for.
            let meant = Decoded::new(value).bytes;
            if meant != value {
                wanted.push((name, meant));
            }
            wanted.push((name, value.to_vec()));
        }
        wanted.retain(|(_, value)| value.len() >= TELLING);
        // Where one value is in another, it is the longer one that is told.
        wanted.sort_by_key(|(_, value)| value.len());
        Hiding { wanted }
    }
}

impl Hiding<'_> {
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
    /// All secrets are looked for in what was answered, and none in the placeholder of another. Notifiers have few: their
    /// number is one of a byte.
    fn marks(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        // Servers write parts of a URL as they were sent, or encode them anew.
        let decoded = memchr(b'%', bytes).map(|_| Decoded::new(bytes));
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
            let Some(Decoded { bytes, starts }) = &decoded else {
                continue;
            };
            for at in memmem::find_iter(bytes, value) {
                marks[starts[at]..starts[at + value.len()]].fill(mark);
                is_any = true;
            }
        }
        is_any.then_some(marks)
    }
}

/// What percent-encoded bytes stand for (RFC 3986, section 2.1).
struct Decoded {
    bytes: Vec<u8>,
    /// Where each of them begins in what was decoded, and then where that ends.
    starts: Vec<usize>,
}

impl Decoded {
    fn new(encoded: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(encoded.len());
        let mut starts = Vec::with_capacity(encoded.len() + 1);
        let mut rest = encoded;
        while let Some((first, after)) = rest.split_first() {
            starts.push(encoded.len() - rest.len());
            let (byte, after) = escaped(rest).unwrap_or((*first, after));
            bytes.push(byte);
            rest = after;
        }
        starts.push(encoded.len());
        Self { bytes, starts }
    }
}

/// Reads `%` and two digits, and gives what follows them.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = text.strip_prefix(b"%")?.split_at_checked(2)?;
    let mut byte = [0_u8];
    hex::decode_to_slice(digits, &mut byte).ok()?;
    Some((byte[0], after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[(&str, &str)]) -> Secrets {
        let mut secrets = Secrets::default();
        for (name, value) in values {
            secrets.add(*name, *value).unwrap();
        }
        secrets
    }

    fn hidden(values: &[(&str, &str)], answer: &str) -> String {
        let secrets = secrets(values);
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
        let secrets = secrets(&[(long.as_str(), "s3cret"), ("b", "hidden")]);
        let answer = "s3crethidden".repeat(1000);
        let most = answer.len();
        let hidden = secrets.hiding().bytes(answer.into_bytes(), most);
        assert!(hidden.len() > most && hidden.len() < most + 500);
    }
}
