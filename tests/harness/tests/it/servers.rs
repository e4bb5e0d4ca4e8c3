//! The registry, git and the sink, as their clients see them.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::process::Command;

use pintle_harness::{GitRepo, Servers, ServersOptions, to_stderr};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn client(servers: &Servers) -> Client {
    let ca = reqwest::Certificate::from_pem(&std::fs::read(servers.ca()).unwrap()).unwrap();
    Client::builder()
        .no_proxy()
        .tls_certs_only([ca])
        .build()
        .unwrap()
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

/// Pushes a blob and a manifest that names it, and returns the manifest.
async fn push(client: &Client, registry: &str, token: &str, blob: &[u8]) -> Vec<u8> {
    let uploads = format!("{registry}/v2/a/b/blobs/uploads/");
    let upload = client
        .post(uploads)
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(upload.status(), StatusCode::ACCEPTED);
    let location = upload.headers()[LOCATION].to_str().unwrap();
    let separator = if location.contains('?') { '&' } else { '?' };
    let put = client
        .put(format!(
            "{registry}{location}{separator}digest={}",
            digest(blob)
        ))
        .bearer_auth(token);
    let put = put
        .header(CONTENT_TYPE, "application/octet-stream")
        .body(blob.to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), StatusCode::CREATED);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/octet-stream", "digest": digest(blob), "size": blob.len()},
        "layers": [],
    });
    let manifest = manifest.to_string().into_bytes();
    let put = client
        .put(format!("{registry}/v2/a/b/manifests/v1"))
        .bearer_auth(token);
    let put = put
        .header(CONTENT_TYPE, MANIFEST)
        .body(manifest.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), StatusCode::CREATED);
    manifest
}

#[tokio::test]
async fn the_registry_gives_its_token_to_the_user_and_keeps_what_is_pushed() {
    let options = ServersOptions {
        user: Some(("bot".into(), "s3cret".into())),
        token: Some("t0ken".into()),
        ..ServersOptions::default()
    };
    let servers = Servers::start(&options, &to_stderr).unwrap();
    let (client, registry) = (client(&servers), servers.https());

    let refused = client.get(format!("{registry}/v2/")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = refused.headers()[WWW_AUTHENTICATE].to_str().unwrap();
    let realm = challenge
        .strip_prefix("Bearer realm=\"")
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(realm, format!("{registry}/token"));
    let wrong = client
        .get(realm)
        .basic_auth("bot", Some("wrong"))
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let answer = client
        .get(realm)
        .basic_auth("bot", Some("s3cret"))
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let token = answer["token"].as_str().unwrap();

    let manifest = push(&client, registry, token, b"a blob").await;
    let pulled = client
        .get(format!("{registry}/v2/a/b/manifests/v1"))
        .bearer_auth(token)
        .header(ACCEPT, MANIFEST);
    let pulled = pulled.send().await.unwrap();
    assert_eq!(
        pulled.headers()["docker-content-digest"],
        digest(&manifest).as_str()
    );
    assert_eq!(pulled.bytes().await.unwrap(), manifest);
    let blob = client
        .get(format!("{registry}/v2/a/b/blobs/{}", digest(b"a blob")))
        .bearer_auth(token);
    assert_eq!(
        blob.send().await.unwrap().bytes().await.unwrap().as_ref(),
        b"a blob"
    );
    // The same content is available over plain http, where the challenge names the plain token server.
    let plain = client
        .get(format!("{}/v2/", servers.http()))
        .send()
        .await
        .unwrap();
    assert!(
        plain.headers()[WWW_AUTHENTICATE]
            .to_str()
            .unwrap()
            .contains(&format!("{}/token", servers.http()))
    );
}

#[tokio::test]
async fn without_a_token_the_registry_asks_for_the_password() {
    let options = ServersOptions {
        user: Some(("bot".into(), "s3cret".into())),
        ..ServersOptions::default()
    };
    let servers = Servers::start(&options, &to_stderr).unwrap();
    let url = format!("{}/v2/", servers.http());
    let client = client(&servers);
    let refused = client.get(&url).send().await.unwrap();
    assert_eq!(
        refused.headers()[WWW_AUTHENTICATE],
        "Basic realm=\"registry\""
    );
    assert_eq!(
        client
            .get(&url)
            .basic_auth("bot", Some("s3cret"))
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::OK
    );
}

/// Clones with the git command line and returns the content of `file`, or git's error output.
fn clone(url: &str, file: &str, settings: &[(&str, &str)]) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("git");
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("GIT_SSL_CAINFO"); // it would win over the setting
    for (name, value) in settings {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    let output = command
        .args(["clone", "--quiet", url])
        .arg(dir.path())
        .output()
        .unwrap();
    if output.status.success() {
        Ok(std::fs::read_to_string(dir.path().join(file)).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn git_is_served_over_http_https_ssh_and_files() {
    let options = ServersOptions {
        user: Some(("bot".into(), "s3cret".into())),
        token: Some("t0ken".into()),
        ssh: true,
        ..ServersOptions::default()
    };
    let servers = Servers::start(&options, &to_stderr).unwrap();
    let repo = servers.repository("apps").unwrap();
    let first = repo.push_files(&[("a/b.yaml", "one")], "first").unwrap();
    let ca = path(servers.ca());

    let https = servers.git_https(&repo);
    let refused = clone(&https, "a/b.yaml", &[("http.sslCAInfo", ca)]).unwrap_err();
    assert!(refused.contains("could not read Username"), "{refused}");
    let untrusted = clone(&https, "a/b.yaml", &[]).unwrap_err();
    assert!(
        untrusted.to_lowercase().contains("certificate"),
        "{untrusted}"
    );
    let with_user = https.replace("https://", "https://bot:s3cret@");
    assert_eq!(
        clone(&with_user, "a/b.yaml", &[("http.sslCAInfo", ca)]).unwrap(),
        "one"
    );
    let bearer = [("http.extraHeader", "Authorization: Bearer t0ken")];
    assert_eq!(
        clone(&servers.git_http(&repo), "a/b.yaml", &bearer).unwrap(),
        "one"
    );
    assert_eq!(clone(&repo.url(), "a/b.yaml", &[]).unwrap(), "one");

    let ssh = servers.ssh().unwrap();
    let known_hosts = path(&ssh.known_hosts);
    let command = |known_hosts: &str| {
        let key = path(&ssh.key);
        format!(
            "ssh -F none -i {key} -o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile={known_hosts}"
        )
    };
    let url = servers.git_ssh(&repo).unwrap();
    assert_eq!(
        clone(
            &url,
            "a/b.yaml",
            &[("core.sshCommand", &command(known_hosts))]
        )
        .unwrap(),
        "one"
    );
    let unknown = clone(
        &url,
        "a/b.yaml",
        &[("core.sshCommand", &command("/dev/null"))],
    )
    .unwrap_err();
    assert!(
        unknown.contains("Host key verification failed"),
        "{unknown}"
    );

    // Pushes work over http, too.
    repo.write("a/b.yaml", "two").unwrap();
    let second = repo.commit("second").unwrap();
    repo.git(&[
        "-c",
        &format!("http.sslCAInfo={ca}"),
        "push",
        "--quiet",
        &with_user,
        "HEAD:main",
    ])
    .unwrap();
    assert_eq!(clone(&repo.url(), "a/b.yaml", &[]).unwrap(), "two");
    assert_ne!(first, second);
}

#[test]
fn branches_and_tags_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let repo = GitRepo::create(&dir.path().join("r.git")).unwrap();
    let first = repo.push_files(&[("f", "1")], "first").unwrap();
    repo.tag("v1.0.0").unwrap();
    repo.branch("next").unwrap();
    let second = repo.push_files(&[("f", "2")], "second").unwrap();
    let refs = |repo: &GitRepo| repo.git(&["ls-remote", "origin"]).unwrap();
    let all = refs(&repo);
    for expected in [
        format!("{first}\trefs/heads/main"),
        format!("{second}\trefs/heads/next"),
        format!("{first}\trefs/tags/v1.0.0"),
    ] {
        assert!(all.contains(&expected), "{expected} is not in\n{all}");
    }
    repo.delete_remote("v1.0.0").unwrap();
    assert!(!refs(&repo).contains("v1.0.0"));
    let error = GitRepo::create(&dir.path().join("r.git"))
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("r.git exists already: choose another name"),
        "{error}"
    );
}

#[tokio::test]
async fn the_sink_records_every_attempt_byte_for_byte() {
    let servers = Servers::start(&ServersOptions::default(), &to_stderr).unwrap();
    let client = client(&servers);
    let url = format!("{}?fail=2&status=429&retry-after=7", servers.sink("chat"));
    let mut answers = Vec::new();
    for body in [b"one".as_slice(), b"two", b"\xff\x00three"] {
        let answer = client
            .post(&url)
            .header(AUTHORIZATION, "Bearer x")
            .body(body.to_vec())
            .send()
            .await
            .unwrap();
        let after = answer
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        answers.push((answer.status().as_u16(), after));
    }
    assert_eq!(
        answers,
        [
            (429, Some("7".into())),
            (429, Some("7".into())),
            (200, None)
        ]
    );
    client
        .post(servers.sink("other"))
        .body("elsewhere")
        .send()
        .await
        .unwrap();

    let deliveries = servers.deliveries("chat").unwrap();
    let seen: Vec<_> = deliveries
        .iter()
        .map(|delivery| (delivery.body.as_slice(), delivery.status))
        .collect();
    assert_eq!(
        seen,
        [
            (b"one".as_slice(), 429),
            (b"two", 429),
            (b"\xff\x00three", 200)
        ]
    );
    assert_eq!(deliveries[0].headers["authorization"], "Bearer x");
    assert_eq!(servers.deliveries("other").unwrap().len(), 1);
}

#[tokio::test]
async fn killed_servers_are_unreachable() {
    let mut servers = Servers::start(
        &ServersOptions {
            ssh: true,
            ..ServersOptions::default()
        },
        &to_stderr,
    )
    .unwrap();
    let ssh_port = servers.ssh().unwrap().port;
    servers.kill().unwrap();
    assert!(
        client(&servers)
            .get(servers.http())
            .send()
            .await
            .unwrap_err()
            .is_connect()
    );
    let limit = std::time::Duration::from_secs(10);
    pintle_harness::until("sshd has ended with its parent", limit, || {
        Ok(
            match std::net::TcpStream::connect(("127.0.0.1", ssh_port)) {
                Ok(_) => Err("it answers".to_owned()),
                Err(_) => Ok(()),
            },
        )
    })
    .unwrap();
}
