//! The meaning of Slack's responses.

use pintle_delivery::retry_after_ms;
use pintle_sdk::{Failure, HttpResponse, Problem};
use serde_json::Value;

/// Error codes of the API after which the same call may succeed.
/// <https://docs.slack.dev/reference/methods/chat.postMessage#errors>
const PASSING: [&str; 8] = [
    "ratelimited",
    "rate_limited",
    "message_limit_exceeded",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
    "team_added_to_org",
];

/// Reads a response of the API, which is 200 whatever has become of the message.
pub(crate) fn api(response: &HttpResponse) -> Result<(), Failure> {
    let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if answer["ok"] == true {
        return Ok(());
    }
    let Some(code) = answer["error"].as_str().and_then(code) else {
        return Err(Failure::unavailable(
            "the answer is not one of Slack's API; is there a proxy in between?",
        ));
    };
    if PASSING.contains(&code) {
        let retry_after_ms = retry_after_ms(response);
        return Err(Failure::Unavailable {
            reason: format!("Slack answered {code}"),
            retry_after_ms,
        });
    }
    Err(problem(code).into())
}

/// Reads a refusal of the API with a status other than 200.
pub(crate) fn api_refusal(response: &HttpResponse) -> Problem {
    let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    match answer["error"].as_str().and_then(code) {
        Some(code) => problem(code),
        None => Problem::new(format!("Slack answered {}", response.status))
            .hint("check the token and the channel"),
    }
}

/// Reads a refusal of an incoming webhook, whose body is an error code.
/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors>
pub(crate) fn webhook_refusal(response: &HttpResponse) -> Problem {
    match std::str::from_utf8(&response.body)
        .ok()
        .map(str::trim)
        .and_then(code)
    {
        Some(code) => problem(code),
        None => Problem::new(format!("Slack answered {}", response.status))
            .hint("check the webhook's URL"),
    }
}

/// Returns an error code if the text looks like one. Nothing else is shown, as it might repeat a secret.
fn code(text: &str) -> Option<&str> {
    let is_code = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_code.then_some(text)
}

fn problem(code: &str) -> Problem {
    let hint = match code {
        "invalid_auth" | "not_authed" | "token_revoked" | "token_expired" | "account_inactive" => {
            "check the bot token in the secret"
        }
        "missing_scope" | "no_permission" | "ekm_access_denied" => {
            "give the app the scope chat:write and install it again"
        }
        "channel_not_found" | "not_in_channel" => "check the channel, and invite the app to it",
        "is_archived" | "channel_is_archived" => "the channel is archived; name another",
        "no_service" | "no_service_id" | "no_team" | "no_active_hooks" | "invalid_token"
        | "user_not_found" => "the webhook is gone; make a new one and put its URL into the secret",
        "action_prohibited" | "posting_to_general_channel_denied" | "restricted_action" => {
            "an administrator of the workspace does not allow it"
        }
        _ => "look the code up in Slack's reference",
    };
    Problem::new(format!("Slack answered {code}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn given(body: &str) -> Failure {
        api(&HttpResponse::new(200)
            .with_header("Retry-After", "3")
            .with_body(body))
        .unwrap_err()
    }

    #[test]
    fn ok_is_ok() {
        assert_eq!(
            api(&HttpResponse::new(200).with_body(r#"{"ok":true,"ts":"1.2"}"#)),
            Ok(())
        );
    }

    #[test]
    fn errors_in_a_200_are_told_apart() {
        for code in PASSING {
            assert_eq!(
                given(&format!(r#"{{"ok":false,"error":"{code}"}}"#)),
                Failure::Unavailable {
                    reason: format!("Slack answered {code}"),
                    retry_after_ms: Some(3000)
                }
            );
        }
        assert_snapshot!(given(r#"{"ok":false,"error":"invalid_auth"}"#), @"refused: Slack answered invalid_auth (check the bot token in the secret)");
        assert_snapshot!(given(r#"{"ok":false,"error":"missing_scope","needed":"chat:write"}"#), @"refused: Slack answered missing_scope (give the app the scope chat:write and install it again)");
        assert_snapshot!(given(r#"{"ok":false,"error":"channel_not_found"}"#), @"refused: Slack answered channel_not_found (check the channel, and invite the app to it)");
        assert_snapshot!(given(r#"{"ok":false,"error":"invalid_blocks"}"#), @"refused: Slack answered invalid_blocks (look the code up in Slack's reference)");
    }

    #[test]
    fn what_is_no_answer_of_slack_is_tried_again() {
        for body in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"{"ok":"yes"}"#,
            r#"{"ok":false,"error":"xoxb-1-SECRET"}"#,
        ] {
            insta::allow_duplicates! { assert_snapshot!(given(body), @"unavailable: the answer is not one of Slack's API; is there a proxy in between?"); }
        }
    }

    #[test]
    fn a_webhook_says_what_is_wrong_with_it() {
        let refusal = |status, body: &str| {
            webhook_refusal(&HttpResponse::new(status).with_body(body)).to_string()
        };
        assert_snapshot!(refusal(404, "no_service"), @"Slack answered no_service (the webhook is gone; make a new one and put its URL into the secret)");
        assert_snapshot!(refusal(410, "channel_is_archived\n"), @"Slack answered channel_is_archived (the channel is archived; name another)");
        assert_snapshot!(refusal(403, "action_prohibited"), @"Slack answered action_prohibited (an administrator of the workspace does not allow it)");
        assert_snapshot!(refusal(404, "cannot POST /services/T1/B1/SECRET"), @"Slack answered 404 (check the webhook's URL)");
    }
}
