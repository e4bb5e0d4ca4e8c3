//! The config of a Wasm OCI artifact.
//!
//! The format is that of CNCF TAG Runtime's "Wasm OCI Artifact Layout",
//! <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>.

use pintle_core::digest::Digest;
use serde::{Deserialize, Deserializer, Serialize};

use crate::component::Interface;

/// The creation time in the config if none is given. The layout requires one, and a fixed one keeps digests reproducible.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// The imports and exports of a component, repeated in the config so that they can be read without the component.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentMetadata {
    /// The names of the exports.
    #[serde(default, deserialize_with = "null_is_default")]
    pub exports: Vec<String>,
    /// The names of the imports.
    #[serde(default, deserialize_with = "null_is_default")]
    pub imports: Vec<String>,
    /// The world that the component is meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// The config of a Wasm OCI artifact. It is what the publisher claims; what counts is what the component holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WasmConfig {
    /// When the component was made (RFC 3339); 1970 if the publisher wanted a reproducible digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made the component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// `wasm`.
    #[serde(default)]
    pub architecture: String,
    /// `wasip2` for components, whether or not they use WASI; `wasip1` for core modules.
    #[serde(default)]
    pub os: String,
    /// The digests of the layers, in the manifest's order.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layer_digests: Vec<Digest>,
    /// What the component imports and exports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentMetadata>,
}

impl WasmConfig {
    /// Describes a component.
    pub(crate) fn describe(
        component: Digest,
        interface: &Interface,
        created: Option<jiff::Timestamp>,
        author: Option<String>,
    ) -> Self {
        Self {
            created: Some(created.map_or_else(|| EPOCH.to_owned(), |at| at.to_string())),
            author,
            architecture: "wasm".to_owned(),
            os: "wasip2".to_owned(),
            layer_digests: vec![component],
            component: Some(ComponentMetadata {
                exports: interface.exports.clone(),
                imports: interface.imports.clone(),
                target: None,
            }),
        }
    }
}

/// Reads `null` as the default value, because some tools write it for an empty list.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_other_tools_write() {
        let config: WasmConfig = serde_json::from_str(
            r#"{"created":"2024-09-25T12:00:00Z","author":null,"architecture":"wasm","os":"wasip2","layerDigests":null,
                "component":{"exports":null,"imports":["wasi:cli/run@0.2.0"]},"somethingNew":{}}"#,
        )
        .unwrap();
        assert_eq!(config.component.unwrap().imports, ["wasi:cli/run@0.2.0"]);
        assert_eq!(
            serde_json::from_str::<WasmConfig>("{}").unwrap(),
            WasmConfig::default()
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in "\\PC{0,80}") {
            let _ = serde_json::from_str::<WasmConfig>(&text);
        }

        #[test]
        fn reads_back(names in prop::collection::vec("\\PC{0,8}", 0..4), seconds in -1_000_000_000_i64..4_000_000_000) {
            let interface = Interface { imports: names.clone(), exports: names };
            let created = jiff::Timestamp::from_second(seconds).unwrap();
            let config = WasmConfig::describe(Digest::of("x"), &interface, Some(created), None);
            let text = serde_json::to_string(&config).unwrap();
            prop_assert_eq!(serde_json::from_str::<WasmConfig>(&text).unwrap(), config);
        }
    }
}
