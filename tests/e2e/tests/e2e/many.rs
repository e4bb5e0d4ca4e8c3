//! Many applications in one repository: a commit costs what it changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use kube::api::ListParams;
use pintle_harness::until;

use crate::world::{LIMIT, Stage, condition, deployment, service};

const COUNT: usize = 100;

fn name(index: usize) -> String {
    format!("app-{index:03}")
}

fn manifests(name: &str, image: &str) -> String {
    let mut text = deployment(name, 0, image) + &service(name, 80);
    let _ = write!(
        text,
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}}}\nspec:\n  rules:\n  \
         - host: {name}.example.com\n    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {name}, \
         port: {{number: 80}}}}}}}}]}}\n"
    );
    text
}

/// Waits until all applications have seen a commit and are Ready.
fn all_ready(stage: &Stage) -> Result<()> {
    until("all applications are Ready", LIMIT, || {
        let found = stage
            .world
            .wait(stage.api("Application").list(&ListParams::default()))?;
        let missing: Vec<_> = found
            .items
            .iter()
            .filter(|one| condition(&one.data, "Ready")["status"] != "True")
            .map(|one| (one.metadata.name.clone(), condition(&one.data, "Ready")))
            .collect();
        Ok(match missing.first() {
            None if found.items.len() == COUNT => Ok(()),
            first => Err(format!("{} are not, such as {first:?}", missing.len())),
        })
    })
}

#[test]
fn a_commit_that_touches_one_of_many_writes_that_one_only() -> Result<()> {
    let stage = Stage::new("many")?;
    let mut applications = String::new();
    for name in (0..COUNT).map(name) {
        let text = manifests(&name, "registry.k8s.io/pause:3.9");
        stage.repository.write(&format!("{name}/all.yaml"), text)?;
        applications += &stage.application(&name, &name, "");
    }
    stage.repository.push_files(&[], "all of them")?;
    stage.apply(&applications)?;
    all_ready(&stage)?;
    for kind in ["Deployment", "ServiceAccount", "Service", "Ingress"] {
        let found = stage
            .world
            .wait(stage.api(kind).list(&ListParams::default()))?;
        let ours = found.items.iter().filter(|one| {
            one.metadata
                .name
                .as_ref()
                .is_some_and(|name| name.starts_with("app-"))
        });
        assert_eq!(ours.count(), COUNT, "{kind}");
    }

    let looks = stage.agent.metric("pintle_renders_total")?;
    let mark = stage.mark()?;
    let touched = name(42);
    let path = format!("{touched}/all.yaml");
    let text = manifests(&touched, "registry.k8s.io/pause:3.10");
    let commit = stage.push(&touched, &[(&path, &text)])?;
    stage.ready_at(&touched, &commit)?;
    // Each application has compared the commit with what it read of the previous one, or was rendered anew.
    until("all have looked at the commit", LIMIT, || {
        let more = stage.agent.metric("pintle_renders_total")? - looks;
        Ok(if more >= 100.0 {
            Ok(())
        } else {
            Err(format!("{more} have"))
        })
    })?;

    let writes = BTreeMap::from([(format!("patch deployments/{touched}"), 1)]);
    assert_eq!(stage.writes_since(mark)?, writes);
    // Not even their own status is written, neither as the account nor as the agent itself.
    let mut requests = stage.world.control_plane.requests_since(mark)?;
    requests.retain(|request| {
        request.namespace == stage.namespace
            && request.user.ends_with(":pintle-agent")
            && request.name.starts_with("app-")
            && !request.name.starts_with(&touched)
    });
    assert!(requests.is_empty(), "{requests:?}");
    Ok(())
}
