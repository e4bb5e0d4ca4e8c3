//! Notifiers: what they may send, where to, and what they learn about secrets.

use std::sync::{Arc, Mutex};

use pintle_core::{
    application::{Grants, Limits},
    duration::Span,
    event::{Event, Reason},
};
use pintle_host::{Host, LoadRequest, Notifier, Options, Secrets, Settings};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    components,
    support::{self, told},
};

/// A server that gives the same answer to each request and records what it received.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server. Without an answer, it reads and never responds.
    async fn start(answer: impl Into<Option<String>>) -> Self {
        let answer = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, kept) = (answer.clone(), Arc::clone(&kept));
                tokio::spawn(serve(stream, answer, kept));
            }
        });
        Self { port, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().join("\n---\n")
    }
}

async fn serve(mut stream: TcpStream, answer: Option<String>, kept: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                kept.lock().unwrap().push(text);
                break;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
    match answer {
        Some(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        None => std::future::pending().await,
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

fn host() -> Host {
    Host::new(Options {
        cache: Some(support::cache_folder()),
        ..Options::default()
    })
    .unwrap()
}

async fn messenger(hosts: &[&str], private_networks: bool, seconds: u64) -> Notifier {
    let request = LoadRequest {
        grants: Grants {
            http_hosts: hosts.iter().map(ToString::to_string).collect(),
            private_networks,
            ..Grants::default()
        },
        limits: Limits {
            time: Some(Span::seconds(seconds)),
            ..Limits::default()
        },
        ..LoadRequest::new("messenger", components::notifier())
    };
    host().load(request).await.unwrap().notifier().unwrap()
}

fn event() -> Event {
    Event::new(
        Reason::Converged,
        "web is healthy",
        1_700_000_000_000,
        json!({"revision": "1"}),
    )
}

fn secrets() -> Arc<Secrets> {
    let values = [
        ("token", "s3cret-token\n"),
        ("key", "signing-key"),
        ("url", "http://192.0.2.1/hooks/T000-secret"),
    ];
    let mut secrets = Secrets::default();
    for (name, value) in values {
        secrets.add(name, value).unwrap();
    }
    Arc::new(secrets)
}

/// Returns a port on which nobody listens.
async fn unused_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// Sends a request. Returns the answer that the notifier got, or how it failed.
async fn send(notifier: &Notifier, settings: Value) -> String {
    send_with(notifier, settings, secrets()).await
}

async fn send_with(notifier: &Notifier, mut settings: Value, secrets: Arc<Secrets>) -> String {
    if settings.get("mode").is_none() {
        settings["mode"] = json!("send");
    }
    let error = notifier
        .notify(&Settings::new(settings), &event(), secrets)
        .await
        .unwrap_err();
    told(&error, &components::notifier())
        .replace("notifier `messenger` (sha256:…) failed to notify: ", "")
}

#[tokio::test]
async fn sends_with_secrets_that_it_never_holds() {
    let server = Server::start(answer(
        "200 OK",
        "x-echo: s3cret-token\r\n",
        "got s3cret-token",
    ))
    .await;
    let notifier = messenger(&["*"], true, 20).await;
    let url = server.url("/hook?token=${secret:token}");
    let text = send(
        &notifier,
        json!({"url": url, "header": "X-Signature", "value": "sha256=${hmac-sha256:key}"}),
    )
    .await;
    assert_eq!(text, r#"200 ["${secret:token}"] got ${secret:token}"#);
    let seen = server.seen();
    assert!(
        seen.starts_with("POST /hook?token=s3cret-token HTTP/1.1\r\n"),
        "{seen}"
    );
    assert!(seen.contains("\r\naccept-encoding: identity\r\n"), "{seen}");
    assert!(
        seen.ends_with("\r\n\r\nconverged Severity::Info web is healthy {\"revision\":\"1\"}"),
        "{seen}"
    );
    // `printf '%s' BODY | openssl dgst -sha256 -hmac signing-key`
    assert!(seen.contains("x-signature: sha256="), "{seen}");
}

#[tokio::test]
async fn where_no_secret_would_be_found_the_body_is_left_out() {
    let notifier = messenger(&["*"], true, 20).await;
    for (encoding, told) in [("gzip", "400 [] "), ("Identity", "400 [] not much")] {
        let header = format!("content-encoding: {encoding}\r\n");
        let server = Server::start(answer("400 Bad Request", &header, "not much")).await;
        let settings = json!({"url": server.url("/")});
        assert_eq!(send(&notifier, settings.clone()).await, told);
        // Without secrets there is nothing to find.
        let bare = send_with(&notifier, settings, Arc::default()).await;
        assert_eq!(bare, "400 [] not much");
    }
}

#[tokio::test]
async fn answers_of_any_status_come_back_and_redirects_are_not_followed() {
    let target = Server::start(answer("200 OK", "", "should not be asked")).await;
    let location = format!("location: {}\r\n", target.url("/"));
    let server = Server::start(answer("302 Found", &location, "")).await;
    let notifier = messenger(&["*"], true, 20).await;
    let text = send(&notifier, json!({"url": server.url("/")})).await;
    assert_eq!(text, format!("302 [\"{}\"] ", target.url("/")));
    assert_eq!(target.seen(), "");
    let server = Server::start(answer("503 Service Unavailable", "", "later")).await;
    assert_eq!(
        send(&notifier, json!({"url": server.url("/")})).await,
        "503 [] later"
    );
}

#[tokio::test]
async fn hosts_need_a_grant_and_private_ones_another() {
    let server = Server::start(answer("200 OK", "", "hello")).await;
    let ask = async |hosts: &[&str], private, url: &str| {
        let text = send(&messenger(hosts, private, 20).await, json!({"url": url})).await;
        text.replace(&server.port.to_string(), "PORT")
    };
    let url = server.url("/");
    insta::assert_snapshot!(ask(&[], true, &url).await, @r#"HttpError::NotGranted("127.0.0.1:PORT is not among the granted hosts: add it to `grants.httpHosts` of the Plugin")"#);
    insta::assert_snapshot!(ask(&["127.0.0.1"], true, &url).await, @r#"HttpError::NotGranted("127.0.0.1:PORT is not among the granted hosts: add it to `grants.httpHosts` of the Plugin")"#);
    insta::assert_snapshot!(ask(&["*"], false, &url).await, @r#"HttpError::NotGranted("127.0.0.1:PORT is on a private, local or reserved network: set `grants.privateNetworks` of the Plugin if it may be")"#);
    insta::assert_snapshot!(ask(&["*"], false, &format!("http://localhost:{}/", server.port)).await, @r#"HttpError::NotGranted("localhost, which is 127.0.0.1, is on a private, local or reserved network: set `grants.privateNetworks` of the Plugin if it may be")"#);
    insta::assert_snapshot!(ask(&["*"], false, "http://[::ffff:127.0.0.1]/").await, @r#"HttpError::NotGranted("[::ffff:7f00:1]:80 is on a private, local or reserved network: set `grants.privateNetworks` of the Plugin if it may be")"#);
    insta::assert_snapshot!(ask(&["*"], false, "http://0x7f.1/").await, @r#"HttpError::NotGranted("127.0.0.1:80 is on a private, local or reserved network: set `grants.privateNetworks` of the Plugin if it may be")"#);
    insta::assert_snapshot!(ask(&["*"], false, "http://169.254.169.254/latest/meta-data").await, @r#"HttpError::NotGranted("169.254.169.254:80 is on a private, local or reserved network: set `grants.privateNetworks` of the Plugin if it may be")"#);
    insta::assert_snapshot!(ask(&["*"], false, "${secret:url}").await, @r#"HttpError::NotGranted("the host of `${secret:url}` is on a private, local or reserved network: set `grants.privateNetworks` of the Plugin if it may be")"#);
    insta::assert_snapshot!(ask(&["example.com"], false, &format!("{url}${{secret:token}}")).await, @r#"HttpError::NotGranted("127.0.0.1:PORT is not among the granted hosts: add it to `grants.httpHosts` of the Plugin")"#);
    insta::assert_snapshot!(ask(&["example.com"], false, "${secret:url}").await, @r#"HttpError::NotGranted("the host of `${secret:url}` is not among the granted hosts: add it to `grants.httpHosts` of the Plugin")"#);
    assert_eq!(server.seen(), "", "nothing was sent");
    insta::assert_snapshot!(ask(&["*"], true, &format!("http://localhost:{}/", server.port)).await, @"200 [] hello");
}

#[tokio::test]
async fn a_host_that_came_out_of_a_secret_is_never_told() {
    let server = Server::start(answer("200 OK", "", "hello")).await;
    let ask = async |private, url: String| {
        let mut secrets = Secrets::default();
        secrets.add("url", url).unwrap();
        let notifier = messenger(&["*"], private, 20).await;
        send_with(
            &notifier,
            json!({"url": "${secret:url}"}),
            Arc::new(secrets),
        )
        .await
    };
    let local = format!("http://localhost:{}/", server.port);
    insta::assert_snapshot!(ask(false, local).await, @r#"HttpError::NotGranted("the host of `${secret:url}` is on a private, local or reserved network: set `grants.privateNetworks` of the Plugin if it may be")"#);
    assert_eq!(server.seen(), "", "nothing was sent");
    let nobody = format!("http://127.0.0.1:{}/", unused_port().await);
    insta::assert_snapshot!(ask(true, nobody).await, @r#"HttpError::Transport("the host of `${secret:url}`: no connection to it was made: connection refused")"#);
}

#[tokio::test]
async fn malformed_requests_are_never_those_that_may_pass() {
    let notifier = messenger(&["*"], true, 20).await;
    let ask = async |settings: Value| send(&notifier, settings).await;
    insta::assert_snapshot!(ask(json!({"url": "not a url"})).await, @r#"HttpError::NotGranted("`not a url` is not an absolute URL")"#);
    insta::assert_snapshot!(ask(json!({"url": "${secret:token}"})).await, @r#"HttpError::NotGranted("`${secret:token}` is not an absolute URL")"#);
    insta::assert_snapshot!(ask(json!({"url": "file:///etc/passwd"})).await, @r#"HttpError::NotGranted("`file:///etc/passwd` is neither https nor http")"#);
    insta::assert_snapshot!(ask(json!({"url": "http://127.0.0.1:1/", "method": "CONNECT"})).await, @r#"HttpError::NotGranted("`CONNECT` is not a method")"#);
    insta::assert_snapshot!(ask(json!({"url": "http://127.0.0.1:1/", "method": "GET IT"})).await, @r#"HttpError::NotGranted("`GET IT` is not a method")"#);
    insta::assert_snapshot!(ask(json!({"url": "http://127.0.0.1:1/", "header": "Host", "value": "other"})).await, @r#"HttpError::NotGranted("header `Host` is the host's to set")"#);
    insta::assert_snapshot!(ask(json!({"url": "http://127.0.0.1:1/", "header": "Accept-Encoding", "value": "gzip"})).await, @r#"HttpError::NotGranted("header `Accept-Encoding` is the host's to set")"#);
    insta::assert_snapshot!(ask(json!({"url": "http://127.0.0.1:1/", "header": "a b", "value": "x"})).await, @r#"HttpError::NotGranted("header `a b` has a malformed name")"#);
    insta::assert_snapshot!(ask(json!({"url": "http://127.0.0.1:1/", "header": "x", "value": "${secret:none}"})).await, @r#"HttpError::NotGranted("secret `none` is not given: add it to `secrets` where the notifier is used")"#);
    insta::assert_snapshot!(ask(json!({"url": "http://127.0.0.1:1/", "mode": "send-much"})).await, @r#"HttpError::NotGranted("the request's body is larger than 4194304 bytes")"#);
}

#[tokio::test]
async fn requests_that_are_filled_without_end_are_refused() {
    let server = Server::start(answer("200 OK", "", "")).await;
    let notifier = messenger(&["*"], true, 20).await;
    let ask = async |settings: Value| send(&notifier, settings).await;
    let many = |count| "${hmac-sha256:key}".repeat(count);
    let url = server.url("/");
    insta::assert_snapshot!(ask(json!({"url": format!("{url}{}", many(100_000))})).await, @r#"HttpError::NotGranted("the URL is longer than 8192 bytes")"#);
    insta::assert_snapshot!(ask(json!({"url": url, "header": "x", "value": many(100_000)})).await, @r#"HttpError::NotGranted("the value of header `x` is longer than 16384 bytes")"#);
    insta::assert_snapshot!(ask(json!({"url": format!("{url}{}", many(16)), "header": "x", "value": many(1)})).await, @r#"HttpError::NotGranted("the request has more than 16 placeholders")"#);
    assert_eq!(server.seen(), "", "nothing was sent");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_without_its_url() {
    let free = unused_port().await;
    let notifier = messenger(&["*"], true, 20).await;
    let text = send(
        &notifier,
        json!({"url": format!("http://127.0.0.1:{free}/${{secret:token}}")}),
    )
    .await;
    assert!(
        text.starts_with("HttpError::Transport(") && text.contains("onnection refused"),
        "{text}"
    );
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn answers_are_bounded() {
    let server = Server::start(answer("200 OK", "", &"x".repeat(2 << 20))).await;
    let text = send(
        &messenger(&["*"], true, 20).await,
        json!({"url": server.url("/")}),
    )
    .await;
    insta::assert_snapshot!(text, @"HttpError::TooLarge(1048576)");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = Server::start(None).await;
    let patient = messenger(&["*"], true, 20).await;
    let brief = send(
        &patient,
        json!({"url": server.url("/"), "mode": "send-briefly"}),
    )
    .await;
    insta::assert_snapshot!(brief, @"HttpError::TimedOut");
    // A plugin that sets no timeout itself gets the answer before its own time is over, so it can ask to be called again.
    let waiting = messenger(&["*"], true, 2).await;
    let given_up = send(&waiting, json!({"url": server.url("/")})).await;
    insta::assert_snapshot!(given_up, @"HttpError::TimedOut");
    // A plugin that ignores the answer is interrupted.
    let hasty = messenger(&["*"], true, 1).await;
    let spinning = send(&hasty, json!({"url": server.url("/"), "mode": "spin"})).await;
    insta::assert_snapshot!(spinning, @"it ran longer than 1s; raise `limits` of the Plugin if this is expected");
}

#[tokio::test]
async fn nothing_is_sent_outside_of_notify() {
    let server = Server::start(answer("200 OK", "", "")).await;
    let notifier = messenger(&["*"], true, 20).await;
    let settings = Settings::new(json!({"mode": "send-early", "url": server.url("/")}));
    let problems = notifier.plugin().validate(&settings).await.unwrap();
    insta::assert_snapshot!(pintle_core::problem::lines(&problems), @r#"HttpError::NotGranted("HTTP is not to be used at this stage")"#);
    assert_eq!(server.seen(), "");
}

#[tokio::test]
async fn what_the_operator_does_not_grant_is_shown() {
    let notifier = messenger(&["hooks.example.com", "*.example.org:8443"], false, 20).await;
    let grants = notifier.plugin().grants();
    let shown: Vec<_> = grants
        .capabilities()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        shown,
        [
            "http host *.example.org:8443",
            "http host hooks.example.com"
        ]
    );
    let none = messenger(&[], false, 20).await;
    assert_eq!(
        none.plugin().grants().missing()[0].to_string(),
        "http host *"
    );
}
