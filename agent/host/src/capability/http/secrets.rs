//! Values that the host puts into requests, and takes out of what is answered.

use std::{collections::BTreeMap, fmt};

use memchr::memmem;

use super::shown;
use crate::bindings::wit::http::HttpError;

/// Most values of one use of a notifier: each is read from the cluster, and looked for in every answer.
const MOST: usize = 32;

/// Most bytes of a value, and of its name.
const VALUE: usize = 64 << 10;
const NAME: usize = 253;

/// Bytes from which on a value is looked for in responses: shorter ones would be found where they are not.
const TELLING: usize = 6;

/// Values that the host puts into requests in place of `${secret:NAME}`, by NAME. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, Vec<u8>>);

/// Why a value is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// There are too many.
    #[error(
        "`secrets` has more than {most} entries: leave out those that the settings do not name",
        most = MOST
    )]
    TooMany,
    /// Its name is too long.
    #[error(
        "the name of the secret `{name}…` is longer than {most} bytes: give it a shorter one",
        most = NAME
    )]
    LongName {
        /// How it begins.
        name: String,
    },
    /// It is too large.
    #[error(
        "secret `{name}` is larger than {most} bytes: expected what fits into a URL or a header, or a signing key",
        most = VALUE
    )]
    TooLarge {
        /// Its name.
        name: String,
    },
}

impl Secrets {
    /// Takes a value by name.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        value: impl Into<Vec<u8>>,
    ) -> Result<(), SecretsError> {
        let (name, value) = (name.into(), value.into());
        if name.len() > NAME {
            return Err(SecretsError::LongName { name: shown(&name) });
        }
        if value.len() > VALUE {
            return Err(SecretsError::TooLarge { name });
        }
        if self.0.len() == MOST && !self.0.contains_key(&name) {
            return Err(SecretsError::TooMany);
        }
        self.0.insert(name, value);
        Ok(())
    }

    fn get(&self, name: &str) -> Result<&[u8], HttpError> {
        self.0.get(name).map(Vec::as_slice).ok_or_else(|| {
            HttpError::NotGranted(format!(
                "secret `{}` is not given: add it to `secrets` where the notifier is used",
                shown(name)
            ))
        })
    }

    /// A value for a URL or header, which cannot hold a line break.
    pub(super) fn text(&self, name: &str) -> Result<&str, HttpError> {
        let text = str::from_utf8(self.get(name)?).map_err(|_| {
            HttpError::NotGranted(format!("secret `{}` is not UTF-8 text", shown(name)))
        })?;
        Ok(without_line_break(text))
    }

    /// The key of a signature: a text as it is in a URL or header, and anything else byte by byte.
    pub(super) fn key(&self, name: &str) -> Result<&[u8], HttpError> {
        let value = self.get(name)?;
        Ok(str::from_utf8(value).map_or(value, |text| without_line_break(text).as_bytes()))
    }

    /// Puts the placeholders back into what a server answers: many repeat what they were sent when they refuse it. What
    /// comes of it may be longer; it ends soon after `most` bytes.
    pub(super) fn hidden_bytes(&self, bytes: Vec<u8>, most: usize) -> Vec<u8> {
        let values = self
            .0
            .iter()
            .map(|(name, value)| (name, value.trim_ascii_end()));
        let mut values: Vec<_> = values.filter(|(_, value)| value.len() >= TELLING).collect();
        // Where one value is in another, it is the longer one that is told.
        values.sort_by_key(|(_, value)| value.len());
        // All are looked for in what was answered, and none in the placeholder of another.
        let mut marks = vec![0_u8; bytes.len()];
        let mut is_told = false;
        for (mark, (_, value)) in (1_u8..).zip(&values) {
            for at in memmem::find_iter(&bytes, value) {
                marks[at..at + value.len()].fill(mark);
                is_told = true;
            }
        }
        if !is_told {
            return bytes;
        }
        let mut hidden = Vec::with_capacity(bytes.len());
        let mut rest = bytes.as_slice();
        for run in marks.chunk_by(|a, b| a == b) {
            let (part, after) = rest.split_at(run.len());
            rest = after;
            match usize::from(run[0]).checked_sub(1) {
                None => hidden.extend_from_slice(part),
                Some(index) => {
                    let placeholder = format!("${{secret:{}}}", values[index].0);
                    hidden.extend_from_slice(placeholder.as_bytes());
                }
            }
            if hidden.len() > most {
                break;
            }
        }
        hidden
    }

    /// The same for a header's value.
    pub(super) fn hidden(&self, value: &[u8], most: usize) -> String {
        String::from_utf8_lossy(&self.hidden_bytes(value.to_vec(), most)).into_owned()
    }
}

/// Files and editors end a text with a line break, which is no part of a secret.
fn without_line_break(text: &str) -> &str {
    text.strip_suffix("\r\n")
        .or_else(|| text.strip_suffix('\n'))
        .unwrap_or(text)
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
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
        secrets(values).hidden(answer.as_bytes(), answer.len() * 100)
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
        let long = "n".repeat(NAME);
        let secrets = secrets(&[(long.as_str(), "s3cret"), ("b", "hidden")]);
        let answer = "s3crethidden".repeat(1000);
        let most = answer.len();
        let hidden = secrets.hidden_bytes(answer.into_bytes(), most);
        assert!(hidden.len() > most && hidden.len() < most + 2 * NAME);
    }

    #[test]
    fn one_line_break_ends_a_text_and_bytes_stay() {
        let read = |value: &[u8]| {
            let mut secrets = Secrets::default();
            secrets.add("a", value).unwrap();
            secrets.key("a").unwrap().to_vec()
        };
        for value in ["Jefe", "Jefe\n", "Jefe\r\n"] {
            assert_eq!(read(value.as_bytes()), b"Jefe");
            assert_eq!(secrets(&[("a", value)]).text("a").unwrap(), "Jefe");
        }
        assert_eq!(read(b"Jefe \n\n"), b"Jefe \n");
        assert_eq!(read(b"\xff\n"), b"\xff\n");
    }

    #[test]
    fn values_are_bounded() {
        let mut secrets = Secrets::default();
        for index in 0..MOST {
            secrets
                .add(format!("secret-{index}"), vec![b'x'; VALUE])
                .unwrap();
        }
        assert_eq!(secrets.add("secret-0", "another"), Ok(()));
        let said = [
            secrets.add("more", ""),
            secrets.add("secret-1", vec![b'x'; VALUE + 1]),
            secrets.add("n".repeat(NAME + 1), ""),
        ];
        let said = said.map(|added| added.unwrap_err().to_string().replace("nnnnnnnnnn", ""));
        insta::assert_snapshot!(said.join("\n"), @r"
        `secrets` has more than 32 entries: leave out those that the settings do not name
        secret `secret-1` is larger than 65536 bytes: expected what fits into a URL or a header, or a signing key
        the name of the secret `…` is longer than 253 bytes: give it a shorter one
        ");
    }

    #[test]
    fn values_are_never_printed() {
        let secrets = secrets(&[("key", "Jefe"), ("token", "s3cret-value")]);
        assert_eq!(format!("{secrets:?}"), r#"{"key", "token"}"#);
    }
}
