//! What a component says about itself: its imports, its exports, and the kinds of plugin that these make it.

use std::io::Read;

use pintle_core::plugin::Kind;
use serde::Serialize;
use wasmparser::{Parser, Payload};
use wit_component::WitPrinter;
use wit_parser::decoding::DecodedWasm;

/// `\0asm` (WebAssembly core specification, section 5.5.16).
const MAGIC: [u8; 4] = *b"\0asm";
/// The version and layer of a core module.
const MODULE: [u8; 4] = [1, 0, 0, 0];
/// The second half of a component's preamble: its layer (component model, `Binary.md`). The first half is a version.
const COMPONENT_LAYER: [u8; 2] = [1, 0];
/// The most names that are read from one component, which is far above any real one.
const MAX_NAMES: usize = 10_000;

/// Why bytes are not a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComponentError {
    /// They are not WebAssembly.
    #[error(
        "it is not WebAssembly: expected a binary that starts with `\\0asm`, this starts with {0}"
    )]
    NotWasm(String),
    /// They are a core module.
    #[error(
        "it is a core module, not a component; build it for `wasm32-wasip2`, or make a component of it with `wasm-tools component new`"
    )]
    CoreModule,
    /// They are a WIT package in binary form, which holds types and no code.
    #[error("it is a WIT package without code, not a component")]
    WitPackage,
    /// They start like a component, but continue differently.
    #[error("the component is damaged: {0}")]
    Damaged(String),
    /// The component's types cannot be shown.
    #[error("the component's WIT cannot be worked out: {0}")]
    Undecodable(String),
}

/// An interface through which the host calls a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginInterface {
    /// The kind of plugin.
    pub kind: Kind,
    /// The version of the WIT package, such as `1.0.0`.
    pub version: String,
}

/// The names of what a component imports and exports, in the component's order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Interface {
    /// What it needs: `pintle:types/tree@1.0.0`.
    pub imports: Vec<String>,
    /// What it offers: `pintle:renderer/renderer@1.0.0`.
    pub exports: Vec<String>,
}

impl Interface {
    /// Reads the imports and exports from a component's bytes, without compiling or validating its code.
    pub fn of(component: &[u8]) -> Result<Self, ComponentError> {
        check_preamble(component)?;
        let damaged =
            |error: wasmparser::BinaryReaderError| ComponentError::Damaged(error.to_string());
        let mut interface = Self::default();
        // Modules and components nest; only the outermost one's imports and exports are its interface.
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            match payload.map_err(damaged)? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        push(&mut interface.imports, import.map_err(damaged)?.name.name)?;
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        push(&mut interface.exports, export.map_err(damaged)?.name.name)?;
                    }
                }
                _ => {}
            }
        }
        Ok(interface)
    }

    /// Returns the plugin interfaces among the exports; none for a component that is not a plugin.
    pub fn plugins(&self) -> Vec<PluginInterface> {
        self.exports
            .iter()
            .filter_map(|export| plugin(export))
            .collect()
    }
}

/// Prints a component's interface with all its types, as WIT.
///
/// This runs a decoder on types that somebody else wrote. Call it where its panics are caught, such as in a task.
pub fn wit(component: &[u8]) -> Result<String, ComponentError> {
    check_preamble(component)?;
    let undecodable =
        |error: &dyn std::fmt::Display| ComponentError::Undecodable(format!("{error:#}"));
    let (resolve, world) = match wit_component::decode(component).map_err(|e| undecodable(&e))? {
        DecodedWasm::Component(resolve, world) => (resolve, world),
        DecodedWasm::WitPackage(..) => return Err(ComponentError::WitPackage),
    };
    let main = resolve.worlds[world]
        .package
        .ok_or_else(|| ComponentError::Undecodable("its world is in no package".to_owned()))?;
    let others: Vec<_> = resolve
        .packages
        .iter()
        .map(|(id, _)| id)
        .filter(|id| *id != main)
        .collect();
    let mut printer = WitPrinter::default();
    printer
        .print(&resolve, main, &others)
        .map_err(|e| undecodable(&e))?;
    Ok(printer.output.to_string())
}

/// Parses `pintle:KIND/KIND@VERSION`.
fn plugin(export: &str) -> Option<PluginInterface> {
    let (name, version) = export.split_once('@')?;
    let (package, interface) = name.strip_prefix("pintle:")?.split_once('/')?;
    let kind = interface.parse().ok()?;
    (package == interface).then(|| PluginInterface {
        kind,
        version: version.to_owned(),
    })
}

fn push(names: &mut Vec<String>, name: &str) -> Result<(), ComponentError> {
    if names.len() == MAX_NAMES {
        return Err(ComponentError::Damaged(format!(
            "it has more than {MAX_NAMES} imports or exports"
        )));
    }
    names.push(name.to_owned());
    Ok(())
}

/// Checks by the first eight bytes whether this is a component at all.
pub(crate) fn check_preamble(mut bytes: &[u8]) -> Result<(), ComponentError> {
    let start: Vec<String> = bytes.iter().take(4).map(|b| format!("{b:02x}")).collect();
    let (mut magic, mut version) = ([0; 4], [0; 4]);
    let read = bytes
        .read_exact(&mut magic)
        .and_then(|()| bytes.read_exact(&mut version));
    if read.is_err() || magic != MAGIC {
        let start = if start.is_empty() {
            "nothing".to_owned()
        } else {
            format!("`{}`", start.join(" "))
        };
        return Err(ComponentError::NotWasm(start));
    }
    if version == MODULE {
        return Err(ComponentError::CoreModule);
    }
    if version[2..] != COMPONENT_LAYER {
        return Err(ComponentError::Damaged(format!(
            "its preamble names the unknown version {version:02x?}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn component() -> Vec<u8> {
        wat::parse_str(
            r#"(component
                (import "pintle:types/log@1.0.0" (instance
                    (export "log" (func (param "text" string)))))
                (component (instance $e) (export "x:y/not-mine@1.0.0" (instance $e)))
                (core module)
                (instance $i)
                (export "pintle:types/plugin@1.0.0" (instance $i))
                (export "pintle:renderer/renderer@1.0.0" (instance $i))
                (export "pintle:health/renderer@1.0.0" (instance $i)))"#,
        )
        .unwrap()
    }

    #[test]
    fn reads_imports_exports_and_kinds_of_the_outermost_component() {
        let interface = Interface::of(&component()).unwrap();
        insta::assert_yaml_snapshot!(interface, @r#"
        imports:
          - "pintle:types/log@1.0.0"
        exports:
          - "pintle:types/plugin@1.0.0"
          - "pintle:renderer/renderer@1.0.0"
          - "pintle:health/renderer@1.0.0"
        "#);
        assert_eq!(
            interface.plugins(),
            [PluginInterface {
                kind: Kind::Renderer,
                version: "1.0.0".into()
            }]
        );
        insta::assert_snapshot!(wit(&component()).unwrap(), @r"
        package root:component;

        world root {
          import pintle:types/log@1.0.0;

          export pintle:types/plugin@1.0.0;
          export pintle:renderer/renderer@1.0.0;
          export pintle:health/renderer@1.0.0;
        }
        package pintle:types@1.0.0 {
          interface log {
            log: func(text: string);
          }
          interface plugin {
          }
        }


        package pintle:renderer@1.0.0 {
          interface renderer {
          }
        }


        package pintle:health@1.0.0 {
          interface renderer {
          }
        }
        ");
    }

    #[test]
    fn says_what_else_it_is() {
        let module = wat::parse_str("(module)").unwrap();
        let mut future = component();
        future[6] = 9;
        let said: Vec<_> = [
            &b""[..],
            b"#!/bin/sh",
            b"\0asm",
            &module,
            &future,
            &component()[..60],
        ]
        .into_iter()
        .map(|bytes| Interface::of(bytes).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        it is not WebAssembly: expected a binary that starts with `\0asm`, this starts with nothing
        it is not WebAssembly: expected a binary that starts with `\0asm`, this starts with `23 21 2f 62`
        it is not WebAssembly: expected a binary that starts with `\0asm`, this starts with `00 61 73 6d`
        it is a core module, not a component; build it for `wasm32-wasip2`, or make a component of it with `wasm-tools component new`
        the component is damaged: its preamble names the unknown version [0d, 00, 09, 00]
        the component is damaged: unexpected end-of-file (at offset 0x22)
        ");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Interface::of(&bytes);
        }

        #[test]
        fn no_damage_panics(at in any::<prop::sample::Index>(), to in any::<u8>(), end in any::<prop::sample::Index>()) {
            let mut bytes = component();
            let at = at.index(bytes.len());
            bytes[at] = to;
            bytes.truncate(end.index(bytes.len()) + 1);
            let _ = (Interface::of(&bytes), wit(&bytes));
        }
    }
}
