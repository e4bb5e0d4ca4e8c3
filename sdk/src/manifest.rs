//! Objects as renderers pass them to the host.

use std::cell::OnceCell;
use std::ops::Deref;

use serde_json::Value;

/// An object as JSON: a value, or a text that was written without creating a value.
///
/// It dereferences to a [`Value`]. A text is parsed only when it is read this way.
///
/// ```
/// use pintle_sdk::Manifest;
///
/// let manifest = Manifest::from_text_unverified(r#"{"kind":"ConfigMap"}"#.to_owned());
/// assert_eq!(manifest["kind"], "ConfigMap");
/// assert_eq!(manifest, Manifest::from(serde_json::json!({"kind": "ConfigMap"})));
/// ```
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The text that goes to the host, if it was already written. The value is then parsed from it.
    text: Option<String>,
    value: OnceCell<Value>,
}

impl Manifest {
    /// Creates a manifest from JSON text, so that large objects can cross to the host without ever becoming values.
    ///
    /// The text is not checked here. If it is not JSON, it reads as null, and the host refuses the render.
    pub fn from_text_unverified(text: String) -> Self {
        Self {
            text: Some(text),
            value: OnceCell::new(),
        }
    }

    /// Returns the object as JSON text.
    pub fn into_text(self) -> String {
        self.text
            .unwrap_or_else(|| self.value.into_inner().unwrap_or_default().to_string())
    }
}

impl From<Value> for Manifest {
    fn from(value: Value) -> Self {
        Self {
            text: None,
            value: OnceCell::from(value),
        }
    }
}

impl Deref for Manifest {
    type Target = Value;

    fn deref(&self) -> &Value {
        let parse = || {
            let text = self.text.as_deref().unwrap_or_default();
            serde_json::from_str(text).unwrap_or_default()
        };
        self.value.get_or_init(parse)
    }
}

impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_goes_on_as_it_is() {
        let text = r#"{"b": 1, "a": 1.0}"#;
        let manifest = Manifest::from_text_unverified(text.to_owned());
        assert_eq!(manifest["b"], 1);
        assert_eq!(manifest.into_text(), text);
    }

    #[test]
    fn a_value_becomes_a_text() {
        let manifest = Manifest::from(json!({"b": [1], "a": null}));
        assert_eq!(manifest.into_text(), r#"{"a":null,"b":[1]}"#);
    }

    #[test]
    fn no_json_is_null_to_its_reader() {
        let manifest = Manifest::from_text_unverified("{".to_owned());
        assert!(manifest.is_null());
        assert_eq!(manifest.into_text(), "{");
    }
}
