//! Charts in the registry, for applications whose source is not a git repository.

use std::collections::BTreeMap;

use anyhow::Result;
use pintle_harness::pack_chart;

use crate::arena::Arena;
use crate::model::{Key, manifest};

/// Pushes a chart that renders these objects. `repository` is below the registry's root.
pub(crate) fn push(
    arena: &Arena,
    repository: &str,
    version: &str,
    objects: &BTreeMap<Key, u32>,
) -> Result<()> {
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let templates: Vec<_> = objects
        .iter()
        .map(|(key, object_version)| {
            let file = format!("templates/{}-{}.yaml", key.kind.plural(), key.name);
            (file, manifest(key, *object_version).to_string())
        })
        .collect();
    let files: Vec<_> = templates
        .iter()
        .map(|(file, text)| (file.as_str(), text.as_str()))
        .collect();
    let archive = pack_chart(name, version, &files)?;
    arena.wait(arena.servers.push_chart(repository, version, archive))?;
    Ok(())
}
