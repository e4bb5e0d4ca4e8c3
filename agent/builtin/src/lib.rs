//! The first-party plugins as components, built into the binary.
//!
//! They are components like any other, with nothing that another plugin could not have: the host loads these bytes the way it
//! loads what a registry returns. The build makes them from `plugins/`.
#![deny(missing_docs)]

use pintle_core::digest::Digest;
use pintle_core::plugin::Kind;

/// A first-party plugin.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// The plugin's name, as it describes itself.
    pub name: &'static str,
    /// The plugin's kind.
    pub kind: Kind,
    /// The bytes of the component.
    pub bytes: &'static [u8],
    /// The SHA-256 digest of the component.
    pub digest: Digest,
}

impl Component {
    const fn new(name: &'static str, kind: Kind, bytes: &'static [u8], digest: [u8; 32]) -> Self {
        Self {
            name,
            kind,
            bytes,
            digest: Digest::from_bytes(digest),
        }
    }
}

static COMPONENTS: &[Component] = &include!(concat!(env!("OUT_DIR"), "/components.rs"));

/// Returns all first-party plugins, in the order of the pipeline.
pub fn components() -> &'static [Component] {
    COMPONENTS
}

/// Finds a first-party plugin. Names are unique within a kind.
pub fn component(kind: Kind, name: &str) -> Option<&'static Component> {
    components()
        .iter()
        .find(|component| component.kind == kind && component.name == name)
}
