//! What the commands of the pipeline share: plugins, settings, the name of what is converged.

use std::sync::Arc;

use anyhow::Context as _;
use pintle_core::{
    application::{ApplicationSpec, PluginUse},
    readset::ReadSet,
    seed::Seed,
};
use pintle_host::{Context, Host};
use pintle_registry::{CacheOptions, Keychain, Locations, Registry};
use serde_json::Value;

use crate::{
    cli::{
        args::{InputArgs, RegistryArgs, RendererArgs},
        exit::Usage,
        output,
    },
    pipeline::{
        catalog::Catalog,
        input::{Input, cache_dir},
        render::{self, Outcome, RenderError},
        settings, yaml,
    },
};

/// The plugins of one command.
pub(super) struct Session {
    pub(super) catalog: Arc<Catalog>,
}

/// What is converged, and how.
pub(super) struct Release {
    pub(super) name: String,
    pub(super) spec: ApplicationSpec,
    reads: ReadSet,
}

impl Session {
    /// Makes the host and the registry client.
    pub(super) async fn new(args: &RegistryArgs) -> anyhow::Result<Self> {
        let cache = cache_dir()?;
        let options = pintle_host::Options {
            cache: Some(cache.join("compiled")),
            ..pintle_host::Options::default()
        };
        let host = match Host::new(options) {
            Ok(host) => host,
            Err(error) => {
                // A cache that cannot be used costs time, and nothing else.
                output::warning(&format!(
                    "plugins are compiled anew: {}",
                    output::chain(&error.into())
                ));
                Host::new(pintle_host::Options::default())?
            }
        };
        Ok(Self {
            catalog: Catalog::for_commands(
                host,
                registry(args, &cache)?,
                Keychain::of_user(&Locations::from_env()).await?,
            ),
        })
    }

    /// Reads the settings of a revision: its `pintle.yaml`, overridden by the arguments.
    pub(super) fn release(
        input: &Input,
        args: &InputArgs,
        renderer: &RendererArgs,
    ) -> anyhow::Result<Release> {
        let (file, reads) = settings::read(args.environment.as_deref(), &*input.tree)?;
        let mut spec = file.unwrap_or_default();
        if let Some(namespace) = &renderer.namespace {
            spec.namespace = Some(namespace.clone());
        }
        if let Some(plugin) = &renderer.renderer {
            // Settings in the file are for the renderer that it names.
            let settings = spec
                .renderer
                .take()
                .filter(|named| named.plugin == *plugin)
                .map(|named| named.settings);
            spec.renderer = Some(PluginUse {
                plugin: plugin.clone(),
                settings: settings.unwrap_or_default(),
            });
        }
        override_settings(&mut spec, renderer)?;
        Ok(Release {
            name: renderer.name.clone().unwrap_or_else(|| input.name.clone()),
            spec,
            reads,
        })
    }

    /// Renders, and prints what the renderer warns of.
    pub(super) async fn render(
        &self,
        release: &Release,
        input: &Input,
        context: Context,
        seed: &Seed,
    ) -> Result<Outcome, RenderError> {
        let outcome = render::render(
            &self.catalog,
            render::Request {
                renderer: release.spec.renderer.as_ref(),
                tree: Arc::clone(&input.tree),
                context,
                seed,
                prior: release.reads.clone(),
            },
        )
        .await?;
        for warning in outcome.rendered.warnings() {
            output::warning(&warning.to_string());
        }
        Ok(outcome)
    }
}

impl Release {
    pub(super) fn namespace_or(&self, default: &str) -> String {
        self.spec
            .namespace
            .clone()
            .unwrap_or_else(|| default.to_owned())
    }
}

/// `--settings` and `--set` are merged over what the file says for the renderer.
fn override_settings(spec: &mut ApplicationSpec, args: &RendererArgs) -> anyhow::Result<()> {
    if args.settings.is_none() && args.sets.is_empty() {
        return Ok(());
    }
    let mut over = Value::Object(serde_json::Map::new());
    if let Some(path) = &args.settings {
        let text =
            std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        over = yaml::read(&text, &path.display().to_string())?;
        if !over.is_object() {
            return Err(Usage(format!(
                "{}: settings are an object, such as `include: [...]`",
                path.display()
            ))
            .into());
        }
    }
    for assignment in &args.sets {
        settings::set(&mut over, assignment).map_err(Usage)?;
    }
    // An empty name leaves the choice to the renderers themselves.
    let renderer = spec.renderer.get_or_insert(PluginUse {
        plugin: String::new(),
        settings: Value::Null,
    });
    renderer.settings = pintle_host::Settings::merged(&renderer.settings, &over)
        .value()
        .clone();
    Ok(())
}

/// Makes the client for registries.
pub(crate) fn registry(args: &RegistryArgs, cache: &std::path::Path) -> anyhow::Result<Registry> {
    registry_with(args, cache, None)
}

/// Makes a client that trusts one more certificate authority, PEM.
pub(crate) fn registry_with(
    args: &RegistryArgs,
    cache: &std::path::Path,
    authority: Option<Vec<u8>>,
) -> anyhow::Result<Registry> {
    let mut options = pintle_registry::Options {
        plain_http: args.plain_http.clone(),
        cache: Some(CacheOptions::new(cache.join("components"))),
        ..pintle_registry::Options::default()
    };
    if let Some(path) = &args.registry_ca {
        let pem =
            std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        options.certificate_authorities.push(pem);
    }
    options.certificate_authorities.extend(authority);
    Ok(Registry::new(options)?)
}
