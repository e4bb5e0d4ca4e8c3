//! Rendered objects made ready for one cluster: sets namespaces and labels, and removes what only servers write.

mod secret;

use std::{collections::BTreeSet, sync::Arc};

use pintle_core::{
    digest::Digest,
    hook::{Hook, HookEvent},
    names::{APPLICATION_LABEL, DESIRED_ANNOTATION},
    object::{Object, ObjectId},
    order::{Item, LinkError, Links, Order, OrderError},
    problem::Position,
    rendered::{DuplicateObject, Rendered, RenderedObject},
};
use serde_json::Value;

pub use self::secret::NotText;
use self::secret::without_write_only_fields;
use crate::{
    discovery::{Kinds, ResourceType, UnknownKind, types_of_definition},
    release::Release,
    request::RequestError,
};

/// One object, ready to be planned.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedObject {
    /// The object, with label and namespace.
    pub object: Arc<Object>,
    /// Its digest, with the data of a Secret concealed.
    pub desired: Digest,
    /// The resource to which it is sent.
    pub resource: ResourceType,
    /// Where it is written in the source.
    pub source: Option<Position>,
    /// What makes it a hook; absent for objects that are in the cluster for as long as the source has them.
    pub hook: Option<Hook>,
    /// Whether it stays when it leaves the source, until its deletion is explicitly allowed.
    pub keep: bool,
}

impl PreparedObject {
    /// Returns the identity.
    pub fn id(&self) -> &ObjectId {
        self.object.id()
    }

    /// Returns whether it is a hook of an event.
    pub(crate) fn is_hook_of(&self, event: HookEvent) -> bool {
        let hook = self.hook.as_ref();
        hook.is_some_and(|hook| hook.events.contains(&event))
    }
}

/// Returns an object with the annotation that names its digest.
pub(crate) fn payload(object: &Object, desired: Digest) -> Value {
    annotated(object, DESIRED_ANNOTATION, desired)
}

/// Returns an object with an annotation.
pub(crate) fn annotated(object: &Object, annotation: &str, digest: Digest) -> Value {
    let mut value = object.value().clone();
    let annotations = &mut value["metadata"]["annotations"];
    if annotations.is_null() {
        *annotations = Value::Object(serde_json::Map::new());
    }
    annotations[annotation] = Value::String(digest.to_string());
    value
}

/// All objects of a render, ready to be planned, in order of identity.
#[derive(Debug, Clone)]
pub struct Prepared {
    objects: Vec<PreparedObject>,
    hooks: Vec<PreparedObject>,
    rendered: Digest,
    digest: Digest,
    kinds: Arc<Kinds>,
    coming: BTreeSet<ResourceType>,
    order: Order,
}

impl Prepared {
    /// Returns the objects.
    pub fn objects(&self) -> &[PreparedObject] {
        &self.objects
    }

    /// Drops the objects and their order. The hooks and digests that remain are enough to finish a release whose objects are
    /// applied ([`crate::Cluster::complete`]), which may have to wait a long time for its health.
    pub fn forget_objects(&mut self) {
        (self.objects, self.order) = (Vec::new(), Order::default());
    }

    /// Returns whether an object stays when it leaves the source.
    pub(crate) fn keeps(&self, id: &ObjectId) -> bool {
        self.find(id).is_some_and(|object| object.keep)
    }

    /// Finds an object.
    pub(crate) fn find(&self, id: &ObjectId) -> Option<&PreparedObject> {
        let found = self.objects.binary_search_by(|object| object.id().cmp(id));
        found.ok().map(|index| &self.objects[index])
    }

    /// Returns the hooks, in order of identity.
    pub fn hooks(&self) -> &[PreparedObject] {
        &self.hooks
    }

    /// Returns the order in which the objects are written.
    pub(crate) fn order(&self) -> &Order {
        &self.order
    }

    /// Returns the digest of the original render: it names the release.
    pub fn rendered(&self) -> Digest {
        self.rendered
    }

    /// Returns the digest over the objects, as [`Rendered::digest`] computes it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the known kinds, including those that the render itself defines.
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    pub(crate) fn shared_kinds(&self) -> Arc<Kinds> {
        Arc::clone(&self.kinds)
    }

    /// Returns whether the server does not serve a kind at its version yet, and the render itself brings the definition for it.
    pub(crate) fn is_coming(&self, kind: &ResourceType) -> bool {
        self.coming.contains(kind)
    }

    /// Returns whether the definition of a kind is rendered, new or not.
    pub(crate) fn brings(&self, id: &ObjectId) -> bool {
        self.definitions_of(id).next().is_some()
    }

    /// Returns the rendered definitions of a kind, new or not.
    pub(crate) fn definitions_of(&self, id: &ObjectId) -> impl Iterator<Item = &ObjectId> {
        let defines = move |object: &&PreparedObject| {
            let defined = definition_of(object.id(), object.object.value());
            defined.is_some_and(|(group, kind)| group == id.group && kind == id.kind)
        };
        let all = self.objects.iter().chain(&self.hooks);
        all.filter(defines).map(PreparedObject::id)
    }
}

/// An object of a kind that the server does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnservedObject {
    /// The object.
    pub id: ObjectId,
    /// Where it is written.
    pub position: Option<Position>,
    /// The unknown kind, and what is served instead.
    pub unknown: UnknownKind,
}

/// Why a render cannot be planned for this cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The cluster has no such kind. It may get it later: another application may bring the CRD.
    #[error("{}{}: {}", place(.0.position.as_ref()), .0.id, .0.unknown)]
    UnknownKind(Box<UnservedObject>),
    /// Two objects turn out to be one when their namespaces are filled in.
    #[error(transparent)]
    Duplicate(#[from] Box<DuplicateObject>),
    /// The server could not be asked for its kinds.
    #[error(transparent)]
    Discovery(#[from] RequestError),
    /// An object's annotations about its place in the order cannot be read.
    #[error("{}{}: {}", place(.0.position.as_ref()), .0.id, .0.error)]
    Links(Box<Misplaced>),
    /// The objects cannot be put into an order.
    #[error("{}{}", .0.error, written_at(&.0.places))]
    Order(Box<Disorder>),
    /// A value of a Secret is not text.
    #[error("{}{}: {} is {}: expected text, so put it in quotes", place(.0.position.as_ref()), .0.id, .0.field, .0.found)]
    NotText(Box<NotText>),
    /// An object is both a hook and not a hook.
    #[error(
        "{}{} is rendered as a hook, and {}as an object that is none: its hook would delete what is to stay, so rename one of them",
        place(.0.hook.as_ref()), .0.id, at(.0.object.as_ref())
    )]
    AlsoHook(Box<Clash>),
}

/// An object that is rendered both as a hook and as an ordinary object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The object.
    pub id: ObjectId,
    /// Where the hook is written.
    pub hook: Option<Position>,
    /// Where the ordinary object is written.
    pub object: Option<Position>,
}

/// An object whose place in the order cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    /// The object.
    pub id: ObjectId,
    /// Where it is written.
    pub position: Option<Position>,
    /// What is wrong with it.
    pub error: LinkError,
}

/// Objects that cannot be put into an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disorder {
    /// The reason.
    pub error: OrderError,
    /// Where they are written.
    pub places: Vec<(ObjectId, Position)>,
}

impl PrepareError {
    /// Returns whether the same render may be acceptable later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::UnknownKind(_) => true,
            Self::Discovery(error) => error.is_retryable(),
            Self::Duplicate(_)
            | Self::AlsoHook(_)
            | Self::Links(_)
            | Self::NotText(_)
            | Self::Order(_) => false,
        }
    }
}

fn place(position: Option<&Position>) -> String {
    position
        .map(|position| format!("{position}: "))
        .unwrap_or_default()
}

fn written_at(places: &[(ObjectId, Position)]) -> String {
    let place = |(id, position): &(ObjectId, Position)| format!("{id} is at {position}");
    let places: Vec<String> = places.iter().map(place).collect();
    if places.is_empty() {
        return String::new();
    }
    format!(" ({})", places.join(", "))
}

fn at(position: Option<&Position>) -> String {
    position
        .map(|position| format!("at {position} "))
        .unwrap_or_default()
}

/// Makes a render ready for a cluster that serves `kinds`.
///
/// Objects of namespaced kinds without a namespace get the release's namespace; objects of other kinds lose theirs. All objects
/// get the application's label. `status` and what only a server writes are removed, and `stringData` of Secrets becomes `data`:
/// the server does the same, and would then not know who owns the field.
pub(crate) fn prepare(
    rendered: &Rendered,
    release: &Release,
    kinds: &Arc<Kinds>,
) -> Result<Prepared, PrepareError> {
    let mut kinds = Arc::clone(kinds);
    let mut coming = BTreeSet::new();
    let all = || rendered.objects().iter().chain(rendered.hooks());
    for definition in all().filter(|o| is_definition(o.object.id())) {
        let types = types_of_definition(definition.object.value());
        let is_unserved = |t: &&ResourceType| kinds.find(&t.group, &t.version, &t.kind).is_err();
        let unserved: Vec<ResourceType> = types.iter().filter(is_unserved).cloned().collect();
        if !unserved.is_empty() {
            coming.extend(unserved);
            Arc::make_mut(&mut kinds).learn(definition.object.value());
        }
    }
    let label = release.application.label_value();
    let mut ready = Vec::with_capacity(rendered.objects().len());
    for rendered in all() {
        ready.push(normalised(rendered, release, &kinds, &label)?);
    }
    // Namespaces are part of the identity: only now can two objects turn out to be one.
    let ready = Rendered::new(ready, None, Vec::new(), &release.seed)?;
    let digest = ready.digest();
    let finished = |objects: Vec<RenderedObject>| {
        objects
            .into_iter()
            .map(|rendered| finished(rendered, release, &kinds))
            .collect::<Result<Vec<_>, PrepareError>>()
    };
    let (objects, hooks) = ready.into_parts();
    let (objects, hooks) = (finished(objects)?, finished(hooks)?);
    check_apart(&objects, &hooks)?;
    let order = ordered(&objects)?;
    Ok(Prepared {
        order,
        objects,
        hooks,
        rendered: rendered.digest(),
        digest,
        kinds,
        coming,
    })
}

fn ordered(objects: &[PreparedObject]) -> Result<Order, PrepareError> {
    let items = objects.iter().map(|object| {
        let (id, value) = (object.id(), object.object.value());
        let links = Links::of(id, value).map_err(|error| {
            PrepareError::Links(Box::new(Misplaced {
                id: id.clone(),
                position: object.source.clone(),
                error,
            }))
        })?;
        Ok(Item {
            id: id.clone(),
            links,
            defines: definition_of(id, value),
        })
    });
    let items = items.collect::<Result<Vec<_>, PrepareError>>()?;
    Order::of(&items).map_err(|error| {
        let named = error.objects().into_iter().filter_map(|id| {
            let found = objects
                .binary_search_by(|object| object.id().cmp(id))
                .ok()?;
            Some((id.clone(), objects[found].source.clone()?))
        });
        let places = named.collect();
        PrepareError::Order(Box::new(Disorder { error, places }))
    })
}

/// Returns the group and kind that a definition defines.
pub(crate) fn definition_of(id: &ObjectId, value: &Value) -> Option<(String, String)> {
    let spec = &value["spec"];
    let names = (spec["group"].as_str()?, spec["names"]["kind"].as_str()?);
    is_definition(id).then(|| (names.0.to_owned(), names.1.to_owned()))
}

fn finished(
    rendered: RenderedObject,
    release: &Release,
    kinds: &Kinds,
) -> Result<PreparedObject, PrepareError> {
    let resource = resource_of(&rendered, kinds)?.clone();
    let RenderedObject {
        object,
        source,
        hook,
        keep,
    } = rendered;
    Ok(PreparedObject {
        resource,
        desired: object.digest(&release.seed),
        object: Arc::new(object),
        source,
        hook,
        keep,
    })
}

/// Checks that no object is both a hook and not a hook: what the hook's rules delete would then be missing.
fn check_apart(objects: &[PreparedObject], hooks: &[PreparedObject]) -> Result<(), PrepareError> {
    for hook in hooks {
        if let Ok(index) = objects.binary_search_by(|object| object.id().cmp(hook.id())) {
            return Err(PrepareError::AlsoHook(Box::new(Clash {
                id: hook.id().clone(),
                hook: hook.source.clone(),
                object: objects[index].source.clone(),
            })));
        }
    }
    Ok(())
}

pub(crate) fn is_definition(id: &ObjectId) -> bool {
    id.is("apiextensions.k8s.io", "CustomResourceDefinition")
}

fn resource_of<'a>(
    rendered: &RenderedObject,
    kinds: &'a Kinds,
) -> Result<&'a ResourceType, PrepareError> {
    let id = rendered.object.id();
    kinds
        .find(&id.group, rendered.object.version(), &id.kind)
        .map_err(|unknown| {
            PrepareError::UnknownKind(Box::new(UnservedObject {
                id: id.clone(),
                position: rendered.source.clone(),
                unknown,
            }))
        })
}

fn normalised(
    rendered: &RenderedObject,
    release: &Release,
    kinds: &Kinds,
    label: &str,
) -> Result<RenderedObject, PrepareError> {
    let namespaced = resource_of(rendered, kinds)?.namespaced;
    if let Some(found) = NotText::in_secret(rendered) {
        return Err(PrepareError::NotText(Box::new(found)));
    }
    let own = rendered.object.id().namespace.clone();
    let namespace = namespaced.then(|| own.unwrap_or_else(|| release.namespace.clone()));
    let object = rendered
        .object
        .clone()
        .without_server_fields()
        .with_namespace(namespace.as_deref())
        .with_label(APPLICATION_LABEL, label);
    Ok(RenderedObject {
        object: without_write_only_fields(object),
        source: rendered.source.clone(),
        hook: rendered.hook.clone(),
        keep: rendered.keep,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tests::{definition, kinds};
    use insta::assert_snapshot;
    use pintle_core::{names::ApplicationName, seed::Seed};
    use serde_json::json;

    fn release() -> Release {
        Release::new(ApplicationName::new("shop", "web"), Seed::from_text("s"))
    }

    fn rendered(objects: Vec<Value>) -> Rendered {
        let object = |(line, value)| RenderedObject {
            object: Object::new(value).unwrap(),
            source: Some(Position {
                file: "all.yaml".into(),
                line,
                column: 1,
            }),
            hook: None,
            keep: false,
        };
        let objects = (1..).zip(objects).map(object).collect();
        Rendered::new(objects, None, Vec::new(), &Seed::from_text("s")).unwrap()
    }

    fn ready(objects: Vec<Value>) -> Result<Prepared, PrepareError> {
        prepare(&rendered(objects), &release(), &Arc::new(kinds()))
    }

    #[test]
    fn namespace_and_label_are_set_and_server_fields_removed() {
        let prepared = ready(vec![
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "x"}, "status": {}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": "other"}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "namespace": "wrong"}}),
        ])
        .unwrap();
        let ids: Vec<_> = prepared
            .objects()
            .iter()
            .map(|o| o.id().to_string())
            .collect();
        assert_eq!(
            ids,
            ["ConfigMap other/b", "ConfigMap shop/a", "Namespace n"]
        );
        let object = &prepared.objects()[1];
        assert_eq!(
            object.object.value(),
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
                "name": "a", "namespace": "shop", "labels": {"pintle.dev/application": "shop.web"}}})
        );
        assert_eq!(
            payload(&object.object, object.desired)["metadata"]["annotations"][DESIRED_ANNOTATION],
            object.desired.to_string()
        );
    }

    #[test]
    fn string_data_becomes_data() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
            "data": {"kept": "eA==", "both": "eA=="}, "stringData": {"both": "y", "new": "z"}});
        let prepared = ready(vec![secret]).unwrap();
        let value = prepared.objects()[0].object.value();
        assert_eq!(
            value["data"],
            json!({"kept": "eA==", "both": "eQ==", "new": "eg=="})
        );
        assert!(value.get("stringData").is_none());
    }

    #[test]
    fn a_value_of_a_secret_that_is_no_text_is_refused_and_not_quoted() {
        let refused = |field: &str, value: Value| {
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, field: {"pin": value}});
            let error = ready(vec![secret]).unwrap_err();
            assert!(!error.is_retryable());
            error.to_string()
        };
        assert_snapshot!(refused("stringData", json!(1234)), @"all.yaml:1:1: Secret a: stringData.pin is a number: expected text, so put it in quotes");
        assert_snapshot!(refused("data", json!({"a": "hunter2"})), @"all.yaml:1:1: Secret a: data.pin is an object: expected text, so put it in quotes");
        // The server ignores a key without a value.
        let empty = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"pin": null}});
        assert!(ready(vec![empty]).is_ok());
    }

    #[test]
    fn a_kind_that_the_render_defines_is_known() {
        let thing = json!({"apiVersion": "things.example.com/v1", "kind": "Thing", "metadata": {"name": "a"}});
        let mut crd = definition();
        crd["spec"]["group"] = json!("things.example.com");
        crd["spec"]["names"] = json!({"kind": "Thing", "plural": "things"});
        let prepared = ready(vec![thing.clone(), crd]).unwrap();
        let found = prepared
            .objects()
            .iter()
            .find(|o| o.id().kind == "Thing")
            .unwrap();
        assert_eq!(
            (
                found.resource.plural.as_str(),
                found.id().namespace.as_deref()
            ),
            ("things", Some("shop"))
        );
        assert!(prepared.is_coming(&found.resource));
        let served = kinds().preferred("example.com", "Widget").unwrap().clone();
        assert!(!prepared.is_coming(&served));
        let error = ready(vec![thing]).unwrap_err();
        assert!(error.is_retryable());
        assert_snapshot!(error, @"all.yaml:1:1: Thing.things.example.com a: the API server has no kind Thing in things.example.com/v1: is its CRD installed?");
    }

    #[test]
    fn hooks_are_made_ready_apart_and_must_be_apart() {
        let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        let render = |objects: Vec<RenderedObject>| {
            Rendered::new(objects, None, Vec::new(), &Seed::from_text("s")).unwrap()
        };
        let all = rendered(vec![map("a"), map("b")]);
        let (object, mut hook) = (all.objects()[0].clone(), all.objects()[1].clone());
        hook.hook = Some(Hook::default());
        let render = render(vec![object, hook]);
        let prepared = prepare(&render, &release(), &Arc::new(kinds())).unwrap();
        assert_eq!((prepared.objects().len(), prepared.hooks().len()), (1, 1));
        assert_eq!(prepared.hooks()[0].id().to_string(), "ConfigMap shop/b");
        assert_eq!(prepared.rendered(), render.digest());
        let mut both = render.objects()[0].clone();
        both.hook = Some(Hook::default());
        let clash = Rendered::new(
            vec![render.objects()[0].clone(), both],
            None,
            Vec::new(),
            &Seed::from_text("s"),
        )
        .unwrap();
        let error = prepare(&clash, &release(), &Arc::new(kinds())).unwrap_err();
        assert_snapshot!(error, @"all.yaml:1:1: ConfigMap shop/a is rendered as a hook, and at all.yaml:1:1 as an object that is none: its hook would delete what is to stay, so rename one of them");
    }

    #[test]
    fn what_cannot_be_ordered_is_told_with_its_places() {
        let map = |name: &str, after: &str| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "annotations": {"pintle.dev/depends-on": after}}})
        };
        let error = ready(vec![map("a", "ConfigMap/b"), map("b", "ConfigMap/a")]).unwrap_err();
        assert!(!error.is_retryable());
        assert_snapshot!(error, @"objects wait for each other: ConfigMap shop/a depends on ConfigMap shop/b, ConfigMap shop/b depends on ConfigMap shop/a; remove one of these dependencies (ConfigMap shop/a is at all.yaml:1:1, ConfigMap shop/b is at all.yaml:2:1)");
        let error = ready(vec![map("a", "b")]).unwrap_err();
        assert_snapshot!(error, @"all.yaml:1:1: ConfigMap shop/a: the annotation pintle.dev/depends-on names `b`: expected objects as GROUP/KIND/NAMESPACE/NAME with commas between them; GROUP and NAMESPACE may be left out");
    }

    #[test]
    fn two_objects_that_become_one_are_refused_with_both_places() {
        let error = ready(vec![
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}, "data": {"b": "c"}}),
        ])
        .unwrap_err();
        assert!(!error.is_retryable());
        assert_snapshot!(error, @"ConfigMap shop/a is rendered twice, at all.yaml:1:1 and at all.yaml:2:1: one of them would overwrite the other, so remove or rename one");
    }
}
