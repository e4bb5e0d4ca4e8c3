//! `pintle plugin`: components in registries.

use anyhow::Context as _;
use pintle_core::digest::Digest;
use pintle_host::LoadRequest;
use pintle_registry::{Interface, Metadata, Reference};
use serde_json::json;

use super::session::Session;
use crate::cli::{
    args::{Format, OutputArgs, PluginCommand, RegistryArgs},
    exit::{Exit, Usage},
    output,
};

pub(super) async fn run(command: PluginCommand) -> anyhow::Result<Exit> {
    match command {
        PluginCommand::Push {
            component,
            reference,
            registry,
            output,
        } => push(&component, &reference, &registry, output).await,
        PluginCommand::Pull {
            reference,
            file,
            registry,
            output,
        } => pull(&reference, &file, &registry, output).await,
        PluginCommand::Inspect {
            plugin,
            registry,
            output,
        } => inspect(&plugin, &registry, output).await,
        PluginCommand::Bench(args) => super::bench::run(&args).await,
        PluginCommand::List(output) => list(output),
    }
}

fn parse(reference: &str) -> anyhow::Result<Reference> {
    reference
        .parse()
        .map_err(|error: pintle_registry::ParseReferenceError| Usage(error.to_string()).into())
}

async fn push(
    component: &str,
    reference: &str,
    registry: &RegistryArgs,
    output: OutputArgs,
) -> anyhow::Result<Exit> {
    let session = Session::new(registry)?;
    let reference = parse(reference)?;
    let bytes = session.catalog.bytes(component).await?;
    // A component that cannot be loaded is not worth pushing. Besides, the artifact's labels come from the plugin itself.
    let plugin = session
        .catalog
        .host()
        .load(LoadRequest::new(component, bytes.clone()))
        .await?;
    let description = plugin.description();
    let metadata = Metadata {
        title: Some(description.name.clone()),
        version: Some(description.version.clone()),
        description: Some(description.summary.clone()),
        ..Metadata::default()
    };
    let credentials = session.remotes.keychain().await?.find(&reference).await?;
    let pushed = session
        .remotes
        .registry()
        .await?
        .push(&reference, bytes, &metadata, &credentials)
        .await?;
    match output.output {
        None => output::text(&pushed.reference.to_string()),
        Some(format) => output::machine(
            format,
            &json!({
                "reference": pushed.reference.to_string(),
                "manifest": pushed.manifest_digest,
                "component": pushed.component_digest,
                "size": pushed.size,
            }),
        )?,
    }
    Ok(Exit::Done)
}

async fn pull(
    reference: &str,
    file: &std::path::Path,
    registry: &RegistryArgs,
    output: OutputArgs,
) -> anyhow::Result<Exit> {
    let session = Session::new(registry)?;
    let reference = parse(reference)?;
    let credentials = session.remotes.keychain().await?.find(&reference).await?;
    let pulled = session
        .remotes
        .registry()
        .await?
        .pull(&reference, &credentials)
        .await?;
    tokio::fs::write(file, &pulled.bytes)
        .await
        .with_context(|| format!("{} cannot be written", file.display()))?;
    match output.output {
        None => output::note(&format!(
            "{} ({}) is in {}",
            pulled.reference,
            pulled.component_digest,
            file.display()
        )),
        Some(format) => output::machine(
            format,
            &json!({
                "reference": pulled.reference.to_string(),
                "manifest": pulled.manifest_digest,
                "component": pulled.component_digest,
                "annotations": pulled.annotations,
                "file": file,
            }),
        )?,
    }
    Ok(Exit::Done)
}

async fn inspect(text: &str, registry: &RegistryArgs, output: OutputArgs) -> anyhow::Result<Exit> {
    let session = Session::new(registry)?;
    let bytes = session.catalog.bytes(text).await?;
    let interface =
        Interface::of(&bytes).map_err(|error| Usage(format!("`{text}` is no plugin: {error}")))?;
    let digest = Digest::of(&bytes);
    let size = bytes.len();
    let plugin = session
        .catalog
        .host()
        .load(LoadRequest::new(text, bytes))
        .await?;
    let description = plugin.description();
    let requests: Vec<String> = description
        .requests
        .iter()
        .map(ToString::to_string)
        .collect();
    if let Some(format) = output.output {
        output::machine(
            format,
            &json!({
                "name": description.name,
                "version": description.version,
                "kind": plugin.id().kind,
                "summary": description.summary,
                "digest": digest,
                "size": size,
                "requests": requests,
                "imports": interface.imports,
                "exports": interface.exports,
                "settingsSchema": description.settings_schema,
            }),
        )?;
        return Ok(Exit::Done);
    }
    let list = |items: &[String]| {
        if items.is_empty() {
            "nothing".to_owned()
        } else {
            items.join(", ")
        }
    };
    output::text(&format!(
        "{} {} {}\n{}\n\ndigest    {digest}\nsize      {size} bytes\nasks for  {}\nimports   {}\nexports   {}\n\nsettings:",
        plugin.id().kind,
        description.name,
        description.version,
        description.summary,
        list(&requests),
        list(&interface.imports),
        list(&interface.exports),
    ));
    output::machine(Format::Yaml, &description.settings_schema)?;
    Ok(Exit::Done)
}

fn list(output: OutputArgs) -> anyhow::Result<Exit> {
    let components = pintle_builtin::components();
    if let Some(format) = output.output {
        let plugins: Vec<_> = components
            .iter()
            .map(|one| json!({ "name": one.name, "kind": one.kind, "digest": one.digest, "size": one.bytes.len() }))
            .collect();
        output::machine(format, &plugins)?;
        return Ok(Exit::Done);
    }
    let row = |one: &pintle_builtin::Component| {
        vec![
            one.name.to_owned(),
            one.kind.to_string(),
            format!("{} KiB", one.bytes.len() / 1024),
            one.digest.to_string(),
        ]
    };
    let rows: Vec<_> = components.iter().map(row).collect();
    output::text(&output::table(&["NAME", "KIND", "SIZE", "DIGEST"], &rows));
    Ok(Exit::Done)
}
