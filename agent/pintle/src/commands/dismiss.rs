//! `pintle dismiss`: delete what `converge` created.

use std::path::Path;

use anyhow::bail;
use pintle_cluster::{
    Applying, Cluster, ConfigMapStore, Connection, InventoryStore as _, Release, RemovalHooks,
    Seeds, Urgency,
};
use pintle_core::{
    check::{Approved, Checked},
    names::ApplicationName,
    plan::Depth,
    prune::ProtectedKind,
    rendered::Rendered,
};
use serde_json::json;

use super::{converge::Teller, input::name_of, interrupt::cancel_on_interrupt, target::connect};
use crate::cli::{
    args::{DismissCommand, application_name},
    exit::{Exit, Usage},
    output,
    progress::Progress,
};

pub(super) async fn run(args: &DismissCommand) -> anyhow::Result<Exit> {
    let name = name(&args.name)?;
    let connection = connect(&args.connection).await?;
    let namespace = args
        .namespace
        .clone()
        .unwrap_or_else(|| connection.default_namespace().to_owned());
    let application = ApplicationName::new(&namespace, &name);
    let mut store = ConfigMapStore::open(&connection, &application).await?;
    // An inventory that lists nothing is left from a removal that was interrupted at its very end.
    if !store.is_kept() {
        let known = elsewhere(&connection, &application).await;
        bail!("nothing was converged under the name {name} in namespace {namespace}: {known}");
    }
    let progress = Progress::new(args.output.output);
    let seed = Seeds::known(&connection, &application).await?;
    let seed = seed.unwrap_or_else(super::render::fresh_seed);
    let mut release = Release::new(application.clone(), seed).for_removal();
    if args.all_kinds {
        use ProtectedKind::{CustomResourceDefinition, Namespace, PersistentVolumeClaim};
        release.prune.allow_kinds =
            [Namespace, PersistentVolumeClaim, CustomResourceDefinition].into();
    }
    let cluster = Cluster::new(connection.clone());
    let inventory = store.inventory().clone();
    let hooks = cluster
        .removal_hooks(&release, &inventory)
        .await?
        .unwrap_or_else(|| {
            // When nothing is left, they have run and may be gone.
            if !inventory.is_empty() {
                output::warning("the hooks for its removal are lost, and are not run");
            }
            RemovalHooks::default()
        });
    if hooks.are_unseen {
        output::warning(
            "no policy has seen the hooks for its removal: an earlier version of pintle has kept them",
        );
    }
    let hooks = Rendered::new(hooks.objects, None, Vec::new(), &release.seed)?;
    let prepared = cluster.prepare(&hooks, &release).await?;
    progress.stage("looking at what is there");
    let planned = cluster
        .plan(&release, &prepared, &inventory, Depth::Local)
        .await?;
    // Policies judge what git asks for, and have judged its hooks before they were kept. Deleting is a person's own decision.
    let approved = Approved::without_gates(Checked::new(planned.plan.clone(), Vec::new())?);
    let cancel = cancel_on_interrupt();
    progress.stage("deleting");
    let applying = Applying {
        release: &release,
        prepared: &prepared,
        progress: &Teller(&progress),
        cancel: &cancel,
    };
    let mut applied = cluster
        .apply(&applying, &approved, planned.inventory, &mut store)
        .await?;
    cluster.forget_removal_hooks(&release, &inventory).await?;
    progress.finish();
    for kept in &planned.kept {
        output::warning(&format!("{} stays: {}", kept.id, kept.reason));
    }
    if !planned.kept.is_empty() && !args.all_kinds {
        output::note("`--all-kinds` deletes namespaces, claims and definitions as well");
    }
    if applied.inventory.is_empty() {
        // The inventory goes last: without it, nobody would find the rest.
        Seeds::remove(&connection, &application).await?;
        store.remove().await?;
    } else if let Some(record) = &mut applied.inventory.release {
        // Done only now: until the hooks are forgotten, the next attempt has to know about them.
        record.end();
        store.keep(&applied.inventory, Urgency::Now).await?;
    }
    match args.output.output {
        Some(format) => output::machine(
            format,
            &json!({ "application": application, "deleted": applied.summary.delete, "kept": applied.inventory.len() }),
        )?,
        None => output::note(&format!(
            "{application}: {} deleted, {} kept",
            applied.summary.delete,
            applied.inventory.len()
        )),
    }
    Ok(Exit::Done)
}

/// Reads a name, or derives it from the folder at a path.
fn name(text: &str) -> anyhow::Result<String> {
    let path = Path::new(text);
    if path.exists() {
        return Ok(name_of(&path.canonicalize()?));
    }
    application_name(text).map_err(|expected| {
        let text = format!("`{text}` is neither a folder that is there nor a name: {expected}");
        Usage(text).into()
    })
}

/// Describes what was converged instead: under the same name in other namespaces, or in the same namespace under other names.
async fn elsewhere(connection: &Connection, application: &ApplicationName) -> String {
    // Not everybody may read all namespaces.
    let all = ConfigMapStore::list(connection, None)
        .await
        .unwrap_or_default();
    let namesakes: Vec<String> = all
        .into_iter()
        .filter(|one| one.name == application.name)
        .map(|one| format!("`--namespace {}`", one.namespace))
        .collect();
    if !namesakes.is_empty() {
        return format!("it is there with {}", namesakes.join(" or "));
    }
    let here = match ConfigMapStore::list(connection, Some(&application.namespace)).await {
        Ok(here) => here,
        Err(error) => return format!("what is there cannot be listed: {error}"),
    };
    let names: Vec<String> = here.into_iter().map(|one| one.name).collect();
    match names[..] {
        [] => "there is none".to_owned(),
        _ => format!("there are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_is_no_name() {
        assert_eq!(name("shop").unwrap(), "shop");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("My_App");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(name(path.to_str().unwrap()).unwrap(), "my-app");
        let error = name("typo/path").unwrap_err();
        assert!(error.is::<Usage>(), "{error}");
    }
}
