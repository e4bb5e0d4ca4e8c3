//! The command line, run on a folder and a cluster.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::desk::{Desk, as_administrator, document, of_administrator};
use crate::guests::telltale;
use crate::world::{config_map, deployment, namespace, service, world};

#[test]
fn the_api_server_is_reached_through_a_proxy_where_one_is_set() -> Result<()> {
    let home = tempfile::tempdir()?;
    // Nobody listens at this port.
    let asked = |exempt: &str| {
        let mut command = of_administrator(&["status"], home.path())?;
        command.env("HTTPS_PROXY", "http://127.0.0.1:1");
        command.env("NO_PROXY", exempt);
        Ok::<_, anyhow::Error>(command.output()?)
    };
    let direct = asked("localhost,127.0.0.1")?;
    let said = String::from_utf8_lossy(&direct.stderr);
    assert!(direct.status.success(), "{said}");
    let proxied = asked("example.com")?;
    let said = String::from_utf8_lossy(&proxied.stderr);
    assert_eq!(proxied.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot reach the API server"), "{said}");
    Ok(())
}

#[test]
fn a_doctor_looks_at_what_is_installed_and_at_what_nobody_looks_after() -> Result<()> {
    // No agent runs in this namespace.
    let namespace = namespace("alone")?;
    world().control_plane.apply(&format!(
        "apiVersion: pintle.dev/v1alpha1\nkind: Application\nmetadata: {{name: shop, namespace: {namespace}}}\n\
         spec: {{source: {{git: {{url: 'https://git.example.com/shop.git'}}}}}}\n"
    ))?;
    let findings = document(&["doctor", "-o", "json"], 0)?;
    let of = |check: &str| {
        let mut all = findings.as_array().into_iter().flatten();
        let found = all.find(|one| one["check"] == check);
        found.map_or(Value::Null, |one| one["ok"].clone())
    };
    let told = ["definitions", "applications", "agent"].map(of);
    assert_eq!(told, [true, true, false].map(Value::from), "{findings:#}");
    Ok(())
}

#[test]
fn a_folder_is_rendered_diffed_planned_converged_and_dismissed() -> Result<()> {
    let desk = Desk::new("desk")?;
    let web = deployment("web", 1, "registry.k8s.io/pause:3.9") + &service("web", 80);
    let files = [
        ("web.yaml", web.as_str()),
        ("settings.yaml", &config_map("settings", "1")),
    ];
    desk.repository.push_files(&files, "first")?;
    let name = ["--name", "shop"];
    let run =
        |command: &str, expected| desk.pintle(&[&[command, "."], &name[..]].concat(), expected);

    let rendered = run("render", 0)?;
    assert!(
        rendered.contains("kind: Deployment") && rendered.contains("name: settings"),
        "{rendered}"
    );
    let diff = run("diff", 3)?;
    assert!(
        diff.contains("Deployment.apps") && diff.contains("web"),
        "{diff}"
    );
    let plan = run("plan", 3)?;
    assert!(plan.contains("plan sha256:"), "{plan}");
    let converged = run("converge", 0)?;
    assert!(converged.contains("is healthy: 4 objects"), "{converged}");
    let available = desk.kubectl(&[
        "get",
        "deployment",
        "web",
        "-o",
        "jsonpath={.status.availableReplicas}",
    ])?;
    assert_eq!(available, "1");

    run("diff", 0)?;
    run("plan", 0)?;
    let mark = world().control_plane.requests_mark()?;
    run("converge", 0)?;
    assert_eq!(
        desk.writes_since(mark)?,
        BTreeMap::new(),
        "a second time changes nothing"
    );

    desk.repository
        .push_files(&[("settings.yaml", &config_map("settings", "2"))], "second")?;
    let diff = run("diff", 3)?;
    assert!(diff.contains("/data/value"), "{diff}");

    desk.pintle(&["dismiss", "shop"], 0)?;
    let left = desk.kubectl(&["get", "deployment,service,configmap", "-o", "name"])?;
    assert_eq!(left.trim(), "configmap/kube-root-ca.crt");
    let left = desk.kubectl(&[
        "get",
        "serviceaccount",
        "web",
        "--ignore-not-found",
        "-o",
        "name",
    ])?;
    assert_eq!(left, "");
    Ok(())
}

#[test]
fn a_namespace_that_the_source_brings_is_made_when_policies_have_agreed() -> Result<()> {
    let desk = Desk::new("brings")?;
    let fresh = format!("{}-fresh", desk.namespace);
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {fresh}}}\n---\n");
    let floating = deployment("web", 1, "registry.k8s.io/pause:latest");
    let files = [
        (
            "pintle.yaml",
            &*format!("namespace: {fresh}\npolicies: [{{plugin: guardrails}}]\n"),
        ),
        ("all.yaml", &(namespace + &config_map("settings", "1"))),
        ("web.yaml", &floating),
    ];
    desk.repository.push_files(&files, "first")?;
    let folder = desk.repository.work().display().to_string();
    let made = || world().control_plane.kubectl(&["get", "namespace", &fresh]);

    let refused = as_administrator(&["converge", &folder, "--name", &fresh], 4)?;
    assert!(refused.contains("image-tag-latest"), "{refused}");
    assert!(made().is_err(), "nothing is written that a policy refuses");

    desk.repository.remove("web.yaml")?;
    desk.repository.push_files(&[], "without it")?;
    as_administrator(&["converge", &folder, "--name", &fresh], 0)?;
    made()?;
    as_administrator(&["diff", &folder, "--name", &fresh], 0)?;

    let elsewhere = as_administrator(&["dismiss", &fresh], 1)?;
    assert!(
        elsewhere.contains(&format!("it is there with `--namespace {fresh}`")),
        "{elsewhere}"
    );
    let args = ["dismiss", &fresh, "--namespace", &fresh];
    let stays = as_administrator(&args, 0)?;
    assert!(stays.contains("`--all-kinds` deletes"), "{stays}");
    as_administrator(&[&args[..], &["--all-kinds"]].concat(), 0)?;
    Ok(())
}

#[test]
fn a_policy_reads_of_the_cluster_what_the_user_grants() -> Result<()> {
    let desk = Desk::new("granted")?;
    let policies = format!(
        "policies:\n- plugin: {}\n  settings: {{mode: require, requires: permit}}\n",
        telltale()
    );
    let files = [
        ("pintle.yaml", policies.as_str()),
        ("a.yaml", &config_map("a", "1")),
    ];
    desk.repository.push_files(&files, "first")?;
    let plan = ["plan", ".", "--name", "shop"];
    let granted = [&plan[..], &["--cluster-reads", "v1/ConfigMap"]].concat();
    let denied = desk.pintle(&granted, 4)?;
    assert!(denied.contains("there is no ConfigMap permit"), "{denied}");
    desk.kubectl(&["create", "configmap", "permit"])?;
    desk.pintle(&granted, 3)?;
    // Without the grant nothing is found, just as with a chart's lookup.
    desk.pintle(&plan, 4).map(drop)
}

#[test]
fn a_policy_is_tried_without_being_written_down() -> Result<()> {
    let desk = Desk::new("tried")?;
    let web = deployment("web", 1, "registry.k8s.io/pause:latest");
    desk.repository.push_files(&[("web.yaml", &web)], "first")?;
    let run = |command: &str, expected| {
        let args = [command, ".", "--name", "shop", "--policy", "guardrails"];
        desk.pintle(&args, expected)
    };
    desk.pintle(&["plan", ".", "--name", "shop"], 3)?;
    for command in ["plan", "converge"] {
        let denied = run(command, 4)?;
        assert!(denied.contains("image-tag-latest"), "{denied}");
    }
    let refused = run("diff", 2)?;
    assert!(refused.contains("pintle plan"), "{refused}");
    Ok(())
}

#[test]
fn what_is_not_committed_is_left_out_and_that_is_said() -> Result<()> {
    let desk = Desk::new("uncommitted")?;
    desk.repository
        .push_files(&[("a.yaml", &config_map("a", "1"))], "first")?;
    let hint = "changes that are not committed";
    let clean = desk.pintle(&["render", "."], 0)?;
    assert!(!clean.contains(hint), "{clean}");
    desk.repository.write("a.yaml", config_map("a", "2"))?;
    let rendered = desk.pintle(&["render", "."], 0)?;
    assert!(
        rendered.contains(hint) && rendered.contains("value: \"1\""),
        "{rendered}"
    );
    let now = desk.pintle(&["render", ".", "--dev"], 0)?;
    assert!(!now.contains(hint) && now.contains("value: \"2\""), "{now}");
    Ok(())
}

#[test]
fn a_bare_repository_is_read_by_its_path() -> Result<()> {
    let desk = Desk::new("bare")?;
    let files = [("app/a.yaml", &*config_map("a", "1"))];
    desk.repository.push_files(&files, "first")?;
    let bare = desk.repository.bare().display().to_string();
    let rendered = desk.pintle(&["render", &bare, "--branch", "main", "--path", "app"], 0)?;
    assert!(rendered.contains("value: \"1\""), "{rendered}");
    let refused = desk.pintle(&["render", &bare, "--dev"], 2)?;
    assert!(refused.contains("it needs a folder"), "{refused}");
    Ok(())
}

#[test]
fn links_lead_out_of_a_folder_that_is_in_no_repository() -> Result<()> {
    let disk = tempfile::tempdir()?;
    let at = |name: &str| disk.path().join(name);
    let chart = |name: &str| format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n");
    let base = "dependencies: [{name: base, version: '*', repository: 'file://../base'}]\n";
    let template = config_map("settings", "{{ .Values.text }}");
    for (name, text) in [
        ("web/Chart.yaml", &*(chart("web") + base)),
        ("base/Chart.yaml", &chart("base")),
        ("shared/values.yaml", "text: linked\n"),
        ("shared/templates/settings.yaml", &template),
        ("shared/base.yaml", &config_map("of-base", "1")),
        ("base/templates/own.yaml", &config_map("own", "1")),
    ] {
        let file = at(name);
        std::fs::create_dir_all(file.parent().context("it is in a folder")?)?;
        std::fs::write(file, text)?;
    }
    symlink("../shared/values.yaml", at("web/values.yaml"))?;
    symlink(at("shared/templates"), at("web/templates"))?;
    symlink("../../shared/base.yaml", at("base/templates/base.yaml"))?;
    let web = at("web").display().to_string();
    let rendered = as_administrator(&["render", &web], 0)?;
    for text in ["value: linked", "name: of-base", "name: own"] {
        assert!(rendered.contains(text), "{rendered}");
    }

    // Once there is a repository, nothing is rendered that an agent would refuse.
    let mut git = Command::new("git");
    git.args(["init", "--quiet", &web]);
    for setting in ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"] {
        git.env(setting, "/dev/null");
    }
    assert!(git.status()?.success());
    let commands: [&[&str]; 2] = [&["render", &web], &["render", &web, "--dev"]];
    for args in commands {
        let refused = as_administrator(args, 1)?;
        let told = "leaves the repository, is absolute or never ends";
        assert!(refused.contains(told), "{refused}");
    }
    Ok(())
}

#[test]
fn a_folder_that_nobody_recognises_is_named() -> Result<()> {
    let desk = Desk::new("unrecognised")?;
    let work = desk.repository.work();
    desk.repository
        .write("shop/kustomization.yaml", "resources: []\n")?;
    std::fs::create_dir(work.join("empty"))?;
    let refused = desk.pintle(&["render", "shop", "--dev"], 1)?;
    let folder = work.join("shop").canonicalize()?.display().to_string();
    assert!(
        refused.contains(&format!("{folder} is for Kustomize")) && refused.contains("--renderer"),
        "{refused}"
    );
    let refused = desk.pintle(&["render", "empty", "--dev"], 1)?;
    assert!(refused.contains("there are no files in"), "{refused}");
    Ok(())
}

#[test]
fn how_a_command_ends_is_in_its_exit_code() -> Result<()> {
    let desk = Desk::new("exits")?;
    let web = deployment("web", 1, "registry.k8s.io/pause:latest");
    let files = [
        ("web.yaml", web.as_str()),
        ("pintle.yaml", "policies:\n- plugin: guardrails\n"),
    ];
    desk.repository.push_files(&files, "floating")?;
    desk.pintle(&["converge", ".", "--name", "shop"], 4)?;
    let denied = desk.pintle(&["plan", ".", "--name", "shop"], 4)?;
    assert!(denied.contains("image-tag-latest"), "{denied}");
    assert_eq!(
        desk.kubectl(&["get", "deployment", "-o", "name"])?,
        "",
        "nothing was written"
    );

    desk.pintle(&["converge", "--no-such-flag"], 2)?;
    for args in [
        ["--setting", "no-equals-sign"],
        ["--setting", "foo=1"],
        ["--settings", "nosuch.yaml"],
        ["--renderer", "nosuch"],
        ["--env", "prod"],
    ] {
        desk.pintle(&[&["render", "."], &args[..]].concat(), 2)?;
    }
    desk.pintle(&["dismiss", "never-converged"], 1)?;
    desk.pintle(&["render", "no-such-folder"], 2).map(drop)
}

#[test]
fn what_was_typed_wrongly_is_told_apart() -> Result<()> {
    let desk = Desk::new("typed")?;
    let chart = "apiVersion: v2\nname: shop\nversion: 1.0.0\n";
    let files = [
        ("chart/Chart.yaml", chart),
        ("chart/templates/a.yaml", &config_map("a", "1")),
        ("broken/Chart.yaml", chart),
        ("broken/templates/a.yaml", "{{ fail \"no\" }}\n"),
        ("broken.yaml", "apiVersion: ["),
    ];
    desk.repository.push_files(&files, "first")?;
    desk.repository.write("latin", b"caf\xe9")?;
    let url = "https://127.0.0.1:1/a.git";
    let wrong: [&[&str]; 18] = [
        &["render", "chart", "--set", "a"],
        &["render", "chart", "--set-json", "a={"],
        &["render", "chart", "-f", "chart"],
        &["render", "chart", "-f", "latin"],
        &["render", "chart", "--show-only", "templates/none.yaml"],
        &["render", "chart", "--name", "Bad Name"],
        &["render", "chart", "--renderer", "latin"],
        &["render", url, "--commit", "abc"],
        &["render", url, "--semver", "garbage"],
        &["render", url, "--git-identity", "none"],
        &["render", "web", "--repo", "foo"],
        &["render", "ftp://example.com/a"],
        &["render", "https://user:password@example.com/a"],
        &["diff", "chart", "--kubeconfig", "none"],
        &["diff", "chart", "--context", "other"],
        &["plugin", "inspect", "latin"],
        &["dismiss", "typo/path"],
        &["version", "--log", "=[[["],
    ];
    for args in wrong {
        desk.pintle(args, 2)?;
    }
    desk.pintle(&["render", "chart"], 0)?;
    desk.pintle(&["render", "broken"], 1)?;
    desk.pintle(&["render", url], 1)?;

    let mut diff = desk.command(&["diff", "chart"])?;
    let output = diff.env("KUBECONFIG", "broken.yaml").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let told = "cannot use the kubeconfig broken.yaml: ";
    assert!(said.contains(told), "{said}");

    let mut version = desk.command(&["version"])?;
    let output = version.env("PINTLE_LOG", "=[[[").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("PINTLE_LOG is left out"), "{said}");
    Ok(())
}

#[test]
fn an_empty_variable_is_as_if_it_were_unset_but_for_the_seed() -> Result<()> {
    let desk = Desk::new("unset")?;
    let files = [("a.yaml", &*config_map("a", "1"))];
    desk.repository.push_files(&files, "first")?;
    let render = || desk.command(&["render", "."]);
    let mut unset = render()?;
    for name in [
        "PINTLE_GIT_USERNAME",
        "PINTLE_GIT_IDENTITY",
        "PINTLE_GIT_KNOWN_HOSTS",
        "PINTLE_GIT_CA",
        "PINTLE_REGISTRY_CA",
    ] {
        unset.env(name, "");
    }
    let output = unset.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    let output = render()?.env("PINTLE_SEED", "").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("anyone could compute"), "{said}");
    Ok(())
}

#[test]
fn a_log_of_json_has_nothing_else_in_it() -> Result<()> {
    let desk = Desk::new("json")?;
    let output = desk.command(&["agent", "--kubeconfig", "none"])?.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    let lines: Vec<Value> = said
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let last = lines.last().context("nothing is logged")?;
    assert_eq!(last["level"], "ERROR", "{said}");
    let message = last["message"].as_str().unwrap_or_default();
    assert!(message.contains("kubeconfig none"), "{said}");
    Ok(())
}

#[test]
fn without_a_place_for_caches_all_works_and_that_is_said() -> Result<()> {
    let desk = Desk::new("homeless")?;
    let files = [("a.yaml", &*config_map("a", "1"))];
    desk.repository.push_files(&files, "first")?;
    let url = desk.repository.url();
    // The renderer is compiled each time, so the smallest one is used.
    let small = ["--renderer", "manifests"];
    for source in [".", url.as_str()] {
        let mut command = desk.command(&[&["render", source], &small[..]].concat())?;
        for name in ["HOME", "XDG_CACHE_HOME", "PINTLE_CACHE"] {
            command.env_remove(name);
        }
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{source}: {said}");
        assert!(text.contains("value: \"1\""), "{source}: {text}");
        let told = "nothing is kept for the next time";
        assert!(said.contains(told), "{source}: {said}");
    }
    // A cache folder that cannot be created stops nothing either.
    let mut command = desk.command(&[&["render", url.as_str()], &small[..]].concat())?;
    let output = command.env("PINTLE_CACHE", "/dev/null/none").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("repositories are fetched anew"), "{said}");
    Ok(())
}

#[test]
fn what_cannot_be_printed_is_told() -> Result<()> {
    let desk = Desk::new("unprinted")?;
    let files = [("settings.yaml", &*config_map("settings", "1"))];
    desk.repository.push_files(&files, "first")?;
    let commands: [&[&str]; 8] = [
        &["render", "."],
        &["render", ".", "-o", "json"],
        &["plugin", "list"],
        &["plugin", "inspect", "manifests"],
        &["version"],
        &["--version"],
        &["render", "--help"],
        &["completion", "bash"],
    ];
    for args in commands {
        let full = File::options().write(true).open("/dev/full")?;
        let output = desk.command(args)?.stdout(full).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        let told = "error: standard output: No space left on device";
        assert!(said.contains(told), "{args:?}: {said}");
    }
    // Messages beside the result are lost, which ends nothing.
    let told: [(&[&str], i32); 3] = [
        (&["render", ".", "--log", "debug"], 0),
        (&["render", "ftp://example.com/a"], 2),
        (&["version", "--log", "info"], 0),
    ];
    for (args, code) in told {
        let full = File::options().write(true).open("/dev/full")?;
        let output = desk.command(args)?.stderr(full).output()?;
        assert_eq!(output.status.code(), Some(code), "{args:?}");
    }
    // A reader that stops reading has what it wanted.
    let completion = desk.command(&["completion", "bash"])?;
    let output = in_a_shell(&completion, "{ \"$@\"; echo \"it was $?\" >&2; } | true").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "it was 0\n");
    Ok(())
}

/// Returns a shell command line in which `"$@"` stands for a command.
pub(crate) fn in_a_shell(command: &Command, line: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", line, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}
