//! `${secret:NAME}` and `${hmac-sha256:NAME}` in what is sent.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{Secrets, shown};
use crate::bindings::wit::http::HttpError;

/// Bytes from which on a value is looked for in responses: shorter ones would be found where they are not.
const TELLING: usize = 6;

impl Secrets {
    /// Fills the placeholders of a URL or a header's value. Any other `${…}` stays as it is.
    pub(super) fn fill(&self, template: &str, body: &[u8]) -> Result<String, HttpError> {
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(start) = rest.find("${") {
            let (before, from) = rest.split_at(start);
            filled.push_str(before);
            let Some(end) = from.find('}') else {
                rest = from;
                break;
            };
            let (placeholder, after) = from.split_at(end + 1);
            match placeholder[2..end].split_once(':') {
                Some(("secret", name)) => filled.push_str(self.text(name)?),
                Some(("hmac-sha256", name)) => {
                    let mut mac = Hmac::<Sha256>::new_from_slice(self.get(name)?)
                        .expect("HMAC takes keys of any length");
                    mac.update(body);
                    filled.push_str(&hex::encode(mac.finalize().into_bytes()));
                }
                _ => {
                    // What follows the `${` may itself hold a placeholder.
                    filled.push_str("${");
                    rest = &from[2..];
                    continue;
                }
            }
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn get(&self, name: &str) -> Result<&[u8], HttpError> {
        self.0.get(name).map(Vec::as_slice).ok_or_else(|| {
            HttpError::NotGranted(format!(
                "secret `{}` is not given: add it to `secrets` where the notifier is used",
                shown(name)
            ))
        })
    }

    /// A value for a URL or header: files and editors end a text with a line break, which neither can hold.
    fn text(&self, name: &str) -> Result<&str, HttpError> {
        let text = str::from_utf8(self.get(name)?).map_err(|_| {
            HttpError::Transport(format!("secret `{}` is not UTF-8 text", shown(name)))
        })?;
        Ok(text.trim_end_matches(['\r', '\n']))
    }

    /// Puts the placeholders back into what a server answers: many repeat what they were sent when they refuse it.
    pub(super) fn hidden_bytes(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        for (name, value) in &self.0 {
            let value = value.trim_ascii_end();
            if value.len() < TELLING {
                continue;
            }
            let mut hidden = Vec::with_capacity(bytes.len());
            let mut rest = bytes.as_slice();
            while let Some(at) = find(rest, value) {
                hidden.extend_from_slice(&rest[..at]);
                hidden.extend_from_slice(format!("${{secret:{name}}}").as_bytes());
                rest = &rest[at + value.len()..];
            }
            hidden.extend_from_slice(rest);
            bytes = hidden;
        }
        bytes
    }

    /// The same for a header's value.
    pub(super) fn hidden(&self, value: &[u8]) -> String {
        String::from_utf8_lossy(&self.hidden_bytes(value.to_vec())).into_owned()
    }
}

fn find(bytes: &[u8], value: &[u8]) -> Option<usize> {
    bytes
        .windows(value.len())
        .position(|window| window == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets::new([
            ("token".to_owned(), b"s3cret-value\n".to_vec()),
            ("key".to_owned(), b"Jefe".to_vec()),
            ("raw".to_owned(), vec![0xff, 0xfe]),
        ])
    }

    fn fill(template: &str) -> String {
        secrets()
            .fill(template, b"what do ya want for nothing?")
            .unwrap()
    }

    #[test]
    fn secrets_and_signatures_are_filled_in() {
        assert_eq!(fill("Bearer ${secret:token}!"), "Bearer s3cret-value!");
        // RFC 4231, test case 2.
        assert_eq!(
            fill("sha256=${hmac-sha256:key}"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn everything_else_stays() {
        for text in [
            "",
            "$",
            "${",
            "${}",
            "${a}",
            "${env:HOME}",
            "$${",
            "a${b",
            "}",
            "é${ü}",
        ] {
            assert_eq!(fill(text), text);
        }
        assert_eq!(fill("${x${secret:key}}"), "${xJefe}");
        assert_eq!(fill("${env:A}${secret:key}"), "${env:A}Jefe");
    }

    #[test]
    fn what_is_not_given_or_no_text_is_told_by_name() {
        let error = |template| match secrets().fill(template, b"").unwrap_err() {
            HttpError::NotGranted(text) | HttpError::Transport(text) => text,
            _ => String::new(),
        };
        insta::assert_snapshot!(error("${secret:none}"), @"secret `none` is not given: add it to `secrets` where the notifier is used");
        insta::assert_snapshot!(error("${hmac-sha256:none}"), @"secret `none` is not given: add it to `secrets` where the notifier is used");
        insta::assert_snapshot!(error("${secret:raw}"), @"secret `raw` is not UTF-8 text");
    }

    #[test]
    fn an_answer_that_repeats_a_secret_is_given_its_placeholder() {
        let hidden = secrets().hidden_bytes(b"bad token s3cret-value, s3cret-valu, Jefe".to_vec());
        assert_eq!(hidden, b"bad token ${secret:token}, s3cret-valu, Jefe");
    }

    #[test]
    fn values_are_never_printed() {
        assert_eq!(format!("{:?}", secrets()), r#"{"key", "raw", "token"}"#);
    }
}
