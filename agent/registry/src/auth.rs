//! How a registry asks for credentials, and the tokens that its token service issues.
//!
//! The protocol is that of <https://distribution.github.io/distribution/spec/auth/token/> and, for identity tokens,
//! <https://distribution.github.io/distribution/spec/auth/oauth/>.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_auth::{ChallengeRef, parser::ChallengeParser};
use pintle_core::digest::Digest;
use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use crate::{
    credentials::Credentials,
    error::{Cause, Part},
    session::{Session, explain},
    transport::{Outgoing, host_of},
};

/// The size of the largest response of a token service, in bytes.
const MAX_TOKEN: u64 = 256 << 10;
/// How long a token is valid if its service does not say, by the specification.
const DEFAULT_LIFE: Duration = Duration::from_mins(1);
/// The longest time that a token is kept.
const MAX_LIFE: Duration = Duration::from_hours(1);
/// How long before its end a token is no longer used, so that it does not expire in flight.
const MARGIN: Duration = Duration::from_secs(10);
/// The most tokens that are kept.
const MAX_TOKENS: usize = 256;
/// The most actions of a challenge that are looked at.
const MAX_ACTIONS: usize = 16;

/// The kind of access to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    Pull,
    Push,
}

impl Access {
    const fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        }
    }

    /// Returns the action in words for an error, where it precedes the repository.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Pull => "pull from",
            Self::Push => "push to",
        }
    }
}

/// What an `Authorization` header is valid for, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    pub(crate) registry: String,
    pub(crate) repository: String,
    pub(crate) access: Access,
    pub(crate) credentials: Digest,
}

/// `Authorization` headers that worked, until they expire.
#[derive(Debug, Default)]
pub(crate) struct TokenCache(Mutex<HashMap<TokenKey, (HeaderValue, Instant)>>);

impl TokenCache {
    pub(crate) fn get(&self, key: &TokenKey) -> Option<HeaderValue> {
        let mut tokens = self.lock();
        tokens.retain(|_, (_, end)| Instant::now() < *end);
        tokens.get(key).map(|(header, _)| header.clone())
    }

    fn put(&self, key: TokenKey, header: HeaderValue, life: Duration) {
        let mut tokens = self.lock();
        if tokens.len() >= MAX_TOKENS {
            // Tokens are easily asked for again, so it does not matter which of them go.
            tokens.clear();
        }
        let life = life.min(MAX_LIFE).saturating_sub(MARGIN);
        tokens.insert(key, (header, Instant::now() + life));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenKey, (HeaderValue, Instant)>> {
        // A map is whole whatever happened to the holder of its lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a registry asks for credentials.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// The answer to a registry that asked for credentials.
pub(crate) struct Granted {
    pub(crate) header: HeaderValue,
    /// Whether it is a token that was issued for this just now, so that its service accepted the credentials.
    pub(crate) is_token: bool,
}

/// Reads how a registry asks, preferring the safer way if it offers several.
fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    for challenge in challenges(headers) {
        if challenge.scheme.eq_ignore_ascii_case("bearer") {
            if let Some(realm) = parameter(&challenge, "realm") {
                return Some(Challenge::Bearer {
                    realm,
                    service: parameter(&challenge, "service"),
                    scope: parameter(&challenge, "scope"),
                });
            }
        } else if challenge.scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

/// Returns the scope of a token: the access that is needed, and what the registry asks for beside it. Some registries have a
/// separate permission for lists of tags. Since everything is asked for together, a token for a list also serves what comes
/// after it.
///
/// Registries also name other repositories, or none; such scopes are ignored. And nobody asks to push or to delete because a
/// registry says so.
fn scope(repository: &str, access: Access, asked: &str) -> String {
    let mut actions: Vec<_> = access.actions().split(',').collect();
    let ours = asked.split_ascii_whitespace().filter_map(|scope| {
        let name = scope.strip_prefix("repository:")?;
        name.strip_prefix(repository)?.strip_prefix(':')
    });
    let ours = ours.flat_map(|actions| actions.split(','));
    for action in ours.take(MAX_ACTIONS) {
        let is_word = !action.is_empty()
            && action
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let changes = matches!(action, "push" | "delete");
        if is_word && !changes && !actions.contains(&action) {
            actions.push(action);
        }
    }
    format!("repository:{repository}:{}", actions.join(","))
}

/// Returns whether a registry accepts what it was shown, but a permission is missing (RFC 6750, section 3.1).
pub(crate) fn misses_a_right(headers: &HeaderMap) -> bool {
    challenges(headers).any(|challenge| {
        parameter(&challenge, "error").is_some_and(|error| error == "insufficient_scope")
    })
}

fn challenges(headers: &HeaderMap) -> impl Iterator<Item = ChallengeRef<'_>> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| ChallengeParser::new(text).map_while(Result::ok))
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let found = challenge
        .params
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_unescaped())
}

/// The response of a token service. Older services write `token`, and those that follow OAuth 2 `access_token`.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    /// A number of seconds, which some services write as a text.
    expires_in: Option<serde_json::Value>,
}

impl Session<'_> {
    /// Answers a registry that asked for credentials. Returns `None` if there is nothing that it could be shown.
    pub(crate) async fn authorize(&self, headers: &HeaderMap) -> Result<Option<Granted>, Cause> {
        let (header, life, is_token) = match (challenge(headers), self.credentials) {
            (Some(Challenge::Basic), Credentials::Basic { username, password }) => {
                (basic(username, password.expose()), MAX_LIFE, false)
            }
            // A token that is shown as given has been shown already.
            (None | Some(Challenge::Basic), _) | (_, Credentials::Bearer(_)) => return Ok(None),
            (
                Some(Challenge::Bearer {
                    realm,
                    service,
                    scope: asked,
                }),
                _,
            ) => {
                let asked = asked.unwrap_or_default();
                let scope = scope(self.reference.repository(), self.access, &asked);
                let (header, life) = self.token(&realm, service.as_deref(), &scope).await?;
                (header, life, true)
            }
        };
        self.transport
            .tokens
            .put(self.token_key(), header.clone(), life);
        Ok(Some(Granted { header, is_token }))
    }

    /// Asks a token service for a token.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
    ) -> Result<(HeaderValue, Duration), Cause> {
        let registry = self.reference.registry();
        let mut url = Url::parse(realm).map_err(|error| Cause::Protocol {
            host: registry.to_owned(),
            reason: format!("its token service has no URL: {error}"),
        })?;
        self.check_target(&url).await?;
        let host = host_of(&url);
        tracing::debug!(registry, token_service = host, "asking for a token");

        let mut parameters = vec![("scope", scope)];
        parameters.extend(service.map(|service| ("service", service)));
        let mut authorization = None;
        let outgoing = if let Credentials::Identity(token) = self.credentials {
            parameters.extend([
                ("grant_type", "refresh_token"),
                ("refresh_token", token.expose()),
                ("client_id", "pintle"),
            ]);
            let form = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(parameters)
                .finish();
            Outgoing {
                content: Some(("application/x-www-form-urlencoded", Bytes::from(form))),
                ..Outgoing::new(Method::POST, url)
            }
        } else {
            if let Credentials::Basic { username, password } = self.credentials {
                parameters.push(("account", username));
                authorization = Some(basic(username, password.expose()));
            }
            url.query_pairs_mut().extend_pairs(parameters);
            Outgoing::new(Method::GET, url)
        };
        // A redirect of this request would carry credentials along, so it is an error like any other status.
        let response = self
            .transport
            .send(&outgoing, authorization.as_ref())
            .await?;
        if response.status() != StatusCode::OK {
            return Err(explain(self.transport, response, self.credentials.shown(), "token").await);
        }
        let taken = self.transport.take(response, MAX_TOKEN).await?;
        if taken.more {
            return Err(Cause::TooLarge {
                part: Part::Token,
                limit: MAX_TOKEN,
                size: None,
            });
        }
        read_token(&taken.bytes)
    }
}

fn read_token(bytes: &[u8]) -> Result<(HeaderValue, Duration), Cause> {
    let malformed = |reason: &str| Cause::Malformed {
        part: Part::Token,
        reason: reason.to_owned(),
    };
    // The parser's message may quote the token, so it is not passed on.
    let answer: Answer =
        serde_json::from_slice(bytes).map_err(|_| malformed("it is not in JSON with `token`"))?;
    let token = answer
        .token
        .filter(|token| !token.is_empty())
        .or(answer.access_token)
        .ok_or_else(|| malformed("there is neither `token` nor `access_token`"))?;
    let header =
        bearer(&token).ok_or_else(|| malformed("it has characters that a header cannot have"))?;
    let life = answer.expires_in.as_ref().and_then(|value| match value {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    });
    Ok((header, life.map_or(DEFAULT_LIFE, Duration::from_secs)))
}

/// Returns the header for a token that is shown as it is; `None` if the token cannot be in a header.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn basic(username: &str, password: &str) -> HeaderValue {
    let encoded = STANDARD.encode(format!("{username}:{password}"));
    let mut header = HeaderValue::from_str(&format!("Basic {encoded}"))
        .expect("base64 has only letters that a header may have");
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let values = values
            .iter()
            .filter_map(|value| HeaderValue::from_str(value).ok());
        values.map(|value| (WWW_AUTHENTICATE, value)).collect()
    }

    #[test]
    fn bearer_comes_before_basic() {
        let bearer = r#"Bearer realm="https://a/token",service="reg\"1",scope="repository:x:pull""#;
        let expected = Challenge::Bearer {
            realm: "https://a/token".into(),
            service: Some("reg\"1".into()),
            scope: Some("repository:x:pull".into()),
        };
        assert_eq!(
            challenge(&headers(&["Basic realm=x", bearer])),
            Some(expected)
        );
        assert_eq!(
            challenge(&headers(&["basic", "Bearer"])),
            Some(Challenge::Basic)
        );
        assert_eq!(challenge(&headers(&["Negotiate", "Bearer x=\""])), None);
        assert_eq!(challenge(&headers(&[])), None);
    }

    #[test]
    fn what_is_asked_for_is_of_the_same_repository_and_changes_nothing() {
        let pull = |asked: &str| scope("team/x", Access::Pull, asked);
        for asked in [
            "",
            "aws",
            "*",
            "registry:catalog:*",
            "repository:user/image:pull",
            "repository:x:metadata_read",
            "repository:team/x/y:metadata_read",
            "repository:team/x2:metadata_read",
            "repository:team/x",
            "repository:team/x:",
            "repository:team/x:pull",
            "repository:team/x:push,delete,*,Metadata,a:b",
        ] {
            assert_eq!(pull(asked), "repository:team/x:pull", "{asked}");
        }
        let both = "repository:team/x:pull,metadata_read";
        assert_eq!(pull("repository:team/x:metadata_read"), both);
        assert_eq!(
            pull("repository:y:all repository:team/x:metadata_read,pull,metadata_read"),
            both
        );
        assert_eq!(
            scope("x", Access::Push, "repository:x:pull,push,metadata_read"),
            "repository:x:pull,push,metadata_read"
        );
        let many: Vec<_> = (0..1000).map(|length| "a".repeat(length)).collect();
        let all = pull(&format!("repository:team/x:{}", many.join(",")));
        assert!(all.len() < 1000, "{all}");
    }

    #[test]
    fn a_missing_right_is_told_from_a_wrong_token() {
        let misses = |values: &[&str]| misses_a_right(&headers(values));
        let bearer = r#"Bearer realm="https://a/token",scope="repository:x:pull",error="#;
        assert!(misses(&[&format!("{bearer}\"insufficient_scope\"")]));
        assert!(misses(&[
            "Basic realm=x",
            "Bearer ERROR=insufficient_scope"
        ]));
        assert!(!misses(&[&format!("{bearer}\"invalid_token\"")]));
        assert!(!misses(&["Bearer scope=\"insufficient_scope\""]));
        assert!(!misses(&[]));
    }

    #[test]
    fn tokens_in_each_spelling() {
        let read = |text: &str| {
            read_token(text.as_bytes())
                .map(|(h, life)| (h.to_str().unwrap().to_owned(), life.as_secs()))
        };
        assert_eq!(
            read(r#"{"token":"a","expires_in":300}"#).unwrap(),
            ("Bearer a".into(), 300)
        );
        assert_eq!(
            read(r#"{"token":"","access_token":"b","expires_in":"30"}"#).unwrap(),
            ("Bearer b".into(), 30)
        );
        assert_eq!(
            read(r#"{"access_token":"b","expires_in":-1}"#).unwrap(),
            ("Bearer b".into(), 60)
        );
        let said: Vec<_> = [r#"{"token":"a\nX-Other: b"}"#, "{}", "secret"]
            .into_iter()
            .map(|text| read(text).unwrap_err().to_string())
            .collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        the token cannot be understood: it has characters that a header cannot have
        the token cannot be understood: there is neither `token` nor `access_token`
        the token cannot be understood: it is not in JSON with `token`
        ");
    }

    #[test]
    fn headers_are_not_shown() {
        assert_eq!(format!("{:?}", basic("user", "hunter2")), "Sensitive");
        assert_eq!(format!("{:?}", bearer("hunter2")), "Some(Sensitive)");
    }

    proptest! {
        #[test]
        fn no_challenge_panics(text in "\\PC{0,60}") {
            let _ = challenge(&headers(&[&text]));
        }

        #[test]
        fn no_token_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = read_token(&bytes);
        }
    }
}
