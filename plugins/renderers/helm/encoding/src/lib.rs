//! YAML, JSON and TOML as the Go libraries that Helm uses read and write them.
//!
//! [`functions`] has what templates call; [`yaml`] and [`json`] are the formats themselves. The output is identical, byte for
//! byte, to that of the library versions in Helm 4.3.1 (`sigs.k8s.io/yaml` 1.6 on go-yaml 2.4.4, go-yaml 3.0.5, `encoding/json`
//! of Go 1.26, `BurntSushi/toml` 1.6), because charts compare and hash such texts. Differential tests verify this.
//!
//! To read YAML, make a [`yaml::Document`] of its bytes:
//!
//! ```
//! use pintle_goencoding::yaml::{Document, Numbers};
//!
//! // What `values.yaml` and `fromYaml` have: every number is a `float64`.
//! let values = Document::new(b"replicas: 3\nimage: {tag: 1.10}\n").to_value(Numbers::Float)?;
//! // What the API server makes of a manifest: whole numbers stay exact.
//! let manifest = Document::new(b"uid: 9007199254740993").to_value(Numbers::Exact)?;
//! // JSON, without values in between.
//! let mut json = Vec::new();
//! Document::new(b"b: yes\na: 0x10").write_json(&mut json)?;
//! assert_eq!(json, br#"{"a":16,"b":true}"#);
//!
//! // An error has the text of the library, and the place.
//! let error = Document::new(b"a: b: c").to_value(Numbers::Float).unwrap_err();
//! assert_eq!(error.to_string(), "yaml: mapping values are not allowed in this context");
//! assert_eq!(error.place().map(|place| (place.line, place.column)), Some((1, 5)));
//! # Ok::<(), pintle_goencoding::yaml::YamlError>(())
//! ```
//!
//! Only the first document of a stream is read. A caller with more than one splits the stream first, as Helm does.
//! [`functions::read_yaml`] also checks that the document is a map or list, with the messages of `sigs.k8s.io/yaml`.
//!
//! # Where the results are not Go's
//!
//! - Lists and maps nest at most 400 deep ([`MAX_NESTING`](pintle_gotemplate::value::MAX_NESTING)), in TOML 100. Go stops at
//!   10,000 or not at all.
//! - Aliases repeat at most 32 MiB of text, in addition to the library's limit on what they multiply.
//! - Of several keys and numbers that JSON cannot hold, the error names the first. Go's choice is random.
//! - After two byte order marks, go-yaml loses the first character of each line. Here, the second mark is text.

pub mod error;
pub mod float;
pub mod functions;
pub mod json;
pub mod toml;
mod words;
pub mod yaml;
