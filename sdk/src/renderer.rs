//! Renderers turn a folder into Kubernetes objects.

use crate::{Context, Failure, Hook, Manifest, Plugin, Position, Problem, Tree};

/// Something from elsewhere that the host is to fetch and verify before the rendering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An OCI artifact.
    Oci(Remote),
    /// A chart from a chart repository.
    Chart(Chart),
    /// Another folder of the same revision, relative to the folder that is rendered, or, with a leading `/`, to the
    /// revision's root: `../common`.
    Folder(String),
}

/// An OCI artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `oci://registry/repository:tag`.
    pub reference: String,
    /// `sha256:...`; without it the host resolves the tag, and records what it resolved to.
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
    /// `sha256:...` of the archive; without it the host records what it fetched.
    pub digest: Option<String>,
}

/// One object that a renderer gives.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderedObject {
    /// The object, with `apiVersion`, `kind` and `metadata.name`.
    pub manifest: Manifest,
    /// Where it comes from.
    pub source: Option<Position>,
    /// Absent for what is to be in the cluster as long as the source has it.
    pub hook: Option<Hook>,
    /// Whether it stays when it leaves the source, or the application is removed, until somebody explicitly allows its
    /// deletion.
    pub keep: bool,
}

impl RenderedObject {
    /// Gives an object that is no hook, from no particular place.
    pub fn new(manifest: impl Into<Manifest>) -> Self {
        Self {
            manifest: manifest.into(),
            source: None,
            hook: None,
            keep: false,
        }
    }

    /// Says where it comes from.
    #[must_use]
    pub fn source(mut self, source: Position) -> Self {
        self.source = Some(source);
        self
    }

    /// Makes it a hook.
    #[must_use]
    pub fn hook(mut self, hook: Hook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Lets it stay when it leaves the source.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }
}

/// What a renderer gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendering {
    /// The objects, in any order.
    pub objects: Vec<RenderedObject>,
    /// Text for people, such as a chart's notes.
    pub notes: Option<String>,
    /// What is not wrong enough to refuse.
    pub warnings: Vec<Problem>,
}

/// Turns a folder into Kubernetes objects. Pure: same settings, same folder, same context, same objects.
pub trait Renderer: Plugin {
    /// Whether the folder is this renderer's, for applications that name none. Asked of built-in renderers, and of what is in
    /// the place of one under its name: any other is used where it is named.
    fn detect(folder: &dyn Tree) -> bool;

    /// Names what has to be fetched before the rendering; nothing unless overridden.
    fn inputs(settings: &Self::Settings, folder: &dyn Tree) -> Result<Vec<Source>, Failure> {
        let _ = (settings, folder);
        Ok(Vec::new())
    }

    /// Renders; `inputs` are in the order in which [`inputs`](Self::inputs) named them.
    fn render(
        settings: &Self::Settings,
        folder: &dyn Tree,
        inputs: &[&dyn Tree],
        context: &dyn Context,
    ) -> Result<Rendering, Failure>;
}
