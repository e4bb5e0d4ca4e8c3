//! Exports renderers.

use crate::{
    Chart, Hook, HookDeletion, HookOutcome, Remote, RenderedObject, Renderer, Rendering, Source,
    Tree,
};

use super::wit::{tree, types};
use super::{Adapter, HostContext};

wit_bindgen::generate!({
    path: ["../wit/types", "../wit/renderer"],
    inline: "
        package pintle:sdk-renderer;
        world renders { export pintle:renderer/renderer@1.0.0; }
    ",
    with: {
        "pintle:types/types@1.0.0": crate::glue::wit::types,
        "pintle:types/tree@1.0.0": crate::glue::wit::tree,
    },
    pub_export_macro: true,
});

use exports::pintle::renderer::renderer;

impl<T: Renderer> renderer::Guest for Adapter<T> {
    fn detect(folder: &tree::Tree) -> bool {
        T::detect(folder)
    }

    fn inputs(
        settings: String,
        folder: &tree::Tree,
    ) -> Result<Vec<renderer::Source>, types::Failure> {
        let settings = super::settings::<T>(&settings)?;
        let sources = T::inputs(&settings, folder)?;
        Ok(sources.into_iter().map(Into::into).collect())
    }

    fn render(
        settings: String,
        folder: &tree::Tree,
        inputs: Vec<tree::Tree>,
    ) -> Result<renderer::Rendering, types::Failure> {
        let settings = super::settings::<T>(&settings)?;
        let inputs: Vec<&dyn Tree> = inputs.iter().map(|input| input as &dyn Tree).collect();
        Ok(T::render(&settings, folder, &inputs, &HostContext)?.into())
    }
}

impl From<Source> for renderer::Source {
    fn from(source: Source) -> Self {
        match source {
            Source::Oci(remote) => Self::Oci(remote.into()),
            Source::Chart(chart) => Self::Chart(chart.into()),
            Source::Folder(path) => Self::Folder(path),
        }
    }
}

impl From<Remote> for renderer::Remote {
    fn from(remote: Remote) -> Self {
        Self {
            reference: remote.reference,
            digest: remote.digest,
        }
    }
}

impl From<Chart> for renderer::Chart {
    fn from(chart: Chart) -> Self {
        Self {
            repository: chart.repository,
            name: chart.name,
            version: chart.version,
            digest: chart.digest,
        }
    }
}

impl From<Hook> for renderer::Hook {
    fn from(hook: Hook) -> Self {
        let deletion = |when| match when {
            HookDeletion::BeforeCreation => renderer::HookDeletion::BEFORE_CREATION,
            HookDeletion::Succeeded => renderer::HookDeletion::SUCCEEDED,
            HookDeletion::Failed => renderer::HookDeletion::FAILED,
        };
        let outcome = |outcome| match outcome {
            HookOutcome::Succeeded => renderer::HookOutcomes::SUCCEEDED,
            HookOutcome::Failed => renderer::HookOutcomes::FAILED,
        };
        Self {
            events: super::hook_events(hook.events),
            weight: hook.weight,
            deletion: hook.deletion.into_iter().map(deletion).collect(),
            logs: hook.logs.into_iter().map(outcome).collect(),
        }
    }
}

impl From<RenderedObject> for renderer::RenderedObject {
    fn from(object: RenderedObject) -> Self {
        Self {
            manifest: object.manifest.into_text(),
            source: object.source.map(Into::into),
            hook: object.hook.map(Into::into),
            keep: object.keep,
        }
    }
}

impl From<Rendering> for renderer::Rendering {
    fn from(rendering: Rendering) -> Self {
        Self {
            objects: rendering.objects.into_iter().map(Into::into).collect(),
            notes: rendering.notes,
            warnings: rendering.warnings.into_iter().map(Into::into).collect(),
        }
    }
}
