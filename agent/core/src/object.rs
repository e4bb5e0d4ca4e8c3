//! Kubernetes objects as JSON and their identity.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{canonical, digest::Digest, names::ALLOWED, seed::Seed};

/// The identity of an object in a cluster: group, kind, namespace and name.
///
/// The version is not part of it: `apps/v1` and `apps/v1beta1` name the same Deployment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, such as `Deployment`.
    pub kind: String,
    /// Absent for objects without a namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl ObjectId {
    /// Returns whether this object is of a group and kind.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    /// Returns whether this is a Secret, whose data must never be shown.
    pub fn is_secret(&self) -> bool {
        self.is("", "Secret")
    }

    /// Returns the `apiVersion` of this object for a version.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
        }
    }
}

/// Writes `Deployment.apps shop/web`, with the kind as `kubectl` writes it.
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " {namespace}/{}", self.name),
            None => write!(f, " {}", self.name),
        }
    }
}

/// The fields of `metadata` that only a server writes.
const SERVER_FIELDS: [&str; 6] = [
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
    "selfLink",
];

/// The reason why a JSON value is not a Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The document is not a mapping.
    #[error("expected an object, found {found}")]
    NotAnObject {
        /// The type found instead.
        found: &'static str,
    },
    /// A field that every object needs is missing or empty.
    #[error("{pointer} is missing: every object needs it")]
    Missing {
        /// RFC 6901 pointer.
        pointer: &'static str,
    },
    /// A field has a different type from the one that Kubernetes requires.
    #[error("{pointer} must be {expected}, found {found}")]
    WrongType {
        /// RFC 6901 pointer.
        pointer: String,
        /// The required type.
        expected: &'static str,
        /// The actual type.
        found: &'static str,
    },
    /// `apiVersion` is neither `version` nor `group/version`.
    #[error("/apiVersion must be `VERSION` or `GROUP/VERSION`, found `{found}`")]
    ApiVersion {
        /// The actual value.
        found: String,
    },
    /// The server would generate the name, so the object could not be tracked.
    #[error(
        "/metadata/generateName is not supported: an object under git needs a fixed /metadata/name"
    )]
    GenerateName,
}

impl ObjectError {
    /// Returns the field that the error is about.
    pub fn pointer(&self) -> &str {
        match self {
            Self::NotAnObject { .. } => "",
            Self::Missing { pointer } => pointer,
            Self::WrongType { pointer, .. } => pointer,
            Self::ApiVersion { .. } => "/apiVersion",
            Self::GenerateName => "/metadata/generateName",
        }
    }
}

/// A Kubernetes object: JSON with `apiVersion`, `kind` and `metadata.name`, checked once on creation.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    id: ObjectId,
    version: String,
    value: Value,
}

impl Object {
    /// Creates an object from a JSON value after checking that Kubernetes could hold it.
    pub fn new(value: Value) -> Result<Self, ObjectError> {
        let Value::Object(map) = &value else {
            return Err(ObjectError::NotAnObject {
                found: type_name(&value),
            });
        };
        let api_version = text(map, "apiVersion", "/apiVersion")?;
        let (group, version) = match api_version.split_once('/') {
            None => ("", api_version),
            Some((group, version))
                if !group.is_empty() && !version.is_empty() && !version.contains('/') =>
            {
                (group, version)
            }
            Some(_) => {
                return Err(ObjectError::ApiVersion {
                    found: api_version.to_owned(),
                });
            }
        };
        let kind = text(map, "kind", "/kind")?;
        let metadata = match map.get("metadata") {
            None | Some(Value::Null) => {
                return Err(ObjectError::Missing {
                    pointer: "/metadata/name",
                });
            }
            Some(Value::Object(metadata)) => metadata,
            Some(other) => return Err(wrong_type("/metadata", "an object", other)),
        };
        if metadata.contains_key("generateName") && !metadata.contains_key("name") {
            return Err(ObjectError::GenerateName);
        }
        let name = text(metadata, "name", "/metadata/name")?;
        let namespace = match metadata.get("namespace") {
            None | Some(Value::Null) => None,
            Some(Value::String(namespace)) if namespace.is_empty() => None,
            Some(Value::String(namespace)) => Some(namespace.clone()),
            Some(other) => return Err(wrong_type("/metadata/namespace", "a string", other)),
        };
        for field in ["labels", "annotations"] {
            check_string_map(metadata, field)?;
        }
        let id = ObjectId {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace,
            name: name.to_owned(),
        };
        let version = version.to_owned();
        Ok(Self { id, version, value })
    }

    /// Returns the identity.
    pub fn id(&self) -> &ObjectId {
        &self.id
    }

    /// Returns the version part of `apiVersion`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the whole JSON value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Consumes the object and returns its JSON value.
    pub fn into_value(self) -> Value {
        self.value
    }

    /// Returns the value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.value["metadata"]["labels"].get(name)?.as_str()
    }

    /// Returns the value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.value["metadata"]["annotations"].get(name)?.as_str()
    }

    /// Returns whether an annotation allows what it controls.
    pub fn allows(&self, annotation: &str) -> bool {
        self.annotation(annotation) == Some(ALLOWED)
    }

    /// Sets a label.
    #[must_use]
    pub fn with_label(mut self, name: &str, value: &str) -> Self {
        let labels = &mut self.value["metadata"]["labels"];
        if labels.is_null() {
            *labels = Value::Object(Map::new());
        }
        labels[name] = Value::String(value.to_owned());
        self
    }

    /// Sets or removes the namespace. An object of a cluster-scoped kind has none.
    #[must_use]
    pub fn with_namespace(mut self, namespace: Option<&str>) -> Self {
        if let Some(metadata) = self.value["metadata"].as_object_mut() {
            match namespace {
                Some(namespace) => metadata.insert("namespace".to_owned(), namespace.into()),
                None => metadata.remove("namespace"),
            };
        }
        self.id.namespace = namespace.map(ToOwned::to_owned);
        self
    }

    /// Removes what only a server writes (`status`, `managedFields`, `resourceVersion`, …), since an apply may not claim it.
    #[must_use]
    pub fn without_server_fields(mut self) -> Self {
        if let Some(map) = self.value.as_object_mut() {
            map.remove("status");
        }
        if let Some(metadata) = self.value["metadata"].as_object_mut() {
            for field in SERVER_FIELDS {
                metadata.remove(field);
            }
        }
        self
    }

    /// Returns the digest of the canonical JSON, with the data of a Secret concealed by the seed.
    pub fn digest(&self, seed: &Seed) -> Digest {
        Digest::of(canonical::to_string(&conceal(
            self.id.is_secret(),
            &self.value,
            seed,
        )))
    }
}

/// Replaces each value in a Secret's `data` and `stringData` with a keyed digest. Other objects stay as they are.
pub fn conceal<'a>(is_secret: bool, value: &'a Value, seed: &Seed) -> std::borrow::Cow<'a, Value> {
    use std::borrow::Cow;
    if !is_secret {
        return Cow::Borrowed(value);
    }
    let mut concealed = value.clone();
    for field in ["data", "stringData"] {
        match concealed.get_mut(field) {
            Some(Value::Object(data)) => data
                .values_mut()
                .for_each(|value| *value = seed.conceal(value)),
            Some(other) if !other.is_null() => *other = seed.conceal(other),
            _ => {}
        }
    }
    // Client-side apply keeps the whole Secret in this annotation.
    let annotation = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";
    if let Some(value) = concealed.pointer_mut(annotation) {
        *value = seed.conceal(value);
    }
    Cow::Owned(concealed)
}

/// Returns the name of a value's JSON type for error messages.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong_type(pointer: &str, expected: &'static str, found: &Value) -> ObjectError {
    ObjectError::WrongType {
        pointer: pointer.to_owned(),
        expected,
        found: type_name(found),
    }
}

fn text<'a>(
    map: &'a Map<String, Value>,
    field: &str,
    pointer: &'static str,
) -> Result<&'a str, ObjectError> {
    match map.get(field) {
        None | Some(Value::Null) => Err(ObjectError::Missing { pointer }),
        Some(Value::String(text)) if text.is_empty() => Err(ObjectError::Missing { pointer }),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(wrong_type(pointer, "a string", other)),
    }
}

fn check_string_map(metadata: &Map<String, Value>, field: &str) -> Result<(), ObjectError> {
    let pointer = format!("/metadata/{field}");
    match metadata.get(field) {
        None | Some(Value::Null) => Ok(()),
        // The API server accepts null for a string, so charts leave it where they have nothing to say (`version: {{ ... }}`).
        Some(Value::Object(map)) => match map
            .iter()
            .find(|(_, value)| !value.is_string() && !value.is_null())
        {
            None => Ok(()),
            Some((key, value)) => {
                let key = key.replace('~', "~0").replace('/', "~1");
                Err(wrong_type(
                    &format!("{pointer}/{key}"),
                    "a string (put it in quotes)",
                    value,
                ))
            }
        },
        Some(other) => Err(wrong_type(&pointer, "an object", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;
    use serde_json::json;

    fn error(value: Value) -> String {
        Object::new(value).unwrap_err().to_string()
    }

    #[test]
    fn identity_leaves_the_version_out() {
        let at = |version: &str| {
            let value =
                json!({"apiVersion": version, "kind": "Deployment", "metadata": {"name": "web"}});
            Object::new(value).unwrap()
        };
        assert_eq!(at("apps/v1").id(), at("apps/v1beta1").id());
        assert_eq!(at("apps/v1").id().to_string(), "Deployment.apps web");
        assert_eq!(
            at("apps/v1").with_namespace(Some("shop")).id().to_string(),
            "Deployment.apps shop/web"
        );
    }

    #[test]
    fn says_what_is_missing_or_wrong() {
        assert_snapshot!(error(json!([])), @"expected an object, found a list");
        assert_snapshot!(error(json!({"kind": "A"})), @"/apiVersion is missing: every object needs it");
        assert_snapshot!(error(json!({"apiVersion": "v1"})), @"/kind is missing: every object needs it");
        assert_snapshot!(error(json!({"apiVersion": "a/b/c", "kind": "A"})), @"/apiVersion must be `VERSION` or `GROUP/VERSION`, found `a/b/c`");
        let with =
            |metadata: Value| error(json!({"apiVersion": "v1", "kind": "A", "metadata": metadata}));
        assert_snapshot!(with(json!(null)), @"/metadata/name is missing: every object needs it");
        assert_snapshot!(with(json!({"name": 5})), @"/metadata/name must be a string, found a number");
        assert_snapshot!(with(json!({"generateName": "a-"})), @"/metadata/generateName is not supported: an object under git needs a fixed /metadata/name");
        assert_snapshot!(with(json!({"name": "a", "labels": {"a/b": true}})), @"/metadata/labels/a~1b must be a string (put it in quotes), found a boolean");
    }

    #[test]
    fn a_label_may_be_null() {
        let metadata =
            json!({"name": "a", "labels": {"version": null}, "annotations": {"a": null, "b": "c"}});
        let object = json!({"apiVersion": "v1", "kind": "A", "metadata": metadata});
        assert_eq!(Object::new(object.clone()).unwrap().value(), &object);
    }

    #[test]
    fn a_secrets_digest_shows_nothing_to_guess_by() {
        let secret = |password: &str| {
            let value = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"p": password}});
            Object::new(value).unwrap()
        };
        let (mine, other) = (Seed::from_text("mine"), Seed::from_text("other"));
        assert_eq!(secret("x").digest(&mine), secret("x").digest(&mine));
        assert_ne!(secret("x").digest(&mine), secret("y").digest(&mine));
        assert_ne!(secret("x").digest(&mine), secret("x").digest(&other));
        assert!(
            !canonical::to_string(&conceal(true, secret("hunter2").value(), &mine))
                .contains("hunter2")
        );
    }
}
