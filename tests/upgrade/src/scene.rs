//! The cluster, the repository, and the agent that currently runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use pintle_harness::{
    AGENT_NAMESPACE, Agent, AgentOptions, ApiRequest, ControlPlane, ControlPlaneOptions, GitRepo,
    RunDir, Servers, ServersOptions, agent, to_stderr, until,
};
use serde_json::Value;

use crate::Switch;
use crate::checks::{self, Kept, Wanted};
use crate::shop::{APPLICATIONS, Writes, files, spec, writes};

/// The time limit for any single step: the lease of a killed agent has to expire first.
const LIMIT: Duration = Duration::from_mins(3);
/// The shared key of webhooks.
const WEBHOOK_TOKEN: &str = "a shared secret";
/// Where the applications and their objects are.
const NAMESPACE: &str = "upgrade";

/// One build of the agent, with the manifests that are installed along with it.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    pub(crate) name: String,
    pub(crate) executable: PathBuf,
    pub(crate) deploy: PathBuf,
}

impl Build {
    /// Returns the build of this checkout.
    pub(crate) fn this() -> Result<Self> {
        Ok(Self {
            name: "this build".to_owned(),
            executable: agent::executable()?,
            deploy: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy"),
        })
    }
}

pub(crate) struct Scene {
    // Dropped before what it talks to: the agent ends first.
    agent: Agent,
    control_plane: ControlPlane,
    servers: Servers,
    repository: GitRepo,
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
    dir: RunDir,
    /// How many agents were started. Each is a pod of its own.
    started: u32,
    asked: u32,
    /// The round of the repository's content.
    at: u32,
    kept: Kept,
}

impl Scene {
    /// Installs a build on a fresh cluster, and lets it apply everything for the first time.
    pub(crate) fn open(build: &Build) -> Result<Self> {
        let control_plane = ControlPlane::start(ControlPlaneOptions::default(), &to_stderr)?;
        let servers = Servers::start(&ServersOptions::default(), &to_stderr)?;
        let repository = servers.repository(NAMESPACE)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("make a runtime")?;
        let client = runtime.block_on(control_plane.client())?;
        let dir = RunDir::new("upgrade")?;
        let kubeconfig = agent::install(&control_plane, &build.deploy)?;
        control_plane.apply(&furniture())?;
        let commit = push(&repository, None, 0)?;
        let agent = Agent::start(options(build, kubeconfig, dir.path(), 1))?;
        let mut scene = Self {
            agent,
            control_plane,
            servers,
            repository,
            runtime,
            client,
            dir,
            started: 1,
            asked: 0,
            at: 0,
            kept: Kept::default(),
        };
        for application in APPLICATIONS {
            scene.control_plane.apply(&scene.application(application))?;
        }
        scene.wait_for(&commit, &APPLICATIONS)?;
        scene.kept = scene.look()?;
        Ok(scene)
    }

    /// Keeps logs for inspection.
    pub(crate) fn keep(&mut self) {
        self.dir.keep();
    }

    /// Replaces the running build with another one, and lets that apply a commit.
    pub(crate) fn round(&mut self, switch: Switch, to: &Build) -> Result<()> {
        match switch {
            Switch::Stop => {
                self.agent.stop()?;
                self.meddle()?;
                self.rest(
                    to,
                    &["patch configmaps/settings-0", "patch configmaps/settings-1"],
                )?;
                self.commit()
            }
            Switch::Kill => {
                self.agent.kill()?;
                self.rest(to, &[])?;
                self.commit()
            }
            Switch::KillAtWork => {
                let mark = self.mark()?;
                let commit = self.push()?;
                self.some_are_written(mark)?;
                self.agent.kill()?;
                self.agent = self.start(to)?;
                self.arrive(&commit, mark)
            }
            Switch::Overlap => {
                let mark = self.mark()?;
                let next = self.start(to)?;
                let commit = self.push()?;
                let mut before = std::mem::replace(&mut self.agent, next);
                before.stop()?;
                self.arrive(&commit, mark)
            }
        }
    }

    /// Deletes all Applications, and waits until nothing of them is left.
    pub(crate) fn remove_all(&mut self) -> Result<()> {
        let mark = self.mark()?;
        let mut args = vec!["-n", NAMESPACE, "delete", "--timeout=180s", "applications"];
        args.extend(APPLICATIONS);
        self.control_plane.kubectl(&args)?;
        let left = self.objects()?;
        ensure!(left.is_empty(), "left behind: {:?}", left.keys());
        let saved = checks::codes(&self.requests_since(mark)?);
        ensure!(
            saved.contains_key("patch jobs/save"),
            "the hook for the removal did not run: {:?}",
            saved.keys()
        );
        self.agent.stop()
    }

    /// Installs and starts a build on the cluster as it is, and checks that it writes what is expected and no more: repairs of
    /// the changes that were made while no agent ran.
    fn rest(&mut self, build: &Build, expected: &[&str]) -> Result<()> {
        let mark = self.mark()?;
        self.agent = self.start(build)?;
        self.asked += 1;
        let value = self.asked.to_string();
        let annotation = format!("pintle.dev/reconcile-requested-at={value}");
        for application in APPLICATIONS {
            self.control_plane.kubectl(&[
                "-n",
                NAMESPACE,
                "annotate",
                "--overwrite",
                "application",
                application,
                &annotation,
            ])?;
        }
        for application in APPLICATIONS {
            self.until_ready(application, |status| {
                status["lastHandledReconcile"] == value.as_str()
            })?;
        }
        let expected = expected.iter().map(|write| (*write).to_owned()).collect();
        self.check(mark, &expected)
    }

    fn commit(&mut self) -> Result<()> {
        let mark = self.mark()?;
        let commit = self.push()?;
        self.arrive(&commit, mark)
    }

    /// Waits until a commit has reached all applications, and checks that it was written once since a mark, and that nothing else
    /// was.
    fn arrive(&mut self, commit: &str, mark: u64) -> Result<()> {
        // An application that does not read what a commit changes need not look at the commit.
        let changed: Vec<_> = APPLICATIONS
            .into_iter()
            .filter(|application| *application != "steady")
            .collect();
        self.wait_for(commit, &changed)?;
        self.check(mark, &writes(self.at))
    }

    fn check(&mut self, mark: u64, expected: &Writes) -> Result<()> {
        checks::written_once(&self.requests_since(mark)?, expected)?;
        let now = self.look()?;
        let wanted = Wanted {
            round: self.at,
            written: expected,
        };
        self.kept.survives(&now, &wanted)?;
        self.kept = now;
        Ok(())
    }

    /// Interferes as people do: sets a field that git sets, and deletes an object that git has.
    fn meddle(&self) -> Result<()> {
        self.control_plane.kubectl(&[
            "-n",
            NAMESPACE,
            "patch",
            "configmap",
            "settings-0",
            "--type=merge",
            "-p",
            r#"{"data": {"value": "edited"}}"#,
        ])?;
        self.control_plane
            .kubectl(&["-n", NAMESPACE, "delete", "configmap", "settings-1"])?;
        Ok(())
    }

    fn start(&mut self, build: &Build) -> Result<Agent> {
        let kubeconfig = agent::install(&self.control_plane, &build.deploy)?;
        self.started += 1;
        Agent::start(options(build, kubeconfig, self.dir.path(), self.started))
    }

    /// Pushes the next commit, and notifies the agent.
    fn push(&mut self) -> Result<String> {
        let commit = push(&self.repository, Some(self.at), self.at + 1)?;
        self.at += 1;
        let url = self.servers.git_http(&self.repository);
        self.agent.tell_of_push(&url, WEBHOOK_TOKEN)?;
        Ok(commit)
    }

    fn application(&self, name: &str) -> String {
        let (url, spec) = (self.servers.git_http(&self.repository), spec(name));
        format!(
            "apiVersion: pintle.dev/v1alpha1\nkind: Application\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\n\
             spec:\n  serviceAccountName: deployer\n  interval: 1h\n  timeout: 1m\n  \
             source: {{git: {{url: '{url}', branch: main, path: {name}}}}}\n  {spec}\n"
        )
    }

    fn wait_for(&self, commit: &str, applications: &[&str]) -> Result<()> {
        for application in applications {
            self.until_ready(application, |status| status["revision"] == commit)?;
        }
        Ok(())
    }

    /// Waits until an Application is Ready and its status is as wanted.
    fn until_ready(&self, application: &str, is_wanted: impl Fn(&Value) -> bool) -> Result<()> {
        until(&format!("{application} is Ready"), LIMIT, || {
            let found = self.status(application)?;
            let mut conditions = found["conditions"].as_array().into_iter().flatten();
            let is_ready = conditions
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            Ok(if is_ready && is_wanted(&found) {
                Ok(())
            } else {
                Err(format!("{found}, logs: {}", self.dir.path().display()))
            })
        })
    }

    fn status(&self, application: &str) -> Result<Value> {
        let found = self.runtime.block_on(
            self.api("pintle.dev", "v1alpha1", "Application")
                .get(application),
        )?;
        Ok(found.data["status"].clone())
    }

    fn some_are_written(&self, mark: u64) -> Result<()> {
        until("some objects are written", LIMIT, || {
            Ok(if checks::codes(&self.requests_since(mark)?).is_empty() {
                Err("none is".to_owned())
            } else {
                Ok(())
            })
        })
    }

    fn mark(&self) -> Result<u64> {
        self.control_plane.requests_mark()
    }

    /// Returns the requests as the account of all applications since a mark.
    fn requests_since(&self, mark: u64) -> Result<Vec<ApiRequest>> {
        let account = format!("system:serviceaccount:{NAMESPACE}:deployer");
        let mut requests = self.control_plane.requests_since(mark)?;
        requests.retain(|request| request.impersonated.as_deref() == Some(&account));
        Ok(requests)
    }

    fn look(&self) -> Result<Kept> {
        let statuses = APPLICATIONS
            .iter()
            .map(|application| Ok(((*application).to_owned(), self.status(application)?)));
        Ok(Kept {
            statuses: statuses.collect::<Result<_>>()?,
            objects: self.objects()?,
        })
    }

    /// Returns all objects that belong to an application, by `RESOURCE/NAME`.
    fn objects(&self) -> Result<BTreeMap<String, Value>> {
        let mut objects = BTreeMap::new();
        for (group, kind, plural) in [
            ("", "ConfigMap", "configmaps"),
            ("", "Secret", "secrets"),
            ("", "ServiceAccount", "serviceaccounts"),
            ("", "Service", "services"),
            ("apps", "Deployment", "deployments"),
            ("batch", "Job", "jobs"),
        ] {
            let params = ListParams::default().labels("pintle.dev/application");
            let found = self
                .runtime
                .block_on(self.api(group, "v1", kind).list(&params))?;
            for object in found.items {
                let name = object.metadata.name.clone().unwrap_or_default();
                let mut object = serde_json::to_value(object)?;
                // A list does not have the kind on each item.
                object["kind"] = kind.into();
                objects.insert(format!("{plural}/{name}"), object);
            }
        }
        Ok(objects)
    }

    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), NAMESPACE, &resource)
    }
}

/// Returns the options with which a pod would start a build. All pods share a folder, as pods on one node may: what one build has
/// cached must not matter to the correctness of the other.
fn options(build: &Build, kubeconfig: PathBuf, dir: &Path, number: u32) -> AgentOptions {
    let mut options = AgentOptions::new(kubeconfig);
    options.executable = Some(build.executable.clone());
    options.args = Vec::new();
    let pod = ("POD_NAME".to_owned(), format!("pintle-agent-{number}"));
    options.env.push(pod);
    options.dir = Some(dir.to_owned());
    options
}

/// Makes the repository contain a round's files, and pushes.
fn push(repository: &GitRepo, before: Option<u32>, round: u32) -> Result<String> {
    let now = files(round);
    for path in before.map(files).unwrap_or_default().keys() {
        if !now.contains_key(path) {
            repository.remove(path)?;
        }
    }
    let now: Vec<_> = now
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    repository.push_files(&now, &format!("round {round}"))
}

/// Returns the namespace, the account that the agent writes as, and the shared key of webhooks.
fn furniture() -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n---\n\
         apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: deployer, namespace: {NAMESPACE}}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {{name: deployer, namespace: {NAMESPACE}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}}\n\
         subjects: [{{kind: ServiceAccount, name: deployer, namespace: {NAMESPACE}}}]\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: pintle-webhook, namespace: {AGENT_NAMESPACE}}}\n\
         stringData: {{token: {WEBHOOK_TOKEN}}}\n"
    )
}
