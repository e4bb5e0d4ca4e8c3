//! The agent may be killed at any moment: after a restart it continues where it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pintle_harness::{Agent, AgentOptions, until};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::world::{LIMIT, Stage, config_map, deployment, service};

/// The longest that the agent lives after a request, in milliseconds: about twice what it needs, so that kills fall before,
/// during and after its writes.
const LONGEST: u64 = 200;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Returns twelve objects. All but the service account differ between rounds, and one is named after the round.
fn files(round: u64) -> Vec<(String, String)> {
    let mut files: Vec<_> = (0..8)
        .map(|index| {
            let name = format!("settings-{index}");
            (
                format!("{name}.yaml"),
                config_map(&name, &format!("{round}")),
            )
        })
        .collect();
    let moving = config_map(&format!("moving-{round}"), &format!("{round}"));
    files.push(("moving.yaml".to_owned(), moving));
    // The account is one of the twelve objects, although it never differs.
    let web = deployment("web", 1, &format!("registry.k8s.io/pause:3.{round}"));
    files.push(("web.yaml".to_owned(), web));
    let port = 8000 + u16::try_from(round).unwrap_or_default();
    files.push(("service.yaml".to_owned(), service("web", port)));
    files
}

fn push(stage: &Stage, round: u64) -> Result<String> {
    let files = files(round);
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    stage
        .repository
        .push_files(&files, &format!("round {round}"))
}

/// Returns the writes that round `round` needs after the round before, as `VERB RESOURCE/NAME`.
fn expected_writes(round: u64) -> BTreeSet<String> {
    let mut expected: BTreeSet<_> = (0..8)
        .map(|index| format!("patch configmaps/settings-{index}"))
        .collect();
    expected.insert(format!("patch configmaps/moving-{round}"));
    expected.insert(format!("delete configmaps/moving-{}", round - 1));
    expected.insert("patch deployments/web".to_owned());
    expected.insert("patch services/web".to_owned());
    expected
}

/// Asserts that each write that the round needs was sent, and answered with success at most once. A write without a successful
/// answer is one whose sender was killed before the answer.
fn nothing_is_written_twice(stage: &Stage, mark: u64, round: u64) -> Result<()> {
    let mut codes = BTreeMap::<String, Vec<u16>>::new();
    for request in stage.requests_since(mark)? {
        if request.is_write() && !request.uri.contains("dryRun=") {
            let object = format!("{} {}/{}", request.verb, request.resource, request.name);
            codes.entry(object).or_default().push(request.code);
        }
    }
    assert_eq!(
        codes.keys().cloned().collect::<BTreeSet<_>>(),
        expected_writes(round)
    );
    for (object, codes) in &codes {
        let done = codes
            .iter()
            .filter(|code| (200..300).contains(*code))
            .count();
        if codes.len() > 1 || done != 1 {
            println!("{object}: answered {codes:?}");
        }
        assert!(done <= 1, "{object}: answered {codes:?}");
    }
    Ok(())
}

#[test]
fn a_killed_agent_applies_nothing_twice_and_orphans_nothing() -> Result<()> {
    let rounds = number("PINTLE_E2E_KILLS").unwrap_or(8);
    let seed = number("PINTLE_E2E_SEED").unwrap_or_else(rand::random);
    println!("{rounds} kills with PINTLE_E2E_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut stage = Stage::new("kills")?;
    let commit = push(&stage, 0)?;
    stage.apply(&stage.application("shop", "", ""))?;
    stage.ready_at("shop", &commit)?;
    for round in 1..=rounds {
        let mark = stage.mark()?;
        let commit = push(&stage, round)?;
        stage.request("shop")?;
        let lived = random.random_range(0..=LONGEST);
        std::thread::sleep(Duration::from_millis(lived));
        stage.agent.kill()?;
        let before = stage.writes_since(mark)?.len();
        stage.agent.start_again()?;
        stage.agent.wait_ready()?;
        let told = || {
            format!(
                "PINTLE_E2E_SEED={seed}, round {round}, killed after {lived} ms and {before} writes"
            )
        };
        stage.ready_at("shop", &commit).with_context(told)?;
        println!("{}", told());
        nothing_is_written_twice(&stage, mark, round).with_context(told)?;
        nothing_is_orphaned(&stage, round).with_context(told)?;
    }
    Ok(())
}

#[test]
fn an_agent_whose_api_server_does_not_answer_is_alive_and_ends_when_it_is_told_to() -> Result<()> {
    // It accepts connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let home = tempfile::tempdir()?;
    let kubeconfig = home.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: silent\n\
         clusters: [{{name: silent, cluster: {{server: 'http://{}'}}}}]\n\
         users: [{{name: silent, user: {{token: none}}}}]\n\
         contexts: [{{name: silent, context: {{cluster: silent, user: silent}}}}]\n",
        silent.local_addr()?
    );
    std::fs::write(&kubeconfig, text)?;
    let mut agent = Agent::launch(AgentOptions::new(kubeconfig))?;
    until("it answers", LIMIT, || {
        let asked = agent.metric("pintle_shards");
        Ok(asked.map_err(|error| error.to_string()))
    })?;
    // It ends before it is killed, and with success.
    agent.stop()
}

/// Asserts that the objects with the application's label are those in git, no more and no less.
fn nothing_is_orphaned(stage: &Stage, round: u64) -> Result<()> {
    let mut settings: BTreeSet<_> = (0..8).map(|index| format!("settings-{index}")).collect();
    settings.insert(format!("moving-{round}"));
    let web = BTreeSet::from(["web".to_owned()]);
    assert_eq!(stage.names("ConfigMap", "shop")?, settings);
    for kind in ["Deployment", "Service", "ServiceAccount"] {
        assert_eq!(stage.names(kind, "shop")?, web, "{kind}");
    }
    for name in &settings {
        let value = stage.object("ConfigMap", name)?["data"]["value"].clone();
        assert_eq!(value, round.to_string(), "{name}");
    }
    Ok(())
}
