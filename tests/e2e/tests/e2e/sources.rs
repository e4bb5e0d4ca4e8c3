//! Sources whose credentials or certificate authorities are replaced, whose host asks for a pause or sends slowly, and local
//! copies that do not stay as they were.

use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pintle_harness::{
    AgentOptions, Fault, Proxy, Servers, ServersOptions, pack_chart, to_stderr, until,
};

use crate::world::{LIMIT, Stage, config_map, world};

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
fn an_authority_of_registries_is_trusted_for_as_long_as_the_file_holds_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ca.crt");
    let other = Servers::start(&ServersOptions::default(), &to_stderr)?;
    fs::copy(other.ca(), &file)?;
    let stage = Stage::with("authority", |namespace| {
        let mut options = AgentOptions::new(world().agent_kubeconfig());
        let file = file.display().to_string();
        let args = [
            "--watch-namespace",
            namespace,
            "--registry-ca",
            file.as_str(),
        ];
        options.args.extend(args.map(str::to_owned));
        options
    })?;
    let servers = &stage.world.servers;
    let repository = format!("{}/web", stage.namespace);
    let publish = |version: &str| -> Result<String> {
        let text = config_map("web", version);
        let archive = pack_chart("web", version, &[("templates/web.yaml", &text)])?;
        stage
            .world
            .wait(servers.push_chart(&repository, version, archive))
    };
    let refused = || -> Result<()> {
        let failed = stage.condition("web", "Ready", "SourceFailed")?;
        let message = failed["message"].as_str().unwrap_or_default();
        assert!(message.contains("no secure connection"), "{message}");
        Ok(())
    };
    let first = publish("1.0.0")?;
    stage.apply(&format!(
        "apiVersion: pintle.dev/v1alpha1\nkind: Application\nmetadata: {{name: web, namespace: {}}}\n\
         spec:\n  serviceAccountName: deployer\n  interval: 1h\n  \
         source: {{oci: {{url: 'oci://{}/{repository}', semver: '*'}}}}\n",
        stage.namespace,
        servers.registry_tls()
    ))?;
    refused()?;

    fs::copy(servers.ca(), &file)?;
    stage.request("web")?;
    stage.ready_at("web", &first)?;

    fs::write(&file, "no certificate")?;
    let second = publish("1.1.0")?;
    stage.request("web")?;
    stage.ready_at("web", &second)?;

    fs::copy(other.ca(), &file)?;
    stage.request("web")?;
    refused()
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

#[test]
fn a_pause_that_a_registry_asks_for_is_shared_and_is_not_for_who_wants_to_know_now() -> Result<()> {
    let stage = Stage::new("limit")?;
    let servers = &stage.world.servers;
    let host = Proxy::start(servers.http(), None)?;
    let repository = format!("{}/web", stage.namespace);
    let text = config_map("web", "1");
    let archive = pack_chart("web", "1.0.0", &[("templates/web.yaml", &text)])?;
    let chart = stage
        .world
        .wait(servers.push_chart(&repository, "1.0.0", archive))?;
    let busy = Fault::on("*", "/v2/").status(429, "TooManyRequests", "busy");
    host.inject(busy.header("Retry-After", "3600"));
    let follow = |name: &str, tag: &str| {
        stage.apply(&format!(
            "apiVersion: pintle.dev/v1alpha1\nkind: Application\nmetadata: {{name: {name}, namespace: {}}}\n\
             spec:\n  serviceAccountName: deployer\n  \
             source: {{oci: {{url: 'oci://{}/{repository}', tag: {tag}}}}}\n",
            stage.namespace,
            host.host()
        ))?;
        stage.condition(name, "Ready", "SourceFailed")
    };
    follow("web", "'1.0.0'")?;
    let asked = host.seen().len();
    follow("other", "other")?;
    assert_eq!(host.seen().len(), asked);

    host.heal();
    stage.request("web")?;
    stage.ready_at("web", &chart)
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
    let commit = stage.deploy_with("one", "one", "", &files)?;

    // The packs are overwritten in place, because the agent has them open. It has not read the folder of the other application
    // yet.
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

/// A chart repository whose index arrives so slowly that waiting for it takes longer than any test.
struct Dripping {
    address: SocketAddr,
    asked: mpsc::Receiver<()>,
    left: mpsc::Receiver<()>,
}

impl Dripping {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (tell, asked) = mpsc::channel();
        let (leave, left) = mpsc::channel();
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if tell.send(()).is_err() {
                    return;
                }
                let leave = leave.clone();
                thread::spawn(move || {
                    // This ends with an error once nobody reads what it writes.
                    let _ = drip(connection);
                    let _ = leave.send(());
                });
            }
        });
        Ok(Self {
            address,
            asked,
            left,
        })
    }

    /// Returns an Application of a chart in this repository.
    fn application(&self, stage: &Stage, name: &str) -> String {
        let chart = format!(
            "{{repository: 'http://{}', name: web, version: 1.0.0}}",
            self.address
        );
        let renderer = format!("renderer: {{plugin: helm, settings: {{chart: {chart}}}}}");
        stage.application(name, "web", &renderer)
    }

    /// Waits until a client sends a request.
    fn is_asked(&self) -> Result<()> {
        let asked = self.asked.recv_timeout(LIMIT);
        asked.context("nobody asks the chart repository")
    }

    /// Waits until a client that has sent a request is gone.
    fn is_left(&self) -> Result<()> {
        let left = self.left.recv_timeout(LIMIT);
        left.context("the chart repository is still waited for")
    }
}

/// Answers one request until the client disconnects.
fn drip(mut connection: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?);
    while lines.read_line(&mut String::new())? > "\r\n".len() {}
    connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")?;
    loop {
        connection.write_all(b"#")?;
        thread::sleep(Duration::from_secs(1));
    }
}

/// Pushes a folder for a chart that is elsewhere, and a folder that needs nothing else.
fn push_both(stage: &Stage) -> Result<String> {
    let plain = config_map("a", "1");
    let files = [("web/values.yaml", "{}\n"), ("plain/a.yaml", &plain)];
    stage.repository.push_files(&files, "both")
}

#[test]
fn who_waits_for_a_chart_repository_is_changed_and_deleted_at_once() -> Result<()> {
    let (stage, host) = (Stage::new("drip")?, Dripping::start()?);
    let commit = push_both(&stage)?;
    stage.apply(&host.application(&stage, "web"))?;
    host.is_asked()?;
    stage.apply(&stage.application("web", "plain", ""))?;
    stage.ready_at("web", &commit)?;

    stage.apply(&host.application(&stage, "other"))?;
    host.is_asked()?;
    stage.kubectl(&["delete", "application", "other", "--wait=false"])?;
    until("the application is gone", LIMIT, || {
        let found = stage.find("Application", "other")?;
        Ok(found.map_or(Ok(()), |found| Err(found["status"].to_string())))
    })
}

#[test]
fn who_waits_for_a_chart_repository_holds_up_nobody_else() -> Result<()> {
    let stage = Stage::with("slow", |namespace| {
        let mut options = AgentOptions::new(world().agent_kubeconfig());
        let args = ["--watch-namespace", namespace, "--concurrency", "1"];
        options.args.extend(args.map(str::to_owned));
        options
    })?;
    let host = Dripping::start()?;
    let commit = push_both(&stage)?;
    stage.apply(&host.application(&stage, "slow"))?;
    host.is_asked()?;
    stage.apply(&stage.application("quick", "plain", ""))?;
    stage.ready_at("quick", &commit)
}

#[test]
fn what_no_commit_asks_for_any_more_is_not_fetched_to_its_end() -> Result<()> {
    let (stage, host) = (Stage::new("reverted")?, Dripping::start()?);
    let alone = "apiVersion: v2\nname: web\nversion: 0.1.0\n";
    let object = config_map("a", "1");
    let files = [("web/Chart.yaml", alone), ("web/templates/a.yaml", &object)];
    stage.deploy_with("web", "web", "", &files)?;

    let dependent = format!(
        "{alone}dependencies: [{{name: base, version: 1.0.0, repository: 'http://{}'}}]\n",
        host.address
    );
    stage.push("web", &[("web/Chart.yaml", &dependent)])?;
    host.is_asked()?;
    let commit = stage.push("web", &[("web/Chart.yaml", alone)])?;
    host.is_left()?;
    stage.ready_at("web", &commit)
}
