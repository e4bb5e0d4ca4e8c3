//! `--follow`: changes are rendered again until nobody reads the output any more.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use anyhow::Result;
use pintle_harness::{Process, until};

use crate::command_line::in_a_shell;
use crate::desk::Desk;
use crate::rollouts::misbehaving;
use crate::world::{LIMIT, config_map};

#[test]
fn a_changed_file_is_followed_and_an_error_does_not_end_it() -> Result<()> {
    let desk = Desk::new("follow")?;
    let file = desk.repository.work().join("settings.yaml");
    desk.repository.push_files(
        &[("settings.yaml", &config_map("settings", "one"))],
        "first",
    )?;
    let log = desk.home.path().join("follow.log");
    let command = desk.command(&["render", ".", "--dev", "--follow"])?;
    let mut following = Process::spawn("pintle render --follow", command, &log)?;
    printed(&mut following, "value: one")?;

    std::fs::write(&file, config_map("settings", "two"))?;
    printed(&mut following, "value: two")?;

    std::fs::write(&file, "kind: [")?;
    until("the error is told", Duration::from_mins(1), || {
        let said = following.log_tail();
        Ok(if said.contains("settings.yaml:1") {
            Ok(())
        } else {
            Err(said)
        })
    })?;
    std::fs::write(&file, config_map("settings", "three"))?;
    printed(&mut following, "value: three")?;
    following.kill()
}

#[test]
fn what_links_and_dependencies_lead_to_is_followed_too() -> Result<()> {
    let desk = Desk::new("beside")?;
    let template = config_map("settings", "{{ .Values.text }}");
    let chart = |name: &str| format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n");
    let base = "dependencies: [{name: base, version: '*', repository: 'file://../base'}]\n";
    let files = [
        ("web/Chart.yaml", &*(chart("web") + base)),
        ("web/templates/settings.yaml", &template),
        ("values.yaml", "text: one\n"),
        ("base/Chart.yaml", &chart("base")),
        ("base/templates/own.yaml", &config_map("own", "1")),
    ];
    for (name, text) in files {
        desk.repository.write(name, text)?;
    }
    symlink(
        "../values.yaml",
        desk.repository.work().join("web/values.yaml"),
    )?;
    let log = desk.home.path().join("beside.log");
    let command = desk.command(&["render", "web", "--dev", "--follow"])?;
    let mut following = Process::spawn("pintle render --follow", command, &log)?;
    printed(&mut following, "value: one")?;
    desk.repository.write("values.yaml", "text: two\n")?;
    printed(&mut following, "value: two")?;
    desk.repository
        .write("base/templates/own.yaml", config_map("own", "changed"))?;
    printed(&mut following, "value: changed")?;
    following.kill()
}

#[test]
fn commits_in_a_linked_working_tree_are_followed() -> Result<()> {
    let desk = Desk::new("linked")?;
    desk.repository.push_files(
        &[("settings.yaml", &config_map("settings", "one"))],
        "first",
    )?;
    let linked = desk.home.path().join("feature");
    let path = linked.to_string_lossy();
    desk.repository
        .git(&["worktree", "add", "--quiet", "-b", "feature", &path])?;
    let mut command = desk.command(&["render", ".", "--follow"])?;
    command.current_dir(&linked);
    let log = desk.home.path().join("linked.log");
    let mut following = Process::spawn("pintle render --follow", command, &log)?;
    printed(&mut following, "value: one")?;
    std::fs::write(linked.join("settings.yaml"), config_map("settings", "two"))?;
    let commit = ["commit", "--quiet", "--all", "--message", "second"];
    desk.repository
        .git(&[&["-C", &path], &commit[..]].concat())?;
    printed(&mut following, "value: two")?;
    following.kill()
}

#[test]
fn ctrl_c_and_sigterm_end_what_is_under_way_whatever_it_does() -> Result<()> {
    let desk = Desk::new("interrupted")?;
    let log = |name: &str| desk.home.path().join(name);
    // A git server that accepts the request and never answers.
    let server = TcpListener::bind("127.0.0.1:0")?;
    server.set_nonblocking(true)?;
    let url = format!("http://{}/shop.git", server.local_addr()?);
    let command = desk.command(&["render", &url, "--follow"])?;
    let mut rendering = Process::spawn("pintle render --follow", command, &log("render"))?;
    let _question = until("the server is asked", LIMIT, || {
        Ok(server.accept().map_err(|error| error.to_string()))
    })?;
    rendering.interrupt();
    assert_eq!(rendering.wait(LIMIT)?.code(), Some(0));

    let web = misbehaving("web", "never-ready", "");
    desk.repository
        .push_files(&[("web.yaml", &web)], "it never is ready")?;
    let command = desk.command(&["converge", ".", "--name", "shop", "--follow"])?;
    let mut converging = Process::spawn("pintle converge --follow", command, &log("converge"))?;
    let waits = |converging: &Process| {
        until("it waits", LIMIT, || {
            let said = converging.log_tail();
            Ok(if said.contains("waiting until all is healthy") {
                Ok(())
            } else {
                Err(said)
            })
        })
    };
    waits(&converging)?;
    converging.interrupt();
    assert_eq!(converging.wait(LIMIT)?.code(), Some(1));
    let said = converging.log_tail();
    assert!(said.contains("what was applied stays"), "{said}");

    // A cancelled job is ended differently.
    let command = desk.command(&["converge", ".", "--name", "shop"])?;
    let mut converging = Process::spawn("pintle converge", command, &log("terminated"))?;
    waits(&converging)?;
    assert_eq!(converging.terminate()?.code(), Some(1));
    let said = converging.log_tail();
    assert!(said.contains("what was applied stays"), "{said}");
    Ok(())
}

#[test]
fn what_follows_ends_when_nobody_reads_it_any_more() -> Result<()> {
    let desk = Desk::new("unread")?;
    let settings = |value: &str| config_map("settings", value);
    desk.repository
        .push_files(&[("settings.yaml", &settings("one"))], "first")?;
    let command = desk.command(&["render", ".", "--dev", "--follow"])?;
    let command = in_a_shell(&command, "{ \"$@\"; echo $? >&2; } | head -n 1");
    let log = desk.home.path().join("unread.log");
    let mut following = Process::spawn("pintle render --follow | head", command, &log)?;
    following.line(LIMIT)?;
    desk.repository.write("settings.yaml", settings("two"))?;
    following.wait(LIMIT)?;
    let said = following.log_tail();
    assert!(said.ends_with("\n0"), "{said}");
    Ok(())
}

#[test]
fn values_from_standard_input_are_kept_for_the_next_change() -> Result<()> {
    let desk = Desk::new("values")?;
    let template = |key: &str| {
        let data = format!("data: {{{key}: '{{{{ .Values.text }}}}'}}\n");
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n".to_owned() + &data
    };
    let chart = "apiVersion: v2\nname: shop\nversion: 1.0.0\n";
    let files = [
        ("Chart.yaml", chart),
        ("templates/settings.yaml", &template("first")),
    ];
    desk.repository.push_files(&files, "first")?;
    let values = desk.home.path().join("values.yaml");
    std::fs::write(&values, "text: kept\n")?;
    let command = desk.command(&["render", ".", "--dev", "--follow", "-f", "-"])?;
    let command = in_a_shell(&command, &format!("\"$@\" <'{}'", values.display()));
    let log = desk.home.path().join("values.log");
    let mut following = Process::spawn("pintle render -f -", command, &log)?;
    printed(&mut following, "first: kept")?;
    desk.repository
        .write("templates/settings.yaml", template("second"))?;
    printed(&mut following, "second: kept")?;
    following.kill()
}

/// Waits until a process has printed a line with this text.
fn printed(process: &mut Process, text: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_mins(1);
    while !process
        .line(end.saturating_duration_since(Instant::now()))?
        .contains(text)
    {}
    Ok(())
}
