//! Components for tests: built from `tests/guests` or written in WAT.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use bytes::Bytes;
use pintle_guests::Guest;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

fn built(package: &str) -> Bytes {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let mut artifacts =
        pintle_guests::build(&[Guest::new(package)], &out).unwrap_or_else(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            panic!(
                "{package} does not build: {error} {}",
                cause.unwrap_or_default()
            )
        });
    artifacts.remove(0).bytes.into()
}

/// Returns the guest in `tests/guests/renderer`.
pub(crate) fn renderer() -> Bytes {
    static BYTES: OnceLock<Bytes> = OnceLock::new();
    BYTES.get_or_init(|| built("pintle-guest-renderer")).clone()
}

/// Returns the guest in `tests/guests/policy`.
pub(crate) fn policy() -> Bytes {
    static BYTES: OnceLock<Bytes> = OnceLock::new();
    BYTES.get_or_init(|| built("pintle-guest-policy")).clone()
}

/// Returns the guest in `tests/guests/notifier`.
pub(crate) fn notifier() -> Bytes {
    static BYTES: OnceLock<Bytes> = OnceLock::new();
    BYTES.get_or_init(|| built("pintle-guest-notifier")).clone()
}

/// Returns the root folder of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Builds a component from a core module in WAT, for a world in WIT that may use the contract.
pub(crate) fn component(wit: &str, module: &str) -> Bytes {
    let mut resolve = Resolve::default();
    for package in ["types", "renderer", "policy", "health", "notifier", "gate"] {
        // Some tests bring a package of their own.
        if !wit.contains(&format!("package pintle:{package}@")) {
            let folder = root().join("wit").join(package);
            resolve.push_path(folder).unwrap();
        }
    }
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("it")).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module).unwrap();
    encoder.encode().unwrap().into()
}

/// A health check in WAT that describes itself, judges nothing, and assesses with `body`.
#[derive(Debug, Clone)]
pub(crate) struct Watchman {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) schema: &'static str,
    /// Further imports of the world, in WIT.
    pub(crate) imports: &'static str,
    /// Further packages, in WIT.
    pub(crate) packages: &'static str,
    /// Imports of the module, in WAT.
    pub(crate) core_imports: &'static str,
    /// Memories, tables, globals and functions, in WAT.
    pub(crate) items: &'static str,
    /// The code that `assess` runs before it answers with `$message` and `$length`, in WAT.
    pub(crate) body: &'static str,
}

impl Default for Watchman {
    fn default() -> Self {
        Self {
            name: "watchman",
            version: "1.2.3",
            schema: r#"{"type": "object", "additionalProperties": false}"#,
            imports: "",
            packages: "",
            core_imports: "",
            items: "",
            body: "",
        }
    }
}

impl Watchman {
    pub(crate) fn bytes(&self) -> Bytes {
        let wit = format!(
            "package test:guest;
            world it {{
                include pintle:health/plugin@1.0.0;
                {}
            }}
            {}",
            self.imports, self.packages
        );
        let texts = [
            self.name,
            self.version,
            "watches",
            self.schema,
            "all is well",
        ];
        let mut data = String::new();
        let mut places = Vec::new();
        let mut at = 4096;
        for text in texts {
            let escaped: String = text.bytes().fold(String::new(), |mut out, byte| {
                write!(out, "\\{byte:02x}").unwrap();
                out
            });
            writeln!(data, "(data (i32.const {at}) \"{escaped}\")").unwrap();
            places.push((at, text.len()));
            at += text.len();
        }
        let mut description = String::new();
        for (index, (at, length)) in places[..4].iter().enumerate() {
            let field = 1024 + index * 8;
            for (field, value) in [(field, at), (field + 4, length)] {
                writeln!(
                    description,
                    "(i32.store (i32.const {field}) (i32.const {value}))"
                )
                .unwrap();
            }
        }
        let (message, length) = places[4];
        let module = format!(
            r#"(module
                {core_imports}
                (memory $memory (export "memory") 2)
                (global $heap (mut i32) (i32.const 65536))
                (global $message (mut i32) (i32.const {message}))
                (global $length (mut i32) (i32.const {length}))
                {data}
                {items}
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
                    (global.get $heap)
                    (global.set $heap (i32.add (global.get $heap) (local.get 3))))
                (func (export "pintle:types/plugin@1.0.0#describe") (result i32)
                    {description}
                    (i32.const 1024))
                (func (export "pintle:types/plugin@1.0.0#validate") (param i32 i32) (result i32) (i32.const 2048))
                (func (export "pintle:health/health@1.0.0#judges") (result i32) (i32.const 2048))
                (func (export "pintle:health/health@1.0.0#assess") (param i32 i32 i32 i32 i64) (result i32)
                    {body}
                    (i32.store (i32.const 3084) (global.get $message))
                    (i32.store (i32.const 3088) (global.get $length))
                    (i32.const 3072)))"#,
            core_imports = self.core_imports,
            items = self.items,
            body = self.body,
        );
        component(&wit, &module)
    }
}
