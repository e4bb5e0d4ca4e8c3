//! A rollback that an agent finds when it restarts.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use pintle_harness::{Fault, Proxy, until};
use serde_json::Value;

use super::{IMAGE, forget_fetched, image, push_broken, shop, shop_on};
use crate::desk::as_administrator;
use crate::world::{LIMIT, Stage, condition, deployment, world};

#[test]
fn an_agent_that_is_killed_on_the_way_back_goes_on_with_it() -> Result<()> {
    let proxy = Proxy::before_api_server(world().control_plane)?;
    let (mut stage, good) = shop_on(Stage::through("halfway", &proxy)?, "OnFailure")?;
    // The broken revision is written, and the write that follows does not arrive.
    let late = Fault::on("PATCH", "/deployments/web?").after(1);
    proxy.inject(late.delay(Duration::from_mins(10)));
    push_broken(&stage)?;
    let found = until("the status tells where it goes", LIMIT, || {
        let found = stage.object("Application", "shop")?;
        Ok(if found["status"]["rollback"]["to"] == good.as_str() {
            Ok(found)
        } else {
            Err(found["status"]["conditions"].to_string())
        })
    })?;
    assert_eq!(condition(&found, "Ready")["reason"], "Applying", "{found}");
    assert_eq!(image(&stage)?["testing.pintle.dev/pod"], "crash-loop");

    let mark = stage.mark()?;
    stage.agent.kill()?;
    proxy.heal();
    stage.agent.start_again()?;
    stage.agent.wait_ready()?;
    stage.condition("shop", "Stalled", "RolledBack")?;
    assert_eq!(image(&stage)?["testing.pintle.dev/pod"], Value::Null);
    let writes = stage.writes_since(mark)?;
    let once = BTreeMap::from([("patch deployments/web".to_owned(), 1)]);
    assert_eq!(writes, once, "the broken revision is not tried again");
    Ok(())
}

#[test]
fn what_was_gone_back_from_is_not_rolled_out_while_the_earlier_revision_cannot_be_had() -> Result<()>
{
    let (mut stage, _) = shop("nowhere", "Never")?;
    let second = stage.push("shop", &[("web.yaml", &deployment("web", 2, IMAGE))])?;
    stage.ready_at("shop", &second)?;
    as_administrator(&["rollback", "shop", "-n", &stage.namespace], 0)?;
    stage.condition("shop", "Ready", "RolledBack")?;

    // The branch gets the same files without their history, and the agent has to fetch all it needs.
    stage.agent.stop()?;
    let repository = &stage.repository;
    let alone = repository.git(&["commit-tree", "-m", "anew", "HEAD^{tree}"])?;
    repository.git(&["reset", "--quiet", "--hard", &alone])?;
    repository.push()?;
    let bare = format!("--git-dir={}", repository.bare().display());
    repository.git(&[&bare, "gc", "--quiet", "--prune=now"])?;
    forget_fetched(&stage)?;
    let mark = stage.mark()?;
    stage.agent.start_again()?;
    stage.agent.wait_ready()?;
    stage.condition("shop", "Ready", "SourceFailed")?;
    stage.patch("shop", r#"{"spec": {"timeout": "40s"}}"#)?;
    until("the change was looked at", LIMIT, || {
        let found = stage.object("Application", "shop")?;
        let ready = condition(&found, "Ready");
        let is_seen = ready["observedGeneration"] == found["metadata"]["generation"];
        Ok(if is_seen && ready["status"] == "False" {
            Ok(())
        } else {
            Err(ready.to_string())
        })
    })?;
    let writes = stage.writes_since(mark)?;
    assert_eq!(writes.values().sum::<usize>(), 0, "{writes:?}");
    assert_eq!(stage.object("Deployment", "web")?["spec"]["replicas"], 1);
    Ok(())
}
