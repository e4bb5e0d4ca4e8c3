//! Determines what a component is by its exports and imports, before any of it runs.

use std::fmt;

use pintle_core::plugin::Kind;
use semver::Version;
use wasmtime::{Engine, component::Component};

/// The major version of every package of the contract.
const MAJOR: u64 = 1;

/// Kinds of the contract that this agent does not load yet.
const LATER: [&str; 2] = ["gate", "transformer"];

/// The reason why a component cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unloadable {
    /// There are no bytes.
    #[error("it is empty")]
    Empty,
    /// The bytes are not WebAssembly.
    #[error("it is not WebAssembly: it begins with `{found}`")]
    NotWasm {
        /// The first bytes, in printable form.
        found: String,
    },
    /// The bytes are a core module.
    #[error(
        "it is a core module, and a component is expected: `wasm-tools component new` makes one of a module that was built for the contract"
    )]
    CoreModule,
    /// The component is truncated or invalid.
    #[error("the component is malformed: {0}")]
    Malformed(String),
    /// The component does not export any kind of plugin.
    #[error(
        "it exports {exports}, which is no kind of plugin: expected one of {}",
        kinds()
    )]
    NoKind {
        /// Its exports.
        exports: Names,
    },
    /// The component exports several kinds.
    #[error("it exports {exports}: expected exactly one kind of plugin, so split it")]
    SeveralKinds {
        /// Its exports.
        exports: Names,
    },
    /// The component is of a kind that is planned for later.
    #[error("it is a {kind}, which this version of the agent does not load yet")]
    LaterKind {
        /// The kind.
        kind: String,
    },
    /// The component is of another version of the contract.
    #[error(
        "it is built for `{found}`, and this agent speaks `{expected}`: build it with the SDK of that version"
    )]
    OtherVersion {
        /// The version that it exports.
        found: String,
        /// The expected version.
        expected: String,
    },
    /// The component exports its kind, but not what every plugin has to export.
    #[error("it exports {exports}, and every plugin exports `pintle:types/plugin@1.0.0` as well")]
    NotAPlugin {
        /// Its exports.
        exports: Names,
    },
    /// The component imports something that its kind is not given.
    #[error("it imports {imports}, which a {kind} plugin is not given: expected {}", allowed(*.kind))]
    Import {
        /// The plugin's kind.
        kind: Kind,
        /// The imports that it is not given.
        imports: Names,
    },
    /// The component's functions have other types than the contract.
    #[error("it does not fit the contract: {0}")]
    Type(String),
    /// One instance of the component takes more than the share of one plugin, which leaves room for calls of others.
    #[error(
        "an instance of it takes too much (memories: {memories}, at most {most_memories}; tables: {tables}, at most {most_tables}): compose it of fewer modules"
    )]
    TooLarge {
        /// The number of its linear memories.
        memories: u32,
        /// The maximum number of linear memories.
        most_memories: u32,
        /// The number of its tables.
        tables: u32,
        /// The maximum number of tables.
        most_tables: u32,
    },
    /// The file could not be read, the machine has run out of something, or the compiler crashed or took too long.
    #[error("it could not be compiled: {0}")]
    Compile(String),
    /// The compiler process was killed while it worked. Nothing is known about the component.
    #[error("it was not compiled: the compiler was killed, most likely for want of memory")]
    Interrupted,
    /// The compiler process ended like this before it had compiled. Nothing is known about the component.
    #[error("it was not compiled: the compiler ended with {0}; the agent's log says why")]
    Unfinished(String),
}

impl Unloadable {
    /// Returns whether the same component may be loaded later without any change.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Unfinished(_))
    }
}

/// Names of interfaces, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The number of names that are listed. Further ones are only counted.
        const SHOWN: usize = 8;
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (index, name) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}`{name}`", if index > 0 { ", " } else { "" })?;
        }
        match self.0.len().checked_sub(SHOWN) {
            Some(more @ 1..) => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

/// What a component turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) kind: Kind,
    /// Whether it imports `wasi:*`.
    pub(crate) wasi: bool,
}

/// Checks the first bytes, so that an input that is not a component is reported in plain words rather than the parser's.
pub(crate) fn check_preamble(bytes: &[u8]) -> Result<(), Unloadable> {
    // Core specification, section 5.5.16, and the component model's binary format: both have the same magic, followed by the
    // version, whose upper half distinguishes the two.
    match bytes {
        [0, b'a', b's', b'm', _, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(Unloadable::CoreModule),
        [0, b'a', b's', b'm', ..] => Err(Unloadable::Malformed(
            "it is cut off, or of another binary format".to_owned(),
        )),
        [] => Err(Unloadable::Empty),
        _ => Err(Unloadable::NotWasm {
            found: String::from_utf8_lossy(&bytes[..bytes.len().min(16)])
                .escape_debug()
                .to_string(),
        }),
    }
}

/// Determines what a component is.
pub(crate) fn inspect(engine: &Engine, component: &Component) -> Result<World, Unloadable> {
    let ty = component.component_type();
    let exports = ty
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let imports = ty
        .imports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    classify(Names(exports), &Names(imports))
}

fn classify(exports: Names, imports: &Names) -> Result<World, Unloadable> {
    let found: Vec<&String> = exports
        .0
        .iter()
        .filter(|name| kind_of(name).is_some())
        .collect();
    let name = match found.as_slice() {
        [] => {
            return Err(match exports.0.iter().find_map(|name| later(name)) {
                Some(kind) => Unloadable::LaterKind { kind },
                None => Unloadable::NoKind { exports },
            });
        }
        [name] => (*name).clone(),
        _ => return Err(Unloadable::SeveralKinds { exports }),
    };
    let kind = kind_of(&name).expect("only names with a kind were kept");
    if !is_spoken(&name) {
        return Err(Unloadable::OtherVersion {
            found: name,
            expected: interface(kind),
        });
    }
    let is_plugin = |name: &String| name.starts_with("pintle:types/plugin@") && is_spoken(name);
    if !exports.0.iter().any(is_plugin) {
        return Err(Unloadable::NotAPlugin { exports });
    }
    let wasi = |name: &str| name.starts_with("wasi:") && !name.starts_with("wasi:http/");
    let is_given = |name: &str| {
        wasi(name)
            || capabilities(kind)
                .iter()
                .any(|own| is_interface(name, own) && is_spoken(name))
    };
    let in_vain: Vec<String> = imports
        .0
        .iter()
        .filter(|name| !is_given(name))
        .cloned()
        .collect();
    if !in_vain.is_empty() {
        return Err(Unloadable::Import {
            kind,
            imports: Names(in_vain),
        });
    }
    Ok(World {
        kind,
        wasi: imports.0.iter().any(|name| wasi(name)),
    })
}

/// Returns the interfaces that a kind's world imports, plus `types` and `tree` or `plan`, whose types its exports mention.
pub(crate) const fn capabilities(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Renderer => &["types", "log", "tree", "context", "arithmetic", "cluster"],
        Kind::Policy => &["types", "log", "plan", "context", "arithmetic", "cluster"],
        Kind::Health => &["types", "log"],
        Kind::Notifier => &["types", "log", "http"],
    }
}

fn is_interface(name: &str, interface: &str) -> bool {
    name.strip_prefix("pintle:types/")
        .and_then(|rest| rest.strip_prefix(interface))
        .is_some_and(|rest| rest.starts_with('@'))
}

fn kind_of(name: &str) -> Option<Kind> {
    Kind::ALL
        .into_iter()
        .find(|kind| names_kind(name, kind.name()))
}

fn later(name: &str) -> Option<String> {
    LATER
        .into_iter()
        .find(|kind| names_kind(name, kind))
        .map(ToOwned::to_owned)
}

fn names_kind(name: &str, kind: &str) -> bool {
    let interface = name.split('@').next().unwrap_or(name);
    interface.strip_prefix("pintle:") == Some(&format!("{kind}/{kind}"))
}

/// Returns whether this agent speaks this version of an interface: the same major version, and not a prerelease.
fn is_spoken(name: &str) -> bool {
    name.split_once('@')
        .and_then(|(_, version)| Version::parse(version).ok())
        .is_some_and(|version| version.major == MAJOR && version.pre.is_empty())
}

fn interface(kind: Kind) -> String {
    format!("pintle:{kind}/{kind}@{MAJOR}.0.0")
}

fn kinds() -> String {
    Kind::ALL
        .map(|kind| format!("`{}`", interface(kind)))
        .join(", ")
}

fn allowed(kind: Kind) -> String {
    let own = capabilities(kind)
        .iter()
        .map(|name| format!("`pintle:types/{name}@{MAJOR}.0.0`"));
    let mut all: Vec<String> = own.collect();
    all.push("WASI 0.2 without `wasi:http`".to_owned());
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Names {
        Names(names.iter().map(ToString::to_string).collect())
    }

    fn error(exports: &[&str], imports: &[&str]) -> String {
        classify(names(exports), &names(imports))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_component_is_what_it_exports() {
        for kind in Kind::ALL {
            let own = interface(kind);
            let world = classify(
                names(&["pintle:types/plugin@1.0.0", &own]),
                &names(&["pintle:types/log@1.0.0", "wasi:cli/environment@0.2.6"]),
            );
            assert_eq!(world, Ok(World { kind, wasi: true }));
        }
        let newer = classify(
            names(&["pintle:types/plugin@1.1.0", "pintle:health/health@1.2.3"]),
            &names(&[]),
        );
        assert_eq!(
            newer.unwrap(),
            World {
                kind: Kind::Health,
                wasi: false
            }
        );
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_would() {
        insta::assert_snapshot!(error(&[], &[]), @"it exports nothing, which is no kind of plugin: expected one of `pintle:renderer/renderer@1.0.0`, `pintle:policy/policy@1.0.0`, `pintle:health/health@1.0.0`, `pintle:notifier/notifier@1.0.0`");
        insta::assert_snapshot!(error(&["wasi:cli/run@0.2.0"], &[]), @"it exports `wasi:cli/run@0.2.0`, which is no kind of plugin: expected one of `pintle:renderer/renderer@1.0.0`, `pintle:policy/policy@1.0.0`, `pintle:health/health@1.0.0`, `pintle:notifier/notifier@1.0.0`");
        insta::assert_snapshot!(error(&["pintle:renderer/renderer@2.0.0", "pintle:types/plugin@2.0.0"], &[]), @"it is built for `pintle:renderer/renderer@2.0.0`, and this agent speaks `pintle:renderer/renderer@1.0.0`: build it with the SDK of that version");
        insta::assert_snapshot!(error(&["pintle:renderer/renderer@1.0.0-rc.1"], &[]), @"it is built for `pintle:renderer/renderer@1.0.0-rc.1`, and this agent speaks `pintle:renderer/renderer@1.0.0`: build it with the SDK of that version");
        insta::assert_snapshot!(error(&["pintle:renderer/renderer@1.0.0", "pintle:policy/policy@1.0.0"], &[]), @"it exports `pintle:renderer/renderer@1.0.0`, `pintle:policy/policy@1.0.0`: expected exactly one kind of plugin, so split it");
        insta::assert_snapshot!(error(&["pintle:gate/gate@1.0.0"], &[]), @"it is a gate, which this version of the agent does not load yet");
        insta::assert_snapshot!(error(&["pintle:health/health@1.0.0"], &[]), @"it exports `pintle:health/health@1.0.0`, and every plugin exports `pintle:types/plugin@1.0.0` as well");
        insta::assert_snapshot!(
            error(
                &["pintle:health/health@1.0.0", "pintle:types/plugin@1.0.0"],
                &["pintle:types/http@1.0.0", "wasi:http/outgoing-handler@0.2.0", "acme:db/query@1.0.0", "wasi:io/poll@0.2.0"],
            ),
            @"it imports `pintle:types/http@1.0.0`, `wasi:http/outgoing-handler@0.2.0`, `acme:db/query@1.0.0`, which a health plugin is not given: expected `pintle:types/types@1.0.0`, `pintle:types/log@1.0.0`, WASI 0.2 without `wasi:http`"
        );
    }

    #[test]
    fn the_first_bytes_tell_what_a_file_is() {
        let error = |bytes: &[u8]| check_preamble(bytes).unwrap_err().to_string();
        assert_eq!(check_preamble(b"\0asm\x0d\0\x01\0"), Ok(()));
        insta::assert_snapshot!(error(b"\0asm\x01\0\0\0"), @"it is a core module, and a component is expected: `wasm-tools component new` makes one of a module that was built for the contract");
        insta::assert_snapshot!(error(b"\0asm\x0d"), @"the component is malformed: it is cut off, or of another binary format");
        insta::assert_snapshot!(error(b"\x7fELF\x02\x01\x01"), @r"it is not WebAssembly: it begins with `\u{7f}ELF\u{2}\u{1}\u{1}`");
        insta::assert_snapshot!(error(b"(component)"), @"it is not WebAssembly: it begins with `(component)`");
        insta::assert_snapshot!(error(b""), @"it is empty");
    }
}
