//! `pintle get`: applications and plugins in the cluster.

use pintle_cluster::{Application, Applications, Plugin, Plugins, RequestError};
use pintle_core::application::{Condition, ConditionStatus};
use serde_json::{Value, json};

use super::{status::view::overview, target::connect};
use crate::cli::{
    args::{GetCommand, GetWhat},
    exit::Exit,
    output,
};

pub(super) async fn run(args: &GetCommand) -> anyhow::Result<Exit> {
    let connection = connect(&args.connection).await?;
    let is_wanted = |name: &str| args.name.as_deref().is_none_or(|wanted| wanted == name);
    let found = match args.what {
        GetWhat::Applications => {
            let all = Applications::applications(&connection)
                .list(args.namespace.as_deref())
                .await
                .map_err(explain)?;
            let all: Vec<_> = all.into_iter().filter(|one| is_wanted(&one.name)).collect();
            match args.output.output {
                Some(format) => {
                    let all: Vec<_> = all.iter().map(application_document).collect();
                    output::machine(format, &all)?;
                }
                None if all.is_empty() => output::note("there is none"),
                None => output::text(&overview(all.iter(), usize::MAX).join("\n")),
            }
            all.len()
        }
        GetWhat::Plugins => {
            let all = Plugins::plugins(&connection)
                .list(None)
                .await
                .map_err(explain)?;
            let all: Vec<_> = all.into_iter().filter(|one| is_wanted(&one.name)).collect();
            print(args, &all)?;
            all.len()
        }
    };
    match &args.name {
        Some(name) if found == 0 => anyhow::bail!("{name} was not found"),
        _ => Ok(Exit::Done),
    }
}

/// Explains the error of a server without our resources, which says that there is no such path and so helps nobody.
pub(super) fn explain(error: RequestError) -> anyhow::Error {
    if error.is_not_found() {
        return not_installed();
    }
    error.into()
}

fn not_installed() -> anyhow::Error {
    anyhow::anyhow!(
        "the custom resources of pintle.dev are not installed: kubectl apply --server-side -f deploy/crds/"
    )
}

/// Explains why an Application was not found: there is none of that name, or the server knows of none at all.
pub(super) async fn absent(
    applications: &Applications,
    namespace: &str,
    name: &str,
) -> anyhow::Error {
    match applications.is_served().await {
        Ok(false) => not_installed(),
        // A user who may not ask that is no worse off than before.
        Ok(true) | Err(_) => {
            anyhow::anyhow!("there is no Application {name} in namespace {namespace}")
        }
    }
}

fn print(args: &GetCommand, all: &[Plugin]) -> anyhow::Result<()> {
    if let Some(format) = args.output.output {
        return output::machine(format, &all.iter().map(plugin_document).collect::<Vec<_>>());
    }
    if all.is_empty() {
        output::note("there is none");
        return Ok(());
    }
    let rows: Vec<_> = all.iter().map(plugin_row).collect();
    output::text(&output::table(&PLUGIN_HEADER, &rows));
    Ok(())
}

const PLUGIN_HEADER: [&str; 5] = ["NAME", "KIND", "VERSION", "READY", "STATUS"];

fn plugin_row(plugin: &Plugin) -> Vec<String> {
    match &plugin.status {
        Err(error) => vec![
            plugin.name.clone(),
            String::new(),
            String::new(),
            "False".to_owned(),
            error.to_string(),
        ],
        Ok(status) => {
            let (ready, message) = ready(&status.conditions);
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            vec![
                plugin.name.clone(),
                text(&status.kind),
                text(&status.version),
                ready,
                message,
            ]
        }
    }
}

/// Returns the state of `Ready`, and the first line of its message.
fn ready(conditions: &[Condition]) -> (String, String) {
    let Some(ready) = Condition::ready(conditions) else {
        return (
            "Unknown".to_owned(),
            "not looked at yet: is the agent running?".to_owned(),
        );
    };
    let status = match ready.status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    };
    (
        status.to_owned(),
        ready.message.lines().next().unwrap_or_default().to_owned(),
    )
}

/// Returns an application as a document for machines.
pub(super) fn application_document(application: &Application) -> Value {
    json!({
        "namespace": application.namespace,
        "name": application.name,
        "generation": application.generation,
        "spec": application.spec.as_ref().ok(),
        "status": application.status.as_ref().ok(),
        "error": application.spec.as_ref().err().or(application.status.as_ref().err()).map(ToString::to_string),
    })
}

fn plugin_document(plugin: &Plugin) -> Value {
    json!({
        "name": plugin.name,
        "generation": plugin.generation,
        "spec": plugin.spec.as_ref().ok(),
        "status": plugin.status.as_ref().ok(),
        "error": plugin.spec.as_ref().err().or(plugin.status.as_ref().err()).map(ToString::to_string),
    })
}
