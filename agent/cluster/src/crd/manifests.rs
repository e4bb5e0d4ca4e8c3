//! The manifests that install the agent into a cluster.

use pintle_core::names::GROUP;
use serde_json::{Value, json};

use super::{HEADER, definitions, yaml};

const NAMESPACE: &str = "pintle-system";
const AGENT: &str = "pintle-agent";
const APPLIER: &str = "pintle-applier";
const WEBHOOK: &str = "pintle-webhook";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The size of the volume in which the agent keeps its cache. The agent is told this size, and keeps less.
pub const CACHE_SIZE: &str = "4Gi";
/// The Secret that holds the token of webhooks, unless the agent is given another one.
pub const WEBHOOK_SECRET: &str = "pintle-webhook";

/// Returns definitions, accounts, rights, and the agent itself.
pub(super) fn install() -> String {
    let [application, plugin] = definitions();
    let documents: Vec<(&str, Value)> = vec![
        ("", application),
        ("", plugin),
        ("", namespace()),
        (
            "The agent's own account. It writes only Pintle's own resources.",
            account(AGENT),
        ),
        (READS, cluster_role()),
        ("", cluster_role_binding(AGENT, AGENT)),
        (
            EDIT,
            tenant_role(
                "pintle-edit",
                &["admin", "edit"],
                &["create", "update", "patch", "delete", "deletecollection"],
            ),
        ),
        (
            "",
            tenant_role("pintle-view", &["view"], &["get", "list", "watch"]),
        ),
        (OWN, role()),
        ("", role_binding()),
        (METRICS, service(AGENT, "http", 9090)),
        (WEBHOOKS, service(WEBHOOK, "webhook", 9292)),
        (DEPLOYMENT, deployment()),
    ];
    let documents: Vec<(&str, &Value)> = documents
        .iter()
        .map(|(about, value)| (*about, value))
        .collect();
    let header = format!(
        "{HEADER}\n\nInstalls Pintle {VERSION}: kubectl apply --server-side -f deploy/install.yaml\n\nSet the image of the \
         Deployment to the one in your registry."
    );
    yaml::stream(&header, &documents)
}

/// Returns the account that may apply anything, for clusters without tenants.
pub(super) fn applier() -> String {
    let header = format!(
        "{HEADER}\n\nAn account that may do everything. The Deployment in install.yaml starts the agent with\n\
         `--default-service-account {NAMESPACE}/{APPLIER}`: Applications in {NAMESPACE} that name no service account are\n\
         applied as this account. Such Applications in other namespaces are refused, unless the agent is started with\n\
         `--trust-namespace NAMESPACE` for their namespaces, or with `--trust-namespace '*'` in a cluster with one team."
    );
    let (account, binding) = (
        account(APPLIER),
        cluster_role_binding(APPLIER, "cluster-admin"),
    );
    yaml::stream(&header, &[("", &account), ("", &binding)])
}

const READS: &str = "\
List and watch: an application may contain objects of any kind, so the first rule covers all kinds. The objects are watched in
all namespaces, by the label pintle.dev/application. To restrict the rule, name the kinds in use, and those that charts look
up. A change of an object of any other kind that a chart looks up triggers no new render, and an Application with an object of
any other kind is not Ready, because that object cannot be watched. Separate rules cover what the agent needs for itself.
There is no rule for `get` on all kinds: on pods/exec and nodes/proxy, it is the permission to run commands.
Impersonate: every write for an application is made as its service account. This permission is worth as much as the permissions
of all accounts together. To restrict it, replace this rule with Roles in the namespaces of the accounts, or name the accounts
in resourceNames.";

const EDIT: &str = "\
Users who may edit a namespace (Kubernetes' roles admin and edit) may create Applications in it. These are applied as an account
in that namespace, and Kubernetes lets these users act as that account anyway. They may not write Plugins and statuses.";

const OWN: &str = "\
In the agent's own namespace: the leases, the Secret from which the seeds of applications are derived, and the Secrets that hold
the hooks for the removal of applications. The Secret with the token of webhooks is watched: if --webhook-secret names another
Secret, write that name here.";

const METRICS: &str = "For metrics (port 9090: /metrics), which require no credentials: for clients that may read the names of Applications.";

const WEBHOOKS: &str = "\
For webhooks of git servers (port 9292: /webhook/github, /webhook/gitlab, /webhook/generic): make this Service reachable for
them. Create the Secret pintle-webhook with the key `token` first.";

const DEPLOYMENT: &str = "\
Replicas split the applications between them: set as many as you like. The applications of a replica that died are taken over
within 15 s; a replica that stops hands its applications over at once. The cache may be lost at any time. A pod whose volume
exceeds its sizeLimit is evicted: keep sizeLimit and --cache-size the same.";

fn labels() -> Value {
    json!({"app.kubernetes.io/name": "pintle", "app.kubernetes.io/component": "agent", "app.kubernetes.io/part-of": "pintle"})
}

fn namespace() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            "labels": {"app.kubernetes.io/part-of": "pintle", "pod-security.kubernetes.io/enforce": "restricted"},
        },
    })
}

fn account(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels()},
    })
}

fn cluster_role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": AGENT, "labels": labels()},
        "rules": [
            // This includes subresources, and `get` opens those that run commands.
            // <https://kubernetes.io/docs/concepts/security/rbac-good-practices/#access-to-proxy-subresource-of-nodes>
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["list", "watch"]},
            // The existing kinds are learned from definitions and from registered API servers.
            {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["list", "watch"]},
            {"apiGroups": ["apiregistration.k8s.io"], "resources": ["apiservices"], "verbs": ["list", "watch"]},
            // When an object's pods change, the agent asks again why the object is not ready.
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
            // Finalizers are part of the resource, and `patch` is the only verb for them.
            {"apiGroups": [GROUP], "resources": ["applications"], "verbs": ["get", "list", "watch", "patch"]},
            {"apiGroups": [GROUP], "resources": ["plugins"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [GROUP], "resources": ["applications/status", "plugins/status"], "verbs": ["patch"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        ],
    })
}

/// Returns a role that Kubernetes aggregates into its own user-facing roles.
/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles>
fn tenant_role(name: &str, into: &[&str], verbs: &[&str]) -> Value {
    let mut labels = labels();
    for role in into {
        labels[format!("rbac.authorization.k8s.io/aggregate-to-{role}")] = json!("true");
    }
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
        "rules": [{"apiGroups": [GROUP], "resources": ["applications"], "verbs": verbs}],
    })
}

fn cluster_role_binding(account: &str, role: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": account, "labels": labels()},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
    })
}

fn role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": AGENT, "namespace": NAMESPACE, "labels": labels()},
        "rules": [
            {
                "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                "verbs": ["get", "list", "watch", "create", "update", "delete"],
            },
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "update", "delete"]},
            // The request selects this name alone, so the name applies to these verbs too.
            // <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources>
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [WEBHOOK_SECRET], "verbs": ["list", "watch"]},
        ],
    })
}

fn role_binding() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": AGENT, "namespace": NAMESPACE, "labels": labels()},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": AGENT},
        "subjects": [{"kind": "ServiceAccount", "name": AGENT, "namespace": NAMESPACE}],
    })
}

/// Returns a Service for one port: those who are allowed to reach webhooks need not see the metrics.
fn service(name: &str, port: &str, number: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels()},
        "spec": {
            "selector": {"app.kubernetes.io/name": "pintle", "app.kubernetes.io/component": "agent"},
            "ports": [{"name": port, "port": number, "targetPort": port}],
        },
    })
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": AGENT, "namespace": NAMESPACE, "labels": labels()},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": {"app.kubernetes.io/name": "pintle", "app.kubernetes.io/component": "agent"}},
            "template": {
                "metadata": {"labels": labels()},
                "spec": {
                    "serviceAccountName": AGENT,
                    // Runs, replicas and messages may take 28 s (docs/reference/agent.md#bounds).
                    "terminationGracePeriodSeconds": 45,
                    // With several replicas, the agent survives the failure of a node.
                    "topologySpreadConstraints": [{
                        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "pintle", "app.kubernetes.io/component": "agent"}},
                    }],
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container()],
                    "volumes": [
                        {"name": "cache", "emptyDir": {"sizeLimit": CACHE_SIZE}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                },
            },
        },
    })
}

fn container() -> Value {
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": 10, "timeoutSeconds": 5});
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    json!({
        "name": "agent",
        "image": format!("pintle:{VERSION}"),
        "args": [
            "agent",
            "--cache=/cache",
            format!("--cache-size={CACHE_SIZE}"),
            "--listen=[::]:9090",
            "--webhook-listen=[::]:9292",
            format!("--default-service-account={NAMESPACE}/{APPLIER}"),
        ],
        "env": [
            field("PINTLE_NAMESPACE", "metadata.namespace"),
            field("POD_NAME", "metadata.name"),
            field("POD_UID", "metadata.uid"),
        ],
        "ports": [
            {"name": "http", "containerPort": 9090},
            {"name": "webhook", "containerPort": 9292},
        ],
        "livenessProbe": probe("/healthz"),
        "readinessProbe": probe("/readyz"),
        // No disk space is requested: a cache is usually far from full, and a node that does not account for disk space has none
        // to give.
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}, {"name": "tmp", "mountPath": "/tmp"}],
    })
}
