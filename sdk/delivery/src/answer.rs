//! What an HTTP response means for a delivery.

use pintle_sdk::{Failure, Http, HttpRequest, HttpResponse, Problem};

use crate::placeholder::is_secret;
use crate::time;

/// The number of characters of a response that a message quotes.
const QUOTED: usize = 200;

/// Sends a request and returns the response if it is a success (2xx).
///
/// A failure that may be temporary is [`Failure::Unavailable`]: a failed connection, 408, 425, 429 and 5xx, with the time
/// that `Retry-After` asks for. Any other response will not be better the next time, and is refused. A response that is
/// larger than the host accepts is also refused: its status is not known, and the message has arrived. The refusal quotes
/// the first part of the response, unless the request holds a secret, which the response may repeat.
pub fn deliver(http: &dyn Http, request: &HttpRequest) -> Result<HttpResponse, Failure> {
    deliver_or(http, request, |response| refusal(request, response))
}

/// Sends a request as [`deliver`] does, for receivers whose refusals have a meaning, which `refuse` interprets.
pub fn deliver_or(
    http: &dyn Http,
    request: &HttpRequest,
    refuse: impl FnOnce(&HttpResponse) -> Problem,
) -> Result<HttpResponse, Failure> {
    let response = http.send(request)?;
    match response.status {
        200..=299 => Ok(response),
        408 | 425 | 429 | 500..=599 => Err(Failure::Unavailable {
            reason: format!("the receiver answered {}", response.status),
            retry_after_ms: retry_after_ms(&response),
        }),
        _ => Err(refuse(&response).into()),
    }
}

fn refusal(request: &HttpRequest, response: &HttpResponse) -> Problem {
    let hint = match response.status {
        300..=399 => "redirects are not followed; set the URL to where it leads",
        401 | 403 => "check the secret or the signing key",
        404 | 410 => "check the URL",
        413 => "the receiver takes no message of this size",
        _ => "check what the receiver expects",
    };
    let mut parts = request
        .headers
        .iter()
        .map(|(_, value)| value)
        .chain([&request.url]);
    let answer = if parts.any(|part| is_secret(part)) {
        None
    } else {
        excerpt(&response.body)
    };
    let answer = answer.map(|text| format!(": {text}")).unwrap_or_default();
    Problem::new(format!("the receiver answered {}{answer}", response.status)).hint(hint)
}

/// Returns how many milliseconds the response asks to wait.
///
/// `Retry-After` is either in seconds or a date, which is compared with the response's own `Date`, because there is no
/// other clock. <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
pub fn retry_after_ms(response: &HttpResponse) -> Option<u64> {
    let text = response.header("retry-after")?.trim();
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            time::http_date(text)?.saturating_sub(time::http_date(response.header("date")?.trim())?)
        }
    };
    Some(seconds.saturating_mul(1000))
}

/// Returns the first part of a text response, on one line.
fn excerpt(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line
        .chars()
        .filter(|character| !character.is_control())
        .collect();
    match line.char_indices().nth(QUOTED) {
        _ if line.is_empty() => None,
        None => Some(line),
        Some((end, _)) => Some(format!("{}…", &line[..end])),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use pintle_sdk::HttpError;
    use pintle_sdk::testing::ScriptedHttp;

    use super::*;

    fn answer(response: HttpResponse) -> Result<HttpResponse, Failure> {
        deliver(
            &ScriptedHttp::new().respond(response),
            &HttpRequest::post("https://hooks.example.com/"),
        )
    }

    #[test]
    fn success_is_any_2xx() {
        for status in [200, 202, 204] {
            assert_eq!(answer(HttpResponse::new(status)).unwrap().status, status);
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            let failure =
                answer(HttpResponse::new(status).with_header("Retry-After", "7")).unwrap_err();
            assert_eq!(
                failure,
                Failure::Unavailable {
                    reason: format!("the receiver answered {status}"),
                    retry_after_ms: Some(7000)
                }
            );
        }
    }

    #[test]
    fn a_failed_connection_is_tried_again_and_what_was_not_sent_or_has_arrived_is_not() {
        let send = |error| {
            deliver(
                &ScriptedHttp::new().fail(error),
                &HttpRequest::post("https://hooks.example.com/"),
            )
            .unwrap_err()
        };
        assert_snapshot!(send(HttpError::TimedOut), @"unavailable: no answer in time");
        assert_snapshot!(send(HttpError::Transport("connection refused".into())), @"unavailable: connection failed: connection refused");
        assert_snapshot!(send(HttpError::NotGranted("`${secret:url}` is not an absolute URL".into())), @"refused: not sent: `${secret:url}` is not an absolute URL");
        assert_snapshot!(send(HttpError::TooLarge(1024)), @"refused: the answer is larger than the limit of 1024 bytes (the request has arrived, and is not sent again)");
    }

    #[test]
    fn what_will_not_pass_is_refused_with_the_answer() {
        let failure =
            |status, body: &str| answer(HttpResponse::new(status).with_body(body)).unwrap_err();
        assert_snapshot!(failure(400, "{\n  \"error\": \"unknown field\"\n}"), @r#"refused: the receiver answered 400: { "error": "unknown field" } (check what the receiver expects)"#);
        assert_snapshot!(failure(302, ""), @"refused: the receiver answered 302 (redirects are not followed; set the URL to where it leads)");
        assert_snapshot!(failure(401, ""), @"refused: the receiver answered 401 (check the secret or the signing key)");
        assert_snapshot!(failure(404, "no such hook"), @"refused: the receiver answered 404: no such hook (check the URL)");
        let long = failure(400, &"é".repeat(1000)).to_string();
        assert!(long.contains(&format!("{}…", "é".repeat(200))), "{long}");
        let binary = answer(HttpResponse::new(400).with_body([0xff, 0xfe])).unwrap_err();
        assert_snapshot!(binary, @"refused: the receiver answered 400 (check what the receiver expects)");
    }

    #[test]
    fn no_answer_is_quoted_that_may_repeat_a_secret() {
        for request in [
            HttpRequest::post("https://hooks.example.com/${secret:path}"),
            HttpRequest::post("https://hooks.example.com/")
                .header("Authorization", "Bearer ${secret:token}"),
        ] {
            let http = ScriptedHttp::new()
                .respond(HttpResponse::new(404).with_body("cannot POST /hunter2"));
            let failure = deliver(&http, &request).unwrap_err();
            insta::allow_duplicates! { assert_snapshot!(failure, @"refused: the receiver answered 404 (check the URL)"); }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |value: &str, date: Option<&str>| {
            let response = HttpResponse::new(429).with_header("Retry-After", value);
            retry_after_ms(
                &date.map_or(response.clone(), |date| response.with_header("Date", date)),
            )
        };
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(after("30", None), Some(30_000));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT", date), Some(60_000));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT", date), Some(0));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT", None), None);
        assert_eq!(after("-3", None), None);
        assert_eq!(after("soon", date), None);
        assert_eq!(after("18446744073709551615", None), Some(u64::MAX));
    }
}
