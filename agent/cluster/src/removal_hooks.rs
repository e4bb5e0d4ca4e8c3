//! Hooks for the removal of an application, kept until then: the source may be gone when they are needed.
//!
//! They are kept in a Secret, because a hook's content may be secret. The removal asks no policy, so only what was in an approved
//! plan is kept.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use pintle_core::{
    check::Approved,
    digest::{Digest, Digester},
    hook::Hook,
    inventory::Entry,
    names::PINTLE_MANAGER,
    object::{Object, ObjectId},
    plan::Change,
    problem::Position,
    prune::{self, ProtectedKind, Wish},
    rendered::RenderedObject,
    seed::Seed,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    connection::Connection,
    discovery::ResourceType,
    objects::{JSON, Preconditions},
    prepare::{Prepared, PreparedObject},
    release::Release,
    request::{Call, RequestError},
};

const KEY: &str = "hooks.json";

/// The version of the digest. Before the second version, agents kept these hooks without showing them to a policy: what such an
/// agent kept never matches what is wanted, so it is included in the next plan.
const FORMAT: &str = "removal-hooks/v2";

/// The hooks that were kept for the removal of an application.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RemovalHooks {
    /// The hooks as they were last applied.
    pub objects: Vec<RenderedObject>,
    /// Whether policies never saw them in a plan, because an earlier version kept them.
    pub are_unseen: bool,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    object: Value,
    hook: Hook,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Position>,
    /// Whether it was in a plan that policies see. Earlier versions do not write this field.
    #[serde(default)]
    seen: bool,
    /// Whether what it creates stays until its deletion is explicitly allowed. Earlier versions do not write this field.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    keep: bool,
}

impl Kept {
    /// Returns what a plan keeps; `None` for everything else in the plan.
    fn of(change: &Change, prepared: &Prepared) -> Option<Self> {
        let hook = change.for_removal.as_deref()?;
        let desired = change.desired.as_ref()?;
        let is_it = |object: &&PreparedObject| Arc::ptr_eq(&object.object, desired);
        let prepared = prepared.hooks().iter().find(is_it);
        Some(Self {
            object: desired.value().clone(),
            hook: hook.clone(),
            source: change.source.clone(),
            seen: true,
            keep: prepared.is_some_and(|object| object.keep),
        })
    }

    fn named(&self) -> Named<'_> {
        (&self.object, &self.hook, self.keep)
    }
}

/// What identifies a kept hook: its object, when it runs, and whether what it creates stays.
type Named<'a> = (&'a Value, &'a Hook, bool);

/// Returns the digest of the hooks of a render that run at the removal; `None` if there are none.
pub(crate) fn digest(release: &Release, prepared: &Prepared) -> Option<Digest> {
    let hooks = prepared.hooks().iter().filter_map(|object| {
        let hook = object.hook.as_ref()?;
        let named = || (object.object.value(), hook, object.keep);
        hook.is_for_removal().then(named)
    });
    digest_of(hooks, &release.seed)
}

/// Returns the digest of hooks. Neither their order nor where they are written counts: a comment above one is no reason to keep
/// it again.
fn digest_of<'a>(hooks: impl Iterator<Item = Named<'a>>, seed: &Seed) -> Option<Digest> {
    // Keyed, so that a status reveals nothing that may be secret.
    let concealed = |(object, hook, keep): Named<'a>| {
        let mut named = json!({ "object": object, "hook": hook });
        if keep {
            // Only then, so that other hooks that an earlier version kept still match what is wanted.
            named["keep"] = Value::Bool(true);
        }
        seed.conceal(&named).to_string()
    };
    let mut texts: Vec<String> = hooks.map(concealed).collect();
    if texts.is_empty() {
        return None;
    }
    texts.sort();
    let digest = texts.iter().fold(Digester::new(FORMAT), Digester::part);
    Some(digest.finish())
}

/// Keeps the removal hooks of an approved plan. If they are the hooks that `kept` already names, no plan has them and nothing is
/// sent.
///
/// Returns the digest of what is kept; `None` if there are none.
pub(crate) async fn keep(
    connection: &Connection,
    release: &Release,
    prepared: &Prepared,
    approved: &Approved,
    kept: Option<Digest>,
) -> Result<Option<Digest>, (ObjectId, RequestError)> {
    let hooks: Vec<Kept> = approved
        .plan()
        .changes()
        .iter()
        .filter_map(|change| Kept::of(change, prepared))
        .collect();
    let planned = digest_of(hooks.iter().map(Kept::named), &release.seed);
    let id = id(release);
    let result = match planned {
        Some(digest) => write(connection, &id, &hooks).await.map(|()| Some(digest)),
        None if kept.is_some() && digest(release, prepared).is_none() => {
            forget(connection, release).await.map(|()| None)
        }
        None => Ok(kept),
    };
    result.map_err(|error| (id, error))
}

async fn write(connection: &Connection, id: &ObjectId, hooks: &[Kept]) -> Result<(), RequestError> {
    let text = serde_json::to_string(hooks).expect("hooks are plain data");
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
        let call = call
            .query("fieldManager", PINTLE_MANAGER)
            .body(JSON, &secret);
        async move { connection.call(&call).await.map(|_| ()) }
    };
    match send(make).await {
        Err(error) if error.is_conflict() => send(change).await,
        result => result,
    }
}

/// Reads the hooks that are kept for a release; `None` if the Secret is gone or holds something else.
pub(crate) async fn load(
    connection: &Connection,
    release: &Release,
) -> Result<Option<RemovalHooks>, RequestError> {
    let secret = connection
        .read(&ResourceType::secrets(), &id(release))
        .await?;
    Ok(secret.and_then(|secret| read(&secret)))
}

fn read(secret: &Value) -> Option<RemovalHooks> {
    let bytes = STANDARD.decode(secret["data"][KEY].as_str()?).ok()?;
    let kept: Vec<Kept> = serde_json::from_slice(&bytes).ok()?;
    let are_unseen = kept.iter().any(|kept| !kept.seen);
    let object = |kept: Kept| {
        Some(RenderedObject {
            object: Object::new(kept.object).ok()?,
            source: kept.source,
            hook: Some(kept.hook),
            keep: kept.keep,
        })
    };
    let objects = kept.into_iter().map(object).collect::<Option<_>>()?;
    Some(RemovalHooks {
        objects,
        are_unseen,
    })
}

/// Returns why what a hook creates stays when the application is removed; `None` if it is deleted.
pub(crate) fn reason_to_stay(release: &Release, object: &PreparedObject) -> Option<String> {
    let entry = Entry {
        keep: object.keep,
        ..Entry::intended(object.id(), object.object.version())
    };
    let wish = Wish::of(object.object.value());
    prune::reason_to_keep(&entry, object.id(), &release.prune, wish)
}

/// Returns whether an object is created by hooks of the removal and is deleted once all of them have run. It is deleted last
/// because others may need it, and because it is not created again if the removal is retried.
pub(crate) fn goes_last(release: &Release, prepared: &Prepared, id: &ObjectId) -> bool {
    let goes =
        |object: &PreparedObject| object.id() == id && reason_to_stay(release, object).is_none();
    release.is_removal() && !ProtectedKind::outlives_hooks(id) && prepared.hooks().iter().any(goes)
}

/// Deletes what is kept for a release. It is not an error if there is nothing.
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

#[cfg(test)]
mod tests {
    use pintle_core::{
        hook::HookEvent,
        names::ApplicationName,
        plan::{Action, Depth, Plan},
        rendered::Rendered,
    };

    use super::*;
    use crate::{discovery::tests::kinds, prepare::prepare};

    fn release() -> Release {
        Release::new(ApplicationName::new("shop", "web"), Seed::from_text("s"))
    }

    fn hook(name: &str, value: &str, event: HookEvent, line: u32) -> RenderedObject {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": value}});
        RenderedObject {
            object: Object::new(object).unwrap(),
            source: Some(Position {
                file: "all.yaml".into(),
                line,
                column: 1,
            }),
            hook: Some(Hook {
                events: [event].into(),
                ..Hook::default()
            }),
            keep: false,
        }
    }

    fn prepared(hooks: Vec<RenderedObject>) -> Prepared {
        let rendered = Rendered::new(hooks, None, Vec::new(), &release().seed).unwrap();
        prepare(&rendered, &release(), &Arc::new(kinds())).unwrap()
    }

    #[test]
    fn what_runs_at_the_removal_counts_and_where_it_is_written_does_not() {
        use HookEvent::{PostDelete, PreDelete, PreInstall};
        let digest = |hooks: Vec<RenderedObject>| digest(&release(), &prepared(hooks));
        let save = || hook("save", "1", PreDelete, 1);
        assert_eq!(digest(vec![hook("migrate", "1", PreInstall, 1)]), None);
        let one = digest(vec![save()]);
        assert!(one.is_some());
        assert_eq!(digest(vec![hook("save", "1", PreDelete, 9)]), one);
        let with_another = vec![hook("migrate", "1", PreInstall, 1), save()];
        assert_eq!(digest(with_another), one);
        assert_ne!(digest(vec![hook("save", "2", PreDelete, 1)]), one);
        let stays = RenderedObject {
            keep: true,
            ..save()
        };
        assert_ne!(digest(vec![stays]), one);
        assert_ne!(digest(vec![hook("save", "1", PostDelete, 1)]), one);
        assert_ne!(digest(vec![save(), hook("bye", "1", PostDelete, 1)]), one);
    }

    #[test]
    fn of_a_plan_only_what_it_keeps_is_kept_and_named_as_in_the_render() {
        let save = RenderedObject {
            keep: true,
            ..hook("save", "1", HookEvent::PreDelete, 5)
        };
        let prepared = prepared(vec![hook("migrate", "1", HookEvent::PreInstall, 1), save]);
        let changes = prepared.hooks().iter().map(|object| {
            let hook = object.hook.clone().unwrap();
            Change {
                id: object.id().clone(),
                version: "v1".into(),
                action: Action::Create,
                desired: Some(Arc::clone(&object.object)),
                live: None,
                before: Value::Null,
                after: Value::Null,
                source: object.source.clone(),
                hook: hook.events.clone(),
                for_removal: hook.is_for_removal().then(|| Box::new(hook)),
                conflicts: Vec::new(),
            }
        });
        let plan = Plan::new(Depth::Local, changes.collect(), &release().seed);
        let of = |change| Kept::of(change, &prepared);
        let kept: Vec<Kept> = plan.changes().iter().filter_map(of).collect();
        assert_eq!(
            digest_of(kept.iter().map(Kept::named), &release().seed),
            digest(&release(), &prepared)
        );
        let secret = |kept: &Value| json!({"data": {KEY: STANDARD.encode(kept.to_string())}});
        let mut stored = serde_json::to_value(&kept).unwrap();
        let found = read(&secret(&stored)).unwrap();
        assert_eq!(found.objects.len(), 1);
        assert_eq!(found.objects[0].object, *prepared.hooks()[1].object);
        assert!(found.objects[0].keep);
        assert!(!found.are_unseen);
        // What an earlier version has written.
        let fields = stored[0].as_object_mut().unwrap();
        fields.retain(|name, _| name != "seen" && name != "keep");
        let earlier = read(&secret(&stored)).unwrap();
        assert!(earlier.are_unseen && !earlier.objects[0].keep);
    }
}
