//! The manifest of a release, read in memory of the order of its own size.
//!
//! What is said of one that cannot be read names a place, and nothing that is there: it may be a Secret.

use serde_json::Value;
use serde_saphyr::{Budget, DuplicateKeyPolicy, Options};

/// How many values any manifest may have.
const VALUES: usize = 250_000;
/// How many bytes each value has in one with more: far fewer than in any that people write.
const DENSITY: usize = 8;
/// How many events the reader counts for each value, with the ends of what is around it.
const EVENTS: usize = 4;
/// How many bytes the texts of any manifest may have, with what its aliases repeat of them.
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
    // Nobody reads them.
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
