//! YAML as `sigs.k8s.io/yaml` (on go-yaml version 2) reads and writes it, and as go-yaml version 3 writes it.

mod keys;
mod letters;
mod scalar;
mod style;
mod through_json;
mod time;
mod write;

pub use write::{Flavor, write};
