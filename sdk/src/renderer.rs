//! Renderers, which turn a folder into Kubernetes objects.

use crate::{Context, Failure, Hook, Manifest, Plugin, Position, Problem, Tree};

/// An input from elsewhere that the host fetches and verifies before the rendering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An OCI artifact.
    Oci(Remote),
    /// A chart from a chart repository.
    Chart(Chart),
    /// Another folder of the same revision, such as `../common`. The path is relative to the folder that is rendered
    /// or, with a leading `/`, to the revision's root.
    Folder(String),
}

/// An OCI artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `oci://registry/repository:tag`.
    pub reference: String,
    /// The digest, `sha256:...`. Without it the host resolves the tag, and records the result.
    pub digest: Option<String>,
}

/// A chart from a chart repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// The repository's URL.
    pub repository: String,
    /// The chart's name.
    pub name: String,
    /// The chart's exact version.
    pub version: String,
    /// The digest of the archive, `sha256:...`. Without it the host records what it fetched.
    pub digest: Option<String>,
}

/// An object that a renderer returns.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderedObject {
    /// The object, with `apiVersion`, `kind` and `metadata.name`.
    pub manifest: Manifest,
    /// The position in the sources that the object comes from.
    pub source: Option<Position>,
    /// The hook; absent for an object that should be in the cluster as long as the source has it.
    pub hook: Option<Hook>,
    /// Whether the object stays when it leaves the source or the application is removed, until somebody explicitly
    /// allows its deletion.
    pub keep: bool,
}

impl RenderedObject {
    /// Creates an object that is not a hook and has no position.
    pub fn new(manifest: impl Into<Manifest>) -> Self {
        Self {
            manifest: manifest.into(),
            source: None,
            hook: None,
            keep: false,
        }
    }

    /// Sets the position that the object comes from.
    #[must_use]
    pub fn source(mut self, source: Position) -> Self {
        self.source = Some(source);
        self
    }

    /// Makes the object a hook.
    #[must_use]
    pub fn hook(mut self, hook: Hook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Keeps the object when it leaves the source.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }
}

/// The result of a renderer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendering {
    /// The objects, in any order.
    pub objects: Vec<RenderedObject>,
    /// Text for people, such as a chart's notes.
    pub notes: Option<String>,
    /// Problems that are not bad enough to refuse the input.
    pub warnings: Vec<Problem>,
}

/// A plugin that turns a folder into Kubernetes objects.
///
/// Pure: the same settings, folder and context give the same objects.
pub trait Renderer: Plugin {
    /// Reports whether the folder is for this renderer, for applications that name no renderer.
    ///
    /// Called only on built-in renderers, and on plugins that replace one under its name. Any other renderer is used only
    /// where an application names it.
    fn detect(folder: &dyn Tree) -> bool;

    /// Returns what has to be fetched before the rendering; nothing unless overridden.
    fn inputs(settings: &Self::Settings, folder: &dyn Tree) -> Result<Vec<Source>, Failure> {
        let _ = (settings, folder);
        Ok(Vec::new())
    }

    /// Renders the folder. `inputs` are in the order in which [`inputs`](Self::inputs) returned them.
    fn render(
        settings: &Self::Settings,
        folder: &dyn Tree,
        inputs: &[&dyn Tree],
        context: &dyn Context,
    ) -> Result<Rendering, Failure>;
}
