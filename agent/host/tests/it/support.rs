//! Shared test helpers: hosts, requests, and errors as a person would read them.

use std::{error::Error, path::PathBuf, sync::Arc};

use bytes::Bytes;
use pintle_core::{
    application::{Grants, Limits},
    digest::Digest,
    duration::Span,
    health::Assessment,
    object::ObjectId,
    plugin::{Fault, PluginError},
    readset::ReadSet,
    seed::Seed,
    tree::{Tree, memory::MemoryTree},
};
use pintle_host::{
    Context, Health, HealthRequest, Host, LoadRequest, Options, Plugin, RenderRequest, Renderer,
    Settings,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Returns the folder of compiled guests, which is kept between test runs. `cache.rs` tests the cache itself.
pub(crate) fn cache_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("host-cache")
}

fn host() -> Host {
    Host::new(Options {
        cache: Some(cache_folder()),
        ..Options::default()
    })
    .unwrap()
}

/// Returns one host for all tests that do not need their own, so that each guest is compiled only once. It keeps what it loads.
pub(crate) async fn shared() -> &'static Host {
    static HOST: OnceCell<Host> = OnceCell::const_new();
    static KEPT: OnceCell<Vec<Plugin>> = OnceCell::const_new();
    let host = HOST.get_or_init(async || host()).await;
    KEPT.get_or_init(async || {
        let mut kept = Vec::new();
        for (name, bytes) in [
            ("hostile", super::components::renderer()),
            ("telltale", super::components::policy()),
            ("messenger", super::components::notifier()),
        ] {
            kept.push(host.load(LoadRequest::new(name, bytes)).await.unwrap());
        }
        kept
    })
    .await;
    host
}

/// Returns limits small enough that tests need not wait, and large enough for a slow machine.
pub(crate) fn limits() -> Limits {
    Limits {
        time: Some(Span::seconds(20)),
        memory_mib: Some(32),
        output_mib: None,
    }
}

/// Loads a plugin on the shared host, without grants.
pub(crate) async fn load(name: &str, component: Bytes, limits: Limits) -> Plugin {
    load_granted(name, component, limits, Grants::default()).await
}

pub(crate) async fn load_granted(
    name: &str,
    component: Bytes,
    limits: Limits,
    grants: Grants,
) -> Plugin {
    let request = LoadRequest {
        limits,
        grants,
        ..LoadRequest::new(name, component)
    };
    shared().await.load(request).await.unwrap()
}

/// Returns the hostile renderer.
pub(crate) async fn hostile() -> Renderer {
    let bytes = super::components::renderer();
    load("hostile", bytes, limits()).await.renderer().unwrap()
}

pub(crate) fn mode(mode: &str) -> Settings {
    Settings::new(json!({"mode": mode}))
}

pub(crate) fn context() -> Context {
    Context {
        name: "web".into(),
        namespace: "shop".into(),
        kube_version: "v1.36.3".into(),
        api_versions: ["apps/v1", "v1"].map(str::to_owned).into(),
        revision: "0123abcd".into(),
        revision_time: 1_700_000_000,
    }
}

pub(crate) fn request(settings: Settings, tree: impl Tree + 'static) -> RenderRequest {
    RenderRequest {
        settings,
        tree: Arc::new(tree),
        inputs: Vec::new(),
        prior: ReadSet::default(),
        context: context(),
        seed: Seed::from_text("seed"),
        cluster: None,
    }
}

/// Assesses an object of the core group, without settings.
pub(crate) async fn assessed(
    health: &Health,
    kind: &str,
    object: &Value,
    now_ms: u64,
) -> Result<Assessment, PluginError> {
    let id = ObjectId {
        group: String::new(),
        kind: kind.to_owned(),
        namespace: Some("shop".to_owned()),
        name: "a".to_owned(),
    };
    let (settings, seed) = (Settings::default(), Seed::from_text("seed"));
    let request = HealthRequest {
        settings: &settings,
        id: &id,
        object,
        seed: &seed,
        now_ms,
    };
    health.assess(request).await
}

/// Renders in a mode and returns the error.
pub(crate) async fn failure(renderer: &Renderer, mode: &str) -> PluginError {
    let tree = MemoryTree::new([("large.txt", vec![b'x'; 1 << 20])]);
    renderer
        .render(request(self::mode(mode), tree))
        .await
        .unwrap_err()
}

/// Returns the answer of the `script` mode.
pub(crate) async fn script(renderer: &Renderer, script: &str, tree: MemoryTree) -> String {
    let settings = Settings::new(json!({"mode": "script", "script": script}));
    let rendering = renderer.render(request(settings, tree)).await.unwrap();
    text_of(rendering.objects[0].object.value())
}

pub(crate) fn text_of(object: &Value) -> String {
    object["data"]["text"].as_str().unwrap().to_owned()
}

/// Returns an error with its causes as they are shown, without the digest of the component.
pub(crate) fn told(error: &dyn Error, component: &Bytes) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.replace(&Digest::of(component).to_string(), "sha256:…")
}

/// Returns the fault of a failed call.
pub(crate) fn fault(error: &PluginError) -> &Fault {
    &error.fault
}

/// Checks that a renderer still works: a broken call harms no other call.
pub(crate) async fn works(renderer: &Renderer) {
    let answer = script(renderer, "read a.txt", MemoryTree::new([("a.txt", "fine")])).await;
    assert_eq!(answer, r#"read a.txt = Ok("fine")"#);
}
