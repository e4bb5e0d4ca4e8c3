//! What all tests share, and what each test has of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use pintle_harness::{
    AGENT_NAMESPACE, Agent, AgentOptions, ApiRequest, ControlPlane, GitRepo, Proxy, Servers,
    ServersOptions, agent, to_stderr, until,
};
use serde_json::Value;

/// The time limit for any single step: far more than it needs, because the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// The shared key of webhooks.
pub(crate) const WEBHOOK_TOKEN: &str = "a shared secret";

/// What is started once for all tests.
pub(crate) struct World {
    pub(crate) control_plane: &'static ControlPlane,
    pub(crate) servers: Servers,
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
    agent_kubeconfig: PathBuf,
}

/// Returns what is started once for all tests, and starts it on first use.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::start().expect("the world starts"))
}

impl World {
    fn start() -> Result<Self> {
        let control_plane = ControlPlane::shared();
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        let agent_kubeconfig = agent::install(control_plane, &deploy)?;
        // The agents of all tests receive webhooks signed with this token.
        control_plane.apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: pintle-webhook, namespace: {AGENT_NAMESPACE}}}\n\
             stringData: {{token: {WEBHOOK_TOKEN}}}\n"
        ))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let client = runtime.block_on(control_plane.client())?;
        Ok(Self {
            control_plane,
            servers: Servers::start(&ServersOptions::default(), &to_stderr)?,
            runtime,
            client,
            agent_kubeconfig,
        })
    }

    /// Returns a kubeconfig with the permissions that `deploy/` gives the agent.
    pub(crate) fn agent_kubeconfig(&self) -> PathBuf {
        self.agent_kubeconfig.clone()
    }

    /// Runs a future to completion.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

/// What one test has of its own: a namespace with the account that the agent writes as, a repository, and an agent that watches
/// only this namespace.
pub(crate) struct Stage {
    pub(crate) world: &'static World,
    pub(crate) namespace: String,
    pub(crate) repository: GitRepo,
    pub(crate) agent: Agent,
    requests: AtomicU64,
}

impl Stage {
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        Self::connected(prefix, world().agent_kubeconfig())
    }

    /// Creates a stage whose agent reaches the API server through a proxy.
    pub(crate) fn through(prefix: &str, proxy: &Proxy) -> Result<Self> {
        Self::connected(prefix, proxy.kubeconfig(&world().agent_kubeconfig)?)
    }

    fn connected(prefix: &str, kubeconfig: PathBuf) -> Result<Self> {
        Self::with(prefix, |namespace| {
            let mut options = AgentOptions::new(kubeconfig);
            options
                .args
                .extend(["--watch-namespace".to_owned(), namespace.to_owned()]);
            options
        })
    }

    /// Creates a stage whose agent has options of its own, given the namespace.
    pub(crate) fn with(prefix: &str, options: impl FnOnce(&str) -> AgentOptions) -> Result<Self> {
        let world = world();
        let namespace = namespace(prefix)?;
        let options = options(&namespace);
        Ok(Self {
            world,
            repository: world.servers.repository(&namespace)?,
            agent: Agent::start(options)?,
            namespace,
            requests: AtomicU64::new(0),
        })
    }

    /// Returns an Application of this stage's repository, with additional lines of its spec.
    pub(crate) fn application(&self, name: &str, path: &str, spec: &str) -> String {
        self.application_of(
            &self.world.servers.git_http(&self.repository),
            name,
            path,
            spec,
        )
    }

    /// Returns an Application of any repository, with additional lines of its spec.
    pub(crate) fn application_of(&self, url: &str, name: &str, path: &str, spec: &str) -> String {
        let mut text = format!(
            "apiVersion: pintle.dev/v1alpha1\nkind: Application\nmetadata: {{name: {name}, namespace: {}}}\n\
             spec:\n  serviceAccountName: deployer\n  interval: 1h\n  timeout: 1m\n  \
             source: {{git: {{url: '{url}', branch: main, path: '{path}'}}}}\n",
            self.namespace
        );
        for line in spec.lines() {
            let _ = writeln!(text, "  {line}");
        }
        text += "---\n";
        text
    }

    /// Applies manifests as an administrator.
    pub(crate) fn apply(&self, manifests: &str) -> Result<()> {
        self.world.control_plane.apply(manifests)
    }

    /// Runs kubectl in the namespace, as an administrator.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Result<String> {
        let all = [&["--namespace", self.namespace.as_str()], args].concat();
        self.world.control_plane.kubectl(&all)
    }

    /// Sets an annotation of an Application, such as `pintle.dev/NAME=VALUE`.
    pub(crate) fn annotate(&self, application: &str, annotation: &str) -> Result<()> {
        let what = ["annotate", "--overwrite", "application"];
        self.kubectl(&[&what[..], &[application, annotation]].concat())?;
        Ok(())
    }

    /// Requests a reconciliation now, as a user would.
    pub(crate) fn request(&self, application: &str) -> Result<String> {
        let value = self.requests.fetch_add(1, Ordering::Relaxed).to_string();
        let annotation = format!("pintle.dev/reconcile-requested-at={value}");
        self.annotate(application, &annotation)?;
        Ok(value)
    }

    /// Requests a reconciliation, and waits until the status says that it is done.
    pub(crate) fn request_and_wait(&self, application: &str) -> Result<()> {
        let value = self.request(application)?;
        self.handled(application, &value).map(drop)
    }

    /// Waits until the status says that a requested reconciliation is done, and returns that status.
    pub(crate) fn handled(&self, application: &str, request: &str) -> Result<Value> {
        until("the request is handled", LIMIT, || {
            let status = self.object("Application", application)?["status"].take();
            Ok(if status["lastHandledReconcile"] == request {
                Ok(status)
            } else {
                Err(status["conditions"].to_string())
            })
        })
    }

    /// Changes fields of an Application with a merge patch.
    pub(crate) fn patch(&self, application: &str, patch: &str) -> Result<String> {
        let what = ["patch", "application", application, "--type=merge"];
        self.kubectl(&[&what[..], &["--patch", patch]].concat())
    }

    /// Pushes files, creates an Application for them, and waits until it is Ready.
    pub(crate) fn deploy(&self, application: &str, files: &[(&str, &str)]) -> Result<String> {
        self.deploy_with(application, "", "", files)
    }

    /// Does the same for an Application of a folder, with additional lines of its spec.
    pub(crate) fn deploy_with(
        &self,
        application: &str,
        path: &str,
        spec: &str,
        files: &[(&str, &str)],
    ) -> Result<String> {
        let commit = self.repository.push_files(files, "first")?;
        self.apply(&self.application(application, path, spec))?;
        self.ready_at(application, &commit)?;
        Ok(commit)
    }

    /// Writes files, pushes a commit and requests a reconciliation.
    pub(crate) fn push(&self, application: &str, files: &[(&str, &str)]) -> Result<String> {
        let commit = self.repository.push_files(files, "change")?;
        self.request(application)?;
        Ok(commit)
    }

    /// Waits until a `ConfigMap` has a value.
    pub(crate) fn has_value(&self, name: &str, value: &str) -> Result<()> {
        until(&format!("{name} is {value}"), LIMIT, || {
            let found = self.object("ConfigMap", name)?["data"]["value"].clone();
            Ok(if found == value {
                Ok(())
            } else {
                Err(found.to_string())
            })
        })
    }

    /// Waits until an application is Ready at a commit.
    pub(crate) fn ready_at(&self, application: &str, commit: &str) -> Result<()> {
        until(
            &format!("{application} is Ready at {commit}"),
            LIMIT,
            || {
                let found = self.object("Application", application)?;
                let ready = condition(&found, "Ready");
                let reached = ready["status"] == "True" && found["status"]["revision"] == commit;
                Ok(if reached {
                    Ok(())
                } else {
                    Err(self.seen(&found))
                })
            },
        )
    }

    /// Waits until a condition has a reason, and returns the condition.
    pub(crate) fn condition(&self, application: &str, kind: &str, reason: &str) -> Result<Value> {
        until(
            &format!("{application} is {kind} for {reason}"),
            LIMIT,
            || {
                let found = self.object("Application", application)?;
                let condition = condition(&found, kind);
                Ok(if condition["reason"] == reason {
                    Ok(condition)
                } else {
                    Err(self.seen(&found))
                })
            },
        )
    }

    /// Returns the lines of the agent's log.
    pub(crate) fn logged(&self) -> Result<Vec<Value>> {
        let log = fs::read_to_string(self.agent.dir().join("agent.log"))?;
        let lines = log.lines().map(serde_json::from_str);
        // The last line may still be incomplete.
        Ok(lines.filter_map(Result::ok).collect())
    }

    /// Describes an application that is not in the expected state yet.
    fn seen(&self, application: &Value) -> String {
        format!(
            "{} {} (log: {})",
            application["status"]["revision"],
            application["status"]["conditions"],
            self.agent.dir().join("agent.log").display()
        )
    }

    /// Returns an object of the namespace, which must exist.
    pub(crate) fn object(&self, kind: &str, name: &str) -> Result<Value> {
        self.find(kind, name)?
            .ok_or_else(|| anyhow!("{kind} {name} is not in {}", self.namespace))
    }

    /// Returns an object of the namespace, if it exists.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        let found = self.world.wait(self.api(kind).get_opt(name))?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    /// Returns the names of the objects of a kind that carry an application's label.
    pub(crate) fn names(&self, kind: &str, application: &str) -> Result<BTreeSet<String>> {
        let label = format!("pintle.dev/application={}.{application}", self.namespace);
        let params = ListParams::default().labels(&label);
        let found = self.world.wait(self.api(kind).list(&params))?;
        Ok(found
            .items
            .into_iter()
            .filter_map(|object| object.metadata.name)
            .collect())
    }

    /// Returns the reasons of events about an application, with their messages.
    pub(crate) fn events(&self, application: &str) -> Result<Vec<(String, String)>> {
        let found = self
            .world
            .wait(self.api("Event").list(&ListParams::default()))?;
        let events = found
            .items
            .iter()
            .map(|event| &event.data)
            .filter(|event| event["regarding"]["name"] == application);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(events
            .map(|event| (text(&event["reason"]), text(&event["note"])))
            .collect())
    }

    /// Marks the current position, for [`Stage::writes_since`].
    pub(crate) fn mark(&self) -> Result<u64> {
        self.world.control_plane.requests_mark()
    }

    /// Returns the requests that were sent as this namespace's account since a mark: everything that the agent does to an
    /// application's objects.
    pub(crate) fn requests_since(&self, mark: u64) -> Result<Vec<ApiRequest>> {
        let account = format!("system:serviceaccount:{}:deployer", self.namespace);
        let mut requests = self.world.control_plane.requests_since(mark)?;
        requests.retain(|request| request.impersonated.as_deref() == Some(&account));
        Ok(requests)
    }

    /// Counts the successful writes to each object as this namespace's account since a mark, dry runs excluded.
    pub(crate) fn writes_since(&self, mark: u64) -> Result<BTreeMap<String, usize>> {
        let mut writes = BTreeMap::new();
        for request in self.requests_since(mark)? {
            let is_dry = request.uri.contains("dryRun=");
            if request.is_write() && !is_dry && (200..300).contains(&request.code) {
                let object = format!("{} {}/{}", request.verb, request.resource, request.name);
                *writes.entry(object).or_default() += 1;
            }
        }
        Ok(writes)
    }

    /// Returns the API for a kind of object in the namespace.
    pub(crate) fn api(&self, kind: &str) -> Api<DynamicObject> {
        let (group, version) = match kind {
            "Application" => ("pintle.dev", "v1alpha1"),
            "Deployment" => ("apps", "v1"),
            "Job" => ("batch", "v1"),
            "Ingress" => ("networking.k8s.io", "v1"),
            "Event" => ("events.k8s.io", "v1"),
            _ => ("", "v1"),
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.world.client.clone(), &self.namespace, &resource)
    }
}

/// Creates a namespace with the account that the agent writes as.
pub(crate) fn namespace(prefix: &str) -> Result<String> {
    let control_plane = world().control_plane;
    let namespace = control_plane.namespace(prefix)?;
    control_plane.apply(&format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: deployer, namespace: {namespace}}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {{name: deployer, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}}\n\
         subjects: [{{kind: ServiceAccount, name: deployer, namespace: {namespace}}}]\n"
    ))?;
    Ok(namespace)
}

/// Returns a condition of an application, or null if it has none of that type.
pub(crate) fn condition(application: &Value, kind: &str) -> Value {
    let conditions = application["status"]["conditions"].as_array();
    conditions
        .and_then(|all| all.iter().find(|one| one["type"] == kind))
        .cloned()
        .unwrap_or_default()
}

/// Returns a `ConfigMap` manifest with one value.
pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: '{value}'}}\n---\n"
    )
}

/// Returns a `Deployment` manifest with its `ServiceAccount`.
pub(crate) fn deployment(name: &str, replicas: u32, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}}}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
         spec:\n      serviceAccountName: {name}\n      containers: [{{name: main, image: '{image}'}}]\n---\n"
    )
}

/// Returns a `Service` manifest.
pub(crate) fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{selector: {{app: {name}}}, ports: [{{port: {port}}}]}}\n---\n"
    )
}
