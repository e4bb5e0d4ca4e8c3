//! The contract in `wit/` is sound: every package parses, and everything that plugin authors read is documented.

use std::path::{Path, PathBuf};

use wit_parser::{InterfaceId, Resolve, TypeDefKind, WorldId, WorldItem};

const KINDS: [&str; 6] = [
    "renderer",
    "policy",
    "health",
    "notifier",
    "gate",
    "transformer",
];

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")
}

/// Loads `types` and one kind, in the order that wit/README.md prescribes.
fn load(kind: &str) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    resolve
        .push_path(wit().join("types"))
        .expect("wit/types parses");
    let (package, _) = resolve
        .push_path(wit().join(kind))
        .expect("the kind parses");
    let world = resolve
        .select_world(&[package], None)
        .expect("the package has one world");
    (resolve, world)
}

fn interfaces(resolve: &Resolve) -> impl Iterator<Item = (InterfaceId, &wit_parser::Interface)> {
    resolve.interfaces.iter()
}

#[test]
fn every_folder_is_a_kind_or_the_shared_types() {
    let mut folders: Vec<String> = std::fs::read_dir(wit())
        .expect("wit/ is there")
        .map(|entry| entry.expect("readable"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let mut expected = KINDS.map(str::to_owned).to_vec();
    expected.push("types".to_owned());
    expected.sort();
    assert_eq!(folders, expected);
}

#[test]
fn every_kind_has_one_world_that_exports_plugin_and_itself() {
    for kind in KINDS {
        let (resolve, id) = load(kind);
        let world = &resolve.worlds[id];
        assert_eq!(world.name, "plugin");
        let package = &resolve.packages[world.package.expect("in a package")].name;
        assert_eq!(package.to_string(), format!("pintle:{kind}@1.0.0"));

        let mut exports: Vec<String> = world
            .exports
            .keys()
            .map(|key| resolve.name_world_key(key))
            .collect();
        exports.sort();
        let mut expected = vec![
            "pintle:types/plugin@1.0.0".to_owned(),
            format!("pintle:{kind}/{kind}@1.0.0"),
        ];
        expected.sort();
        assert_eq!(exports, expected);

        for (key, item) in &world.imports {
            assert!(
                matches!(item, WorldItem::Interface { .. }),
                "{kind} imports interfaces only"
            );
            let name = resolve.name_world_key(key);
            assert!(name.starts_with("pintle:types/"), "{kind} imports {name}");
        }
    }
}

#[test]
fn only_gates_and_notifiers_have_a_network() {
    for kind in KINDS {
        let (resolve, world) = load(kind);
        let imports = &resolve.worlds[world].imports;
        let http = imports
            .keys()
            .any(|key| resolve.name_world_key(key) == "pintle:types/http@1.0.0");
        assert_eq!(http, matches!(kind, "gate" | "notifier"), "{kind}");
    }
}

#[test]
fn every_interface_function_and_type_of_more_than_a_name_is_documented() {
    for kind in KINDS {
        let (resolve, _) = load(kind);
        for (_, interface) in interfaces(&resolve) {
            let name = interface.name.as_deref().unwrap_or_default();
            for (function, item) in &interface.functions {
                assert!(
                    item.docs.contents.is_some(),
                    "{kind}: {name}.{function} has no doc comment"
                );
            }
            for (type_name, id) in &interface.types {
                if let TypeDefKind::Enum(cases) = &resolve.types[*id].kind {
                    // The names `file` and `folder` are self-explanatory.
                    if type_name != "entry-kind" {
                        for case in &cases.cases {
                            let place = format!("{kind}: {name}.{type_name}.{}", case.name);
                            assert!(case.docs.contents.is_some(), "{place} has no doc comment");
                        }
                    }
                }
            }
        }
    }
}
