//! Sources whose credentials are replaced.

use anyhow::Result;
use pintle_harness::{Servers, ServersOptions, to_stderr};

use crate::world::{Stage, config_map};

#[test]
fn a_token_that_is_replaced_is_no_failure() -> Result<()> {
    let stage = Stage::new("rotate")?;
    let mut servers = Servers::start(
        &ServersOptions {
            user: Some(("reader".to_owned(), "first".to_owned())),
            ..ServersOptions::default()
        },
        &to_stderr,
    )?;
    let repository = servers.repository("rotate")?;
    let push = |value: &str| repository.push_files(&[("a.yaml", &config_map("a", value))], value);
    let commit = push("1")?;
    stage.kubectl(&[
        "create",
        "secret",
        "generic",
        "deploy",
        "--from-literal=username=reader",
        "--from-literal=password=first",
    ])?;
    let url = servers.git_http(&repository);
    let application = stage.application_of(&url, "shop", "", "");
    stage
        .apply(&application.replace("branch: main", "branch: main, credentials: {name: deploy}"))?;
    stage.ready_at("shop", &commit)?;

    let replaced = r#"{"stringData": {"password": "second"}}"#;
    stage.kubectl(&["patch", "secret", "deploy", "--patch", replaced])?;
    servers.change_user("reader", "second")?;
    let commit = push("2")?;
    stage.request("shop")?;
    stage.ready_at("shop", &commit)?;
    let events = stage.events("shop")?;
    let failed = events.iter().any(|(reason, _)| reason == "SourceFailed");
    assert!(!failed, "{events:?}");
    Ok(())
}
