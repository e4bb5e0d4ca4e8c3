//! What confines a pod beside its namespaces.

use pintle_sdk::testing::MemoryPlan;
use serde_json::{Value, json};

use crate::{container, findings, judged, pod, short};

/// Returns the rules broken by a container with this security context.
fn of_container(context: &Value) -> Vec<String> {
    short(
        &MemoryPlan::new().create(container(&json!({"securityContext": context}))),
        &json!({}),
    )
}

#[test]
fn pods_and_containers_stay_confined() {
    let loose = json!({
        "seLinuxOptions": {"type": "spc_t", "user": "root", "role": "sysadm_r", "level": "s0:c1"},
        "seccompProfile": {"type": "Unconfined"}, "appArmorProfile": {"type": "Unconfined"},
    });
    let mut inner = loose.clone();
    inner["procMount"] = json!("Unmasked");
    let mut risky = pod(&json!({
        "securityContext": loose,
        "containers": [{"name": "app", "image": "a/b:1"}],
        "initContainers": [{"name": "first", "image": "a/b:1", "securityContext": inner}],
    }));
    risky["metadata"]["annotations"] = json!({
        "container.apparmor.security.beta.kubernetes.io/app": "unconfined",
        "container.apparmor.security.beta.kubernetes.io/first": "localhost/mine",
        "example.com/app": "unconfined",
    });
    insta::assert_snapshot!(judged(&MemoryPlan::new().create(risky), &json!({})), @"
    deny confinement-removed [v1 Pod shop/web] /spec/securityContext/seLinuxOptions/type: the pod has the SELinux type `spc_t` (remove it, or use `container_t` or `container_init_t` or `container_kvm_t` or `container_engine_t`)
    deny confinement-removed [v1 Pod shop/web] /spec/securityContext/seLinuxOptions/user: the pod has the SELinux user `root` (remove it)
    deny confinement-removed [v1 Pod shop/web] /spec/securityContext/seLinuxOptions/role: the pod has the SELinux role `sysadm_r` (remove it)
    deny confinement-removed [v1 Pod shop/web] /spec/securityContext/seccompProfile/type: the pod has the seccomp profile `Unconfined` (remove it, or use `RuntimeDefault` or `Localhost`)
    deny confinement-removed [v1 Pod shop/web] /spec/securityContext/appArmorProfile/type: the pod has the AppArmor profile `Unconfined` (remove it, or use `RuntimeDefault` or `Localhost`)
    deny confinement-removed [v1 Pod shop/web] /spec/initContainers/0/securityContext/seLinuxOptions/type: the container `first` has the SELinux type `spc_t` (remove it, or use `container_t` or `container_init_t` or `container_kvm_t` or `container_engine_t`)
    deny confinement-removed [v1 Pod shop/web] /spec/initContainers/0/securityContext/seLinuxOptions/user: the container `first` has the SELinux user `root` (remove it)
    deny confinement-removed [v1 Pod shop/web] /spec/initContainers/0/securityContext/seLinuxOptions/role: the container `first` has the SELinux role `sysadm_r` (remove it)
    deny confinement-removed [v1 Pod shop/web] /spec/initContainers/0/securityContext/seccompProfile/type: the container `first` has the seccomp profile `Unconfined` (remove it, or use `RuntimeDefault` or `Localhost`)
    deny confinement-removed [v1 Pod shop/web] /spec/initContainers/0/securityContext/appArmorProfile/type: the container `first` has the AppArmor profile `Unconfined` (remove it, or use `RuntimeDefault` or `Localhost`)
    deny confinement-removed [v1 Pod shop/web] /spec/initContainers/0/securityContext/procMount: the container `first` has the procMount `Unmasked` (remove it, or use `Default`)
    deny confinement-removed [v1 Pod shop/web] /metadata/annotations/container.apparmor.security.beta.kubernetes.io~1app: the container `app` has the AppArmor profile `unconfined` (remove the annotation, or use `runtime/default`)
    ");
}

#[test]
fn what_confines_is_no_finding() {
    let none: [&str; 0] = [];
    for type_name in [
        "",
        "container_t",
        "container_init_t",
        "container_kvm_t",
        "container_engine_t",
    ] {
        assert_eq!(
            of_container(
                &json!({"seLinuxOptions": {"type": type_name, "user": "", "level": "s0"}})
            ),
            none
        );
    }
    for profile in ["RuntimeDefault", "Localhost"] {
        let profile = json!({"type": profile});
        assert_eq!(
            of_container(&json!({"seccompProfile": profile, "appArmorProfile": profile})),
            none
        );
    }
    for context in [
        json!({"procMount": "Default"}),
        json!({"procMount": null, "seLinuxOptions": null, "seccompProfile": null}),
        json!(null),
    ] {
        assert_eq!(of_container(&context), none);
    }
    // The root of a user namespace is nobody on the node.
    let mut own_users = container(&json!({"securityContext": {"procMount": "Unmasked"}}));
    own_users["spec"]["hostUsers"] = json!(false);
    assert_eq!(
        findings(&MemoryPlan::new().create(own_users), &json!({})),
        []
    );
}

#[test]
fn containers_are_excepted_by_name() {
    let mut debugged =
        container(&json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}));
    debugged["metadata"]["annotations"] =
        json!({"container.apparmor.security.beta.kubernetes.io/app": "unconfined"});
    let exception =
        json!({"rules": ["confinement-removed"], "containers": ["app"], "reason": "debugs"});
    assert_eq!(
        short(
            &MemoryPlan::new().create(debugged),
            &json!({"exceptions": [exception]})
        ),
        ["info confinement-removed", "info confinement-removed"]
    );
}

#[test]
fn only_safe_sysctls_are_set() {
    let sysctls = ["net.core.somaxconn", "net.ipv4.tcp_rmem", "kernel.msgmax"]
        .map(|name| json!({"name": name, "value": "1"}));
    let tuned = pod(&json!({"securityContext": {"sysctls": sysctls}}));
    let judge = |with: Value| judged(&MemoryPlan::new().create(tuned.clone()), &with);
    insta::assert_snapshot!(judge(json!({})), @"
    warn sysctl-unsafe [v1 Pod shop/web] /spec/securityContext/sysctls/0: the pod sets the sysctl `net.core.somaxconn`, which is not among the safe ones (remove it; `pods.sysctls` lists those that may be set)
    warn sysctl-unsafe [v1 Pod shop/web] /spec/securityContext/sysctls/2: the pod sets the sysctl `kernel.msgmax`, which is not among the safe ones (remove it; `pods.sysctls` lists those that may be set)
    ");
    insta::assert_snapshot!(judge(json!({"pods": {"sysctls": ["net.core.somaxconn", "kernel.msgmax"]}})), @"warn sysctl-unsafe [v1 Pod shop/web] /spec/securityContext/sysctls/1: the pod sets the sysctl `net.ipv4.tcp_rmem`, which is not among the safe ones (remove it; `pods.sysctls` lists those that may be set)");
}
