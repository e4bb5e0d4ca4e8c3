//! Several agents split the applications between them, and are killed, stopped, paused and robbed of their leases.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use kube::api::ListParams;
use pintle_harness::{
    AGENT_NAMESPACE, Agent, AgentOptions, ControlPlane, ControlPlaneOptions, agent, to_stderr,
    until,
};
use serde_json::Value;

use crate::world::{LIMIT, Stage, WEBHOOK_TOKEN, condition, config_map, world};

/// More applications than replicas, so that each of three replicas has some: 128 shards are split among three.
const COUNT: usize = 30;
const OBJECTS: usize = 3;

/// The maximum number of requests of one application that are in flight at a time.
const HANDED_OVER: usize = 8;

/// Replicas in one namespace, with the applications that they split.
pub(crate) struct Fleet {
    pub(crate) stage: Stage,
    pub(crate) others: Vec<Agent>,
}

fn name(index: usize) -> String {
    format!("app-{index:02}")
}

/// Returns a metric that counts.
fn count(agent: &Agent, metric: &str) -> Result<usize> {
    Ok(format!("{:.0}", agent.metric(metric)?).parse()?)
}

fn options(namespace: &str, replica: usize, lease: &str) -> AgentOptions {
    let mut options = AgentOptions::new(world().agent_kubeconfig());
    options.args = ["--watch-namespace", namespace, "--lease-name", namespace]
        .into_iter()
        .chain(["--lease-duration", lease])
        .map(ToOwned::to_owned)
        .collect();
    options
        .env
        .push(("POD_NAME".to_owned(), format!("replica-{replica}")));
    options
}

impl Fleet {
    /// Starts replicas, and waits until each holds an equal share.
    pub(crate) fn start(prefix: &str, replicas: usize, lease: &str) -> Result<Self> {
        let stage = Stage::with(prefix, |namespace| options(namespace, 0, lease))?;
        let others =
            (1..replicas).map(|number| Agent::start(options(&stage.namespace, number, lease)));
        let fleet = Self {
            others: others.collect::<Result<_>>()?,
            stage,
        };
        fleet.wait_until_even(replicas)?;
        Ok(fleet)
    }

    fn agents(&self) -> impl Iterator<Item = &Agent> {
        [&self.stage.agent].into_iter().chain(&self.others)
    }

    fn wait_until_even(&self, replicas: usize) -> Result<()> {
        until("the replicas hold equal shares", LIMIT, || {
            let held = self.agents().map(|agent| count(agent, "pintle_shards"));
            // A paused replica does not answer.
            let held: Vec<_> = held.map(Result::unwrap_or_default).collect();
            let share = 128 / replicas;
            let even = held.iter().filter(|one| (share..=share + 1).contains(*one));
            let is_even = even.count() == replicas && held.iter().sum::<usize>() == 128;
            Ok(if is_even {
                Ok(())
            } else {
                Err(format!("{held:?}"))
            })
        })
    }

    /// Pushes a commit that changes every object, and notifies no replica.
    fn commit(&self, round: usize) -> Result<String> {
        for index in 0..COUNT {
            let mut text = String::new();
            for object in 0..OBJECTS {
                text += &config_map(&format!("{}-{object}", name(index)), &round.to_string());
            }
            let path = format!("{}/all.yaml", name(index));
            self.stage.repository.write(&path, text)?;
        }
        self.stage
            .repository
            .push_files(&[], &format!("round {round}"))
    }

    /// Pushes a commit that changes every object, and notifies one replica only.
    fn push(&self, round: usize) -> Result<String> {
        let commit = self.commit(round)?;
        let url = self.stage.world.servers.git_http(&self.stage.repository);
        self.stage.agent.tell_of_push(&url, WEBHOOK_TOKEN)?;
        Ok(commit)
    }

    /// Creates all applications at a first commit.
    fn deploy(&self) -> Result<()> {
        let commit = self.commit(0)?;
        let mut applications = String::new();
        for index in 0..COUNT {
            let _ = write!(
                applications,
                "{}",
                self.stage.application(&name(index), &name(index), "")
            );
        }
        self.stage.apply(&applications)?;
        self.all_ready_at(&commit)
    }

    /// Returns the names of the applications whose status reports a commit.
    fn at(&self, commit: &str) -> Result<BTreeSet<String>> {
        let api = self.stage.api("Application");
        let found = self.stage.world.wait(api.list(&ListParams::default()))?;
        let items = found.items.into_iter();
        let are_there = items.filter(|one| one.data["status"]["revision"] == commit);
        Ok(are_there.filter_map(|one| one.metadata.name).collect())
    }

    fn all_ready_at(&self, commit: &str) -> Result<()> {
        until(
            &format!("all applications are Ready at {commit}"),
            LIMIT,
            || {
                let found = self
                    .stage
                    .world
                    .wait(self.stage.api("Application").list(&ListParams::default()))?;
                let missing: Vec<_> = found
                    .items
                    .iter()
                    .filter(|one| {
                        condition(&one.data, "Ready")["status"] != "True"
                            || one.data["status"]["revision"] != commit
                    })
                    .map(|one| {
                        (
                            one.metadata.name.clone(),
                            one.data["status"]["conditions"].clone(),
                        )
                    })
                    .collect();
                Ok(match missing.first() {
                    None if found.items.len() == COUNT => Ok(()),
                    first => Err(format!("{} are not, such as {first:?}", missing.len())),
                })
            },
        )
    }

    /// Asserts that each object was written once since a mark, and that nothing else was. If a sender was killed before the
    /// answer, it is unknown whether its write was done: only such a write may lack a successful answer.
    fn each_was_written_once(&self, mark: u64) -> Result<()> {
        self.each_was_written(mark, 0)
    }

    /// Does the same, except that up to this many objects may have been written twice: what a process has handed over to be sent
    /// when it is paused is sent when it resumes, and only repeats what the object already is.
    fn each_was_written(&self, mark: u64, twice: usize) -> Result<()> {
        let mut written = BTreeMap::<String, Vec<u16>>::new();
        for request in self.stage.requests_since(mark)? {
            if request.is_write() && !request.uri.contains("dryRun=") {
                let object = format!("{} {}/{}", request.verb, request.resource, request.name);
                written.entry(object).or_default().push(request.code);
            }
        }
        let expected = (0..COUNT).flat_map(|index| {
            (0..OBJECTS).map(move |object| format!("patch configmaps/{}-{object}", name(index)))
        });
        let found: BTreeSet<_> = written.keys().cloned().collect();
        assert_eq!(found, expected.collect());
        let done = |codes: &[u16]| {
            let done = codes.iter().filter(|code| (200..300).contains(*code));
            done.count()
        };
        let again: Vec<_> = written
            .iter()
            .filter(|(_, codes)| done(codes) > 1)
            .collect();
        assert!(again.len() <= twice, "answered more than once: {again:?}");
        Ok(())
    }

    /// Waits until some of the objects have been written since a mark, but not all.
    fn some_are_written(&self, mark: u64) -> Result<usize> {
        let mut written = 0;
        until("some objects are written", LIMIT, || {
            written = self.stage.writes_since(mark)?.len();
            Ok(if written > 0 {
                Ok(())
            } else {
                Err("none is".to_owned())
            })
        })?;
        Ok(written)
    }
}

#[test]
fn a_replica_that_is_killed_at_work_is_replaced_and_nothing_is_done_twice() -> Result<()> {
    let mut fleet = Fleet::start("fleet", 3, "9s")?;
    fleet.deploy()?;
    // Each application has one owner, and no two replicas work on the same one.
    let objects = fleet
        .agents()
        .map(|agent| count(agent, "pintle_application_objects"));
    let objects = objects.collect::<Result<Vec<_>>>()?;
    assert!(objects.iter().all(|objects| *objects > 0), "{objects:?}");
    assert_eq!(objects.iter().sum::<usize>(), COUNT * OBJECTS);

    let mark = fleet.stage.mark()?;
    let commit = fleet.push(1)?;
    let written = fleet.some_are_written(mark)?;
    // The replica that the webhook notified notifies the others, and keeps running itself.
    let mut victim = fleet.others.remove(0);
    victim.kill()?;
    println!("killed one after {written} of {} writes", COUNT * OBJECTS);
    fleet.all_ready_at(&commit)?;
    fleet.each_was_written_once(mark)?;
    fleet.wait_until_even(2)
}

#[test]
fn a_replica_that_stops_hands_over_at_once() -> Result<()> {
    // The test would give up long before this lease could expire.
    let mut fleet = Fleet::start("handover", 2, "1h")?;
    fleet.deploy()?;
    let mark = fleet.stage.mark()?;
    let commit = fleet.push(1)?;
    fleet.some_are_written(mark)?;
    let mut leaving = fleet.others.remove(0);
    leaving.stop()?;
    fleet.wait_until_even(1)?;
    fleet.all_ready_at(&commit)?;
    fleet.each_was_written_once(mark)
}

#[test]
fn what_another_replica_has_rolled_out_is_not_taken_back_by_one_that_fetched_before() -> Result<()>
{
    let mut fleet = Fleet::start("behind", 2, "1h")?;
    fleet.deploy()?;
    // No webhook reports the commit, and no interval ends: only the replica that reconciles one of its applications on request
    // knows of it.
    let commit = fleet.commit(1)?;
    let fetches = |fleet: &Fleet| -> Result<Vec<usize>> {
        let fetches = fleet
            .agents()
            .map(|agent| count(agent, "pintle_fetches_total"));
        fetches.collect()
    };
    let before = fetches(&fleet)?;
    fleet.stage.request_and_wait(&name(0))?;
    let after = fetches(&fleet)?;
    let owner = before.iter().zip(&after).position(|(old, new)| old != new);
    let owner = owner.context("one of them has fetched")?;
    let share = fleet.agents().nth(owner).context("it is there")?;
    let share = count(share, "pintle_application_objects")? / OBJECTS;
    let moving = until("all of that replica have it", LIMIT, || {
        let there = fleet.at(&commit)?;
        Ok(if there.len() == share {
            Ok(there)
        } else {
            Err(format!("{} of {share} have", there.len()))
        })
    })?;
    assert!(share < COUNT, "the other one has applications too");

    let mark = fleet.stage.mark()?;
    match owner.checked_sub(1) {
        None => fleet.stage.agent.stop()?,
        Some(other) => fleet.others[other].stop()?,
    }
    fleet.wait_until_even(1)?;
    // An application that is taken over is evaluated in full: the same answer of the source is rolled out to all the others.
    fleet.all_ready_at(&commit)?;
    let left = fleet.agents().nth(1 - owner).context("it is there")?;
    until("the other one has them all", LIMIT, || {
        let objects = count(left, "pintle_application_objects")?;
        Ok(if objects == COUNT * OBJECTS {
            Ok(())
        } else {
            Err(format!("{objects} objects"))
        })
    })?;
    let writes = fleet.stage.writes_since(mark)?;
    let is_moved = |object: &str| {
        moving
            .iter()
            .any(|name| object.contains(&format!("/{name}-")))
    };
    let again: Vec<_> = writes.keys().filter(|object| is_moved(object)).collect();
    assert!(again.is_empty(), "{again:?}");
    assert_eq!(writes.len(), (COUNT - share) * OBJECTS);
    Ok(())
}

fn signal(agent: &Agent, signal: &str) -> Result<()> {
    let pid = agent.process().id().to_string();
    let status = Command::new("kill").args([signal, &pid]).status()?;
    ensure!(status.success(), "kill {signal} {pid}: {status}");
    Ok(())
}

#[test]
fn a_replica_that_was_paused_beyond_its_lease_writes_nothing_that_another_wrote() -> Result<()> {
    let fleet = Fleet::start("paused", 2, "9s")?;
    fleet.deploy()?;
    let mark = fleet.stage.mark()?;
    let commit = fleet.push(1)?;
    fleet.some_are_written(mark)?;
    let paused = &fleet.others[0];
    signal(paused, "-STOP")?;
    fleet
        .all_ready_at(&commit)
        .context("the other takes over")?;
    assert_eq!(count(&fleet.stage.agent, "pintle_shards")?, 128);
    signal(paused, "-CONT")?;
    fleet.wait_until_even(2)?;
    fleet.each_was_written(mark, HANDED_OVER)?;
    // The paused replica works again as before.
    let mark = fleet.stage.mark()?;
    let commit = fleet.push(2)?;
    fleet.all_ready_at(&commit)?;
    fleet.each_was_written_once(mark)
}

#[test]
fn a_replica_whose_lease_is_stolen_stops() -> Result<()> {
    let mut fleet = Fleet::start("stolen", 2, "9s")?;
    fleet.deploy()?;
    let control_plane = fleet.stage.world.control_plane;
    let leases = control_plane.kubectl(&["-n", AGENT_NAMESPACE, "get", "leases", "-o", "name"])?;
    let prefix = format!("{}.replica-1.", fleet.stage.namespace);
    let lease = leases
        .lines()
        .find(|lease| lease.contains(&prefix))
        .with_context(|| format!("no {prefix}… in {leases}"))?;
    let theft = r#"{"spec": {"holderIdentity": "a thief"}}"#;
    control_plane.kubectl(&[
        "-n",
        AGENT_NAMESPACE,
        "patch",
        lease,
        "--type=merge",
        "-p",
        theft,
    ])?;
    let robbed = &mut fleet.others[0];
    until("the one that was robbed has ended", LIMIT, || {
        Ok(if robbed.is_running() {
            Err("it runs".to_owned())
        } else {
            Ok(())
        })
    })?;
    let said = robbed.process().log_tail();
    assert!(said.contains("is held by `a thief`"), "{said}");
    fleet.wait_until_even(1)?;
    let mark = fleet.stage.mark()?;
    let commit = fleet.push(1)?;
    fleet.all_ready_at(&commit)?;
    fleet.each_was_written_once(mark)
}

#[test]
fn replicas_at_rest_only_renew_their_leases() -> Result<()> {
    let fleet = Fleet::start("rest", 2, "15s")?;
    fleet.deploy()?;
    let mark = fleet.stage.mark()?;
    let namespace = fleet.stage.namespace.clone();
    let mut seen = Vec::new();
    until("each lease is renewed several times", LIMIT, || {
        seen = fleet.stage.world.control_plane.requests_since(mark)?;
        seen.retain(|request| {
            request.user.ends_with(":pintle-agent")
                && (request.namespace == namespace || request.name.starts_with(&namespace))
        });
        let renewals = seen.iter().filter(|request| request.resource == "leases");
        Ok(if renewals.count() >= 8 {
            Ok(())
        } else {
            Err(format!("{} requests", seen.len()))
        })
    })?;
    let other = seen.iter().filter(|request| {
        let is_renewal = request.resource == "leases"
            && request.verb == "update"
            && request.name.starts_with(&format!("{namespace}.replica-"));
        !is_renewal && request.verb != "watch"
    });
    let other: Vec<_> = other.collect();
    assert!(other.is_empty(), "{other:?}");
    Ok(())
}

#[test]
fn a_plugin_whose_spec_cannot_be_read_is_told_by_a_replica_that_started_with_it() -> Result<()> {
    // The test uses a control plane of its own: the agents of other tests would report the Plugin.
    let plane = ControlPlane::start(ControlPlaneOptions::default(), &to_stderr)?;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let mut options = AgentOptions::new(agent::install(&plane, &deploy)?);
    options.args = ["--lease-duration", "3s"].map(ToOwned::to_owned).to_vec();
    // The API server accepts this value, but no machine has that much memory.
    plane.apply(
        "apiVersion: pintle.dev/v1alpha1\nkind: Plugin\nmetadata: {name: large}\n\
         spec: {limits: {memoryMib: 5000000000}}\n",
    )?;
    // The agent sees the Plugin before it holds any shards.
    let _agent = Agent::start(options)?;
    until("the Plugin is InvalidSpec", LIMIT, || {
        let get = ["get", "plugin.pintle.dev", "large", "--output", "json"];
        let found: Value = serde_json::from_str(&plane.kubectl(&get)?)?;
        let ready = condition(&found, "Ready");
        Ok(if ready["reason"] == "InvalidSpec" {
            Ok(())
        } else {
            Err(found["status"].to_string())
        })
    })
}
