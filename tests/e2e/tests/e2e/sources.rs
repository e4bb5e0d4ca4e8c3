//! Sources whose credentials are replaced, whose host wants a pause, and copies of them that do not stay as they were.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use pintle_harness::{Fault, Proxy, Servers, ServersOptions, to_stderr};

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

#[test]
fn a_git_host_that_asks_for_a_pause_is_asked_again_only_for_who_wants_to_know_now() -> Result<()> {
    let stage = Stage::new("pause")?;
    let host = Proxy::start(stage.world.servers.http(), None)?;
    let url = stage.world.servers.git_http(&stage.repository);
    let url = url.replace(stage.world.servers.http(), &host.url());
    let text = config_map("a", "1");
    let commit = stage.repository.push_files(&[("a.yaml", &text)], "first")?;
    let busy = Fault::on("*", "upload-pack").status(429, "TooManyRequests", "busy");
    host.inject(busy.header("Retry-After", "3600"));
    stage.apply(&stage.application_of(&url, "shop", "", ""))?;
    stage.condition("shop", "Ready", "SourceFailed")?;
    let other = stage.application_of(&url, "other", "", "");
    stage.apply(&other.replace("branch: main", "branch: other"))?;
    stage.condition("other", "Ready", "SourceFailed")?;
    assert_eq!(host.seen().len(), 1);

    host.heal();
    stage.request("shop")?;
    stage.ready_at("shop", &commit)
}

/// Finds the packs of fetched repositories.
fn packs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(packs(&path)?);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "pack")
        {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn a_copy_that_is_damaged_is_mended_without_a_commit() -> Result<()> {
    let stage = Stage::new("damaged")?;
    let files = [
        ("one/a.yaml", config_map("a", "1")),
        ("two/b.yaml", config_map("b", "2")),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let commit = stage.repository.push_files(&files, "both")?;
    stage.apply(&stage.application("one", "one", ""))?;
    stage.ready_at("one", &commit)?;

    // In place, for the agent has it open. It has not read the folder of the other application yet.
    let packs = packs(&stage.agent.dir().join("cache/git/repositories"))?;
    assert!(!packs.is_empty(), "the repository was fetched");
    for pack in packs {
        fs::set_permissions(&pack, Permissions::from_mode(0o600))?;
        let size = usize::try_from(fs::metadata(&pack)?.len())?;
        let file = File::options().write(true).open(&pack)?;
        file.write_all_at(&vec![0xff; size - 32], 12)?;
    }
    stage.apply(&stage.application("two", "two", ""))?;
    stage.ready_at("two", &commit)
}
