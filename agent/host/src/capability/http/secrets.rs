//! Secret values that the host puts into requests.

use std::{collections::BTreeMap, fmt};

use super::shown;
use crate::bindings::wit::http::HttpError;

/// The maximum number of values for one use of a notifier. Each is read from the cluster and searched for in every answer.
const MOST: usize = 32;

/// The maximum sizes in bytes of a value and of its name.
const VALUE: usize = 64 << 10;
const NAME: usize = 253;

/// The values that the host puts into requests in place of `${secret:NAME}`, by NAME. They are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, Vec<u8>>);

/// The reason why a value is rejected.
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
        /// The beginning of the name.
        name: String,
    },
    /// It is too large.
    #[error(
        "secret `{name}` is larger than {most} bytes: expected what fits into a URL or a header, or a signing key",
        most = VALUE
    )]
    TooLarge {
        /// The name of the value.
        name: String,
    },
}

impl Secrets {
    /// Adds a value by name.
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

    /// Returns all values with their names.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let values = self.0.iter();
        values.map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    fn get(&self, name: &str) -> Result<&[u8], HttpError> {
        self.0.get(name).map(Vec::as_slice).ok_or_else(|| {
            HttpError::NotGranted(format!(
                "secret `{}` is not given: add it to `secrets` where the notifier is used",
                shown(name)
            ))
        })
    }

    /// Returns a value for a URL or header, which cannot hold a line break.
    pub(super) fn text(&self, name: &str) -> Result<&str, HttpError> {
        let text = str::from_utf8(self.get(name)?).map_err(|_| {
            HttpError::NotGranted(format!("secret `{}` is not UTF-8 text", shown(name)))
        })?;
        Ok(without_line_break(text))
    }

    /// Returns the key of a signature: a text in the form used for URLs and headers, and anything else byte for byte.
    pub(super) fn key(&self, name: &str) -> Result<&[u8], HttpError> {
        let value = self.get(name)?;
        Ok(str::from_utf8(value).map_or(value, |text| without_line_break(text).as_bytes()))
    }
}

/// Removes the final line break, which files and editors add and which is not part of a secret.
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

    impl Secrets {
        pub(in super::super) fn of(values: &[(&str, &str)]) -> Self {
            let mut secrets = Self::default();
            for (name, value) in values {
                secrets.add(*name, *value).unwrap();
            }
            secrets
        }
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
            assert_eq!(Secrets::of(&[("a", value)]).text("a").unwrap(), "Jefe");
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
        let secrets = Secrets::of(&[("key", "Jefe"), ("token", "s3cret-value")]);
        assert_eq!(format!("{secrets:?}"), r#"{"key", "token"}"#);
    }
}
