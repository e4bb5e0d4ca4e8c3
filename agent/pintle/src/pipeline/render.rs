//! From a revision to objects.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use pintle_core::{
    application::PluginUse,
    plugin::{Fault, PluginError, Stage},
    problem::{self, Problem},
    readset::ReadSet,
    rendered::{DuplicateObject, Rendered, render_key},
    seed::Seed,
    tree::{Tree, TreePath},
};
use pintle_host::{
    ClusterReader, Context, Input, Plugin, RenderRequest, Renderer, Settings, Source,
};

use super::{
    catalog::{Catalog, CatalogError},
    inputs::InputError,
    remotes::RemotesError,
};

/// Why there are no objects.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    /// The renderer cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// No renderer recognises the files.
    #[error("{0}")]
    Unrecognised(Unrecognised),
    /// The plugin does not accept the settings.
    #[error("settings of {plugin}: {}", problem::lines(.problems))]
    Settings {
        plugin: String,
        problems: Vec<Problem>,
    },
    /// The renderer failed.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// Two objects have the same identity.
    #[error("{object}")]
    Duplicate {
        object: Box<DuplicateObject>,
        /// What the renderer had read from the cluster.
        looked_up: ReadSet,
    },
    /// Something that the renderer asks for from elsewhere is not available.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The Secret for what the renderer asks for cannot be used.
    #[error("the Secret {name} for inputs cannot be used: {reason}")]
    Secret { name: String, reason: String },
    /// There are no clients for registries and chart repositories.
    #[error(transparent)]
    Remotes(#[from] RemotesError),
    /// The caller no longer wants it.
    #[error("it is not wanted any more")]
    Cancelled,
}

impl RenderError {
    /// Returns whether the same may succeed later without any change.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Catalog(error) => error.is_retryable(),
            Self::Plugin(error) => error.fault.is_retryable(),
            Self::Input(error) => error.is_retryable(),
            // The Secret is not watched. A person who fixes it should not have to touch the application as well.
            Self::Secret { .. } => true,
            _ => false,
        }
    }

    /// Returns whether this machine's copy of the revision cannot be read: it is damaged or gone, and a fetch repairs it.
    pub(crate) fn copy_is_broken(&self) -> bool {
        match self {
            Self::Plugin(error) => matches!(error.fault, Fault::Unreadable(_)),
            Self::Input(error) => error.copy_is_broken(),
            _ => false,
        }
    }

    /// Adds the folder to the error, for a user who has named one on the command line.
    pub(crate) fn of_command(self, folder: &str) -> Self {
        match self {
            Self::Unrecognised(unrecognised) => Self::Unrecognised(Unrecognised {
                folder: Some(folder.to_owned()),
                ..unrecognised
            }),
            error => error,
        }
    }

    /// Returns what the renderer had read from the cluster, or `None` if it did not get that far.
    pub(crate) fn looked_up(&self) -> Option<&ReadSet> {
        match self {
            Self::Plugin(error) => Some(&error.looked_up),
            Self::Duplicate { looked_up, .. } => Some(looked_up),
            _ => None,
        }
    }
}

/// A folder that no renderer recognises.
#[derive(Debug)]
pub(crate) struct Unrecognised {
    /// The renderers that were asked.
    asked: Vec<String>,
    content: Content,
    /// The folder by the name that a command was given. In the agent, the spec names the folder and the renderer.
    folder: Option<String>,
}

/// The content of a folder that no renderer recognises.
#[derive(Debug)]
enum Content {
    Nothing,
    Kustomization,
    Other,
}

impl Unrecognised {
    pub(crate) fn new(asked: Vec<String>, tree: &dyn Tree) -> Self {
        let is_there = |name: &str| {
            TreePath::parse(name).is_some_and(|path| matches!(tree.stat(&path), Ok(Some(_))))
        };
        let content = if KUSTOMIZATIONS.into_iter().any(is_there) {
            Content::Kustomization
        } else if tree
            .entries(&TreePath::root())
            .is_ok_and(|all| all.is_empty())
        {
            Content::Nothing
        } else {
            Content::Other
        };
        Self {
            asked,
            content,
            folder: None,
        }
    }
}

/// The names of Kustomize's file.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

impl fmt::Display for Unrecognised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.asked.join(", ");
        let (folder, by) = match &self.folder {
            Some(folder) => (folder.as_str(), "--renderer"),
            None => ("this folder", "`renderer`"),
        };
        match self.content {
            Content::Nothing => write!(f, "there are no files in {folder}: is the path right?"),
            Content::Kustomization => write!(
                f,
                "{folder} is for Kustomize, which none of the built-in renderers ({asked}) reads yet: commit what `kustomize \
                 build` prints, or name a plugin that reads it with {by}"
            ),
            Content::Other => write!(
                f,
                "no built-in renderer ({asked}) recognises the files in {folder}: name one with {by}"
            ),
        }
    }
}

/// The input of a render.
pub(crate) struct Request<'a> {
    pub(crate) renderer: Option<&'a PluginUse>,
    pub(crate) tree: Arc<dyn Tree>,
    pub(crate) context: Context,
    pub(crate) seed: &'a Seed,
    /// What was read to get the settings.
    pub(crate) prior: ReadSet,
    /// Fetches what the renderer asks for from elsewhere.
    pub(crate) inputs: &'a dyn FetchInputs,
    /// Reads the cluster for the granted kinds.
    pub(crate) cluster: Option<Arc<dyn ClusterReader>>,
}

/// Fetches what a renderer asks for.
#[async_trait]
pub(crate) trait FetchInputs: Send + Sync {
    /// Fetches everything, in the order in which it was requested. Called only if there is something to fetch.
    async fn fetch(&self, sources: Vec<Source>) -> Result<Vec<Input>, RenderError>;
}

/// Objects, with everything that they depend on.
pub(crate) struct Outcome {
    pub(crate) rendered: Rendered,
    pub(crate) reads: ReadSet,
    /// The name of the renderer.
    pub(crate) renderer: String,
    /// Identifies the render in the log.
    pub(crate) key: pintle_core::digest::Digest,
}

/// Renders with the renderer that is named, or with the one that recognises the files.
pub(crate) async fn render(
    catalog: &Catalog,
    request: Request<'_>,
) -> Result<Outcome, RenderError> {
    let (renderer, settings, mut prior) = choose(catalog, &request).await?;
    let (sources, inputs_reads) = sources(&renderer, &settings, &request.tree).await?;
    let inputs = if sources.is_empty() {
        Vec::new()
    } else {
        request.inputs.fetch(sources).await?
    };
    prior.extend(request.prior);
    prior.extend(inputs_reads);
    let rendering = renderer
        .render(RenderRequest {
            settings: settings.clone(),
            tree: request.tree,
            inputs,
            prior,
            context: request.context,
            seed: request.seed.clone(),
            cluster: request.cluster,
        })
        .await?;
    let key = render_key(renderer.id().digest, settings.value(), &rendering.reads);
    let objects = Rendered::new(
        rendering.objects,
        rendering.notes,
        rendering.warnings,
        request.seed,
    )
    .map_err(|object| RenderError::Duplicate {
        object,
        looked_up: rendering.reads.of_cluster(),
    })?;
    Ok(Outcome {
        rendered: objects,
        reads: rendering.reads,
        renderer: renderer.id().name.clone(),
        key,
    })
}

async fn choose(
    catalog: &Catalog,
    request: &Request<'_>,
) -> Result<(Renderer, Settings, ReadSet), RenderError> {
    if let Some(of_use) = request.renderer.filter(|of_use| !of_use.plugin.is_empty()) {
        let ready = catalog.find(&of_use.plugin).await?;
        let renderer = ready.plugin.renderer().map_err(CatalogError::from)?;
        return Ok((
            renderer,
            ready.settings(&of_use.settings),
            ReadSet::default(),
        ));
    }
    let mut asked = Vec::new();
    let mut reads = ReadSet::default();
    for ready in catalog.detectable().await? {
        let renderer = ready.plugin.renderer().map_err(CatalogError::from)?;
        let (recognised, detect_reads) = renderer.detect(Arc::clone(&request.tree)).await?;
        // The renderers that said no matter as well: with another answer, another renderer would be chosen.
        reads.extend(detect_reads);
        if recognised {
            let of_use = request
                .renderer
                .map(|of_use| of_use.settings.clone())
                .unwrap_or_default();
            return Ok((renderer, ready.settings(&of_use), reads));
        }
        asked.push(renderer.id().name.clone());
    }
    let unrecognised = Unrecognised::new(asked, &*request.tree);
    Err(RenderError::Unrecognised(unrecognised))
}

/// Asks a renderer what it needs from elsewhere. That also checks its settings, because this function refuses bad ones as
/// `validate` does. Calling `validate` in addition would take one more instance for each render.
async fn sources(
    renderer: &Renderer,
    settings: &Settings,
    tree: &Arc<dyn Tree>,
) -> Result<(Vec<Source>, ReadSet), RenderError> {
    let plugin = renderer.plugin();
    told(plugin, plugin.schema_problems(settings).await?)?;
    match renderer.inputs(settings, Arc::clone(tree)).await {
        Ok(asked) => Ok(asked),
        Err(error) => {
            // The reason for the refusal may be the settings, or the content of the folder.
            if matches!(error.fault, Fault::Refused(_)) {
                check_settings(plugin, settings).await?;
            }
            Err(error.into())
        }
    }
}

/// Checks settings before they are used, so that a mistake is reported by field and not by its consequences.
pub(crate) async fn check_settings(
    plugin: &Plugin,
    settings: &Settings,
) -> Result<(), RenderError> {
    told(plugin, plugin.validate(settings).await?)
}

fn told(plugin: &Plugin, problems: Vec<Problem>) -> Result<(), RenderError> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(RenderError::Settings {
        plugin: format!("{} `{}`", plugin.id().kind, plugin.id().name),
        problems,
    })
}

/// Returns whether a failed plugin call is a defect of the plugin, which decides the reason in conditions.
pub(crate) fn is_defect(error: &PluginError) -> bool {
    matches!(
        error.fault,
        Fault::Trap(_) | Fault::Limit(_) | Fault::Contract(_) | Fault::Unloadable(_)
    ) || error.stage == Stage::Load
}

#[cfg(test)]
mod tests {
    use pintle_core::tree::memory::MemoryTree;

    use super::*;

    #[test]
    fn a_folder_that_nobody_recognises_is_told_by_what_it_has() {
        let told = |files: &[&str], folder: Option<&str>| {
            let tree = MemoryTree::new(files.iter().map(|file| (file, "")));
            let asked = vec!["manifests".to_owned(), "helm".to_owned()];
            let error = RenderError::Unrecognised(Unrecognised::new(asked, &tree));
            match folder {
                Some(folder) => error.of_command(folder).to_string(),
                None => error.to_string(),
            }
        };
        let shop = Some("/src/shop");
        insta::assert_snapshot!(told(&["main.tf"], None), @"no built-in renderer (manifests, helm) recognises the files in this folder: name one with `renderer`");
        insta::assert_snapshot!(told(&["main.tf"], shop), @"no built-in renderer (manifests, helm) recognises the files in /src/shop: name one with --renderer");
        insta::assert_snapshot!(told(&[], shop), @"there are no files in /src/shop: is the path right?");
        insta::assert_snapshot!(told(&["a.yaml", "kustomization.yml"], shop), @"/src/shop is for Kustomize, which none of the built-in renderers (manifests, helm) reads yet: commit what `kustomize build` prints, or name a plugin that reads it with --renderer");
    }
}
