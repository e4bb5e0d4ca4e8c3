//! What does not work is rolled back, once, and visibly.

mod restarts;

use std::time::{Duration, Instant};

use anyhow::Result;
use pintle_harness::{Fault, Proxy, Recording, record, until};
use serde_json::Value;

use crate::desk::{as_administrator, of_administrator};
use crate::drift::event;
use crate::recordings::keep;
use crate::rollouts::misbehaving;
use crate::world::{LIMIT, Stage, condition, config_map, deployment};

const IMAGE: &str = "registry.k8s.io/pause:3.9";

/// The time between two commits of a busy repository: far less than a rollout may take.
const PAUSE: Duration = Duration::from_secs(10);

/// Deploys an application at a commit that works, with or without automatic rollbacks.
fn shop(prefix: &str, policy: &str) -> Result<(Stage, String)> {
    shop_on(Stage::new(prefix)?, policy)
}

/// Does the same on an existing stage.
fn shop_on(stage: Stage, policy: &str) -> Result<(Stage, String)> {
    let good = deployment("web", 1, IMAGE);
    let commit = stage
        .repository
        .push_files(&[("web.yaml", &good)], "it works")?;
    let application = stage.application("shop", "", &format!("rollback: {policy}"));
    stage.apply(&application.replace("timeout: 1m", "timeout: 25s"))?;
    stage.ready_at("shop", &commit)?;
    Ok((stage, commit))
}

/// Returns the manifests of a Deployment that does not work, whose pods behave as `pod` says.
fn broken(pod: &str) -> String {
    // The account stays: a pod template that no longer names it keeps it in its old field `serviceAccount`.
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n---\n";
    account.to_owned() + &misbehaving("web", pod, "")
}

fn push_broken(stage: &Stage) -> Result<String> {
    stage.push("shop", &[("web.yaml", &broken("crash-loop"))])
}

fn image(stage: &Stage) -> Result<Value> {
    let web = stage.object("Deployment", "web")?;
    Ok(web["spec"]["template"]["metadata"]["labels"].clone())
}

#[test]
fn a_revision_that_does_not_work_is_taken_back_until_the_next_commit() -> Result<()> {
    let (stage, good) = shop("back", "OnFailure")?;
    let broken = push_broken(&stage)?;
    let stalled = stage.condition("shop", "Stalled", "RolledBack")?;
    let message = stalled["message"].as_str().unwrap_or_default();
    let says = format!("running {} instead of {}", &good[..12], &broken[..12]);
    assert!(
        message.contains(&says) && message.contains("exit code 1"),
        "{message}"
    );
    let found = stage.object("Application", "shop")?;
    let status = &found["status"];
    assert_eq!(condition(&found, "Ready")["status"], "False");
    assert_eq!(status["health"], "healthy", "{status}");
    assert_eq!(status["revision"], good.as_str());
    assert_eq!(status["rollback"]["insteadOf"], broken.as_str());
    assert_eq!(image(&stage)?["testing.pintle.dev/pod"], Value::Null);
    let endings = |status: &Value| -> Vec<String> {
        let entries = status["history"].as_array().into_iter().flatten();
        entries
            .map(|one| format!("{} {}", one["trigger"], one["ending"]).replace('"', ""))
            .collect()
    };
    let mut told = endings(status);
    // The revision was pushed and also requested: if one of the two is seen first while something else runs, the other one
    // replaces it.
    told[1] = told[1].replace("request", "revision");
    assert_eq!(
        told,
        ["rollback healthy", "revision unhealthy", "revision healthy"]
    );
    let shown = as_administrator(&["status", "shop", "-n", &stage.namespace], 0)?;
    assert!(
        shown.contains(&format!("runs {}, not {}", &good[..12], &broken[..12])),
        "{shown}"
    );
    event(&stage, "RolledBack", &says)?;

    // This survives a restart of the agent, and drift is repaired to what the earlier revision has.
    let mark = stage.mark()?;
    let mut stage = stage;
    stage.agent.stop()?;
    stage.agent.start_again()?;
    stage.agent.wait_ready()?;
    stage.kubectl(&["scale", "deployment/web", "--replicas=3"])?;
    until("the replicas are as they were", LIMIT, || {
        let replicas = &stage.object("Deployment", "web")?["spec"]["replicas"];
        Ok(if *replicas == 1 {
            Ok(())
        } else {
            Err(replicas.to_string())
        })
    })?;
    let writes = stage.writes_since(mark)?;
    assert_eq!(
        writes.values().sum::<usize>(),
        1,
        "the broken revision is not tried again: {writes:?}"
    );

    let fixed = stage.push("shop", &[("web.yaml", &deployment("web", 2, IMAGE))])?;
    stage.ready_at("shop", &fixed)?;
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(status["rollback"], Value::Null);
    Ok(())
}

/// Pushes a commit that changes nothing in what is rendered.
fn push_other(stage: &Stage, text: &str) -> Result<String> {
    let files = [("README.md", text)];
    stage.repository.push_files(&files, text)
}

/// Waits until the agent knows that a commit renders the same as the one that was rolled back.
fn is_left(stage: &Stage, commit: &str) -> Result<()> {
    until("it runs on", LIMIT, || {
        let found = stage.object("Application", "shop")?;
        let (status, ready) = (&found["status"], condition(&found, "Ready"));
        let is_on = status["rollback"]["insteadOf"] == commit && ready["reason"] == "RolledBack";
        Ok(if is_on {
            Ok(())
        } else {
            Err(status.to_string())
        })
    })
}

#[test]
fn what_others_push_puts_nothing_back_that_was_gone_back_from() -> Result<()> {
    let (mut stage, good) = shop("others", "OnFailure")?;
    // No reconciliation is requested: a request would end the rollback.
    stage.patch("shop", r#"{"spec": {"interval": "1s"}}"#)?;
    push_broken(&stage)?;
    stage.condition("shop", "Stalled", "RolledBack")?;
    let mark = stage.mark()?;
    is_left(&stage, &push_other(&stage, "It sells.")?)?;
    // A restarted agent finds a commit that it has never seen.
    stage.agent.stop()?;
    let next = push_other(&stage, "It sells more.")?;
    stage.agent.start_again()?;
    stage.agent.wait_ready()?;
    is_left(&stage, &next)?;
    let writes = stage.writes_since(mark)?;
    assert_eq!(writes.values().sum::<usize>(), 0, "{writes:?}");
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(status["rollback"]["to"], good.as_str(), "{status}");

    let good = deployment("web", 2, IMAGE);
    let fixed = stage
        .repository
        .push_files(&[("web.yaml", &good)], "it works again")?;
    stage.ready_at("shop", &fixed)?;
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(status["rollback"], Value::Null);
    Ok(())
}

#[test]
fn what_a_person_goes_back_from_halfway_is_not_put_back_either() -> Result<()> {
    let (stage, good) = shop("early", "Never")?;
    stage.patch("shop", r#"{"spec": {"interval": "1s"}}"#)?;
    let never_ready = broken("never-ready");
    let repository = &stage.repository;
    repository.push_files(&[("web.yaml", &never_ready)], "it is not ready")?;
    stage.condition("shop", "Ready", "Progressing")?;
    as_administrator(&["rollback", "shop", "-n", &stage.namespace], 0)?;
    is_left(&stage, &push_other(&stage, "It sells.")?)?;
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(status["rollback"]["to"], good.as_str(), "{status}");
    assert_eq!(image(&stage)?["testing.pintle.dev/pod"], Value::Null);
    Ok(())
}

#[test]
fn what_is_gone_back_to_waits_for_no_other_application() -> Result<()> {
    let (stage, good) = shop("alone", "OnFailure")?;
    push_broken(&stage)?;
    until("the broken revision is there", LIMIT, || {
        let labels = image(&stage)?;
        Ok(if labels["testing.pintle.dev/pod"] == "crash-loop" {
            Ok(())
        } else {
            Err(labels.to_string())
        })
    })?;
    let patch = r#"{"spec": {"dependsOn": [{"name": "never-there"}]}}"#;
    stage.patch("shop", patch)?;
    stage.condition("shop", "Stalled", "RolledBack")?;
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(status["revision"], good.as_str(), "{status}");
    assert_eq!(image(&stage)?["testing.pintle.dev/pod"], Value::Null);
    Ok(())
}

#[test]
fn an_outage_is_no_fault_of_a_commit_that_changes_nothing() -> Result<()> {
    let (stage, good) = shop("outage", "OnFailure")?;
    stage.kubectl(&["create", "quota", "none", "--hard=pods=0"])?;
    stage.kubectl(&["delete", "pods", "--all"])?;
    stage.condition("shop", "Ready", "Degraded")?;
    let same = stage.push("shop", &[("README.md", "It sells.")])?;
    until("the commit was tried", LIMIT, || {
        let found = stage.object("Application", "shop")?;
        let is_tried = found["status"]["attemptedRevision"] == same.as_str();
        let is_over = condition(&found, "Ready")["reason"] == "Degraded";
        Ok(if is_tried && is_over {
            Ok(())
        } else {
            Err(found["status"]["conditions"].to_string())
        })
    })?;
    // The outcome of a request is reported along with everything that was decided before it.
    let status = ask_for_nowhere(&stage)?;
    assert_eq!(status["rollback"], Value::Null, "{status}");
    assert_eq!(status["attemptedRevision"], same.as_str(), "{status}");
    // A commit that changes nothing about what is unhealthy is no rollout of its own.
    assert_eq!(status["history"][0]["revision"], good.as_str(), "{status}");
    assert_eq!(status["history"][1], Value::Null, "{status}");
    Ok(())
}

#[test]
fn commits_that_change_nothing_give_no_more_time_to_what_does_not_work() -> Result<()> {
    let (stage, good) = shop("steady", "OnFailure")?;
    // No reconciliation is requested for the pushed commits: a request would start the wait anew.
    let often = stage.application("shop", "", "rollback: OnFailure");
    let often = often.replace("interval: 1h", "interval: 1s");
    stage.apply(&often.replace("timeout: 1m", "timeout: 25s"))?;
    let push = |file: &str, text: &str| stage.repository.push_files(&[(file, text)], "change");
    let broken = push("web.yaml", &broken("never-ready"))?;
    let (mut last, mut count) = (Instant::now(), 0);
    let history = until("it is gone back", LIMIT, || {
        let mut status = stage.object("Application", "shop")?["status"].take();
        if status["history"][0]["trigger"] == "rollback" {
            return Ok(Ok(status["history"].take()));
        }
        if last.elapsed() > PAUSE {
            push("README.md", &format!("It sells, as of {count}."))?;
            (last, count) = (Instant::now(), count + 1);
        }
        Ok(Err(status["conditions"].to_string()))
    })?;
    assert_eq!(history[1]["revision"], broken.as_str(), "{history}");
    assert_eq!(history[2]["revision"], good.as_str(), "{history}");
    Ok(())
}

#[test]
fn another_source_has_nothing_of_the_one_before_to_go_back_to() -> Result<()> {
    let (stage, old) = shop("moved", "OnFailure")?;
    let servers = &stage.world.servers;
    let repository = servers.repository(&format!("{}-new", stage.namespace))?;
    let new = repository.push_files(&[("web.yaml", &broken("crash-loop"))], "it does not work")?;
    let url = servers.git_http(&repository);
    let application = stage.application_of(&url, "shop", "", "rollback: OnFailure");
    stage.apply(&application.replace("timeout: 1m", "timeout: 25s"))?;
    stage.condition("shop", "Ready", "Degraded")?;
    let said = as_administrator(&["rollback", "shop", "-n", &stage.namespace], 1)?;
    assert!(said.contains("no earlier revision of"), "{said}");
    let status = ask_for_nowhere(&stage)?;
    assert_eq!(status["rollback"], Value::Null, "{status}");
    assert_eq!(status["revision"], new.as_str(), "{status}");
    let history = &status["history"];
    assert_eq!(history[1]["revision"], old.as_str(), "{status}");
    assert_ne!(history[0]["origin"], history[1]["origin"], "{status}");
    Ok(())
}

/// Deletes what the agent has fetched from git.
fn forget_fetched(stage: &Stage) -> Result<()> {
    let cache = stage.agent.dir().join("cache");
    std::fs::remove_dir_all(cache.join("git").join("repositories"))?;
    Ok(())
}

/// Requests a rollback to a revision that is not in the history, and waits until it is refused.
fn ask_for_nowhere(stage: &Stage) -> Result<Value> {
    let request =
        r#"{"id": "by-hand", "by": "eve", "at": "2026-01-01T00:00:00Z", "to": "nowhere"}"#;
    let annotation = format!("pintle.dev/rollback-request={request}");
    stage.annotate("shop", &annotation)?;
    until("the request is answered", LIMIT, || {
        let status = stage.object("Application", "shop")?["status"].clone();
        Ok(if status["lastHandledRollback"] == "by-hand" {
            Ok(status)
        } else {
            Err(status["conditions"].to_string())
        })
    })
}

#[test]
fn a_person_goes_back_and_a_reconciliation_returns() -> Result<()> {
    let (stage, first) = shop("person", "Never")?;
    let second = stage.push("shop", &[("web.yaml", &deployment("web", 2, IMAGE))])?;
    stage.ready_at("shop", &second)?;
    let pintle = |args: &[&str], expected| {
        let all = [args, &["-n", stage.namespace.as_str()]].concat();
        as_administrator(&all, expected)
    };
    let unknown = pintle(&["rollback", "shop", "--to", "7"], 1)?;
    assert!(
        unknown.contains("7 is no revision of its history"),
        "{unknown}"
    );
    let said = pintle(&["rollback", "shop", "--reason", "checkout is slow"], 0)?;
    assert!(
        said.contains(&format!("goes back to {}", &first[..12])),
        "{said}"
    );
    assert_eq!(stage.object("Deployment", "web")?["spec"]["replicas"], 1);
    let status = stage.object("Application", "shop")?["status"].clone();
    let ready = status["conditions"][0]["message"].to_string();
    assert!(ready.contains("went back: checkout is slow"), "{status}");
    assert_eq!(
        status["history"][0]["requestedBy"],
        status["rollback"]["by"]
    );
    assert_eq!(status["history"][0]["reason"], "checkout is slow");

    pintle(&["reconcile", "shop"], 0)?;
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(
        (&status["revision"], &status["rollback"]),
        (&second.into(), &Value::Null)
    );
    assert_eq!(stage.object("Deployment", "web")?["spec"]["replicas"], 2);
    pintle(&["rollback", "shop", "--to", "1", "--no-wait"], 0)?;
    stage.condition("shop", "Ready", "RolledBack")?;
    Ok(())
}

#[test]
fn a_source_that_is_set_back_to_what_was_gone_back_to_is_followed_again() -> Result<()> {
    let (stage, first) = shop("set-back", "Never")?;
    // No reconciliation is requested: a request would end the rollback.
    stage.patch("shop", r#"{"spec": {"interval": "1s"}}"#)?;
    let second = deployment("web", 2, IMAGE);
    let second = stage
        .repository
        .push_files(&[("web.yaml", &second)], "two")?;
    stage.ready_at("shop", &second)?;
    as_administrator(&["rollback", "shop", "-n", &stage.namespace], 0)?;
    stage.condition("shop", "Ready", "RolledBack")?;
    let repository = &stage.repository;
    repository.git(&["reset", "--quiet", "--hard", &first])?;
    repository.push()?;
    stage.ready_at("shop", &first)?;
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(status["rollback"], Value::Null, "{status}");
    Ok(())
}

#[test]
fn what_is_gone_back_to_comes_from_the_source_that_is_named_now() -> Result<()> {
    let stage = Stage::new("renamed")?;
    let servers = Proxy::start(stage.world.servers.http(), None)?;
    let direct = stage.world.servers.git_http(&stage.repository);
    let url = direct.replace(stage.world.servers.http(), &servers.url());
    let push = |value: &str| {
        let settings = config_map("settings", value);
        stage
            .repository
            .push_files(&[("settings.yaml", &settings)], value)
    };
    let first = push("1")?;
    stage.apply(&stage.application_of(&url, "shop", "", ""))?;
    stage.ready_at("shop", &first)?;
    let second = push("2")?;
    stage.request("shop")?;
    stage.ready_at("shop", &second)?;

    forget_fetched(&stage)?;
    servers.inject(Fault::on("*", "upload-pack").refuse());
    let request = format!(
        r#"{{"id": "by-hand", "by": "eve", "at": "2026-01-01T00:00:00Z", "to": "{first}"}}"#
    );
    stage.annotate("shop", &format!("pintle.dev/rollback-request={request}"))?;
    stage.condition("shop", "Ready", "SourceFailed")?;
    let patch = format!(r#"{{"spec": {{"source": {{"git": {{"url": "{direct}"}}}}}}}}"#);
    stage.patch("shop", &patch)?;
    stage.condition("shop", "Ready", "RolledBack")?;
    stage.has_value("settings", "1")
}

#[test]
fn once_more_goes_further_back() -> Result<()> {
    let (stage, first) = shop("further", "Never")?;
    for replicas in [2, 3] {
        let commit = stage.push("shop", &[("web.yaml", &deployment("web", replicas, IMAGE))])?;
        stage.ready_at("shop", &commit)?;
    }
    for replicas in [2, 1] {
        as_administrator(&["rollback", "shop", "-n", &stage.namespace], 0)?;
        let web = stage.object("Deployment", "web")?;
        assert_eq!(web["spec"]["replicas"], replicas);
    }
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(status["revision"], first.as_str());
    let said = as_administrator(&["rollback", "shop", "-n", &stage.namespace], 1)?;
    assert!(said.contains("no earlier revision of"), "{said}");
    Ok(())
}

#[test]
fn each_request_is_answered_even_if_nothing_comes_of_it() -> Result<()> {
    let (stage, first) = shop("answered", "Never")?;
    let good = deployment("web", 1, IMAGE);
    for (web, summary) in [(deployment("web", 2, IMAGE), "two"), (good, "one again")] {
        let commit = stage
            .repository
            .push_files(&[("web.yaml", &web)], summary)?;
        stage.request("shop")?;
        stage.ready_at("shop", &commit)?;
    }
    // The revision renders to what is already there.
    let args = ["rollback", "shop", "--to", "1", "-n", &stage.namespace];
    let said = as_administrator(&args, 0)?;
    assert!(said.contains(&format!("runs {}", &first[..12])), "{said}");

    let status = ask_for_nowhere(&stage)?;
    assert_eq!(
        status["rollbackRefused"],
        "there is no nowhere in its history to go back to"
    );
    assert_eq!(status["rollback"]["to"], first.as_str(), "{status}");
    as_administrator(&args, 0)?;
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(status["rollbackRefused"], Value::Null);

    let lacking = r#"pintle.dev/rollback-request={"to": "2"}"#;
    stage.annotate("shop", lacking)?;
    event(&stage, "RollbackRefused", "missing field `id`")?;

    // The source is unreachable. What was fetched before does not need it.
    let bare = stage.repository.bare();
    let away = bare.with_extension("away");
    std::fs::rename(bare, &away)?;
    as_administrator(
        &["rollback", "shop", "--to", "2", "-n", &stage.namespace],
        0,
    )?;
    assert_eq!(stage.object("Deployment", "web")?["spec"]["replicas"], 2);
    // What is no longer cached does need it, and each requester is told so.
    forget_fetched(&stage)?;
    for _ in 0..2 {
        let limit = ["--to", "1", "--timeout", "1m", "-n", &stage.namespace];
        let said = as_administrator(&[&["rollback", "shop"], &limit[..]].concat(), 1)?;
        assert!(said.contains("shop is not running "), "{said}");
    }
    std::fs::rename(&away, bare)?;
    Ok(())
}

#[test]
fn what_is_asked_while_nobody_knows_what_the_source_gives_is_not_done_later() -> Result<()> {
    let (mut stage, _) = shop("unknown", "Never")?;
    let second = stage.push("shop", &[("web.yaml", &deployment("web", 2, IMAGE))])?;
    stage.ready_at("shop", &second)?;
    stage.agent.stop()?;
    let bare = stage.repository.bare().to_owned();
    let away = bare.with_extension("away");
    std::fs::rename(&bare, &away)?;
    stage.agent.start_again()?;
    stage.agent.wait_ready()?;
    stage.condition("shop", "Ready", "SourceFailed")?;
    let said = as_administrator(&["rollback", "shop", "-n", &stage.namespace], 1)?;
    assert!(said.contains("its source does not answer"), "{said}");
    std::fs::rename(&away, &bare)?;
    stage.request("shop")?;
    stage.ready_at("shop", &second)?;
    let status = stage.object("Application", "shop")?["status"].clone();
    assert_eq!(status["rollback"], Value::Null, "{status}");
    Ok(())
}

#[test]
fn without_a_policy_what_fails_stays_and_is_shown_on_a_terminal() -> Result<()> {
    let (stage, _) = shop("stays", "Never")?;
    let home = tempfile::tempdir()?;
    let args = ["status", "shop", "--watch", "-n", &stage.namespace];
    let command = of_administrator(&args, home.path())?;
    let broken = std::thread::scope(|scope| -> Result<(String, Recording)> {
        let pushed = scope.spawn(|| push_broken(&stage));
        let ended = |screen: &str| screen.contains("is applied and not healthy");
        let recording = record(command, "pintle status shop --watch", LIMIT, ended)?;
        let broken = pushed
            .join()
            .map_err(|_| anyhow::anyhow!("the push crashed"))??;
        Ok((broken, recording))
    });
    let (broken, recording) = broken?;
    let text = recording.text();
    for part in [
        "Ready",
        "on its way",
        "main keeps ending with exit code 1",
        "not Ready",
        &broken[..12],
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    assert_eq!(recording.code, Some(0), "{text}");
    assert_eq!(image(&stage)?["testing.pintle.dev/pod"], "crash-loop");
    keep(
        "status-watch",
        "A commit that does not work, as `pintle status --watch` shows it on a terminal.",
        &recording,
    )
}
