//! `${secret:NAME}` and `${hmac-sha256:NAME}` in requests.

use std::collections::{BTreeMap, btree_map::Entry};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::Secrets;
use crate::bindings::wit::http::HttpError;

/// The maximum number of placeholders in one request.
const PLACEHOLDERS: usize = 16;

/// What a placeholder stands for.
#[derive(Clone, Copy)]
enum Kind {
    Secret,
    Signature,
}

/// The prefixes of placeholders.
const KINDS: [(&str, Kind); 2] = [
    ("${secret:", Kind::Secret),
    ("${hmac-sha256:", Kind::Signature),
];

/// Fills in the placeholders of one request.
pub(super) struct Filling<'a> {
    secrets: &'a Secrets,
    body: &'a [u8],
    /// The number of placeholders found so far.
    found: usize,
    /// Signatures of the body, by the name of the key. Each of them reads the whole body.
    signatures: BTreeMap<String, String>,
}

impl Secrets {
    pub(super) fn filling<'a>(&'a self, body: &'a [u8]) -> Filling<'a> {
        Filling {
            secrets: self,
            body,
            found: 0,
            signatures: BTreeMap::new(),
        }
    }
}

impl Filling<'_> {
    /// Fills in the placeholders of a URL or a header value, which messages call `what`. Any other `${…}` stays as it is.
    ///
    /// Neither the template nor the result may be longer than `most` bytes.
    pub(super) fn fill(
        &mut self,
        what: &str,
        template: &str,
        most: usize,
    ) -> Result<String, HttpError> {
        let too_long = || HttpError::NotGranted(format!("{what} is longer than {most} bytes"));
        if template.len() > most {
            return Err(too_long());
        }
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(start) = rest.find("${") {
            let (before, from) = rest.split_at(start);
            filled.push_str(before);
            let opened = KINDS
                .into_iter()
                .find_map(|(open, kind)| Some((kind, from.strip_prefix(open)?)));
            let Some((kind, inner)) = opened else {
                // What follows the `${` may itself be a placeholder.
                let (open, after) = from.split_at(2);
                filled.push_str(open);
                rest = after;
                continue;
            };
            let Some((name, after)) = inner.split_once('}') else {
                rest = from;
                break;
            };
            filled.push_str(self.value(kind, name)?);
            if filled.len() > most {
                return Err(too_long());
            }
            rest = after;
        }
        filled.push_str(rest);
        if filled.len() > most {
            return Err(too_long());
        }
        Ok(filled)
    }

    fn value(&mut self, kind: Kind, name: &str) -> Result<&str, HttpError> {
        self.found += 1;
        if self.found > PLACEHOLDERS {
            return Err(HttpError::NotGranted(format!(
                "the request has more than {PLACEHOLDERS} placeholders"
            )));
        }
        match kind {
            Kind::Secret => self.secrets.text(name),
            Kind::Signature => match self.signatures.entry(name.to_owned()) {
                Entry::Occupied(made) => Ok(made.into_mut().as_str()),
                Entry::Vacant(free) => {
                    let signature = signature(self.secrets.key(name)?, self.body);
                    Ok(free.insert(signature).as_str())
                }
            },
        }
    }
}

fn signature(key: &[u8], body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1000;

    fn secrets() -> Secrets {
        let mut secrets = Secrets::of(&[
            ("token", "s3cret-value\n"),
            ("key", "Jefe"),
            ("key-of-a-file", "Jefe\n"),
            ("long", &"x".repeat(400)),
        ]);
        secrets.add("raw", [0xff_u8, 0xfe]).unwrap();
        secrets
    }

    fn fill(template: &str) -> String {
        let secrets = secrets();
        let mut filling = secrets.filling(b"what do ya want for nothing?");
        filling.fill("the URL", template, MOST).unwrap()
    }

    fn error(template: &str) -> String {
        let secrets = secrets();
        match secrets.filling(b"").fill("the URL", template, MOST) {
            Err(HttpError::NotGranted(reason)) => reason,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn secrets_and_signatures_are_filled_in() {
        assert_eq!(fill("Bearer ${secret:token}!"), "Bearer s3cret-value!");
        // RFC 4231, test case 2.
        let signature = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(
            fill("sha256=${hmac-sha256:key}"),
            format!("sha256={signature}")
        );
        assert_eq!(
            fill("${hmac-sha256:key} ${hmac-sha256:key} ${hmac-sha256:key-of-a-file}"),
            format!("{signature} {signature} {signature}")
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
            "${secret:key",
            "${a${secret:key",
        ] {
            assert_eq!(fill(text), text);
        }
        assert_eq!(fill("${x${secret:key}}"), "${xJefe}");
        assert_eq!(fill("${env:A}${secret:key}"), "${env:A}Jefe");
    }

    #[test]
    fn what_is_not_given_or_no_text_is_told_by_name() {
        insta::assert_snapshot!(error("${secret:none}"), @"secret `none` is not given: add it to `secrets` where the notifier is used");
        insta::assert_snapshot!(error("${hmac-sha256:none}"), @"secret `none` is not given: add it to `secrets` where the notifier is used");
        insta::assert_snapshot!(error("${secret:raw}"), @"secret `raw` is not UTF-8 text");
    }

    #[test]
    fn neither_what_is_written_nor_what_is_filled_in_is_longer_than_its_bound() {
        let long = "the URL is longer than 1000 bytes";
        assert_eq!(fill(&"a".repeat(MOST)).len(), MOST);
        assert_eq!(error(&"a".repeat(MOST + 1)), long);
        assert_eq!(error(&"${hmac-sha256:key}".repeat(100_000)), long);
        assert_eq!(
            fill(&format!("{}${{secret:long}}", "a".repeat(600))).len(),
            MOST
        );
        assert_eq!(error(&format!("{}${{secret:long}}", "a".repeat(601))), long);
        assert_eq!(error(&format!("${{secret:long}}{}", "a".repeat(601))), long);
        assert_eq!(error("${secret:long}${secret:long}${secret:long}"), long);
    }

    #[test]
    fn placeholders_are_counted_over_all_of_a_request() {
        let secrets = secrets();
        let mut filling = secrets.filling(b"");
        for _ in 0..PLACEHOLDERS {
            filling.fill("the URL", "${secret:key}", MOST).unwrap();
        }
        assert!(filling.fill("the URL", "none: ${x}", MOST).is_ok());
        let more = filling.fill("the URL", "${hmac-sha256:key}", MOST);
        assert!(
            matches!(&more, Err(HttpError::NotGranted(reason)) if reason == "the request has more than 16 placeholders"),
            "{more:?}"
        );
    }
}
