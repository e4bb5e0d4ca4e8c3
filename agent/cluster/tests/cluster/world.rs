//! A namespace of a test's own, and the pipeline on it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use pintle_cluster::{
    Applied, ApplyError, Applying, Cluster, ClusterError, ConfigMapStore, Connection,
    InventoryStore, Judge, Options, PlanError, Planned, Prepared, Progress, Release, Silent, Step,
    Tracker, TrackerOptions,
};
use pintle_core::{
    check::{Approved, Checked},
    health::{Assessment, Status},
    inventory::Inventory,
    machine::Millis,
    names::ApplicationName,
    object::{Object, ObjectId},
    plan::Depth,
    problem::Position,
    rendered::{Rendered, RenderedObject},
    seed::Seed,
};
use pintle_harness::{ApiRequest, ControlPlane};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Long compared with anything that a busy machine takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// A namespace and the pipeline on it; see the module's documentation.
pub(crate) struct World {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: String,
    pub(crate) connection: Connection,
    pub(crate) cluster: Cluster,
    pub(crate) release: Release,
}

/// Reports Deployments as healthy when all their replicas are available, and everything else at once.
pub(crate) struct SimpleJudge;

#[async_trait]
impl Judge for SimpleJudge {
    async fn assess(
        &self,
        _: &ApplicationName,
        id: &ObjectId,
        object: &Value,
        _: Millis,
    ) -> Assessment {
        if id.is("apps", "Deployment") {
            let count = |field: &str| object["status"][field].as_u64().unwrap_or_default();
            let available = count("availableReplicas").min(count("updatedReplicas"));
            let observed =
                object["status"]["observedGeneration"] == object["metadata"]["generation"];
            let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
            if !observed || available != wanted {
                return Assessment::new(
                    Status::Progressing,
                    format!("{available} of {wanted} replicas are available"),
                );
            }
        }
        Assessment::new(Status::Healthy, "")
    }
}

/// Cannot be asked [`Starved::FAILURES`] times, as on an overloaded machine, and then reports everything as healthy.
#[derive(Default)]
pub(crate) struct Starved(AtomicUsize);

impl Starved {
    /// More than there are events about an object that is created and then left alone.
    pub(crate) const FAILURES: usize = 8;

    /// Returns how often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Judge for Starved {
    async fn assess(&self, _: &ApplicationName, _: &ObjectId, _: &Value, _: Millis) -> Assessment {
        if self.0.fetch_add(1, Ordering::Relaxed) >= Self::FAILURES {
            return Assessment::new(Status::Healthy, "");
        }
        Assessment {
            recheck_after: Some(Duration::from_millis(100)),
            ..Assessment::new(Status::Unknown, "too many plugins are running")
        }
    }
}

/// Reports every object as in progress, and wants to be asked again at once.
#[derive(Default)]
pub(crate) struct Impatient(AtomicUsize);

impl Impatient {
    /// Returns how often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Judge for Impatient {
    async fn assess(&self, _: &ApplicationName, _: &ObjectId, _: &Value, _: Millis) -> Assessment {
        self.0.fetch_add(1, Ordering::Relaxed);
        Assessment {
            recheck_after: Some(Duration::ZERO),
            ..Assessment::new(Status::Progressing, "it is on its way")
        }
    }
}

pub(crate) async fn connect(kubeconfig: &Path) -> Connection {
    let options = Options {
        kubeconfig: Some(kubeconfig.to_owned()),
        ..Options::default()
    };
    Connection::connect(options).await.unwrap()
}

impl World {
    /// Creates a namespace, and works on it as the administrator.
    pub(crate) async fn new(prefix: &str) -> Self {
        let plane = ControlPlane::shared();
        let namespace = plane.namespace(prefix).unwrap();
        let connection = connect(&plane.kubeconfig()).await;
        Self::with(plane, namespace, connection)
    }

    /// Works in a namespace through a connection.
    pub(crate) fn with(
        plane: &'static ControlPlane,
        namespace: String,
        connection: Connection,
    ) -> Self {
        let release = Release::new(
            ApplicationName::new(&namespace, "web"),
            Seed::from_text("test"),
        );
        Self {
            plane,
            cluster: Cluster::new(connection.clone()),
            release,
            namespace,
            connection,
        }
    }

    /// Watches what is applied from now on.
    pub(crate) fn track(&mut self) -> Tracker {
        let options = TrackerOptions {
            application: Some(self.release.application.clone()),
            namespaces: None,
        };
        let tracker = Tracker::new(&self.connection, Arc::new(SimpleJudge), options);
        self.cluster = self.cluster.clone().with_tracker(tracker.clone());
        tracker
    }

    /// Opens the watches that a release needs before it is applied, and waits until they have reported everything.
    pub(crate) async fn observe(&self, prepared: &Prepared, inventory: &Inventory) {
        let tracker = self.cluster.tracker().unwrap();
        let kinds = self.cluster.kinds_served(prepared, inventory);
        tracker.observe_also(&self.release, &kinds);
        tracker
            .synced(&self.release.application, LIMIT)
            .await
            .unwrap();
    }

    pub(crate) async fn prepare(&self, objects: &[Value]) -> Prepared {
        self.cluster
            .prepare(&rendered(objects), &self.release)
            .await
            .unwrap()
    }

    pub(crate) async fn store(&self) -> ConfigMapStore {
        ConfigMapStore::open(&self.connection, &self.release.application)
            .await
            .unwrap()
    }

    pub(crate) async fn plan(
        &self,
        objects: &[Value],
        depth: Depth,
    ) -> Result<Planned, ClusterError<PlanError>> {
        let prepared = self.prepare(objects).await;
        let store = self.store().await;
        self.cluster
            .plan(&self.release, &prepared, store.inventory(), depth)
            .await
    }

    /// Applies objects, as the command line does.
    pub(crate) async fn converge(
        &self,
        objects: &[Value],
    ) -> Result<Applied, ClusterError<ApplyError>> {
        let mut store = self.store().await;
        self.converge_in(objects, &mut store).await
    }

    /// Applies objects with an inventory that is kept elsewhere.
    pub(crate) async fn converge_in(
        &self,
        objects: &[Value],
        store: &mut dyn InventoryStore,
    ) -> Result<Applied, ClusterError<ApplyError>> {
        let cancel = CancellationToken::new();
        self.converge_with(&rendered(objects), store, &Silent, &cancel)
            .await
    }

    /// Applies a render, and stops as soon as it reaches a certain step.
    pub(crate) async fn converge_until(
        &self,
        rendered: &Rendered,
        is_end: impl Fn(&Step<'_>) -> bool + Send + Sync,
    ) -> Result<Applied, ClusterError<ApplyError>> {
        let cancel = CancellationToken::new();
        let stopping = Stopping {
            is_end,
            cancel: &cancel,
        };
        let mut store = self.store().await;
        self.converge_with(rendered, &mut store, &stopping, &cancel)
            .await
    }

    async fn converge_with(
        &self,
        rendered: &Rendered,
        store: &mut dyn InventoryStore,
        progress: &dyn Progress,
        cancel: &CancellationToken,
    ) -> Result<Applied, ClusterError<ApplyError>> {
        let prepared = self.cluster.prepare(rendered, &self.release).await.unwrap();
        if self.cluster.tracker().is_some() {
            self.observe(&prepared, store.inventory()).await;
        }
        let planned = self
            .cluster
            .plan(&self.release, &prepared, store.inventory(), Depth::Local)
            .await
            .unwrap();
        self.apply(&prepared, &planned, store, progress, cancel)
            .await
    }

    /// Applies what was planned.
    pub(crate) async fn apply(
        &self,
        prepared: &Prepared,
        planned: &Planned,
        store: &mut dyn InventoryStore,
        progress: &dyn Progress,
        cancel: &CancellationToken,
    ) -> Result<Applied, ClusterError<ApplyError>> {
        let approved = approve(planned);
        let applying = Applying {
            release: &self.release,
            prepared,
            progress,
            cancel,
        };
        self.cluster
            .apply(&applying, &approved, planned.inventory.clone(), store)
            .await
    }

    /// Reads an object with kubectl; `None` if it does not exist.
    pub(crate) fn live(&self, kind: &str, name: &str) -> Option<Value> {
        let args = [
            "get",
            kind,
            name,
            "-n",
            &self.namespace,
            "-o",
            "json",
            "--ignore-not-found",
            "--show-managed-fields",
        ];
        let text = self.plane.kubectl(&args).unwrap();
        (!text.trim().is_empty()).then(|| serde_json::from_str(&text).unwrap())
    }

    /// Merges a change into an object with kubectl, as a person does.
    pub(crate) fn edit(&self, kind: &str, name: &str, change: &Value) {
        self.edit_as("kubectl-patch", kind, name, change);
    }

    /// Merges a change as [`World::edit`] does, under a field manager.
    pub(crate) fn edit_as(&self, manager: &str, kind: &str, name: &str, change: &Value) {
        let (manager, change) = (format!("--field-manager={manager}"), change.to_string());
        self.kubectl(&["patch", kind, name, "--type=merge", &manager, "-p", &change]);
    }

    /// Keeps an object from going away when it is deleted.
    pub(crate) fn hold(&self, kind: &str, name: &str) {
        let change = json!({"metadata": {"finalizers": ["example.com/hold"]}});
        self.edit(kind, name, &change);
    }

    /// Releases an object that is held.
    pub(crate) fn let_go(&self, kind: &str, name: &str) {
        self.edit(kind, name, &json!({"metadata": {"finalizers": null}}));
    }

    /// Runs kubectl in the namespace.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        self.plane
            .kubectl(&[&["-n", &self.namespace], args].concat())
            .unwrap()
    }

    /// Returns Pintle's requests in this namespace since a mark, except watches.
    pub(crate) fn requests(&self, mark: u64) -> Vec<ApiRequest> {
        let all = self.plane.requests_since(mark).unwrap();
        let ours = |request: &ApiRequest| {
            request.namespace == self.namespace
                && request.user_agent.starts_with("pintle/")
                && request.verb != "watch"
        };
        all.into_iter().filter(ours).collect()
    }

    /// Returns `verb resource/name` for each request.
    pub(crate) fn request_lines(&self, mark: u64) -> Vec<String> {
        let line = |request: &ApiRequest| {
            format!("{} {}/{}", request.verb, request.resource, request.name)
        };
        let mut lines: Vec<String> = self.requests(mark).iter().map(line).collect();
        lines.sort();
        lines
    }
}

/// Stops a run as soon as it reaches a certain step.
struct Stopping<'a, F> {
    is_end: F,
    cancel: &'a CancellationToken,
}

impl<F: Fn(&Step<'_>) -> bool + Send + Sync> Progress for Stopping<'_, F> {
    fn step(&self, step: Step<'_>) {
        if (self.is_end)(&step) {
            self.cancel.cancel();
        }
    }
}

/// Approves a plan.
pub(crate) fn approve(planned: &Planned) -> Approved {
    Approved::without_gates(Checked::new(planned.plan.clone(), Vec::new()).unwrap())
}

pub(crate) fn rendered(objects: &[Value]) -> Rendered {
    let object = |(line, value): (u32, &Value)| RenderedObject {
        object: Object::new(value.clone()).unwrap(),
        source: Some(Position {
            file: "all.yaml".into(),
            line,
            column: 1,
        }),
        hook: None,
        keep: false,
    };
    let objects = (1..).zip(objects).map(object).collect();
    Rendered::new(objects, None, Vec::new(), &Seed::from_text("test")).unwrap()
}

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}})
}

pub(crate) fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                // Not in the server's form: it stores `1`.
                "spec": {"containers": [{"name": "main", "image": "main:1", "resources": {"limits": {"cpu": "1000m"}}}]},
            },
        },
    })
}

/// Returns four objects, as in the benchmark.
pub(crate) fn application() -> Vec<Value> {
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
        deployment("web", 0),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
            "spec": {"rules": [{"host": "web.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}}),
    ]
}

pub(crate) fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key.replace("~1", "/")] = value;
    object
}

/// Sets an annotation.
pub(crate) fn annotated(mut object: Value, name: &str, value: &str) -> Value {
    object["metadata"]["annotations"] = json!({name: value});
    object
}
