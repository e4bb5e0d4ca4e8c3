//! What the commands of the pipeline share: plugins, settings, and the name of what is converged.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use pintle_core::{
    application::{ApplicationSpec, Grants, PluginUse},
    causes::chain,
    readset::ReadSet,
    seed::Seed,
};
use pintle_host::{ClusterReader, Context, Host, Source};
use serde_json::Value;

use super::{
    helm_flags,
    input::{Input, Origin},
};
use crate::{
    cli::{
        args::{HelmArgs, InputArgs, RegistryArgs, RendererArgs},
        cache::cache_dir,
        exit::{self, Usage},
        output,
    },
    pipeline::{
        catalog::Catalog,
        inputs::{Inputs, Surroundings},
        remotes::Remotes,
        render::{self, FetchInputs, Outcome, RenderError},
        settings, yaml,
    },
};

/// The plugins of one command.
pub(super) struct Session {
    pub(super) catalog: Arc<Catalog>,
    pub(super) remotes: Arc<Remotes>,
    /// What was read from standard input, if the arguments name it.
    standard_input: Option<String>,
}

/// What is converged, and how.
pub(super) struct Release {
    pub(super) name: String,
    pub(super) spec: ApplicationSpec,
    /// Whether a `pintle.yaml` says how it is applied.
    pub(super) is_described: bool,
    /// The folder, for messages.
    folder: String,
    reads: ReadSet,
}

impl Session {
    /// Creates the host and the registry client.
    pub(super) fn new(args: &RegistryArgs) -> anyhow::Result<Self> {
        Self::granting(args, &[])
    }

    /// Creates them as the agent does: they take longer to create, and calls are faster.
    pub(super) fn warm(args: &RegistryArgs) -> anyhow::Result<Self> {
        Self::make(args, &[], true)
    }

    /// Creates them, and lets plugins read some kinds from the cluster.
    pub(super) fn granting(args: &RegistryArgs, cluster_reads: &[String]) -> anyhow::Result<Self> {
        Self::make(args, cluster_reads, false)
    }

    fn make(
        args: &RegistryArgs,
        cluster_reads: &[String],
        is_pooled: bool,
    ) -> anyhow::Result<Self> {
        let cache = match cache_dir() {
            Ok(cache) => Some(cache),
            Err(error) => {
                output::warning(&format!("nothing is kept for the next time: {error}"));
                None
            }
        };
        let options = pintle_host::Options {
            cache: cache.as_deref().map(compiled_dir),
            is_pooled,
            ..pintle_host::Options::default()
        };
        let grants = Grants {
            cluster_reads: cluster_reads.iter().cloned().collect(),
            ..Grants::default()
        };
        let remotes = Remotes::of_user(args.clone(), cache.as_deref());
        let host = match Host::new(options) {
            Ok(host) => host,
            Err(error) => {
                // A cache that cannot be used costs time, and nothing else.
                output::warning(&format!("plugins are compiled anew: {}", chain(&error)));
                Host::new(pintle_host::Options::default())?
            }
        };
        Ok(Self {
            catalog: Catalog::for_commands(host, Arc::clone(&remotes), grants),
            remotes,
            standard_input: None,
        })
    }

    /// Reads what the arguments take from standard input. That is done once, before anything that `--follow` repeats.
    pub(super) fn with_standard_input(mut self, args: &HelmArgs) -> anyhow::Result<Self> {
        self.standard_input = helm_flags::standard_input(&args.listed()).map_err(exit::of_flags)?;
        Ok(self)
    }

    /// Reads the newest revision, and meanwhile loads the renderers that will surely be asked.
    pub(super) async fn open(
        &self,
        origin: &Origin,
        renderer: &RendererArgs,
    ) -> anyhow::Result<Input> {
        let ahead = Box::pin(async {
            self.load_ahead(origin, renderer.renderer.as_deref()).await;
            Ok(())
        });
        let (input, ()) = tokio::try_join!(Box::pin(origin.open()), ahead)?;
        Ok(input)
    }

    /// Loads the built-in renderer that is named. Without a name and a `pintle.yaml`, loads all renderers that will be asked
    /// whether the folder is theirs. Errors are reported when the renderer is needed.
    async fn load_ahead(&self, origin: &Origin, named: Option<&str>) {
        let is_described = |folder: &Path| folder.join(settings::FILE).exists();
        match (named, origin.folder()) {
            (Some(name), _) if self.catalog.is_cold(name) => {
                let _ = self.catalog.find(name).await;
            }
            (None, Some(folder)) if !is_described(folder) => {
                let _ = self.catalog.detectable().await;
            }
            _ => {}
        }
    }

    /// Reads the settings of a revision: its `pintle.yaml`, overridden by the arguments.
    pub(super) fn release(
        &self,
        input: &Input,
        args: &InputArgs,
        renderer: &RendererArgs,
    ) -> anyhow::Result<Release> {
        let (file, reads) = settings::read(args.environment.as_deref(), &*input.tree)?;
        let is_described = file.is_some();
        let mut spec = file.unwrap_or_default();
        if let Some(namespace) = &renderer.namespace {
            spec.namespace = Some(namespace.clone());
        }
        if let Some(plugin) = &renderer.renderer {
            // The settings in the file are for the renderer that the file names.
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
        let standard_input = self.standard_input.as_deref();
        let flags = renderer.helm.listed();
        helm_flags::override_settings(&mut spec, &flags, standard_input, &*input.tree)
            .map_err(exit::of_flags)?;
        Ok(Release {
            name: renderer.name.clone().unwrap_or_else(|| input.name.clone()),
            spec,
            is_described,
            folder: folder(args),
            reads,
        })
    }

    /// Renders, and prints the renderer's warnings.
    pub(super) async fn render(
        &self,
        release: &Release,
        input: &Input,
        context: Context,
        seed: &Seed,
        cluster: Option<Arc<dyn ClusterReader>>,
    ) -> Result<Outcome, RenderError> {
        let outcome = self.outcome(release, input, context, seed, cluster).await?;
        for warning in outcome.rendered.warnings() {
            output::warning(&warning.to_string());
        }
        Ok(outcome)
    }

    /// Renders.
    pub(super) async fn outcome(
        &self,
        release: &Release,
        input: &Input,
        context: Context,
        seed: &Seed,
        cluster: Option<Arc<dyn ClusterReader>>,
    ) -> Result<Outcome, RenderError> {
        render::render(
            &self.catalog,
            render::Request {
                renderer: release.spec.renderer.as_ref(),
                tree: Arc::clone(&input.tree),
                context,
                seed,
                prior: release.reads.clone(),
                inputs: &FromHere {
                    remotes: &self.remotes,
                    surroundings: &input.surroundings,
                },
                cluster,
            },
        )
        .await
        .map_err(|error| error.of_command(&release.folder))
    }
}

/// Returns the name of the folder that the arguments mean.
fn folder(args: &InputArgs) -> String {
    match Path::new(&args.source).canonicalize() {
        Ok(path) => path.display().to_string(),
        Err(_) => args.source.clone(),
    }
}

/// Returns the folder for compiled plugins.
pub(super) fn compiled_dir(cache: &Path) -> PathBuf {
    cache.join("compiled")
}

/// Fetches with the user's own logins.
struct FromHere<'a> {
    remotes: &'a Remotes,
    surroundings: &'a Surroundings,
}

#[async_trait]
impl FetchInputs for FromHere<'_> {
    async fn fetch(&self, sources: Vec<Source>) -> Result<Vec<pintle_host::Input>, RenderError> {
        let (charts, logins) = self.remotes.charts().await?;
        let inputs = Inputs {
            charts,
            logins,
            surroundings: self.surroundings.clone(),
            knows_aliases: true,
        };
        Ok(inputs.fetch(sources).await?.unpack().await?)
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

/// Merges `--settings` and `--setting` over the file's settings for the renderer.
fn override_settings(spec: &mut ApplicationSpec, args: &RendererArgs) -> anyhow::Result<()> {
    if args.settings.is_none() && args.assignments.is_empty() {
        return Ok(());
    }
    let mut over = Value::Object(serde_json::Map::new());
    if let Some(path) = &args.settings {
        let name = path.display().to_string();
        let text = std::fs::read(path)
            .map_err(|error| Usage(format!("{name} cannot be read: {error}")))?;
        over = yaml::read(&text, &name).map_err(|error| Usage(format!("{error:#}")))?;
        if !over.is_object() {
            return Err(Usage(format!(
                "{}: settings are an object, such as `include: [...]`",
                path.display()
            ))
            .into());
        }
    }
    for assignment in &args.assignments {
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
