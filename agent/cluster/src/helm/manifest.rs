//! Reads the manifest of a release, with memory in proportion to its size.
//!
//! An error about a manifest that cannot be read names a place but never the content, which may be a Secret.

use serde_json::Value;
use serde_saphyr::{Budget, DuplicateKeyPolicy, Options};

/// How many values any manifest may have.
const VALUES: usize = 250_000;
/// The bytes per value that a manifest with more values must have at least: far fewer than in any that people write.
const DENSITY: usize = 8;
/// How many parser events are allowed per value, including the ends of what surrounds it.
const EVENTS: usize = 4;
/// How many bytes the texts of any manifest may have, including what its aliases repeat.
const TEXTS: usize = 1 << 20;

/// Reads the documents of a manifest.
pub(super) fn read(manifest: &str) -> Result<Vec<Value>, String> {
    let values = VALUES.max(manifest.len() / DENSITY);
    let mut budget = Budget::default();
    budget.max_nodes = values;
    budget.max_documents = values;
    budget.max_events = values * EVENTS;
    budget.max_total_scalar_bytes = TEXTS.max(manifest.len() * 2);
    let mut options = Options::default();
    options.budget = Some(budget);
    options.legacy_octal_numbers = true;
    options.duplicate_keys = DuplicateKeyPolicy::LastWins;
    // Comments and snippets are not used.
    options.emit_comments = false;
    options.with_snippet = false;
    serde_saphyr::from_multiple_with_options(manifest, options).map_err(|error| {
        let place = error.location().map_or_else(String::new, |place| {
            format!(" beyond line {}, column {}", place.line(), place.column())
        });
        format!(
            "its manifest cannot be read{place}: expected YAML of at most {values} values; what is there is not shown, for it may be \
             secret"
        )
    })
}
