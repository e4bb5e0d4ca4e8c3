//! Components, compiled and pre-instantiated, cached by digest in memory and on disk.

mod failures;
mod native;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Instant,
};

use bytes::Bytes;
use nix::errno::Errno;
use pintle_core::{
    digest::{Digest, Digester},
    plugin::{Description, Fault, Kind},
};
use tokio::sync::Semaphore;
use wasmtime::{
    Engine, OutOfMemory, Store,
    component::{Component, HasSelf, InstancePre, Linker},
};

use self::failures::Failures;
use crate::{
    CodeFrom, CompileError, Compiler, HostError, Observer, Options,
    bindings::{self, Described, wit},
    compiler::Failure,
    disk::SealedFolder,
    engine::{self, Size},
    health::bindings::{Assesses, AssessesPre},
    notifier::bindings::{Notifies, NotifiesPre},
    policy::bindings::{Evaluates, EvaluatesPre},
    renderer::bindings::{Renders, RendersPre},
    state::{State, Stop},
    world::{self, Unloadable, World},
};

/// A component that is ready to be instantiated.
pub(crate) struct Compiled {
    pub(crate) digest: Digest,
    pub(crate) world: World,
    pub(crate) plugin: bindings::DescribedPre<State>,
    pub(crate) exports: Exports,
    /// The number of calls that would fit in the room of one instance: at most the share of one plugin.
    pub(crate) weight: u32,
    /// The plugin's description of itself from when this agent first loaded it. It was checked then, and nothing that a component
    /// sees while it describes itself ever changes.
    pub(crate) description: Option<Description>,
}

impl Compiled {
    /// Creates an instance and checks the types of everything that it exports, for its kind and for plugins in general. A
    /// mismatch is reported when a plugin is loaded, not when the export is first needed.
    pub(crate) async fn instantiate_checked(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Described> {
        let instance = self
            .plugin
            .instance_pre()
            .instantiate_async(&mut *store)
            .await?;
        let own = match self.exports {
            Exports::Renderer(_) => Renders::new(&mut *store, &instance).map(drop),
            Exports::Policy(_) => Evaluates::new(&mut *store, &instance).map(drop),
            Exports::Health(_) => Assesses::new(&mut *store, &instance).map(drop),
            Exports::Notifier(_) => Notifies::new(&mut *store, &instance).map(drop),
        };
        own.and_then(|()| Described::new(&mut *store, &instance))
            .map_err(|error| {
                let reason = Unloadable::Type(format!("{error:#}"));
                Stop(Fault::Unloadable(reason.to_string())).into()
            })
    }
}

/// The exports of a kind.
pub(crate) enum Exports {
    Renderer(RendersPre<State>),
    Policy(EvaluatesPre<State>),
    Health(AssessesPre<State>),
    Notifier(NotifiesPre<State>),
}

/// All compiled components, by digest. A component that no plugin uses any more is evicted from memory; on disk it stays for a
/// while.
pub(crate) struct CompiledStore {
    engine: Engine,
    /// The maximum size of one instance.
    most: Size,
    known: Mutex<HashMap<Digest, Weak<Compiled>>>,
    failures: Failures,
    disk: Option<SealedFolder>,
    /// The compiler process. Without one, only this process compiles.
    compiler: Option<Compiler>,
    /// A single permit: compiling takes all cores and much memory for seconds.
    compiling: Arc<Semaphore>,
    observer: Arc<dyn Observer>,
}

impl CompiledStore {
    pub(crate) fn new(engine: Engine, options: &Options) -> Result<Self, HostError> {
        let open = |path: &Path| {
            SealedFolder::open(path, options.cache_bytes).map_err(|source| HostError::Cache {
                path: path.to_owned(),
                source,
            })
        };
        let folder = options.cache.as_ref().map(|root| root.join("compiled"));
        Ok(Self {
            engine,
            most: Size::of_calls(engine::share(options.calls())),
            known: Mutex::default(),
            failures: Failures::default(),
            disk: folder.map(|folder| open(&folder)).transpose()?,
            compiler: options.compiler.clone(),
            compiling: Arc::new(Semaphore::new(1)),
            observer: Arc::clone(&options.observer),
        })
    }

    /// Returns the compiled component from memory, from disk, or by compiling it, unless that has recently failed.
    pub(crate) async fn get(
        self: &Arc<Self>,
        digest: Digest,
        bytes: Bytes,
    ) -> Result<Arc<Compiled>, Unloadable> {
        if let Some(compiled) = self.known(digest) {
            return Ok(compiled);
        }
        world::check_preamble(&bytes)?;
        // What is on disk does not wait for a compilation in progress.
        let cached = self.aside(move |store| store.load_cached(digest)).await?;
        if let Some(compiled) = cached {
            return Ok(self.keep(compiled));
        }
        self.failures.check(digest, Instant::now())?;
        let turn = Arc::clone(&self.compiling).acquire_owned().await;
        let turn = turn.expect("never closed");
        // An earlier caller may have compiled the same component, or tried to.
        if let Some(compiled) = self.known(digest) {
            return Ok(compiled);
        }
        self.failures.check(digest, Instant::now())?;
        let work = move |store: &Self| {
            // The work continues when nobody waits for it any more, and keeps its turn until it ends.
            let _turn = turn;
            let loaded = store.load(digest, &bytes);
            if let Err(reason) = &loaded {
                store.failures.note(digest, reason, Instant::now());
            }
            loaded
        };
        let compiled = self.aside(work).await?;
        Ok(self.keep(compiled))
    }

    /// Runs slow work off the async threads.
    async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Unloadable> + Send + 'static,
    ) -> Result<T, Unloadable> {
        let store = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(store.as_ref()))
            .await
            .map_err(|error| Unloadable::Compile(error.to_string()))?
    }

    /// Makes a component available to other callers for as long as it is used.
    fn keep(&self, compiled: Compiled) -> Arc<Compiled> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, compiled| compiled.strong_count() > 0);
        // Another caller may have read the same component from disk at the same time.
        if let Some(kept) = known.get(&compiled.digest).and_then(Weak::upgrade) {
            return kept;
        }
        let compiled = Arc::new(compiled);
        known.insert(compiled.digest, Arc::downgrade(&compiled));
        compiled
    }

    fn known(&self, digest: Digest) -> Option<Arc<Compiled>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&digest)?.upgrade()
    }

    /// Loads a component from disk, if it is there.
    fn load_cached(&self, digest: Digest) -> Result<Option<Compiled>, Unloadable> {
        let (started, key) = (Instant::now(), self.key(digest));
        let Some(component) = self.read_cached(key) else {
            return Ok(None);
        };
        self.observer
            .compiled(digest, CodeFrom::Cache, started.elapsed());
        self.prepare(digest, key, &component).map(Some)
    }

    fn load(&self, digest: Digest, bytes: &[u8]) -> Result<Compiled, Unloadable> {
        // An earlier caller may have compiled the same component and been cancelled.
        if let Some(compiled) = self.load_cached(digest)? {
            return Ok(compiled);
        }
        let (started, key) = (Instant::now(), self.key(digest));
        let component = match self.compile_elsewhere(key, bytes)? {
            Some(component) => component,
            None => self.compile(key, bytes)?,
        };
        self.observer
            .compiled(digest, CodeFrom::Compiler, started.elapsed());
        self.prepare(digest, key, &component)
    }

    fn prepare(
        &self,
        digest: Digest,
        key: Digest,
        component: &Component,
    ) -> Result<Compiled, Unloadable> {
        let world = world::inspect(&self.engine, component)?;
        let weight = weight(component, self.most)?;
        let mismatch = |error: wasmtime::Error| Unloadable::Type(format!("{error:#}"));
        let pre = link(&self.engine, world)
            .and_then(|linker| linker.instantiate_pre(component))
            .map_err(mismatch)?;
        let exports = exports(world.kind, pre.clone()).map_err(mismatch)?;
        Ok(Compiled {
            digest,
            world,
            plugin: bindings::DescribedPre::new(pre).map_err(mismatch)?,
            exports,
            weight,
            description: self.read_description(key),
        })
    }

    fn read_description(&self, key: Digest) -> Option<Description> {
        let text = self.disk.as_ref()?.read(key)?;
        serde_json::from_slice(&text).ok()
    }

    /// Stores a plugin's description of itself after it was checked.
    pub(crate) async fn keep_description(
        self: &Arc<Self>,
        digest: Digest,
        description: &Description,
    ) {
        let text = serde_json::to_vec(description).expect("texts and JSON are JSON");
        let store = Arc::clone(self);
        let work = move || {
            // Stored under the key of its code, so that writing one never evicts the other.
            let key = store.key(digest);
            store
                .disk
                .as_ref()
                .map_or(Ok(()), |disk| disk.write(key, &text))
        };
        // If the task did not run, the runtime is shutting down.
        if let Ok(Err(error)) = tokio::task::spawn_blocking(work).await {
            tracing::warn!(%error, "what a plugin says of itself cannot be cached, and is asked after a restart");
        }
    }

    /// Compiles into the cache in the compiler's process and loads the result. Returns `None` if that process does not work.
    fn compile_elsewhere(
        &self,
        key: Digest,
        bytes: &[u8],
    ) -> Result<Option<Component>, Unloadable> {
        let (Some(compiler), Some(_)) = (&self.compiler, &self.disk) else {
            return Ok(None);
        };
        match compiler.run(bytes) {
            // If it could not write, another process may have written the same component. If not, there is enough memory to
            // compile it here too, on one processor, and the result is kept while it is used.
            Ok(()) | Err(Failure::Unwritten) => {
                let cached = self.read_cached(key);
                if cached.is_none() {
                    tracing::warn!(
                        "what the compiler's process made is not in the cache; this one compiles, and may do so again after a restart"
                    );
                }
                Ok(cached)
            }
            Err(Failure::Component(reason)) => Err(reason),
            // What killed it would kill this process too.
            Err(Failure::Killed) => Err(Unloadable::Interrupted),
            // Here, nothing would limit it.
            Err(Failure::Ended(how)) => Err(Unloadable::Unfinished(how)),
            Err(Failure::Process(error)) => {
                tracing::warn!(%error, "the compiler's process does not work; this one compiles, and takes more memory");
                Ok(None)
            }
        }
    }

    /// Compiles a component and writes it to the cache on disk.
    pub(crate) fn compile_to_disk(&self, bytes: &[u8]) -> Result<(), CompileError> {
        let disk = self.disk.as_ref().ok_or(CompileError::NoCache)?;
        let failed = |error: wasmtime::Error| {
            let reason = format!("{error:#}");
            if is_out_of_memory(&error) {
                CompileError::Memory(reason)
            } else {
                CompileError::Component(reason)
            }
        };
        let component = Component::from_binary(&self.engine, bytes).map_err(failed)?;
        let native = component.serialize().map_err(failed)?;
        let key = self.key(Digest::of(bytes));
        disk.write_mapped(key, &native).map_err(CompileError::Write)
    }

    fn compile(&self, key: Digest, bytes: &[u8]) -> Result<Component, Unloadable> {
        let component = Component::from_binary(&self.engine, bytes).map_err(|error| {
            let reason = format!("{error:#}");
            if is_out_of_memory(&error) {
                Unloadable::Compile(reason)
            } else {
                Unloadable::Malformed(reason)
            }
        })?;
        if let Some(disk) = &self.disk
            && let Err(error) = native::write(disk, key, &component)
        {
            tracing::warn!(%error, "compiled code cannot be cached, and will be compiled again after a restart");
        }
        Ok(component)
    }

    fn read_cached(&self, key: Digest) -> Option<Component> {
        native::read(
            self.disk.as_ref()?,
            &self.engine,
            key,
            Path::new(native::DESCRIPTORS),
        )
    }

    /// Returns the key of compiled code: a digest of the component and of everything that affects the compiler's output.
    fn key(&self, digest: Digest) -> Digest {
        let mut engine = DefaultHasher::new();
        self.engine
            .precompile_compatibility_hash()
            .hash(&mut engine);
        Digester::new("compiled/v1")
            .part(digest.as_bytes())
            .part(engine.finish().to_be_bytes())
            .part(env!("CARGO_PKG_VERSION"))
            .finish()
    }
}

/// Returns whether there was not enough memory for the compiled component. The engine asks the system for some of that memory,
/// and reports a refusal as if the component were at fault.
fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    // Such an error may have a type that only the engine knows, but its text is the system's.
    let refused = io::Error::from(Errno::ENOMEM).to_string();
    error.is::<OutOfMemory>() || error.chain().any(|cause| cause.to_string() == refused)
}

/// Returns the weight of one instance if that is within the share of one plugin. Otherwise the plugin could never be called.
fn weight(component: &Component, most: Size) -> Result<u32, Unloadable> {
    // The requirements are unknown only for components that import modules, and no kind of plugin does.
    let size = component
        .resources_required()
        .map_or(Size::of_calls(0), |required| Size {
            memories: required.num_memories,
            tables: required.num_tables,
        });
    if size.calls() > most.calls() {
        return Err(Unloadable::TooLarge {
            memories: size.memories,
            most_memories: most.memories,
            tables: size.tables,
            most_tables: most.tables,
        });
    }
    Ok(size.calls())
}

fn exports(kind: Kind, pre: InstancePre<State>) -> wasmtime::Result<Exports> {
    Ok(match kind {
        Kind::Renderer => Exports::Renderer(RendersPre::new(pre)?),
        Kind::Policy => Exports::Policy(EvaluatesPre::new(pre)?),
        Kind::Health => Exports::Health(AssessesPre::new(pre)?),
        Kind::Notifier => Exports::Notifier(NotifiesPre::new(pre)?),
    })
}

/// Links what the kind's world contains and nothing else: what is not linked cannot be called.
fn link(engine: &Engine, world: World) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    for capability in world::capabilities(world.kind) {
        let l = &mut linker;
        match *capability {
            "types" => wit::types::add_to_linker::<_, HasSelf<State>>(l, |state| state)?,
            "log" => wit::log::add_to_linker::<_, HasSelf<State>>(l, |state| state)?,
            "tree" => wit::tree::add_to_linker::<_, HasSelf<State>>(l, |state| state)?,
            "context" => wit::context::add_to_linker::<_, HasSelf<State>>(l, |state| state)?,
            "arithmetic" => wit::arithmetic::add_to_linker::<_, HasSelf<State>>(l, |state| state)?,
            "cluster" => wit::cluster::add_to_linker::<_, HasSelf<State>>(l, |state| state)?,
            "plan" => wit::plan::add_to_linker::<_, HasSelf<State>>(l, |state| state)?,
            "http" => wit::http::add_to_linker::<_, HasSelf<State>>(l, |state| state)?,
            other => unreachable!("`{other}` is linked for no kind"),
        }
    }
    if world.wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    }
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    /// An empty component.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    /// The input for the store's compiler, which does not look at it.
    const SLOW: &[u8] = b"\0asm\x0d\0\x01\0slow";

    /// A script that reports each time that it begins, and ends when told to.
    const SCRIPT: &str = r#"echo begun >> "$0/begun"
        until test -e "$0/end"; do sleep 0.01; done
        echo "it is no component"; exit 1"#;

    fn store(folder: &Path) -> Arc<CompiledStore> {
        store_with(folder, SCRIPT)
    }

    /// Creates a store whose compiler is a script. `$0` is the folder.
    fn store_with(folder: &Path, script: &str) -> Arc<CompiledStore> {
        let compiler = Compiler {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into(), folder.into()],
            environment: Vec::new(),
            memory: None,
            time: Duration::from_mins(1),
        };
        let options = Options {
            cache: Some(folder.to_owned()),
            compiler: Some(compiler),
            is_pooled: false,
            ..Options::default()
        };
        let engine = engine::build(&options).unwrap();
        Arc::new(CompiledStore::new(engine, &options).unwrap())
    }

    async fn load(store: Arc<CompiledStore>, component: &'static [u8]) -> Result<(), Unloadable> {
        let bytes = Bytes::from_static(component);
        store.get(Digest::of(component), bytes).await.map(drop)
    }

    async fn begun(folder: &Path) {
        while !folder.join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn memory_that_runs_out_is_told_from_a_component_that_is_at_fault() {
        let refused = || wasmtime::Error::from(io::Error::from(Errno::ENOMEM));
        for error in [
            wasmtime::Error::from(OutOfMemory::new(1 << 20)),
            refused(),
            refused().context("mmap failed to allocate 0x100000 bytes"),
        ] {
            assert!(is_out_of_memory(&error), "{error:#}");
        }
        for error in [
            wasmtime::Error::from(io::Error::from(Errno::ENOSPC)),
            wasmtime::Error::msg("unexpected end of file"),
        ] {
            assert!(!is_out_of_memory(&error), "{error:#}");
        }
    }

    #[tokio::test]
    async fn what_is_on_the_disk_waits_for_no_compiler() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.compile_to_disk(EMPTY).unwrap();
        let compiling = tokio::spawn(load(Arc::clone(&store), SLOW));
        begun(folder.path()).await;
        // That it exports nothing becomes known when it is loaded.
        let loaded = load(store, EMPTY).await;
        assert!(
            matches!(loaded, Err(Unloadable::NoKind { .. })),
            "{loaded:?}"
        );
        assert!(!compiling.is_finished());
        fs::write(folder.path().join("end"), "").unwrap();
        let refused = Unloadable::Malformed("it is no component".to_owned());
        assert_eq!(compiling.await.unwrap(), Err(refused));
    }

    #[tokio::test]
    async fn what_does_not_compile_is_compiled_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        fs::write(folder.path().join("end"), "").unwrap();
        let refused: Result<(), _> = Err(Unloadable::Malformed("it is no component".to_owned()));
        let again = || load(Arc::clone(&store), SLOW);
        assert_eq!(
            tokio::join!(again(), again()),
            (refused.clone(), refused.clone())
        );
        assert_eq!(again().await, refused);
        let begun = fs::read_to_string(folder.path().join("begun")).unwrap();
        assert_eq!(begun.lines().count(), 1);
    }

    #[tokio::test]
    async fn what_the_compiler_could_not_write_is_loaded_if_another_process_has() {
        let folder = tempfile::tempdir().unwrap();
        let other = store(&folder.path().join("other"));
        let component = Component::from_binary(&other.engine, EMPTY).unwrap();
        // Without the cache, this would be compiled here, which fails in another way: it is not a component.
        let key = other.key(Digest::of(SLOW));
        native::write(other.disk.as_ref().unwrap(), key, &component).unwrap();
        let script = r#"cp "$0"/other/compiled/* "$0/compiled"; exit 5"#;
        let loaded = load(store_with(folder.path(), script), SLOW).await;
        assert!(
            matches!(loaded, Err(Unloadable::NoKind { .. })),
            "{loaded:?}"
        );
    }

    #[tokio::test]
    async fn where_the_compiler_cannot_write_this_process_compiles() {
        let folder = tempfile::tempdir().unwrap();
        let loaded = load(store_with(folder.path(), "exit 5"), EMPTY).await;
        assert!(
            matches!(loaded, Err(Unloadable::NoKind { .. })),
            "{loaded:?}"
        );
    }

    #[tokio::test]
    async fn a_compiler_whose_load_is_given_up_keeps_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let given_up = tokio::spawn(load(Arc::clone(&store), SLOW));
        begun(folder.path()).await;
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
        assert_eq!(store.compiling.available_permits(), 0);
        fs::write(folder.path().join("end"), "").unwrap();
        // The permit is returned when the compiler has ended.
        assert!(store.compiling.acquire().await.is_ok());
    }
}
