//! YAML as `sigs.k8s.io/yaml` (on go-yaml version 2) reads and writes it, and as go-yaml version 3 writes it.

mod keys;
mod letters;
mod read;
mod scalar;
mod style;
mod through_json;
mod time;
mod write;

pub use read::{Document, Numbers, Place, YamlError};
pub use write::{Flavor, write};
