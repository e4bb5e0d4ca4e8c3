//! The exports, compiled only for the component target.

#[path = "../../field.rs"]
mod field;

wit_bindgen::generate!({
    path: ["../../../wit/types", "../../../wit/notifier"],
    world: "pintle:notifier/plugin",
    generate_all,
});

use exports::pintle::{
    notifier::notifier::{self, Event},
    types::plugin::{self, Description, Request},
};
use field::field;
use pintle::types::{
    http::{self, Header},
    types::{Failure, Problem},
};

struct Messenger;
export!(Messenger);

impl plugin::Guest for Messenger {
    fn describe() -> Description {
        Description {
            name: "messenger".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "sends what its settings say".to_owned(),
            settings_schema: r#"{"type": "object"}"#.to_owned(),
            requests: vec![Request::HttpHost("*".to_owned())],
        }
    }

    fn validate(settings: String) -> Vec<Problem> {
        match field(&settings, "mode") {
            "send-early" => vec![problem(send(&settings, None, b""))],
            _ => Vec::new(),
        }
    }
}

impl notifier::Guest for Messenger {
    fn notify(settings: String, event: Event) -> Result<(), Failure> {
        let body = format!(
            "{} {:?} {} {}",
            event.reason, event.severity, event.message, event.details
        );
        let answer = match field(&settings, "mode") {
            "send" => send(&settings, None, body.as_bytes()),
            "send-briefly" => send(&settings, Some(50), body.as_bytes()),
            "send-much" => send(&settings, None, &vec![b'x'; 5 << 20]),
            "spin" => loop {
                send(&settings, Some(1), b"");
            },
            _ => return Ok(()),
        };
        Err(Failure::Refused(vec![problem(answer)]))
    }
}

fn send(settings: &str, timeout_ms: Option<u32>, body: &[u8]) -> String {
    let name = field(settings, "header");
    let headers = match name {
        "" => Vec::new(),
        name => vec![Header {
            name: name.to_owned(),
            value: field(settings, "value").to_owned(),
        }],
    };
    let method = match field(settings, "method") {
        "" => "POST",
        method => method,
    };
    let request = http::Request {
        method: method.to_owned(),
        url: field(settings, "url").to_owned(),
        headers,
        body: body.to_vec(),
        timeout_ms,
    };
    match http::send(&request) {
        Ok(response) => {
            let named = |header: &&Header| matches!(header.name.as_str(), "location" | "x-echo");
            let headers: Vec<_> = response
                .headers
                .iter()
                .filter(named)
                .map(|header| &header.value)
                .collect();
            format!(
                "{} {headers:?} {}",
                response.status,
                String::from_utf8_lossy(&response.body)
            )
        }
        Err(error) => format!("{error:?}"),
    }
}

fn problem(message: String) -> Problem {
    Problem {
        message,
        pointer: None,
        position: None,
        hint: None,
    }
}
