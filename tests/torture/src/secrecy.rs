//! Checks that the contents of Secrets do not turn up where they must not.

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use pintle_harness::{Delivery, Proxied};

use crate::model::HIDDEN;

/// How much of a finding a failure shows.
const EXCERPT: usize = 200;

/// Checks that no value of a Secret is in what the agent wrote to the API server (except to Secrets), in its log, or in a
/// message.
pub(crate) fn holds(requests: &[Proxied], log: &str, messages: &[Delivery]) -> Result<()> {
    let forms = forms();
    for request in requests.iter().filter(|one| !one.uri.contains("/secrets")) {
        let place = || format!("{} {}", request.method, request.uri);
        search(&forms, &String::from_utf8_lossy(&request.body), place)?;
    }
    search(&forms, log, || "the log".to_owned())?;
    for message in messages {
        let text = String::from_utf8_lossy(&message.body);
        search(&forms, &text, || format!("a message to {}", message.path))?;
    }
    Ok(())
}

fn search(forms: &[String], text: &str, place: impl Fn() -> String) -> Result<()> {
    for form in forms {
        if let Some(at) = text.find(form.as_str()) {
            let end = text.len().min(at + EXCERPT);
            let excerpt = String::from_utf8_lossy(&text.as_bytes()[at..end]);
            bail!("{} tells what a Secret holds: {excerpt}", place());
        }
    }
    Ok(())
}

/// Returns the possible forms of the beginning of every value: plain, as the API represents it, and each of these inside encoded
/// text.
fn forms() -> Vec<String> {
    let words = [HIDDEN.to_owned(), encoded(HIDDEN, 0)];
    let within = words
        .iter()
        .flat_map(|word| (0..3).map(move |offset| encoded(word, offset)));
    let within: Vec<String> = within.collect();
    words.into_iter().chain(within).collect()
}

/// Returns the base64 encoding of a word that begins at this offset of a text, without the characters that also depend on the
/// text around it.
fn encoded(word: &str, offset: usize) -> String {
    let text = "-".repeat(offset) + word;
    let (begin, end) = ((offset * 8).div_ceil(6), text.len() * 8 / 6);
    STANDARD_NO_PAD.encode(&text)[begin..end].to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::model::{Key, Kind, manifest};

    fn write(uri: &str, body: &str) -> Proxied {
        Proxied {
            method: "PATCH".to_owned(),
            uri: uri.to_owned(),
            arrived: Instant::now(),
            status: 200,
            passed_on: true,
            answered: None,
            body: body.to_owned().into_bytes().into(),
        }
    }

    #[test]
    fn a_value_is_found_however_it_is_written() {
        let key = Key {
            kind: Kind::Secret,
            name: "web-1".to_owned(),
        };
        let secret = manifest(&key, 7).to_string();
        let (status, event) = ("/n/applications/web/status?x", "/n/events?x");
        holds(&[write("/n/secrets/web-1?x", &secret)], "fine", &[]).unwrap();
        holds(&[write(status, "{}")], "fine", &[]).unwrap();
        holds(&[write(status, &secret)], "", &[]).unwrap_err();
        let plain = format!("it is {HIDDEN} web-1 7");
        holds(&[write(event, &plain)], "", &[]).unwrap_err();
        holds(&[], &plain, &[]).unwrap_err();
        for before in ["", "a", "ab"] {
            for text in [&secret, &plain] {
                let packed = STANDARD.encode(format!("{before}{text}"));
                holds(&[], &packed, &[]).unwrap_err();
            }
        }
    }
}
