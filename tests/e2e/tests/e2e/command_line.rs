//! The command line, on a folder and a cluster.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use pintle_harness::{GitRepo, Process, agent};

use crate::world::{config_map, deployment, namespace, service, world};

/// A folder, a namespace, and the user who works on both.
struct Desk {
    namespace: String,
    repository: GitRepo,
    kubeconfig: std::path::PathBuf,
    home: tempfile::TempDir,
}

impl Desk {
    fn new(prefix: &str) -> Result<Self> {
        let namespace = namespace(prefix)?;
        Ok(Self {
            repository: world().servers.repository(&namespace)?,
            kubeconfig: world()
                .control_plane
                .service_account_kubeconfig(&namespace, "deployer")?,
            home: tempfile::tempdir()?,
            namespace,
        })
    }

    fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(agent::executable()?);
        command
            .args(args)
            .current_dir(self.repository.work())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("XDG_CACHE_HOME", cache())
            .env("HOME", self.home.path());
        Ok(command)
    }

    /// Runs pintle in the folder, and checks how it ends.
    fn pintle(&self, args: &[&str], expected: i32) -> Result<String> {
        let output = self.command(args)?.output().context("start pintle")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() != Some(expected) {
            bail!(
                "pintle {}: {}, expected {expected}\n{text}\n{said}",
                args.join(" "),
                output.status
            );
        }
        Ok(text + &said)
    }

    /// Counts what this desk's user wrote since a mark, dry runs excluded.
    fn writes_since(&self, mark: u64) -> Result<BTreeMap<String, usize>> {
        let user = format!("system:serviceaccount:{}:deployer", self.namespace);
        let mut writes = BTreeMap::new();
        for request in world().control_plane.requests_since(mark)? {
            let is_ours = request.user == user && request.namespace == self.namespace;
            if is_ours && request.is_write() && !request.uri.contains("dryRun=") {
                let object = format!("{} {}/{}", request.verb, request.resource, request.name);
                *writes.entry(object).or_default() += 1;
            }
        }
        Ok(writes)
    }

    fn kubectl(&self, args: &[&str]) -> Result<String> {
        let all = [&["--namespace", self.namespace.as_str()], args].concat();
        world().control_plane.kubectl(&all)
    }
}

/// Where compiled plugins are kept, for all tests of this process.
fn cache() -> &'static Path {
    static CACHE: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    CACHE
        .get_or_init(|| tempfile::tempdir().expect("a folder can be made"))
        .path()
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
    desk.pintle(&["render", ".", "--setting", "no-equals-sign"], 2)?;
    desk.pintle(&["dismiss", "never-converged"], 1)?;
    desk.pintle(&["render", "no-such-folder"], 2).map(drop)
}

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
    pintle_harness::until("the error is told", Duration::from_mins(1), || {
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

/// Waits until a process has printed a line with this text.
fn printed(process: &mut Process, text: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_mins(1);
    while !process
        .line(end.saturating_duration_since(Instant::now()))?
        .contains(text)
    {}
    Ok(())
}
