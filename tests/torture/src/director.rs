//! Plays one schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use pintle_harness::{GitRepo, Proxy, until};
use serde_json::{Value, json};

use crate::arena::{Arena, Lane, WEBHOOK_TOKEN};
use crate::charts;
use crate::checks::{self, Bystanders, LABEL};
use crate::cluster::Namespace;
use crate::crew::Crew;
use crate::model::{Desired, History, Key, Kind, hidden, manifest};
use crate::order::{self, Handovers};
use crate::schedule::{Act, Schedule, Weather};
use crate::secrecy;
use crate::story::Story;
use crate::trouble::{Place, Trouble};

/// An application that has not converged this long after the last fault is starving: several times the pause after a few
/// failures.
const LIMIT: Duration = Duration::from_mins(2);
/// The same limit while plugins are compiled, which shares the machine with everything else that it does.
const COMPILING: Duration = Duration::from_mins(10);
/// How long the agents must send nothing but renewals to count as done.
const QUIET: Duration = Duration::from_millis(300);
/// The same for some schedules, longer than any pause after a first failure, so that work that repeats forever is noticed.
const REST: Duration = Duration::from_secs(3);
/// One in this many seeds has that longer rest.
const RESTING: u64 = 8;
/// How long [`Act::Wait`] waits for requests that do not come.
const PATIENCE: Duration = Duration::from_millis(500);

/// The results of a schedule after which everything holds.
pub(crate) struct Played {
    pub(crate) requests: u64,
    pub(crate) faults: u64,
    pub(crate) restarts: u64,
    pub(crate) took: Duration,
    /// The time since the last fault.
    pub(crate) converged: Duration,
}

/// Plays a schedule and checks what must hold, for longer if it is played alone. The error has the whole story.
pub(crate) fn play(arena: &Arena, lane: &Lane, schedule: &Schedule, alone: bool) -> Result<Played> {
    let story = Story::begin(schedule);
    let log = lane.replica(0).with_file_name("replica-*/agent.log");
    let played = Director::set(arena, lane, schedule, &story, alone).and_then(Director::direct);
    played.map_err(|error| anyhow!(story.failure(schedule, &error, &log.to_string_lossy())))
}

struct Director<'a> {
    arena: &'a Arena,
    lane: &'a Lane,
    schedule: &'a Schedule,
    story: &'a Story,
    /// Whether it is the only schedule that is played.
    alone: bool,
    begun: Instant,
    namespace: Namespace<'a>,
    repository: GitRepo,
    bystanders: Bystanders,
    trouble: Arc<Trouble>,
    // Dropped before the proxy: the crew ends first.
    crew: Crew<'a>,
    servers: Proxy,
    /// How often each chart was pushed, which is its minor version.
    charts: BTreeMap<String, u32>,
    commits: usize,
    desired: Desired,
    history: History,
    handovers: Handovers,
    deleted: BTreeSet<String>,
    respecified: u32,
}

impl<'a> Director<'a> {
    /// Creates everything that a schedule needs: a namespace with bystanders, a repository, proxies.
    fn set(
        arena: &'a Arena,
        lane: &'a Lane,
        schedule: &'a Schedule,
        story: &'a Story,
        alone: bool,
    ) -> Result<Self> {
        let begun = Instant::now();
        let namespace = Namespace::new(arena, &schedule.namespace());
        furnish(&namespace)?;
        Namespace::new(arena, &lane.namespace).forget_leases()?;
        let bystanders = Bystanders::remember(&namespace, &bystanders())?;
        let trouble = Trouble::new(schedule.seed, schedule.weather, schedule.replicas);
        let servers = Proxy::start(arena.servers.http(), None)?;
        servers.decide_by(trouble.decide(Place::Servers));
        Ok(Self {
            repository: arena.servers.repository(&namespace.name)?,
            crew: Crew::hire(arena, lane, schedule, &trouble)?,
            arena,
            lane,
            schedule,
            story,
            alone,
            begun,
            namespace,
            bystanders,
            trouble,
            servers,
            charts: BTreeMap::new(),
            commits: 0,
            desired: Desired::default(),
            history: History::default(),
            handovers: Handovers::default(),
            deleted: BTreeSet::new(),
            respecified: 0,
        })
    }

    fn direct(mut self) -> Result<Played> {
        self.commit(&self.schedule.first.clone())?;
        if self.schedule.agent_first {
            self.start_crew()?;
        }
        for name in self.schedule.first.applications.keys() {
            self.namespace.apply(&self.application(name))?;
        }
        if !self.schedule.agent_first {
            self.start_crew()?;
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
        self.keep_alive()?;
        self.crew.end()?;
        Ok(Played {
            requests: self.trouble.requests(),
            faults: self.trouble.faults(),
            restarts: self.crew.restarts,
            took: self.begun.elapsed(),
            converged,
        })
    }

    fn start_crew(&mut self) -> Result<()> {
        self.crew
            .start(self.lane, self.schedule, &self.namespace.name)
    }

    fn keep_alive(&mut self) -> Result<()> {
        for replica in self.crew.keep_alive()? {
            self.story
                .tell(&format!("replica {replica} has ended and is started again"));
        }
        Ok(())
    }

    fn perform(&mut self, act: &Act) -> Result<()> {
        match act {
            Act::Commit(desired) => {
                self.commit(desired)?;
                // Only one replica is notified, each in turn: the others hear of the push from it.
                let replicas = self.crew.webhooks();
                if let Some(replica) = replicas.get(self.commits % replicas.len().max(1)) {
                    self.tell_of_push(replica);
                }
            }
            Act::Edit(key) => {
                self.namespace.change(key, &edit(key.kind))?;
            }
            Act::Delete(key) => {
                self.namespace.delete(key)?;
            }
            Act::Unlabel(key) => {
                let patch = json!({"metadata": {"labels": {LABEL: null}}});
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
            Act::Kill { replica, after } => self.trouble.kill_after(*replica, *after),
            Act::Stop { replica } => self.crew.stop(*replica),
            Act::Pause { replica } => self.crew.pause(*replica),
            Act::Resume { replica } => {
                self.handovers.resumed();
                self.crew.resume(*replica);
            }
            Act::Cut => self.crew.cut_answers(),
            Act::Expire => self.crew.expire_watches(),
            Act::Steal { seconds } => {
                self.handovers.robbed();
                self.namespace
                    .steal_leases(&self.lane.namespace, *seconds)?;
            }
            Act::Clock { replica, ahead } => {
                let machine = self.crew.machine(*replica);
                machine.map_or(Ok(()), |machine| machine.set_clock(*ahead))?;
            }
            Act::DiskFull { replica, full } => {
                let machine = self.crew.machine(*replica);
                machine.map_or(Ok(()), |machine| machine.fill_disk(*full))?;
            }
            // The replica may be writing there at the same moment.
            Act::WipeCache { replica, compiled } => {
                let cache = self.crew.cache(*replica).unwrap_or_default();
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

    /// Makes the repository, and the charts in the registry, contain exactly this, and pushes.
    fn commit(&mut self, desired: &Desired) -> Result<()> {
        let mut published = Vec::new();
        for (application, objects) in &desired.applications {
            let before = self.desired.applications.get(application);
            if self.schedule.charted.contains(application) {
                if before != Some(objects) {
                    self.publish(application, objects)?;
                    published.push(application);
                }
                continue;
            }
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
        self.commits += 1;
        // This comes only now, because what is written from here on is explained by git.
        for application in published {
            let patch =
                json!({"spec": {"source": {"oci": {"tag": self.chart_version(application)}}}});
            self.namespace.change_application(application, &patch)?;
        }
        let commit = self.repository.commit("change")?;
        self.repository.push()?;
        self.story.tell(&format!("pushed {commit}"));
        Ok(())
    }

    fn publish(&mut self, application: &str, objects: &BTreeMap<Key, u32>) -> Result<()> {
        *self.charts.entry(application.to_owned()).or_default() += 1;
        let version = self.chart_version(application);
        charts::push(self.arena, &self.chart(application), &version, objects)?;
        self.story
            .tell(&format!("pushed chart {application} {version}"));
        Ok(())
    }

    fn chart(&self, application: &str) -> String {
        format!("charts/{}-{application}", self.namespace.name)
    }

    fn chart_version(&self, application: &str) -> String {
        let minor = self.charts.get(application).copied().unwrap_or_default();
        format!("0.{minor}.0")
    }

    /// Notifies a replica of a push, once, as a git server does. Returns whether the replica accepted the notification.
    fn tell_of_push(&self, replica: &str) -> bool {
        let request = self
            .arena
            .http
            .post(format!("{replica}/webhook/gitlab"))
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
        if self.schedule.charted.contains(name) {
            let url = format!("oci://{}/{}", self.servers.host(), self.chart(name));
            spec["source"] = json!({"oci": {"url": url, "tag": self.chart_version(name)}});
        }
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

    /// Stops all faults, and waits until everything is as in git and the agents have nothing to do.
    fn settle(&mut self) -> Result<()> {
        self.trouble.set_weather(Weather::default());
        self.trouble.never_kill();
        self.crew.resume_all();
        for machine in self.crew.machines() {
            machine.fill_disk(false)?;
        }
        // Faults that still delay requests or answers in flight would strike later.
        self.crew.cut_answers();
        self.servers.cut_answers();
        for replica in self.crew.webhooks() {
            until("the last push is heard", LIMIT, || {
                self.keep_alive()?;
                Ok(if self.tell_of_push(&replica) {
                    Ok(())
                } else {
                    Err("no answer, or another one than 202".to_owned())
                })
            })?;
        }
        let limit = if self.schedule.acts.is_empty() {
            COMPILING
        } else {
            LIMIT
        };
        until("all converges", limit, || {
            self.keep_alive()?;
            Ok(self.not_converged()?.map_or(Ok(()), Err))
        })?;
        self.story.tell("all has converged");
        if self.schedule.leased {
            until("each shard is held once", LIMIT, || {
                self.keep_alive()?;
                Ok(checks::held_once(&self.crew.shards()))
            })?;
        }
        let rests = self.alone || self.schedule.seed.is_multiple_of(RESTING);
        let quiet = if rests { REST } else { QUIET };
        let mut seen = (self.trouble.work(), Instant::now());
        until("the agents have nothing to do", LIMIT, || {
            let requests = self.trouble.work();
            if requests != seen.0 {
                seen = (requests, Instant::now());
            }
            // This includes requests of agents that were killed: they would be written after everything was checked.
            let under_way = self.crew.under_way();
            Ok(if seen.1.elapsed() >= quiet && under_way == 0 {
                Ok(())
            } else {
                Err(format!("{requests} requests, {under_way} under way"))
            })
        })
    }

    fn not_converged(&self) -> Result<Option<String>> {
        checks::not_converged(
            &self.namespace,
            &self.desired,
            &self.deleted,
            &self.bystanders,
        )
    }

    fn check(&self) -> Result<()> {
        let left = self.not_converged()?;
        ensure!(
            left.is_none(),
            "it had converged and has not stayed so: {left:?}"
        );
        self.bystanders.are_untouched(&self.namespace)?;
        let requests = self.crew.seen();
        checks::explained(
            &requests,
            &self.namespace.name,
            &self.lane.namespace,
            &self.history,
        )?;
        checks::hooks_ran_once(&requests, &self.namespace.name, &self.history)?;
        order::never_went_back(
            &requests,
            &self.namespace.name,
            &self.history,
            &self.handovers,
        )?;
        let log = self.crew.log()?;
        let panic = log.lines().find(|line| line.contains("panicked at"));
        ensure!(panic.is_none(), "the agent panicked: {panic:?}");
        let messages = self.arena.servers.deliveries(&self.namespace.name)?;
        secrecy::holds(&requests, &log, &messages)
    }
}

fn path(application: &str, key: &Key) -> String {
    format!("{application}/{}-{}.yaml", key.kind.plural(), key.name)
}

/// Returns the fields that somebody edits by hand.
fn edit(kind: Kind) -> Value {
    match kind {
        Kind::ConfigMap => json!({"data": {"value": "edited"}}),
        Kind::Secret => json!({"data": {"value": hidden("edited")}}),
        Kind::ServiceAccount => json!({"automountServiceAccountToken": null}),
        Kind::Service => json!({"spec": {"selector": {"app": "edited"}}}),
        Kind::Deployment => json!({"spec": {"replicas": 1}}),
        // No schedule edits what a hook has created.
        Kind::Job => json!({}),
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

/// Creates the namespace, the account that the agent writes as, and objects that belong to no application.
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
