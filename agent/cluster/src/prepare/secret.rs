//! The content of a Secret: text, which the server stores encoded.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pintle_core::{
    object::{Object, ObjectId, type_name},
    problem::Position,
    rendered::RenderedObject,
};
use serde_json::Value;

/// A value of a Secret that is not text. The server would refuse it, and quote it in the refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotText {
    /// The Secret.
    pub id: ObjectId,
    /// Where it is written.
    pub position: Option<Position>,
    /// The field: `stringData.pin`.
    pub field: String,
    /// What the value is instead, as a fragment: `a number`.
    pub found: &'static str,
}

impl NotText {
    /// Finds the first such value of an object.
    pub(super) fn in_secret(rendered: &RenderedObject) -> Option<Self> {
        let object = &rendered.object;
        if !object.id().is_secret() {
            return None;
        }
        ["data", "stringData"].into_iter().find_map(|field| {
            let mut values = object.value().get(field)?.as_object()?.iter();
            // The server ignores a key without a value.
            let (key, value) = values.find(|(_, value)| !value.is_string() && !value.is_null())?;
            Some(Self {
                id: object.id().clone(),
                position: rendered.source.clone(),
                field: format!("{field}.{key}"),
                found: type_name(value),
            })
        })
    }
}

/// Moves a Secret's `stringData` into its `data`, as the server does: for keys in both, the value from `stringData` wins.
/// <https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/>
pub(super) fn without_write_only_fields(object: Object) -> Object {
    if !object.id().is_secret() || object.value().get("stringData").is_none() {
        return object;
    }
    let unchanged = object.clone();
    let mut value = object.into_value();
    let texts = value
        .as_object_mut()
        .and_then(|map| map.remove("stringData"));
    let Some(Value::Object(texts)) = texts else {
        // A Secret may not hold this: the server will say so.
        return unchanged;
    };
    match &mut value["data"] {
        data @ Value::Null => *data = Value::Object(serde_json::Map::new()),
        Value::Object(_) => {}
        _ => return unchanged,
    }
    for (key, text) in texts {
        let encoded = text
            .as_str()
            .map(|text| Value::String(STANDARD.encode(text)));
        value["data"][key] = encoded.unwrap_or(text);
    }
    Object::new(value).unwrap_or(unchanged)
}
