//! Hooks for the removal of an application, kept until then: the source may be gone when they are needed.
//!
//! They are in a Secret, because what a hook is made of may be secret.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use pintle_core::{
    digest::Digest,
    hook::{Hook, HookEvent},
    object::{Object, ObjectId},
    problem::Position,
    rendered::RenderedObject,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    connection::Connection,
    discovery::ResourceType,
    objects::{JSON, Preconditions},
    prepare::Prepared,
    release::Release,
    request::{Call, RequestError},
};

const KEY: &str = "hooks.json";

#[derive(Serialize, Deserialize)]
struct Kept {
    object: Value,
    hook: Hook,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Position>,
}

/// Keeps the hooks of a render that run at the removal. Nothing is sent if they are those that `kept` names.
///
/// Returns the digest of what is kept; nothing if there are none.
pub(crate) async fn keep(
    connection: &Connection,
    release: &Release,
    prepared: &Prepared,
    kept: Option<Digest>,
) -> Result<Option<Digest>, (ObjectId, RequestError)> {
    let hooks: Vec<Kept> = prepared
        .hooks()
        .iter()
        .filter_map(|object| {
            let hook = object.hook.clone()?;
            let at_removal = [HookEvent::PreDelete, HookEvent::PostDelete];
            let is_one = at_removal.iter().any(|event| hook.events.contains(event));
            is_one.then(|| Kept {
                object: object.object.value().clone(),
                hook,
                source: object.source.clone(),
            })
        })
        .collect();
    let id = id(release);
    if hooks.is_empty() {
        if kept.is_some() {
            let deleted = connection
                .delete_object(&ResourceType::secrets(), &id, &Preconditions::default())
                .await;
            deleted.map_err(|error| (id, error))?;
        }
        return Ok(None);
    }
    let text = serde_json::to_string(&hooks).expect("hooks are plain data");
    // Keyed, so that a status tells nothing about what may be secret.
    let digest = Digest::of(
        release
            .seed
            .conceal(&Value::String(text.clone()))
            .to_string(),
    );
    if kept != Some(digest) {
        write(connection, &id, &text)
            .await
            .map_err(|error| (id, error))?;
    }
    Ok(Some(digest))
}

async fn write(connection: &Connection, id: &ObjectId, text: &str) -> Result<(), RequestError> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "pintle.dev/hooks",
        "metadata": {
            "name": id.name, "namespace": id.namespace,
            "labels": {"app.kubernetes.io/managed-by": "pintle"},
        },
        "data": {KEY: STANDARD.encode(text)},
    });
    let make = Call::new(
        Method::POST,
        ResourceType::secrets().path(id.namespace.as_deref(), None),
    );
    let change = Call::new(Method::PUT, ResourceType::secrets().path_of(id));
    let send = |call: Call| {
        let call = call.query("fieldManager", "pintle").body(JSON, &secret);
        async move { connection.call(&call).await.map(|_| ()) }
    };
    match send(make).await {
        Err(error) if error.is_conflict() => send(change).await,
        result => result,
    }
}

/// Reads the hooks that are kept for a release; none if the Secret is gone or holds something else.
pub(crate) async fn load(
    connection: &Connection,
    release: &Release,
) -> Result<Option<Vec<RenderedObject>>, RequestError> {
    let secret = connection
        .read(&ResourceType::secrets(), &id(release))
        .await?;
    Ok(secret.and_then(|secret| read(&secret)))
}

fn read(secret: &Value) -> Option<Vec<RenderedObject>> {
    let bytes = STANDARD.decode(secret["data"][KEY].as_str()?).ok()?;
    let kept: Vec<Kept> = serde_json::from_slice(&bytes).ok()?;
    let object = |kept: Kept| {
        Some(RenderedObject {
            object: Object::new(kept.object).ok()?,
            source: kept.source,
            hook: Some(kept.hook),
            keep: false,
        })
    };
    kept.into_iter().map(object).collect()
}

/// Deletes what is kept for a release. That there is nothing is no error.
pub(crate) async fn forget(connection: &Connection, release: &Release) -> Result<(), RequestError> {
    let deleted = connection
        .delete_object(
            &ResourceType::secrets(),
            &id(release),
            &Preconditions::default(),
        )
        .await;
    deleted.map(|_| ())
}

fn id(release: &Release) -> ObjectId {
    let name = &release.application;
    let (namespace, name) = match &release.hooks_namespace {
        Some(namespace) => (namespace, format!("pintle-hooks.{}", name.label_value())),
        None => (&name.namespace, format!("pintle-hooks.{}", name.name)),
    };
    ResourceType::secrets().id(namespace, name)
}
