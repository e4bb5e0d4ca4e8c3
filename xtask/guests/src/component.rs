//! Turns core modules into components, and reads what components import and export.

use anyhow::{Context, bail};
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{Resolve, WorldItem, WorldKey};

/// Turns a core module into a component, according to the sections that the bindings left in it.
pub(crate) fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)?
        .encode()
}

/// The imports and exports of a component. Interfaces have their full names, such as `pintle:types/log@1.0.0`, and anything else
/// its plain name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// The names of the imports, sorted.
    pub imports: Vec<String>,
    /// The names of the exports, sorted.
    pub exports: Vec<String>,
}

/// Returns the imports and exports of a component. The error says why the bytes are not a component.
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
