//! What confines a pod beside its namespaces: `SELinux`, `AppArmor`, seccomp, the masks over `/proc`, and the sysctls that it
//! sets.
//!
//! Violations are what the Pod Security Standard "baseline" forbids
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline>).

use serde_json::Value;

use crate::{
    pods::{Pod, items},
    rules::Rule,
    settings::Pods,
    violation::{Violation, pointer},
};

/// A field of a security context.
struct Field {
    /// The field's path in the security context, with `/` between the parts.
    path: &'static str,
    /// The field's name for people.
    name: &'static str,
    /// The values that are allowed beside an empty one.
    allowed: &'static [&'static str],
}

const PROC_MOUNT: &str = "procMount";

const FIELDS: [Field; 6] = [
    Field {
        path: "seLinuxOptions/type",
        name: "SELinux type",
        allowed: &[
            "container_t",
            "container_init_t",
            "container_kvm_t",
            "container_engine_t",
        ],
    },
    Field {
        path: "seLinuxOptions/user",
        name: "SELinux user",
        allowed: &[],
    },
    Field {
        path: "seLinuxOptions/role",
        name: "SELinux role",
        allowed: &[],
    },
    Field {
        path: "seccompProfile/type",
        name: "seccomp profile",
        allowed: &["RuntimeDefault", "Localhost"],
    },
    Field {
        path: "appArmorProfile/type",
        name: "AppArmor profile",
        allowed: &["RuntimeDefault", "Localhost"],
    },
    Field {
        path: PROC_MOUNT,
        name: "procMount",
        allowed: &["Default"],
    },
];

/// The prefix of annotations that set a container's `AppArmor` profile. Before Kubernetes 1.30 they were the only way to do so,
/// and they still count.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The owner of a security context: a pod, or one of its containers.
struct Owner<'a> {
    name: String,
    container: Option<&'a str>,
    /// The RFC 6901 pointer to the security context.
    pointer: String,
    context: Option<&'a Value>,
}

/// Checks that a pod and its containers stay confined.
pub(crate) fn check(settings: &Pods, pod: &Pod<'_>, found: &mut Vec<Violation>) {
    // The root of a user namespace is nobody on the node, whatever it sees of `/proc`.
    let may_unmask = pod.spec().and_then(|spec| spec.get("hostUsers")) == Some(&Value::Bool(false));
    let whole = Owner {
        name: "the pod".to_owned(),
        container: None,
        pointer: format!("{}/spec/securityContext", pod.pointer()),
        context: pod.spec().and_then(|spec| spec.get("securityContext")),
    };
    check_context(&whole, may_unmask, found);
    check_sysctls(settings, &whole, found);
    for container in pod.containers() {
        let owner = Owner {
            name: format!("the container `{}`", container.name),
            container: Some(container.name),
            pointer: format!("{}/securityContext", container.pointer),
            context: container.value.get("securityContext"),
        };
        check_context(&owner, may_unmask, found);
    }
    check_annotations(pod, found);
}

fn check_context(owner: &Owner<'_>, may_unmask: bool, found: &mut Vec<Violation>) {
    for Field {
        path,
        name,
        allowed,
    } in &FIELDS
    {
        let value = owner
            .context
            .and_then(|context| context.pointer(&format!("/{path}")))
            .and_then(Value::as_str)
            .unwrap_or_default();
        if value.is_empty() || allowed.contains(&value) || (*path == PROC_MOUNT && may_unmask) {
            continue;
        }
        let hint = if allowed.is_empty() {
            "remove it".to_owned()
        } else {
            format!("remove it, or use {}", quoted(allowed))
        };
        found.push(Violation {
            container: owner.container.map(str::to_owned),
            subject: format!("{path}={value}"),
            ..Violation::new(
                Rule::ConfinementRemoved,
                format!("{}/{path}", owner.pointer),
                format!("{} has the {name} `{value}`", owner.name),
                hint,
            )
        });
    }
}

fn quoted(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    quoted.join(" or ")
}

fn check_annotations(pod: &Pod<'_>, found: &mut Vec<Violation>) {
    let annotations = pod
        .metadata()
        .and_then(|metadata| metadata.get("annotations"))
        .and_then(Value::as_object);
    for (key, profile) in annotations.into_iter().flatten() {
        let Some(container) = key.strip_prefix(APP_ARMOR) else {
            continue;
        };
        let profile = profile.as_str().unwrap_or_default();
        if matches!(profile, "" | "runtime/default") || profile.starts_with("localhost/") {
            continue;
        }
        found.push(Violation {
            container: Some(container.to_owned()),
            subject: format!("annotation={profile}"),
            ..Violation::new(
                Rule::ConfinementRemoved,
                pointer(&format!("{}/metadata/annotations", pod.pointer()), key),
                format!("the container `{container}` has the AppArmor profile `{profile}`"),
                "remove the annotation, or use `runtime/default`",
            )
        });
    }
}

fn check_sysctls(settings: &Pods, pod: &Owner<'_>, found: &mut Vec<Violation>) {
    for (index, sysctl) in items(pod.context, "sysctls") {
        let name = sysctl
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if settings.sysctls.iter().any(|allowed| allowed == name) {
            continue;
        }
        found.push(Violation {
            subject: name.to_owned(),
            ..Violation::new(
                Rule::SysctlUnsafe,
                format!("{}/sysctls/{index}", pod.pointer),
                format!("the pod sets the sysctl `{name}`, which is not among the safe ones"),
                "remove it; `pods.sysctls` lists those that may be set",
            )
        });
    }
}
