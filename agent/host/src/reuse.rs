//! Renders that are kept, and reused while nothing that they read has changed.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use pintle_core::{
    digest::{Digest, Digester},
    hook::Hook,
    object::Object,
    problem::{Position, Problem},
    readset::{Facts, Question, ReadSet},
    rendered::{RenderedObject, render_key},
    tree::Tree,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    HostError, capability::context::SEED, disk::SealedFolder, renderer::Rendering,
    settings::Settings,
};

/// Renders kept for one use: the last, and those before it, to which a revert comes back.
const GENERATIONS: usize = 3;

/// How much a [`RenderCache`] keeps.
#[derive(Debug, Clone)]
pub struct RenderCacheOptions {
    /// Most bytes of renders in memory, as JSON text. 32 MiB by default.
    pub memory_bytes: u64,
    /// Folder for renders, made if there is none. Without it a restart renders anew.
    pub disk: Option<PathBuf>,
    /// Most bytes of renders on disk. 256 MiB by default.
    pub disk_bytes: u64,
}

impl Default for RenderCacheOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 32 << 20,
            disk: None,
            disk_bytes: 256 << 20,
        }
    }
}

/// What a render is of: two renders with equal uses differ only by what they read.
#[derive(Debug, Clone, Copy)]
pub struct RenderUse<'a> {
    /// Digest of the renderer's component.
    pub component: Digest,
    /// The merged settings.
    pub settings: &'a Settings,
    /// Where it is used: the application, and the source and folder that it renders.
    pub scope: &'a str,
}

impl RenderUse<'_> {
    fn key(&self) -> Digest {
        Digester::new("render-use/v1")
            .part(self.component.as_bytes())
            .part(self.settings.text())
            .part(self.scope)
            .finish()
    }
}

/// A render that is kept. Cheap to clone; the objects are read back only when asked for.
#[derive(Debug, Clone)]
pub struct KeptRender {
    key: Digest,
    reads: Arc<ReadSet>,
    body: Arc<[u8]>,
}

impl KeptRender {
    /// Returns the render key: equal keys, equal objects.
    pub fn key(&self) -> Digest {
        self.key
    }

    /// Returns what the render read.
    pub fn reads(&self) -> &ReadSet {
        &self.reads
    }

    /// Reads the rendering back.
    ///
    /// # Panics
    ///
    /// Never: it was read back once before it was kept.
    pub fn rendering(&self) -> Rendering {
        decode(&self.body, &self.reads).expect("read back once before it was kept")
    }

    fn size(&self) -> u64 {
        /// Bytes of one question and its answer, roughly.
        const QUESTION: usize = 128;
        (self.body.len() + self.reads.len() * QUESTION) as u64
    }
}

/// Keeps renders by what they are of, and gives back the one whose reads all have the answers that they had.
///
/// Renders are kept in memory, and on disk if a folder is given. On disk there is never one that holds a Secret, that was
/// given bytes of the application's seed, or that read a Secret from the cluster.
#[derive(Debug)]
pub struct RenderCache {
    memory: Mutex<Memory>,
    limit: u64,
    disk: Option<SealedFolder>,
}

#[derive(Debug, Default)]
struct Memory {
    uses: HashMap<Digest, Generations>,
    bytes: u64,
    clock: u64,
}

#[derive(Debug, Default)]
struct Generations {
    /// The newest first.
    renders: Vec<KeptRender>,
    used: u64,
}

impl RenderCache {
    /// Makes a cache.
    pub fn new(options: RenderCacheOptions) -> Result<Self, HostError> {
        let open = |path: PathBuf| {
            SealedFolder::open(&path, options.disk_bytes)
                .map_err(|source| HostError::Cache { path, source })
        };
        Ok(Self {
            memory: Mutex::default(),
            limit: options.memory_bytes,
            disk: options.disk.map(open).transpose()?,
        })
    }

    /// Finds a render that still stands: every question that it asked has the answer that it had.
    ///
    /// Asks `tree` for object ids, not for contents. Reads a small file if the render is only on disk.
    pub fn find(
        &self,
        of: &RenderUse<'_>,
        tree: &dyn Tree,
        facts: &dyn Facts,
    ) -> Option<KeptRender> {
        let key = of.key();
        let candidates = self.candidates(key);
        let stands = |render: &KeptRender| render.reads.first_change(tree, facts).is_none();
        if let Some(found) = candidates.iter().find(|render| stands(render)) {
            return Some(found.clone());
        }
        // What is on disk was in memory too, unless this process has not seen it yet.
        if !candidates.is_empty() {
            return None;
        }
        let render = self.read_kept(of, key)?;
        self.remember(key, render.clone());
        stands(&render).then_some(render)
    }

    /// Keeps a render. Gives nothing if it cannot be kept without change, which its numbers may prevent.
    pub fn keep(&self, of: &RenderUse<'_>, rendering: &Rendering) -> Option<KeptRender> {
        let body = encode(rendering)?;
        // Decimal fractions need not survive being written and read; a render that changes on the way is not the same.
        if decode(&body, &rendering.reads).as_ref() != Some(rendering) {
            return None;
        }
        let render = KeptRender {
            key: render_key(of.component, of.settings.value(), &rendering.reads),
            reads: Arc::new(rendering.reads.clone()),
            body: body.into(),
        };
        let key = of.key();
        self.remember(key, render.clone());
        if let Some(disk) = &self.disk {
            if is_secret(rendering) {
                disk.forget(key);
            } else if let Err(error) = write_kept(disk, key, &render) {
                tracing::warn!(%error, "a render cannot be kept on disk, and is made again after a restart");
            }
        }
        Some(render)
    }

    fn candidates(&self, key: Digest) -> Vec<KeptRender> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.clock += 1;
        let clock = memory.clock;
        memory
            .uses
            .get_mut(&key)
            .map_or_else(Vec::new, |generations| {
                generations.used = clock;
                generations.renders.clone()
            })
    }

    fn remember(&self, key: Digest, render: KeptRender) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.clock += 1;
        let clock = memory.clock;
        let generations = memory.uses.entry(key).or_default();
        generations.used = clock;
        let before: u64 = generations.renders.iter().map(KeptRender::size).sum();
        generations.renders.retain(|old| old.key != render.key);
        generations.renders.insert(0, render);
        generations.renders.truncate(GENERATIONS);
        let after: u64 = generations.renders.iter().map(KeptRender::size).sum();
        memory.bytes = memory.bytes - before + after;
        while memory.bytes > self.limit {
            let oldest = memory
                .uses
                .iter()
                .min_by_key(|(_, generations)| generations.used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                break;
            };
            if let Some(gone) = memory.uses.remove(&oldest) {
                memory.bytes -= gone.renders.iter().map(KeptRender::size).sum::<u64>();
            }
        }
    }

    fn read_kept(&self, of: &RenderUse<'_>, key: Digest) -> Option<KeptRender> {
        let content = self.disk.as_ref()?.read(key)?;
        let end = content.iter().position(|byte| *byte == b'\n')?;
        let reads: ReadSet = serde_json::from_slice(&content[..end]).ok()?;
        let body = &content[end + 1..];
        decode(body, &reads)?;
        Some(KeptRender {
            key: render_key(of.component, of.settings.value(), &reads),
            reads: Arc::new(reads),
            body: body.into(),
        })
    }
}

/// Writes a render: its reads on one line, and then itself.
fn write_kept(disk: &SealedFolder, key: Digest, render: &KeptRender) -> std::io::Result<()> {
    let mut content = serde_json::to_vec(render.reads.as_ref())?;
    content.push(b'\n');
    content.extend_from_slice(&render.body);
    disk.write(key, &content)
}

/// Says whether a render must not be written to disk.
fn is_secret(rendering: &Rendering) -> bool {
    rendering
        .objects
        .iter()
        .any(|object| object.object.id().is_secret())
        || rendering.reads.questions().any(|question| match question {
            Question::Context(fact) => fact == SEED,
            Question::Cluster(what) => what.starts_with("v1/Secret "),
            _ => false,
        })
}

#[derive(Serialize, Deserialize)]
struct Stored {
    objects: Vec<StoredObject>,
    notes: Option<String>,
    warnings: Vec<Problem>,
}

#[derive(Serialize, Deserialize)]
struct StoredObject {
    object: Value,
    source: Option<Position>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hook: Option<Hook>,
    #[serde(default)]
    keep: bool,
}

fn encode(rendering: &Rendering) -> Option<Vec<u8>> {
    let object = |rendered: &RenderedObject| StoredObject {
        object: rendered.object.value().clone(),
        source: rendered.source.clone(),
        hook: rendered.hook.clone(),
        keep: rendered.keep,
    };
    let stored = Stored {
        objects: rendering.objects.iter().map(object).collect(),
        notes: rendering.notes.clone(),
        warnings: rendering.warnings.clone(),
    };
    serde_json::to_vec(&stored).ok()
}

fn decode(body: &[u8], reads: &ReadSet) -> Option<Rendering> {
    let stored: Stored = serde_json::from_slice(body).ok()?;
    let object = |stored: StoredObject| {
        Some(RenderedObject {
            object: Object::new(stored.object).ok()?,
            source: stored.source,
            hook: stored.hook,
            keep: stored.keep,
        })
    };
    Some(Rendering {
        objects: stored
            .objects
            .into_iter()
            .map(object)
            .collect::<Option<_>>()?,
        notes: stored.notes,
        warnings: stored.warnings,
        reads: reads.clone(),
    })
}

#[cfg(test)]
mod tests {
    use pintle_core::{
        hook::{HookDeletion, HookEvent},
        readset,
        tree::{TreePath, memory::MemoryTree},
    };
    use serde_json::json;

    use super::*;

    struct NoFacts;

    impl Facts for NoFacts {
        fn answer(&self, _: &Question) -> Option<Digest> {
            None
        }
    }

    struct AllFacts;

    impl Facts for AllFacts {
        fn answer(&self, _: &Question) -> Option<Digest> {
            Some(Digest::of("fact"))
        }
    }

    fn tree(content: &str) -> MemoryTree {
        MemoryTree::new([("a.yaml", content), ("unread", content)])
    }

    /// What a renderer would make that reads one file and puts its text into an object.
    fn render(kind: &str, content: &str, question: Option<Question>) -> Rendering {
        let path = TreePath::parse("a.yaml").unwrap();
        let mut reads = ReadSet::default();
        reads.record(
            Question::Read("a.yaml".into()),
            readset::read_answer(&tree(content).stat(&path)),
        );
        if let Some(question) = question {
            reads.record(question, Digest::of("fact"));
        }
        let object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}, "data": {"text": content}});
        Rendering {
            objects: vec![RenderedObject {
                object: Object::new(object).unwrap(),
                source: None,
                hook: Some(Hook {
                    events: [HookEvent::PreUpgrade].into(),
                    weight: 3,
                    deletion: [HookDeletion::Succeeded].into(),
                    ..Hook::default()
                }),
                keep: true,
            }],
            notes: Some("notes".into()),
            warnings: vec![Problem::new("careful")],
            reads,
        }
    }

    fn settings() -> Settings {
        Settings::new(json!({"a": 1}))
    }

    fn of<'a>(settings: &'a Settings, scope: &'a str) -> RenderUse<'a> {
        RenderUse {
            component: Digest::of("component"),
            settings,
            scope,
        }
    }

    fn cache(memory_bytes: u64, disk: Option<PathBuf>) -> RenderCache {
        RenderCache::new(RenderCacheOptions {
            memory_bytes,
            disk,
            ..RenderCacheOptions::default()
        })
        .unwrap()
    }

    #[test]
    fn stands_until_what_it_read_changes_and_again_when_it_changes_back() {
        let (cache, settings) = (cache(1 << 20, None), settings());
        let of = of(&settings, "shop/web");
        assert!(cache.find(&of, &tree("1"), &NoFacts).is_none());
        let (one, two) = (
            render("ConfigMap", "1", None),
            render("ConfigMap", "2", None),
        );
        let first = cache.keep(&of, &one).unwrap();
        assert_eq!(
            cache.find(&of, &tree("1"), &NoFacts).unwrap().rendering(),
            one
        );
        assert!(cache.find(&of, &tree("2"), &NoFacts).is_none());
        assert_ne!(cache.keep(&of, &two).unwrap().key(), first.key());
        assert_eq!(
            cache.find(&of, &tree("2"), &NoFacts).unwrap().rendering(),
            two
        );
        assert_eq!(
            cache.find(&of, &tree("1"), &NoFacts).unwrap().rendering(),
            one,
            "reverted"
        );
    }

    #[test]
    fn belongs_to_one_component_settings_and_scope() {
        let (cache, settings) = (cache(1 << 20, None), settings());
        cache
            .keep(&of(&settings, "shop/web"), &render("ConfigMap", "1", None))
            .unwrap();
        let other = Settings::new(json!({"a": 2}));
        assert!(
            cache
                .find(&of(&settings, "shop/api"), &tree("1"), &NoFacts)
                .is_none()
        );
        assert!(
            cache
                .find(&of(&other, "shop/web"), &tree("1"), &NoFacts)
                .is_none()
        );
        let component = RenderUse {
            component: Digest::of("other"),
            ..of(&settings, "shop/web")
        };
        assert!(cache.find(&component, &tree("1"), &NoFacts).is_none());
    }

    #[test]
    fn memory_is_bounded_by_forgetting_what_was_used_longest_ago() {
        let settings = settings();
        let size = cache(1 << 20, None)
            .keep(&of(&settings, "a"), &render("ConfigMap", "1", None))
            .unwrap()
            .size();
        let cache = cache(2 * size, None);
        let find = |scope| {
            cache
                .find(&of(&settings, scope), &tree("1"), &NoFacts)
                .is_some()
        };
        for scope in ["a", "b"] {
            cache
                .keep(&of(&settings, scope), &render("ConfigMap", "1", None))
                .unwrap();
        }
        assert!(find("a"));
        cache
            .keep(&of(&settings, "c"), &render("ConfigMap", "1", None))
            .unwrap();
        assert_eq!([find("a"), find("b"), find("c")], [true, false, true]);
    }

    #[test]
    fn survives_a_restart_on_disk() {
        let (root, settings) = (tempfile::tempdir().unwrap(), settings());
        let of = of(&settings, "shop/web");
        let one = render("ConfigMap", "1", None);
        let kept = cache(1 << 20, Some(root.path().join("r")))
            .keep(&of, &one)
            .unwrap();
        let again = cache(1 << 20, Some(root.path().join("r")));
        assert!(again.find(&of, &tree("2"), &NoFacts).is_none());
        let found = again.find(&of, &tree("1"), &NoFacts).unwrap();
        assert_eq!((found.key(), found.rendering()), (kept.key(), one));
    }

    #[test]
    fn secrets_never_reach_the_disk() {
        let (root, settings) = (tempfile::tempdir().unwrap(), settings());
        let folder = root.path().join("r");
        let cache = cache(1 << 20, Some(folder.clone()));
        let of = of(&settings, "shop/web");
        let files = || std::fs::read_dir(&folder).unwrap().count();
        cache.keep(&of, &render("ConfigMap", "1", None)).unwrap();
        assert_eq!(files(), 1);
        let secret = [
            render("Secret", "hunter2", None),
            render("ConfigMap", "hunter2", Some(Question::Context(SEED.into()))),
            render(
                "ConfigMap",
                "hunter2",
                Some(Question::Cluster("v1/Secret shop/db".into())),
            ),
        ];
        for rendering in secret {
            cache.keep(&of, &rendering).unwrap();
            assert_eq!(files(), 0, "and the one before is stale");
            assert!(
                cache.find(&of, &tree("hunter2"), &AllFacts).is_some(),
                "memory has it"
            );
        }
    }

    #[test]
    fn only_what_is_read_back_unchanged_is_kept() {
        let (cache, settings) = (cache(1 << 20, None), settings());
        let mut rendering = render("ConfigMap", "1", None);
        rendering.objects[0].object = Object::new(json!({
            "apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "spec": {"n": 0.1, "big": u64::MAX, "whole": 3.0}
        }))
        .unwrap();
        let kept = cache.keep(&of(&settings, "a"), &rendering).unwrap();
        assert_eq!(kept.rendering(), rendering);
    }
}
