//! Plays one schedule.

use std::collections::BTreeSet;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use pintle_harness::{Agent, AgentOptions, GitRepo, Proxy, until};
use serde_json::{Value, json};

use crate::arena::{Arena, Lane, WEBHOOK_TOKEN};
use crate::checks::{self, Bystanders};
use crate::cluster::Namespace;
use crate::faults::Machine;
use crate::model::{Desired, History, Key, Kind, manifest};
use crate::schedule::{Act, Schedule, Weather};
use crate::story::Story;
use crate::trouble::{Place, Trouble};

/// Who has not converged so long after the last fault starves: several times the pause that a few failures bring.
const LIMIT: Duration = Duration::from_mins(2);
/// How long the agent sends nothing until it counts as done.
const QUIET: Duration = Duration::from_millis(300);
/// How long [`Act::Wait`] waits for requests that do not come.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a schedule came to after which everything holds.
pub(crate) struct Played {
    pub(crate) requests: u64,
    pub(crate) faults: u64,
    pub(crate) restarts: u64,
    pub(crate) took: Duration,
    /// From the last fault on.
    pub(crate) converged: Duration,
}

/// Plays a schedule and checks what must hold. The error tells its whole story.
pub(crate) fn play(arena: &Arena, lane: &Lane, schedule: &Schedule) -> Result<Played> {
    let story = Story::begin(schedule);
    let log = lane.dir.join("agent.log");
    let played = Director::set(arena, lane, schedule, &story).and_then(Director::direct);
    played.map_err(|error| anyhow!(story.failure(schedule, &error, &log.to_string_lossy())))
}

struct Director<'a> {
    arena: &'a Arena,
    lane: &'a Lane,
    schedule: &'a Schedule,
    story: &'a Story,
    begun: Instant,
    namespace: Namespace<'a>,
    repository: GitRepo,
    bystanders: Bystanders,
    trouble: Arc<Trouble>,
    machine: Machine,
    // Before the proxies: it ends first.
    agent: Option<Agent>,
    api_server: Proxy,
    servers: Proxy,
    webhooks: Option<Proxy>,
    /// Where this schedule's part of the log begins.
    log_begin: u64,
    restarts: u64,
    desired: Desired,
    history: History,
    deleted: BTreeSet<String>,
    respecified: u32,
}

impl<'a> Director<'a> {
    /// Makes all that a schedule needs: a namespace with bystanders, a repository, proxies.
    fn set(
        arena: &'a Arena,
        lane: &'a Lane,
        schedule: &'a Schedule,
        story: &'a Story,
    ) -> Result<Self> {
        let begun = Instant::now();
        let namespace = Namespace::new(arena, &schedule.namespace());
        furnish(&namespace)?;
        let bystanders = Bystanders::remember(&namespace, &bystanders())?;
        let trouble = Trouble::new(schedule.seed, schedule.weather);
        let api_server = Proxy::before_api_server(&arena.control_plane)?;
        api_server.decide_by(trouble.decide(Place::ApiServer));
        let servers = Proxy::start(arena.servers.http(), None)?;
        servers.decide_by(trouble.decide(Place::Servers));
        let log = std::fs::metadata(lane.dir.join("agent.log"));
        Ok(Self {
            repository: arena.servers.repository(&namespace.name)?,
            machine: Machine::new(&lane.dir.join("machine"))?,
            arena,
            lane,
            schedule,
            story,
            begun,
            namespace,
            bystanders,
            trouble,
            agent: None,
            api_server,
            servers,
            webhooks: None,
            log_begin: log.map_or(0, |log| log.len()),
            restarts: 0,
            desired: Desired::default(),
            history: History::default(),
            deleted: BTreeSet::new(),
            respecified: 0,
        })
    }

    fn direct(mut self) -> Result<Played> {
        self.commit(&self.schedule.first.clone())?;
        if self.schedule.agent_first {
            self.start_agent()?;
        }
        for name in self.schedule.first.applications.keys() {
            self.namespace.apply(&self.application(name))?;
        }
        if !self.schedule.agent_first {
            self.start_agent()?;
        }
        for act in &self.schedule.acts {
            self.story.tell(&act.to_string());
            self.perform(act).with_context(|| act.to_string())?;
            self.keep_alive()?;
        }
        self.story.tell("the faults stop");
        let stopped = Instant::now();
        self.settle()?;
        let converged = stopped.elapsed();
        self.check()?;
        self.end()?;
        Ok(Played {
            requests: self.trouble.requests(),
            faults: self.trouble.faults(),
            restarts: self.restarts,
            took: self.begun.elapsed(),
            converged,
        })
    }

    fn start_agent(&mut self) -> Result<()> {
        let kubeconfig = self.kubeconfig()?;
        let mut options = AgentOptions::new(kubeconfig);
        let arg = |text: &str| text.to_owned();
        options.args = vec![
            arg("--watch-namespace"),
            self.namespace.name.clone(),
            arg("--namespace"),
            self.lane.namespace.clone(),
        ];
        if !self.schedule.leased {
            options.args.push(arg("--no-lease"));
        }
        options.env = self.machine.environment(&self.arena.library).into();
        // A container that is started again keeps its name, and with it its lease.
        options
            .env
            .push(("POD_NAME".to_owned(), "replica".to_owned()));
        options.dir = Some(self.lane.dir.clone());
        let agent = Agent::launch(options)?;
        self.trouble.follow(agent.process().id());
        let webhooks = Proxy::start(&agent.webhooks(), None)?;
        webhooks.decide_by(self.trouble.decide(Place::Webhooks));
        self.webhooks = Some(webhooks);
        self.agent = Some(agent);
        Ok(())
    }

    /// Is a kubeconfig of the agent's account that leads through this schedule's proxy.
    fn kubeconfig(&self) -> Result<PathBuf> {
        self.api_server.kubeconfig(&self.arena.kubeconfig)
    }

    /// Starts the agent again if it has ended, as a kubelet would.
    fn keep_alive(&mut self) -> Result<()> {
        let Some(agent) = &mut self.agent else {
            return Ok(());
        };
        if !agent.is_running() {
            self.restarts += 1;
            self.story.tell("the agent has ended and is started again");
            agent.start_again()?;
            self.trouble.follow(agent.process().id());
        }
        Ok(())
    }

    fn perform(&mut self, act: &Act) -> Result<()> {
        match act {
            Act::Commit(desired) => {
                self.commit(desired)?;
                self.tell_of_push();
            }
            Act::Edit(key) => {
                self.namespace.change(key, &edit(key.kind))?;
            }
            Act::Delete(key) => {
                self.namespace.delete(key)?;
            }
            Act::Unlabel(key) => {
                let patch = json!({"metadata": {"labels": {"pintle.dev/application": null}}});
                self.namespace.change(key, &patch)?;
            }
            Act::Suspend(name, suspend) => {
                let patch = json!({"spec": {"suspend": suspend}});
                self.namespace.change_application(name, &patch)?;
            }
            Act::Respecify(name) => {
                self.respecified += 1;
                let patch = json!({"spec": {"interval": format!("{}m", 60 + self.respecified)}});
                self.namespace.change_application(name, &patch)?;
            }
            Act::DeleteApplication(name) => {
                self.history.application_deleted(&self.desired, name);
                self.deleted.insert(name.clone());
                self.namespace.delete_application(name)?;
            }
            Act::MakeApplication(name) => {
                until("the deleted Application is gone", LIMIT, || {
                    self.keep_alive()?;
                    Ok(match self.namespace.application(name)? {
                        None => Ok(()),
                        Some(resource) => Err(resource["status"].to_string()),
                    })
                })?;
                self.deleted.remove(name);
                self.namespace.apply(&self.application(name))?;
            }
            Act::Weather(weather) => self.trouble.set_weather(*weather),
            Act::Kill { after } => self.trouble.kill_after(*after),
            Act::Cut => self.api_server.cut_answers(),
            Act::Expire => self.api_server.expire_watches(),
            Act::Steal { seconds } => {
                self.namespace
                    .steal_leases(&self.lane.namespace, *seconds)?;
            }
            Act::Clock(ahead) => self.machine.set_clock(*ahead)?,
            Act::DiskFull(full) => self.machine.fill_disk(*full)?,
            // It may be writing there at the same moment.
            Act::WipeCache { compiled } => {
                let cache = self.lane.dir.join("cache");
                let wiped = if *compiled { cache } else { cache.join("git") };
                drop(std::fs::remove_dir_all(wiped));
            }
            Act::Wait { requests } => {
                let (begun, target) = (Instant::now(), self.trouble.requests() + requests);
                while self.trouble.requests() < target && begun.elapsed() < PATIENCE {
                    self.keep_alive()?;
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        Ok(())
    }

    /// Makes the repository hold exactly this, and pushes.
    fn commit(&mut self, desired: &Desired) -> Result<()> {
        for (application, objects) in &desired.applications {
            let before = self.desired.applications.get(application);
            for (key, version) in objects {
                if before.and_then(|before| before.get(key)) != Some(version) {
                    let text = manifest(key, *version).to_string();
                    self.repository.write(&path(application, key), text)?;
                }
            }
            for key in before.into_iter().flat_map(|before| before.keys()) {
                if !objects.contains_key(key) {
                    self.repository.remove(&path(application, key))?;
                }
            }
        }
        self.history.commit(desired);
        for name in &self.deleted {
            self.history.application_deleted(desired, name);
        }
        self.desired = desired.clone();
        let commit = self.repository.commit("change")?;
        self.repository.push()?;
        self.story.tell(&format!("pushed {commit}"));
        Ok(())
    }

    /// Tells the agent of a push, once, as a git server does. Returns whether it was heard.
    fn tell_of_push(&self) -> bool {
        let Some(webhooks) = &self.webhooks else {
            return false;
        };
        let request = self
            .arena
            .http
            .post(format!("{}/webhook/gitlab", webhooks.url()))
            .header("x-gitlab-token", WEBHOOK_TOKEN)
            .header("x-gitlab-event", "Push Hook")
            .header("content-type", "application/json")
            .body(json!({"project": {"git_http_url": self.git_url()}}).to_string());
        let answer = self.arena.wait(async { request.send().await });
        answer.is_ok_and(|answer| answer.status() == 202)
    }

    fn git_url(&self) -> String {
        format!("{}/git/{}.git", self.servers.url(), self.namespace.name)
    }

    fn application(&self, name: &str) -> Value {
        let mut spec = json!({
            "serviceAccountName": "deployer", "interval": "1h", "timeout": "30s", "prune": {"maxPercent": 100},
            "source": {"git": {"url": self.git_url(), "branch": "main", "path": name}},
        });
        if self.schedule.judged.contains(name) {
            spec["health"] = json!([{"plugin": "kubernetes"}]);
        }
        if self.schedule.telling.contains(name) {
            let url = format!("{}/sink/{}", self.servers.url(), self.namespace.name);
            spec["notifiers"] = json!([{"plugin": "webhook", "settings": {"url": url}}]);
        }
        json!({
            "apiVersion": "pintle.dev/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": self.namespace.name}, "spec": spec,
        })
    }

    /// Stops all faults and waits until everything is as git says and the agent has nothing to do.
    fn settle(&mut self) -> Result<()> {
        self.trouble.set_weather(Weather::default());
        self.trouble.never_kill();
        self.machine.fill_disk(false)?;
        // Faults that wait in what is under way would strike later.
        self.api_server.cut_answers();
        self.servers.cut_answers();
        until("the last push is heard", LIMIT, || {
            self.keep_alive()?;
            Ok(if self.tell_of_push() {
                Ok(())
            } else {
                Err("no answer, or another one than 202".to_owned())
            })
        })?;
        until("all converges", LIMIT, || {
            self.keep_alive()?;
            Ok(self.not_converged()?.map_or(Ok(()), Err))
        })?;
        self.story.tell("all has converged");
        let mut seen = (self.trouble.requests(), Instant::now());
        until("the agent has nothing to do", LIMIT, || {
            let requests = self.trouble.requests();
            if requests != seen.0 {
                seen = (requests, Instant::now());
            }
            Ok(if seen.1.elapsed() >= QUIET {
                Ok(())
            } else {
                Err(format!("{requests} requests"))
            })
        })
    }

    fn not_converged(&self) -> Result<Option<String>> {
        checks::not_converged(&self.namespace, &self.desired, &self.deleted)
    }

    fn check(&self) -> Result<()> {
        let left = self.not_converged()?;
        ensure!(
            left.is_none(),
            "it had converged and has not stayed so: {left:?}"
        );
        self.bystanders.are_untouched(&self.namespace)?;
        checks::explained(
            &self.api_server.seen(),
            &self.namespace.name,
            &self.lane.namespace,
            &self.history,
        )?;
        let log = self.log()?;
        let panic = log.lines().find(|line| line.contains("panicked at"));
        ensure!(panic.is_none(), "the agent panicked: {panic:?}");
        Ok(())
    }

    fn log(&self) -> Result<String> {
        let path = self.lane.dir.join("agent.log");
        let read = || -> std::io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            let mut file = std::fs::File::open(&path)?;
            file.seek(SeekFrom::Start(self.log_begin))?;
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().with_context(|| format!("read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn end(&mut self) -> Result<()> {
        self.agent.as_mut().map_or(Ok(()), Agent::kill)
    }
}

impl Drop for Director<'_> {
    /// An agent that is only dropped takes its time.
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn path(application: &str, key: &Key) -> String {
    format!("{application}/{}-{}.yaml", key.kind.plural(), key.name)
}

/// Is what somebody sets by hand.
fn edit(kind: Kind) -> Value {
    match kind {
        Kind::ConfigMap => json!({"data": {"value": "edited"}}),
        Kind::Secret => json!({"data": {"value": "ZWRpdGVk"}}),
        Kind::ServiceAccount => json!({"automountServiceAccountToken": null}),
        Kind::Service => json!({"spec": {"selector": {"app": "edited"}}}),
        Kind::Deployment => json!({"spec": {"replicas": 1}}),
    }
}

fn bystanders() -> [Key; 3] {
    [
        (Kind::ConfigMap, "bystander"),
        (Kind::ConfigMap, "labelled"),
        (Kind::Secret, "bystander"),
    ]
    .map(|(kind, name)| Key {
        kind,
        name: name.to_owned(),
    })
}

/// Makes the namespace, the account in whose name is written, and objects that are nobody's.
fn furnish(namespace: &Namespace<'_>) -> Result<()> {
    let name = &namespace.name;
    let here = |object: &str| json!({"name": object, "namespace": name});
    for object in [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": here("deployer")}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": here("deployer"),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": name}],
        }),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": here("bystander"), "data": {"value": "mine"}}),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"value": "of an application that there never was"},
            "metadata": {
                "name": "labelled", "namespace": name,
                "labels": {"pintle.dev/application": format!("{name}.ghost")},
            },
        }),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": here("bystander"), "data": {"value": "bWluZQ=="}}),
    ] {
        namespace.apply(&object)?;
    }
    Ok(())
}
