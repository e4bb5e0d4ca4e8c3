//! What an operator requests of an application in the cluster.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use pintle_harness::{Fault, Process, Proxy, until};
use serde_json::Value;

use crate::desk::{as_administrator, document, of_administrator};
use crate::rollouts::misbehaving;
use crate::world::{LIMIT, Stage, condition, config_map};

fn limit() -> String {
    format!("{}s", LIMIT.as_secs())
}

#[test]
fn what_is_suspended_rests_until_it_is_resumed_and_says_who_wanted_that() -> Result<()> {
    let stage = Stage::new("resting")?;
    let commit = stage.deploy("shop", &[("settings.yaml", &config_map("settings", "1"))])?;
    let pintle = |args: &[&str], expected| {
        let all = [args, &["-n", stage.namespace.as_str()]].concat();
        as_administrator(&all, expected)
    };

    pintle(&["suspend", "shop", "--reason", "the sale is on"], 0)?;
    let again = pintle(&["suspend", "shop"], 0)?;
    assert!(again.contains("suspended already by"), "{again}");
    for look in [vec!["status", "shop"], vec!["status"]] {
        let status = pintle(&look, 0)?;
        assert!(status.contains("the sale is on"), "{status}");
    }
    for command in ["reconcile", "test"] {
        let refused = pintle(&[command, "shop"], 2)?;
        assert!(
            refused.contains("the sale is on") && refused.contains("pintle resume shop"),
            "{refused}"
        );
    }

    stage.kubectl(&["delete", "configmap", "settings"])?;
    let next = stage.push("shop", &[("settings.yaml", &config_map("settings", "2"))])?;
    // The agent has seen the push: it fetched the commit for another application, which finds the suspended one as it was before.
    // If the suspended one had repaired the object, the other one would be refused it.
    stage.apply(&stage.application("other", "", "dependsOn: [{name: shop}]"))?;
    stage.ready_at("other", &next)?;
    assert_eq!(
        stage.object("Application", "shop")?["status"]["revision"],
        commit.as_str()
    );
    stage.kubectl(&["delete", "application", "other"])?;

    let resumed = pintle(&["resume", "shop"], 0)?;
    assert!(resumed.contains("had been suspended by"), "{resumed}");
    stage.ready_at("shop", &next)?;
    let shop = stage.object("Application", "shop")?;
    assert_eq!(shop["spec"]["suspend"], Value::Null);
    assert_eq!(
        shop["metadata"]["annotations"]["pintle.dev/suspend-request"],
        Value::Null
    );

    // Nothing claims that a stopped rollout is still in progress.
    stage.push(
        "shop",
        &[("web.yaml", &misbehaving("web", "never-ready", ""))],
    )?;
    stage.condition("shop", "Reconciling", "Progressing")?;
    pintle(&["suspend", "shop"], 0)?;
    let stalled = stage.condition("shop", "Stalled", "Suspended")?;
    assert_eq!(stalled["status"], "True");
    let shop = stage.object("Application", "shop")?;
    assert_eq!(condition(&shop, "Ready")["status"], "False");
    assert_eq!(condition(&shop, "Reconciling"), Value::Null);
    assert_eq!(shop["status"]["history"][0]["ending"], "underway");
    pintle(&["resume", "shop"], 0)?;
    stage.condition("shop", "Reconciling", "Progressing")?;
    Ok(())
}

#[test]
fn what_had_failed_is_told_to_rest_although_no_run_is_stopped() -> Result<()> {
    let stage = Stage::new("restless")?;
    // The port was bound and released: nothing listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let url = format!("http://{closed}/team/lost.git");
    stage.apply(&stage.application_of(&url, "shop", "", ""))?;
    let failed = stage.condition("shop", "Reconciling", "SourceFailed")?;

    stage.patch("shop", r#"{"spec": {"suspend": true}}"#)?;
    let stalled = stage.condition("shop", "Stalled", "Suspended")?;
    let shop = stage.object("Application", "shop")?;
    assert_eq!(condition(&shop, "Reconciling"), Value::Null);
    let observed = &shop["status"]["observedGeneration"];
    assert_eq!(*observed, shop["metadata"]["generation"]);
    let [why, message] = [&failed, &stalled].map(|one| one["message"].as_str());
    let (why, message) = (why.unwrap_or_default(), message.unwrap_or_default());
    assert!(message.contains(why), "{message}");

    stage.patch("shop", r#"{"spec": {"suspend": null}}"#)?;
    stage
        .condition("shop", "Reconciling", "SourceFailed")
        .map(drop)
}

#[test]
fn a_run_for_another_reason_does_not_answer_what_the_source_is_asked_for() -> Result<()> {
    let stage = Stage::new("early")?;
    let servers = Proxy::start(stage.world.servers.http(), None)?;
    let url = stage.world.servers.git_http(&stage.repository);
    let url = url.replace(stage.world.servers.http(), &servers.url());
    let push = |value: &str| {
        let text = config_map("settings", value);
        stage
            .repository
            .push_files(&[("settings.yaml", &text)], value)
    };
    let first = push("1")?;
    stage.apply(&stage.application_of(&url, "shop", "", ""))?;
    stage.ready_at("shop", &first)?;

    // While the source is slow to report the second commit, the changed spec causes the first one to be applied again.
    let second = push("2")?;
    servers.inject(Fault::on("*", "upload-pack").delay(Duration::from_secs(3)));
    let asked = r#"{"metadata": {"annotations": {"pintle.dev/reconcile-requested-at": "now"}}, "spec": {"timeout": "3m"}}"#;
    stage.patch("shop", asked)?;
    let status = stage.handled("shop", "now")?;
    assert_eq!(status["attemptedRevision"], second.as_str(), "{status:#}");

    // A source that is replaced before it has answered passes the request on to its successor.
    let third = push("3")?;
    servers.heal();
    servers.inject(Fault::on("*", "upload-pack").delay(LIMIT));
    stage.annotate("shop", "pintle.dev/reconcile-requested-at=again")?;
    let direct = stage.world.servers.git_http(&stage.repository);
    stage.patch(
        "shop",
        &format!(r#"{{"spec": {{"source": {{"git": {{"url": "{direct}"}}}}}}}}"#),
    )?;
    stage.ready_at("shop", &third)?;
    stage.handled("shop", "again").map(drop)
}

#[test]
fn a_reconciliation_takes_what_is_in_git_now_and_the_history_says_who_asked() -> Result<()> {
    let stage = Stage::new("asking")?;
    let settings = |value: &str| config_map("settings", value);
    let first = stage
        .repository
        .push_files(&[("settings.yaml", &settings("1"))], "the shop opens")?;
    stage.apply(&stage.application("shop", "", ""))?;
    stage.ready_at("shop", &first)?;
    let pintle = |args: &[&str], expected| {
        let all = [args, &["-n", stage.namespace.as_str()]].concat();
        as_administrator(&all, expected)
    };

    // The agent was not notified, and polls once an hour.
    let second = stage
        .repository
        .push_files(&[("settings.yaml", &settings("2"))], "two of them")?;
    let limit = limit();
    let wait = ["--reason", "now", "--timeout", &limit];
    let said = pintle(&[&["reconcile", "shop"], &wait[..]].concat(), 0)?;
    assert!(said.contains(&second[..12]), "{said}");
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(status["revision"], second.as_str());

    // The same request again: it is answered although there is nothing to do.
    pintle(&[&["reconcile", "shop"], &wait[..]].concat(), 0)?;
    let broken = stage
        .repository
        .push_files(&[("settings.yaml", "kind: [")], "oops")?;
    let said = pintle(&[&["reconcile", "shop"], &wait[..]].concat(), 1)?;
    assert!(said.contains("settings.yaml:1"), "{said}");

    let history = pintle(&["history", "shop", "-o", "json"], 0)?;
    let history: Value = serde_json::from_str(&history)?;
    let of = |at: usize, field: &str| history[at][field].clone();
    let revisions = [0, 1, 2].map(|at| of(at, "revision"));
    assert_eq!(
        revisions,
        [broken, second, first].map(Value::from),
        "{history}"
    );
    assert_eq!(
        [0, 1, 2].map(|at| of(at, "ending")),
        ["failed", "healthy", "healthy"].map(Value::from)
    );
    assert_eq!(
        [0, 1, 2].map(|at| of(at, "summary")),
        ["oops", "two of them", "the shop opens"].map(Value::from)
    );
    assert_eq!(of(2, "plan")["create"], 1, "{history}");
    assert_eq!(of(1, "plan")["update"], 1, "{history}");
    assert!(
        of(2, "author")
            .as_str()
            .is_some_and(|author| author.contains('@')),
        "{history}"
    );
    assert!(
        of(0, "message").to_string().contains("settings.yaml:1"),
        "{history}"
    );
    let text = pintle(&["history", "shop"], 0)?;
    assert!(
        text.contains("2*") && text.contains("the shop opens"),
        "{text}"
    );
    assert_eq!(history.as_array().map(Vec::len), Some(3), "{history}");
    Ok(())
}

#[test]
fn what_an_operator_asks_for_is_answered_to_programs_with_one_document() -> Result<()> {
    let stage = Stage::new("programs")?;
    let settings = |value: &str| config_map("settings", value);
    let mut commits = Vec::new();
    for value in ["1", "2"] {
        let files = [("settings.yaml", &*settings(value))];
        commits.push(stage.repository.push_files(&files, value)?);
        if value == "1" {
            stage.apply(&stage.application("shop", "", ""))?;
            stage.ready_at("shop", &commits[0])?;
        }
    }
    let limit = limit();
    let pintle = |args: &[&str], expected| {
        let more = ["-n", &stage.namespace, "-o", "json"];
        document(&[args, &more].concat(), expected)
    };
    let done = pintle(&["reconcile", "shop", "--timeout", &limit], 0)?;
    assert_eq!(done["status"]["revision"], commits[1].as_str());
    let back = pintle(&["rollback", "shop", "--timeout", &limit], 0)?;
    assert_eq!(back["status"]["rollback"]["to"], commits[0].as_str());
    let asked = pintle(&["rollback", "shop", "--to", "2", "--no-wait"], 0)?;
    assert_eq!(asked["application"]["name"], "shop");
    assert_eq!(asked["request"]["to"], commits[1].as_str());
    let watch = ["status", "--watch", "-o", "json"];
    let refused = as_administrator(&watch, 2)?;
    assert!(refused.contains("-o jsonl"), "{refused}");
    Ok(())
}

/// Watches applications without a terminal: one process prints lines for people, the other one prints documents.
fn watch(stage: &Stage, home: &Path, which: &[&str]) -> Result<[Process; 2]> {
    let all = [
        &["status", "--watch", "-n", stage.namespace.as_str()],
        which,
    ]
    .concat();
    let start = |format: &[&str], log: &str| {
        let command = of_administrator(&[&all[..], format].concat(), home)?;
        Process::spawn("pintle status --watch", command, &home.join(log))
    };
    Ok([start(&[], "lines")?, start(&["-o", "jsonl"], "json")?])
}

#[test]
fn a_watch_without_a_terminal_prints_what_changes_and_nothing_twice() -> Result<()> {
    let stage = Stage::new("watched")?;
    let commit = stage.deploy("shop", &[("settings.yaml", &config_map("settings", "1"))])?;
    let home = tempfile::tempdir()?;
    let [mut lines, mut json] = watch(&stage, home.path(), &["shop"])?;
    let first = printed(&mut lines, "Ready is True")?;
    assert!(first.contains(&commit[..12]), "{first}");
    printed(&mut lines, "healthy")?;
    printed(&mut json, &commit)?;

    let next = stage.push("shop", &[("settings.yaml", &config_map("settings", "2"))])?;
    let mut seen = Vec::new();
    until("the next revision is told", LIMIT, || {
        let line = lines.line(Duration::from_mins(1))?;
        let is_told = line.contains("Ready is True") && line.contains(&next[..12]);
        seen.push(line);
        Ok(if is_told {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        })
    })?;
    let repeated = seen.iter().filter(|line| line.contains(&commit[..12]));
    assert_eq!(repeated.count(), 0, "{seen:?}");
    let line = printed(&mut json, &format!("\"revision\":\"{next}\""))?;
    let document: Value = serde_json::from_str(&line)?;
    assert_eq!(document["name"], "shop");
    lines.kill()?;
    json.kill()
}

#[test]
fn a_watch_of_all_applications_tells_which_went() -> Result<()> {
    let stage = Stage::new("went")?;
    let commit = stage.deploy("shop", &[("settings.yaml", &config_map("settings", "1"))])?;
    let home = tempfile::tempdir()?;
    let [mut lines, mut json] = watch(&stage, home.path(), &[])?;
    printed(&mut lines, "Ready is True")?;
    printed(&mut json, &commit)?;
    stage.kubectl(&["delete", "application", "shop", "--timeout=120s"])?;
    let gone = printed(&mut lines, "shop is gone")?;
    assert_eq!(gone, format!("{}/shop is gone", stage.namespace));
    let document: Value = serde_json::from_str(&printed(&mut json, "\"gone\":true")?)?;
    assert_eq!(document["name"], "shop");
    lines.kill()?;
    json.kill()
}

#[test]
fn who_may_ask_and_not_watch_is_told_so_at_once() -> Result<()> {
    let stage = Stage::new("unwatched")?;
    stage.deploy("shop", &[("settings.yaml", &config_map("settings", "1"))])?;
    stage.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: asker, namespace: {ns}}}\n\
         rules: [{{apiGroups: [pintle.dev], resources: [applications], verbs: [get, patch]}}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: asker, namespace: {ns}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: asker}}\n\
         subjects: [{{kind: ServiceAccount, name: asker, namespace: {ns}}}]\n",
        ns = stage.namespace
    ))?;
    let plane = stage.world.control_plane;
    let kubeconfig = plane.service_account_kubeconfig(&stage.namespace, "asker")?;
    let home = tempfile::tempdir()?;
    // Without the failure, the command would wait for ten minutes.
    for command in ["reconcile", "test"] {
        let mut command = of_administrator(&[command, "shop"], home.path())?;
        command.env("KUBECONFIG", &kubeconfig);
        let log = home.path().join("asker.log");
        let mut asking = Process::spawn("pintle without watch", command, &log)?;
        assert_eq!(asking.wait(LIMIT)?.code(), Some(1));
        let said = asking.log_tail();
        for text in ["asked for", "`list` and `watch` on applications"] {
            assert!(said.contains(text), "{said}");
        }
        assert!(!said.contains("does an agent watch"), "{said}");
    }
    Ok(())
}

/// Waits for a line with this text, and returns it.
fn printed(process: &mut Process, text: &str) -> Result<String> {
    let end = Instant::now() + LIMIT;
    loop {
        let line = process.line(end.saturating_duration_since(Instant::now()))?;
        if line.contains(text) {
            return Ok(line);
        }
    }
}
