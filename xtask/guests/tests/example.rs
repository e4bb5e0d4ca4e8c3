//! The SDK's example becomes a component that fulfils the contract, with whatever toolchain this machine has.

mod host;

use std::path::Path;
use std::sync::LazyLock;

use host::{Host, Rendered};
use pintle_guests::{Artifact, Guest, Interfaces, build, interfaces};

/// The host, compiled once. Each call has an instance of its own.
static HOST: LazyLock<Host> = LazyLock::new(|| Host::new(&MOTD.bytes));

static MOTD: LazyLock<Artifact> = LazyLock::new(|| {
    let out_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("components");
    let mut artifacts =
        build(&[Guest::new("pintle-example-motd")], &out_dir).expect("the example builds");
    artifacts.remove(0)
});

#[test]
fn it_imports_nothing_but_the_contract() {
    let Interfaces { imports, exports } = interfaces(&MOTD.bytes).expect("a component");
    let foreign: Vec<_> = imports
        .iter()
        .filter(|name| !name.starts_with("pintle:types/"))
        .collect();
    assert!(foreign.is_empty(), "imports {foreign:?}");
    assert!(
        imports.contains(&"pintle:types/tree@1.0.0".to_owned()),
        "imports {imports:?}"
    );
    assert!(
        !imports.contains(&"pintle:types/http@1.0.0".to_owned()),
        "a renderer has no network"
    );
    assert_eq!(
        exports,
        [
            "pintle:renderer/renderer@1.0.0",
            "pintle:types/plugin@1.0.0"
        ]
    );
}

#[test]
fn it_holds_no_path_of_this_machine() {
    let text = String::from_utf8_lossy(&MOTD.bytes);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("in the workspace");
    let home = std::env::var("HOME").expect("HOME is set");
    for path in [workspace.to_str().expect("UTF-8"), home.as_str()] {
        assert!(
            !text.contains(&format!("{path}/")),
            "the component contains {path}"
        );
    }
}

#[test]
fn its_inputs_are_the_sources_it_is_made_from() {
    let has = |end: &str| MOTD.inputs.iter().any(|input| input.ends_with(end));
    for input in [
        "motd/src/lib.rs",
        "motd/Cargo.toml",
        "sdk/src/glue.rs",
        "wit/types/types.wit",
        "Cargo.lock",
    ] {
        assert!(has(input), "{input} is missing in {:?}", MOTD.inputs);
    }
    assert!(
        MOTD.inputs.iter().all(|input| input.exists()),
        "{:?}",
        MOTD.inputs
    );
}

#[test]
fn it_is_small() {
    // 144 KB with Debian's toolchain, and a little more or less with another standard library. A dependency of the SDK that makes
    // every plugin half as large again must be noticed.
    assert!(MOTD.bytes.len() < 200_000, "{} bytes", MOTD.bytes.len());
}

#[test]
fn it_describes_itself() {
    let described = HOST.describe();
    assert_eq!(described.name, "motd");
    assert_eq!(described.requests, 0);
    let schema = described.settings_schema;
    assert!(
        schema.contains("https://json-schema.org/draft/2020-12/schema"),
        "{schema}"
    );
    assert!(
        schema.contains("\"additionalProperties\":false"),
        "{schema}"
    );
    assert!(schema.contains("Longest message, in bytes."), "{schema}");
}

#[test]
fn it_renders_what_it_reads() {
    let rendered = Host::new(&MOTD.bytes)
        .file("motd.txt", "hello")
        .render("{}");
    let Rendered::Objects(objects) = rendered else {
        panic!("{rendered:?}")
    };
    insta::assert_snapshot!(
        objects.join("\n"),
        @r#"{"apiVersion":"v1","data":{"motd":"hello"},"kind":"ConfigMap","metadata":{"name":"web-motd","namespace":"shop"}}"#
    );
}

#[test]
fn bad_settings_are_problems_of_validate_and_of_every_call() {
    for settings in [
        r#"{"maxlength": 1}"#,
        r#"{"maxLength": 0}"#,
        r#"{"maxLength": "x"}"#,
        "[]",
        "null",
        "{",
    ] {
        let problems = HOST.validate(settings);
        assert_eq!(problems.len(), 1, "{settings}");
        let rendered = Host::new(&MOTD.bytes)
            .file("motd.txt", "hello")
            .render(settings);
        assert_eq!(rendered, Rendered::Refused(problems), "{settings}");
    }
    insta::assert_snapshot!(HOST.validate(r#"{"maxLength": "x"}"#)[0], @r#"/maxLength: invalid type: string "x", expected usize"#);
    insta::assert_snapshot!(HOST.validate(r#"{"maxlength": 1}"#)[0], @"/maxlength: unknown field `maxlength`, expected `file` or `maxLength`");
    insta::assert_snapshot!(HOST.validate("null")[0], @": settings are null, not an object");
    insta::assert_snapshot!(HOST.validate("{")[0], @": settings are not JSON: EOF while parsing an object at line 1 column 1");
    assert_eq!(HOST.validate("{}"), Vec::<String>::new());
}

#[test]
fn errors_of_the_folder_reach_the_plugin() {
    let rendered = HOST.render("{}");
    let expected = "cannot read `motd.txt`: there is no such file or folder".to_owned();
    assert_eq!(rendered, Rendered::Refused(vec![expected]));
    assert!(HOST.clone().file("motd.txt", "").detect());
    assert!(!HOST.clone().file("other.txt", "").detect());
}
