//! Manifests: which of them are Wasm artifacts, and what the others are.

use std::collections::BTreeMap;

use pintle_core::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    chart::Layout,
    error::{Cause, Part},
};

/// The type of a Wasm artifact's config.
pub(crate) const CONFIG_V0: &str = "application/vnd.wasm.config.v0+json";
/// The type of configs that tools wrote before there was a layout to follow.
const CONFIG_V1: &str = "application/vnd.wasm.config.v1+json";
/// The type of the component.
pub(crate) const LAYER: &str = "application/wasm";
/// The type of the component beside a [`CONFIG_V1`].
const LAYER_V1: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// The type of an OCI image manifest, which is the form that Wasm artifacts have.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// The type of a chart's archive. <https://helm.sh/docs/topics/registries/#helm-chart-manifest>
pub(crate) const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const PROVENANCE_LAYER: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";
/// The type of the files of an artifact that Flux's tools push.
const FLUX_LAYER: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";
const TAR_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The value of `Accept`. It includes kinds that are refused, because a registry would otherwise answer "not found" for them.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";
/// The size of the largest config, in bytes. A config holds only names.
pub(crate) const MAX_CONFIG: u64 = 1 << 20;

/// A piece of content that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// The manifest of a Wasm artifact, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor,
    layers: [Descriptor; 1],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Manifest {
    pub(crate) fn new(
        config: &[u8],
        component: Digest,
        size: u64,
        annotations: BTreeMap<String, String>,
    ) -> Self {
        let descriptor = |media_type: &str, digest: Digest, size: u64| Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
        };
        Self {
            schema_version: 2,
            media_type: MANIFEST,
            config: descriptor(CONFIG_V0, Digest::of(config), config.len() as u64),
            layers: [descriptor(LAYER, component, size)],
            annotations,
        }
    }
}

/// The fields that a manifest may have, before its kind is known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unknown {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<serde_json::Value>,
    layers: Option<Vec<serde_json::Value>>,
    manifests: Option<serde_json::Value>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// An image manifest of any artifact.
struct Opened {
    config: serde_json::Value,
    config_type: String,
    artifact_type: Option<String>,
    layers: Vec<serde_json::Value>,
    annotations: BTreeMap<String, String>,
}

impl Opened {
    /// Reads a manifest. If it is not one of a single artifact, `other` makes the error from a description of what it is.
    fn read(bytes: &[u8], other: fn(String) -> Cause) -> Result<Self, Cause> {
        // This goes through a map, because a list is not a manifest even if its items would fit the fields.
        let unknown: Unknown = serde_json::from_slice::<serde_json::Map<_, _>>(bytes)
            .and_then(|fields| serde_json::from_value(fields.into()))
            .map_err(|e| malformed(format!("it is not a JSON manifest: {e}")))?;
        let media_type = unknown.media_type.as_deref().unwrap_or(MANIFEST);
        if unknown.manifests.is_some() || matches!(media_type, INDEX | DOCKER_INDEX) {
            return Err(other(
                "an index of artifacts for several platforms".to_owned(),
            ));
        }
        if unknown.schema_version != Some(2) {
            return Err(malformed("its `schemaVersion` is not 2".to_owned()));
        }
        if !matches!(media_type, MANIFEST | DOCKER_MANIFEST) {
            return Err(other(format!("a manifest of type `{}`", clip(media_type))));
        }
        let (Some(config), Some(layers)) = (unknown.config, unknown.layers) else {
            return Err(malformed("it has no `config` or no `layers`".to_owned()));
        };
        let config_type = config
            .get("mediaType")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned();
        Ok(Self {
            config,
            config_type,
            artifact_type: unknown.artifact_type,
            layers,
            annotations: unknown.annotations.unwrap_or_default(),
        })
    }

    fn describe(&self) -> String {
        describe(&self.config_type, self.artifact_type.as_deref())
    }
}

fn malformed(reason: String) -> Cause {
    Cause::Malformed {
        part: Part::Manifest,
        reason,
    }
}

fn descriptor(value: serde_json::Value, name: &str) -> Result<Descriptor, Cause> {
    serde_json::from_value(value).map_err(|e| malformed(format!("{name}: {e}")))
}

/// The manifest of an artifact of files, after it was read and found valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilesManifest {
    pub(crate) layer: Descriptor,
    pub(crate) layout: Layout,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl FilesManifest {
    /// Reads the manifest of a chart, or of another artifact with one archive of files. If it is neither, the error says what
    /// it is.
    pub(crate) fn read(bytes: &[u8], max_archive: u64) -> Result<Self, Cause> {
        let not_files = |is: String| Cause::NotFiles { is };
        let opened = Opened::read(bytes, not_files)?;
        let is = opened.describe();
        // A container image has layers of the same type, but is not what is meant.
        if matches!(opened.config_type.as_str(), IMAGE_CONFIG | DOCKER_CONFIG) {
            return Err(not_files(is));
        }
        let mut found = None;
        for (index, layer) in opened.layers.into_iter().enumerate() {
            let layer = descriptor(layer, &format!("layers[{index}]"))?;
            let layout = match layer.media_type.as_str() {
                CHART_LAYER => Layout::Chart,
                FLUX_LAYER | TAR_LAYER => Layout::Plain,
                // The signature that `helm package --sign` makes lies beside the chart.
                PROVENANCE_LAYER => continue,
                other => {
                    let layer = clip(other);
                    return Err(not_files(format!("{is} with a layer of type `{layer}`")));
                }
            };
            if found.replace((layer, layout)).is_some() {
                return Err(not_files(format!("{is} with several archives of files")));
            }
        }
        let (layer, layout) =
            found.ok_or_else(|| not_files(format!("{is} without an archive of files")))?;
        if layer.size > max_archive {
            return Err(Cause::TooLarge {
                part: Part::Archive,
                limit: max_archive,
                size: Some(layer.size),
            });
        }
        Ok(Self {
            layer,
            layout,
            annotations: opened.annotations,
        })
    }
}

/// The manifest of a Wasm artifact, after it was read and found valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WasmManifest {
    pub(crate) config: Descriptor,
    pub(crate) component: Descriptor,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Whether the config follows the layout, so that more can be expected of it.
    pub(crate) has_layout: bool,
}

impl WasmManifest {
    /// Reads the manifest of a Wasm artifact. If it is something else, the error says what it is.
    pub(crate) fn read(bytes: &[u8], max_component: u64) -> Result<Self, Cause> {
        let not_wasm = |is: String| Cause::NotWasm { is };
        let opened = Opened::read(bytes, not_wasm)?;
        if !matches!(opened.config_type.as_str(), CONFIG_V0 | CONFIG_V1) {
            return Err(not_wasm(opened.describe()));
        }
        let has_layout = opened.config_type == CONFIG_V0;
        let config = descriptor(opened.config, "config")?;
        let [layer] = <[_; 1]>::try_from(opened.layers)
            .map_err(|layers| not_wasm(format!("a Wasm artifact with {} layers", layers.len())))?;
        let component = descriptor(layer, "layers[0]")?;
        if component.media_type != LAYER && (has_layout || component.media_type != LAYER_V1) {
            return Err(not_wasm(format!(
                "a Wasm artifact whose layer is of type `{}`",
                clip(&component.media_type)
            )));
        }
        for (part, size, limit) in [
            (Part::Config, config.size, MAX_CONFIG),
            (Part::Component, component.size, max_component),
        ] {
            if size > limit {
                return Err(Cause::TooLarge {
                    part,
                    limit,
                    size: Some(size),
                });
            }
        }
        Ok(Self {
            config,
            component,
            annotations: opened.annotations,
            has_layout,
        })
    }
}

/// Describes for people an artifact whose config has this type.
fn describe(config_type: &str, artifact_type: Option<&str>) -> String {
    match config_type {
        IMAGE_CONFIG | DOCKER_CONFIG => "a container image".to_owned(),
        CONFIG_V0 | CONFIG_V1 => "a Wasm component".to_owned(),
        "application/vnd.cncf.helm.config.v1+json" => "a Helm chart".to_owned(),
        "application/vnd.cncf.flux.config.v1+json" => "a Flux artifact".to_owned(),
        "" => "an artifact whose config has no type".to_owned(),
        other => format!(
            "an artifact of type `{}`",
            clip(artifact_type.filter(|t| !t.is_empty()).unwrap_or(other))
        ),
    }
}

/// Shortens a text from elsewhere, for a message.
fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> String {
        WasmManifest::read(text.as_bytes(), 100)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn reads_what_is_written() {
        let manifest = Manifest::new(
            b"{}",
            Digest::of("component"),
            9,
            BTreeMap::from([("a".into(), "b".into())]),
        );
        let text = serde_json::to_string(&manifest).unwrap();
        let read = WasmManifest::read(text.as_bytes(), 100).unwrap();
        assert_eq!(read.component.digest, Digest::of("component"));
        assert_eq!(read.config.digest, Digest::of("{}"));
        assert_eq!(read.annotations["a"], "b");
        assert!(read.has_layout);
        let older = text
            .replace(CONFIG_V0, CONFIG_V1)
            .replace(&format!("\"{LAYER}\""), &format!("\"{LAYER_V1}\""));
        assert!(
            !WasmManifest::read(older.as_bytes(), 100)
                .unwrap()
                .has_layout
        );
    }

    #[test]
    fn says_what_else_it_is() {
        let digest = Digest::of("");
        let artifact = |config: &str, layers: &[&str]| {
            let layers: Vec<_> = layers
                .iter()
                .map(|l| format!(r#"{{"mediaType":"{l}","digest":"{digest}","size":10}}"#))
                .collect();
            format!(
                r#"{{"schemaVersion":2,"artifactType":"text/x","config":{{"mediaType":"{config}","digest":"{digest}","size":2}},"layers":[{}]}}"#,
                layers.join(",")
            )
        };
        let wasm = artifact(CONFIG_V0, &[LAYER]);
        let said: Vec<_> = [
            "not json".to_owned(),
            "[]".to_owned(),
            r#"{"schemaVersion":1}"#.to_owned(),
            r#"{"schemaVersion":2}"#.to_owned(),
            r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(),
            artifact("application/vnd.oci.image.config.v1+json", &[]),
            artifact("application/vnd.cncf.helm.config.v1+json", &[]),
            artifact("application/vnd.oci.empty.v1+json", &[]),
            artifact(CONFIG_V0, &[]),
            artifact(CONFIG_V0, &[LAYER, LAYER]),
            artifact(CONFIG_V0, &[LAYER_V1]),
            wasm.replace("\"size\":10", "\"size\":101"),
            wasm.replace("\"size\":10", "\"size\":-1"),
            wasm.replace("\"size\":2", "\"size\":2000000"),
            wasm.replace("sha256:", "sha512:"),
        ]
        .iter()
        .map(|text| said(text))
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        the manifest cannot be understood: it is not a JSON manifest: expected ident at line 1 column 2
        the manifest cannot be understood: it is not a JSON manifest: invalid type: sequence, expected a map at line 1 column 0
        the manifest cannot be understood: its `schemaVersion` is not 2
        the manifest cannot be understood: it has no `config` or no `layers`
        it is an index of artifacts for several platforms; expected a Wasm component (config application/vnd.wasm.config.v0+json, one layer application/wasm)
        it is a container image; expected a Wasm component (config application/vnd.wasm.config.v0+json, one layer application/wasm)
        it is a Helm chart; expected a Wasm component (config application/vnd.wasm.config.v0+json, one layer application/wasm)
        it is an artifact of type `text/x`; expected a Wasm component (config application/vnd.wasm.config.v0+json, one layer application/wasm)
        it is a Wasm artifact with 0 layers; expected a Wasm component (config application/vnd.wasm.config.v0+json, one layer application/wasm)
        it is a Wasm artifact with 2 layers; expected a Wasm component (config application/vnd.wasm.config.v0+json, one layer application/wasm)
        it is a Wasm artifact whose layer is of type `application/vnd.wasm.content.layer.v1+wasm`; expected a Wasm component (config application/vnd.wasm.config.v0+json, one layer application/wasm)
        the component is larger than the limit of 100 bytes (it has 101); build it without debug information, or split it
        the manifest cannot be understood: layers[0]: invalid value: integer `-1`, expected u64
        the config is larger than the limit of 1048576 bytes (it has 2000000)
        the manifest cannot be understood: config: `sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855` is not a digest: expected `sha256:` and 64 lowercase hexadecimal digits
        ");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = WasmManifest::read(&bytes, 100);
        }

        /// Replaces any one value of a good manifest with another JSON value.
        #[test]
        fn no_json_panics(
            pointer in prop::sample::select(vec!["/schemaVersion", "/mediaType", "/config", "/config/mediaType", "/config/size",
                "/config/digest", "/layers", "/layers/0", "/layers/0/size", "/annotations"]),
            value in prop::sample::select(vec!["null", "{}", "[]", "[null]", "-1", "1e400", "18446744073709551616", "\"\"", "true"]),
        ) {
            let manifest = Manifest::new(b"{}", Digest::of("x"), 1, BTreeMap::from([("a".into(), "b".into())]));
            let mut json = serde_json::to_value(&manifest).unwrap();
            if let (Some(place), Ok(value)) = (json.pointer_mut(pointer), serde_json::from_str(value)) {
                *place = value;
            }
            let _ = WasmManifest::read(json.to_string().as_bytes(), 100);
        }
    }
}
