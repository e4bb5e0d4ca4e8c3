//! YAML, JSON and TOML as the Go libraries that Helm uses read and write them.
//!
//! [`functions`] has what templates call; [`yaml`] and [`json`] are the formats themselves. All is byte for byte what the
//! libraries give at the versions that Helm 4.3.1 uses (`sigs.k8s.io/yaml` 1.6 on go-yaml 2.4.4, go-yaml 3.0.5,
//! `encoding/json` of Go 1.26, `BurntSushi/toml` 1.6): charts compare and hash such texts. Differential tests hold it to that.

pub mod error;
pub mod float;
pub mod functions;
pub mod json;
pub mod yaml;
