//! Renderers: plugins that turn a folder into objects.

pub(crate) mod bindings;
mod convert;
mod source;
mod weight;

use std::{fmt, sync::Arc, time::Duration};

use pintle_core::{
    digest::Digest,
    plugin::{PluginError, PluginId, Stage},
    problem::Problem,
    readset::{Question, ReadSet},
    rendered::RenderedObject,
    seed::Seed,
    tree::Tree,
};
use wasmtime::{Store, component::Resource};

use self::bindings::RendersPre;
pub use self::source::Source;
use crate::{
    ClusterReader, Context, Facts, Plugin,
    call::Setup,
    capability::{cluster::ClusterAccess, tree::Folder},
    settings::Settings,
    state::State,
    wasi::Pure,
    wire,
};

/// The files fetched for one [`Source`].
#[derive(Debug, Clone)]
pub struct Input {
    /// The source that was requested.
    pub source: Source,
    /// The files.
    pub tree: Arc<dyn Tree>,
    /// The digest of the content, which is added to the read set as a whole.
    pub digest: Digest,
}

/// The inputs of a render.
#[derive(Debug, Clone)]
pub struct RenderRequest {
    /// The merged settings.
    pub settings: Settings,
    /// The application's folder.
    pub tree: Arc<dyn Tree>,
    /// The inputs fetched for the sources that [`Renderer::inputs`] returned, in the same order.
    pub inputs: Vec<Input>,
    /// What [`Renderer::inputs`] read. The rendering is valid only while that is unchanged.
    pub prior: ReadSet,
    /// The destination of the result.
    pub context: Context,
    /// The application's seed.
    pub seed: Seed,
    /// The reader of the cluster for the kinds that are granted. Without it, no objects are found.
    pub cluster: Option<Arc<dyn ClusterReader>>,
}

/// The result of a render.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendering {
    /// The objects, in the renderer's order.
    pub objects: Vec<RenderedObject>,
    /// Notes for people.
    pub notes: Option<String>,
    /// Problems that are not serious enough for a refusal.
    pub warnings: Vec<Problem>,
    /// What the renderer read. As long as all of it is unchanged, so is the rendering.
    pub reads: ReadSet,
}

/// A renderer. Cheap to clone.
#[derive(Clone)]
pub struct Renderer {
    plugin: Plugin,
    pre: RendersPre<State>,
}

impl fmt::Debug for Renderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Renderer").field(self.plugin.id()).finish()
    }
}

impl Renderer {
    pub(crate) fn new(plugin: Plugin, pre: RendersPre<State>) -> Self {
        Self { plugin, pre }
    }

    /// Returns the plugin.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Returns the name, digest and kind.
    pub fn id(&self) -> &PluginId {
        self.plugin.id()
    }

    /// Asks whether a folder belongs to this renderer. Also returns the reads: the answer is valid as long as they are.
    pub async fn detect(&self, tree: Arc<dyn Tree>) -> Result<(bool, ReadSet), PluginError> {
        let pre = self.pre.clone();
        let finish = |is_mine, state: State| Ok((is_mine, state.reads));
        self.plugin
            .caller()
            .run(
                Stage::Detect,
                Setup::default(),
                move |store| {
                    Box::pin(async move {
                        let folder = lend(store, Folder::source(tree))?;
                        let instance = pre.instantiate_async(&mut *store).await?;
                        let renderer = instance.pintle_renderer_renderer();
                        renderer.call_detect(&mut *store, folder).await
                    })
                },
                finish,
            )
            .await
    }

    /// Asks what has to be fetched before the rendering. Also returns the reads, for [`RenderRequest::prior`].
    pub async fn inputs(
        &self,
        settings: &Settings,
        tree: Arc<dyn Tree>,
    ) -> Result<(Vec<Source>, ReadSet), PluginError> {
        let (pre, settings) = (self.pre.clone(), settings.clone());
        let finish = |outcome: Result<Vec<bindings::renderer::Source>, _>, state: State| {
            let sources = outcome.map_err(wire::from_failure)?;
            Ok((convert::sources(sources)?, state.reads))
        };
        self.plugin
            .caller()
            .run(
                Stage::Inputs,
                Setup::default(),
                move |store| {
                    Box::pin(async move {
                        let folder = lend(store, Folder::source(tree))?;
                        let instance = pre.instantiate_async(&mut *store).await?;
                        let renderer = instance.pintle_renderer_renderer();
                        renderer
                            .call_inputs(&mut *store, settings.json(), folder)
                            .await
                    })
                },
                finish,
            )
            .await
    }

    /// Renders a folder. Objects that Kubernetes could not hold are rejected with their position in the source.
    pub async fn render(&self, request: RenderRequest) -> Result<Rendering, PluginError> {
        let caller = self.plugin.caller();
        let RenderRequest {
            settings,
            tree,
            inputs,
            prior,
            context,
            seed,
            cluster,
        } = request;
        let setup = Setup {
            pure: Some(Pure {
                time: Duration::from_secs(context.revision_time.try_into().unwrap_or_default()),
                seed: seed.clone(),
            }),
            cluster: cluster.map(|reader| ClusterAccess {
                reader,
                grants: Arc::clone(&caller.grants),
                seed: seed.clone(),
            }),
            facts: Some(Arc::new(Facts { context, seed })),
            http: None,
        };
        let pre = self.pre.clone();
        let reads_time = caller.compiled.world.wasi;
        let limit = caller.limits.output;
        let finish = |outcome: Result<bindings::renderer::Rendering, _>, mut state: State| {
            let rendering = outcome.map_err(wire::from_failure)?;
            convert::rendering(rendering, state.reads, limit, &mut state.memory)
        };
        caller
            .run(
                Stage::Render,
                setup,
                move |store| {
                    Box::pin(async move {
                        store.data_mut().reads = prior;
                        if reads_time {
                            record_wasi(store.data_mut());
                        }
                        let folder = lend(store, Folder::source(tree))?;
                        let inputs = give(store, inputs)?;
                        let instance = pre.instantiate_async(&mut *store).await?;
                        let renderer = instance.pintle_renderer_renderer();
                        renderer
                            .call_render(&mut *store, settings.json(), folder, &inputs)
                            .await
                    })
                },
                finish,
            )
            .await
    }
}

fn lend(store: &mut Store<State>, folder: Folder) -> wasmtime::Result<Resource<Folder>> {
    let own = store.data_mut().table.push(folder)?;
    Ok(Resource::new_borrow(own.rep()))
}

fn give(store: &mut Store<State>, inputs: Vec<Input>) -> wasmtime::Result<Vec<Resource<Folder>>> {
    let state = store.data_mut();
    let mut given = Vec::with_capacity(inputs.len());
    for input in inputs {
        let question = Question::Input(input.source.to_string());
        state.reads.record(question, input.digest);
        given.push(state.table.push(Folder::input(input.tree))?);
    }
    Ok(given)
}

/// Records time and random bytes as read: a component that imports WASI may look at both unseen.
fn record_wasi(state: &mut State) {
    use pintle_core::readset::Facts as _;
    let Some(facts) = state.facts.clone() else {
        return;
    };
    for fact in ["revision-time", crate::capability::context::SEED] {
        let question = Question::Context(fact.to_owned());
        if let Some(answer) = facts.answer(&question) {
            state.reads.record(question, answer);
        }
    }
}
