//! JSON Schemas of Rust types, reduced to what the API server accepts.

use kube::core::schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

/// Returns the schema of a type, without references, as kube's own derive generates it.
pub(super) fn generated<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let generator = settings
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(OptionalIntOrString)
        .into_generator();
    generator.into_root_schema_for::<T>().to_value()
}

/// Removes what the API server refuses or warns about.
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>
pub(super) fn structural(schema: &Value) -> Value {
    let Some(map) = schema.as_object() else {
        return schema.clone();
    };
    let mut out = Map::new();
    for (name, value) in map {
        match name.as_str() {
            // The server drops nulls. It refuses unknown fields where asked to, and prunes them elsewhere.
            "title" | "nullable" | "$schema" => {}
            "additionalProperties" if *value == Value::Bool(false) => {}
            "format" if !is_known_format(value) => {}
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                let properties =
                    properties.map(|(name, schema)| (name.clone(), structural(schema)));
                out.insert(name.clone(), Value::Object(properties.collect()));
            }
            "items" | "additionalProperties" => {
                out.insert(name.clone(), structural(value));
            }
            "description" => {
                out.insert(
                    name.clone(),
                    Value::String(one_line(value.as_str().unwrap_or_default())),
                );
            }
            // A default that a type writes as "nothing" only inflates what is stored.
            "default" if value.is_null() => {}
            _ => {
                out.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(out)
}

/// Returns whether the API server knows a format that schemars writes.
fn is_known_format(format: &Value) -> bool {
    matches!(
        format.as_str(),
        Some("int32" | "int64" | "float" | "double" | "date-time")
    )
}

/// Joins the lines of each paragraph: doc comments are wrapped as in their source.
fn one_line(text: &str) -> String {
    // Links between Rust items lead nowhere here.
    let text = text.replace("[`", "`").replace("`]", "`");
    let paragraphs = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n")
}
