//! Placeholders that the host fills in when it sends a request: `${secret:NAME}` and `${hmac-sha256:NAME}`.

use pintle_sdk::Problem;

/// The kinds of placeholder that the host fills in.
const KINDS: [&str; 2] = ["secret", "hmac-sha256"];

/// Returns whether a secret's value is put into this text.
pub(crate) fn is_secret(text: &str) -> bool {
    text.contains("${secret:")
}

/// Checks that the host fills in every `${...}` of a text. `at` points to the text in the settings.
///
/// The host leaves any other as it is, so a misspelt one would be sent, and nobody would know why the request fails.
pub fn check_placeholders(text: &str, at: &str) -> Option<Problem> {
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        rest = &rest[start + 2..];
        let Some((inner, after)) = rest.split_once('}') else {
            return Some(
                Problem::new("a placeholder is not closed")
                    .pointer(at)
                    .hint("write it as ${secret:NAME}"),
            );
        };
        let good = inner
            .split_once(':')
            .is_some_and(|(kind, name)| KINDS.contains(&kind) && is_name(name));
        if !good {
            return Some(
                Problem::new(format!("`${{{inner}}}` is no placeholder"))
                    .pointer(at)
                    .hint("the placeholders are ${secret:NAME} and ${hmac-sha256:NAME}"),
            );
        }
        rest = after;
    }
    None
}

/// Checks a secret's name that stands alone. `at` points to the name in the settings.
pub fn check_secret_name(name: &str, at: &str) -> Option<Problem> {
    (!is_name(name)).then(|| {
        Problem::new("the secret's name is not made of letters, digits, `.`, `_` and `-`")
            .pointer(at)
            .hint("name a secret of the application; its value is no setting")
    })
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_that_the_host_fills_are_accepted() {
        for text in [
            "",
            "https://example.com/",
            "${secret:url}",
            "Bearer ${secret:a.b_c-1}",
            "$x {} ${hmac-sha256:key}",
        ] {
            assert_eq!(check_placeholders(text, "/url"), None, "{text}");
        }
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "${secret:url",
            "a ${secret:}",
            "${secrets:url}",
            "${secret:a b}",
            "${TOKEN}",
            "${secret:a} ${x:y}",
        ] {
            assert!(check_placeholders(text, "/url").is_some(), "{text}");
        }
        let problem = check_placeholders("Bearer ${TOKEN}", "/headers/Authorization").unwrap();
        insta::assert_snapshot!(problem, @"/headers/Authorization: `${TOKEN}` is no placeholder (the placeholders are ${secret:NAME} and ${hmac-sha256:NAME})");
    }

    #[test]
    fn a_secret_is_named_and_not_given() {
        assert_eq!(check_secret_name("slack-token", "/token"), None);
        insta::assert_snapshot!(check_secret_name("p@ss word", "/token").unwrap(), @"/token: the secret's name is not made of letters, digits, `.`, `_` and `-` (name a secret of the application; its value is no setting)");
    }
}
