//! From core modules to components, and what components ask for and give.

use anyhow::{Context, bail};
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{Resolve, WorldItem, WorldKey};

/// Makes a component of a core module, as described by the sections that the bindings left in it.
pub(crate) fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)?
        .encode()
}

/// What a component imports and exports: interfaces by their full names, such as `pintle:types/log@1.0.0`; anything
/// else by its plain name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// What it needs, sorted.
    pub imports: Vec<String>,
    /// What it gives, sorted.
    pub exports: Vec<String>,
}

/// Reads what a component imports and exports. The error says why the bytes are no component.
pub fn interfaces(component: &[u8]) -> anyhow::Result<Interfaces> {
    match wit_component::decode(component).context("not a component")? {
        DecodedWasm::Component(resolve, world) => {
            let world = &resolve.worlds[world];
            Ok(Interfaces {
                imports: names(&resolve, &world.imports),
                exports: names(&resolve, &world.exports),
            })
        }
        DecodedWasm::WitPackage(..) => bail!("not a component: an encoded WIT package"),
    }
}

fn names<'a>(
    resolve: &Resolve,
    items: impl IntoIterator<Item = (&'a WorldKey, &'a WorldItem)>,
) -> Vec<String> {
    let mut names: Vec<_> = items
        .into_iter()
        .map(|(key, _)| resolve.name_world_key(key))
        .collect();
    names.sort();
    names
}
