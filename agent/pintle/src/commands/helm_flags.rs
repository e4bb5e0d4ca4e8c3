//! The command line's flags for charts, as settings of the renderer `helm`.

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pintle_core::{
    application::{ApplicationSpec, PluginUse},
    tree::{Tree, TreePath},
};
use serde_json::{Map, Value, json};

use crate::{
    cli::{args::HelmArgs, exit::Usage},
    pipeline::catalog::built_in_names,
};

/// The name of the renderer.
const HELM: &str = "helm";
/// The name among the files for the values from the settings.
const VALUES: &str = "pintle.yaml: values";
/// The name among the files for standard input.
const STANDARD_INPUT: &str = "-";
/// The maximum size of one file with values, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Reads standard input, if a flag names it. It can be read only once, so a command that starts anew has to keep the result.
pub(super) fn standard_input(args: &HelmArgs) -> anyhow::Result<Option<String>> {
    let is_named = files(args).any(|path| path == STANDARD_INPUT);
    let read = || text_of(std::io::stdin().lock(), "standard input");
    is_named.then(read).transpose()
}

/// Merges the flags over the file's settings for the renderer. Lists are appended to those of the file, and so win.
/// `standard_input` is what was read from there.
pub(super) fn override_settings(
    spec: &mut ApplicationSpec,
    args: &HelmArgs,
    standard_input: Option<&str>,
    tree: &dyn Tree,
) -> anyhow::Result<()> {
    if *args == HelmArgs::default() {
        return Ok(());
    }
    refuse_for_others(spec, args, tree)?;
    let renderer = spec.renderer.get_or_insert_with(of_helm);
    if renderer.plugin.is_empty() {
        HELM.clone_into(&mut renderer.plugin);
    }
    if renderer.settings.is_null() {
        renderer.settings = Value::Object(Map::new());
    }
    let Some(settings) = renderer.settings.as_object_mut() else {
        return Err(Usage("the settings of the renderer `helm` are an object".to_owned()).into());
    };
    if !args.values.is_empty() {
        values_as_file(settings)?;
    }
    for (field, values) in [
        ("valuesFiles", &args.values),
        ("set", &args.set),
        ("setString", &args.set_string),
        ("setJson", &args.set_json),
        ("setFile", &args.set_file),
        ("setLiteral", &args.set_literal),
        ("showOnly", &args.show_only),
    ] {
        append(settings, field, values)?;
    }
    for (field, is_set, value) in [
        ("includeCrds", args.skip_crds, false),
        ("includeCrds", args.include_crds, true),
        ("noHooks", args.no_hooks, true),
        ("skipTests", args.skip_tests, true),
        ("isUpgrade", args.is_upgrade, true),
        ("skipSchemaValidation", args.skip_schema_validation, true),
    ] {
        if is_set {
            settings.insert(field.to_owned(), Value::Bool(value));
        }
    }
    for path in files(args) {
        let contents = contents(settings)?;
        if !contents.contains_key(&path) {
            let content = match standard_input.filter(|_| path == STANDARD_INPUT) {
                Some(text) => Value::String(text.to_owned()),
                None => content(file(&path)?),
            };
            contents.insert(path, content);
        }
    }
    Ok(())
}

/// Turns the values in the settings into a file that comes before the others. The renderer merges `values` over all files, but
/// what is typed has to override what is written.
fn values_as_file(settings: &mut Map<String, Value>) -> anyhow::Result<()> {
    let Some(values) = settings.remove("values") else {
        return Ok(());
    };
    // JSON is also YAML.
    contents(settings)?.insert(VALUES.to_owned(), Value::String(values.to_string()));
    append(settings, "valuesFiles", &[VALUES.to_owned()])
}

fn contents(settings: &mut Map<String, Value>) -> anyhow::Result<&mut Map<String, Value>> {
    let contents = settings.entry("fileContents").or_insert_with(|| json!({}));
    let problem = || Usage("`fileContents` is an object of texts by their path".to_owned());
    Ok(contents.as_object_mut().ok_or_else(problem)?)
}

/// Leaves out the definitions in `crds/` unless they are asked for. `helm template` does the same, and printing a bare chart is
/// expected to match it. Commands that apply charts install them, as `helm install` does.
pub(super) fn without_crds(spec: &mut ApplicationSpec, tree: &dyn Tree) -> anyhow::Result<()> {
    let named = spec.renderer.as_ref();
    let plugin = named.map_or("", |named| named.plugin.as_str());
    if plugin != HELM && (!plugin.is_empty() || !is_chart(tree)?) {
        return Ok(());
    }
    let renderer = spec.renderer.get_or_insert_with(of_helm);
    HELM.clone_into(&mut renderer.plugin);
    if renderer.settings.is_null() {
        renderer.settings = Value::Object(Map::new());
    }
    if let Some(settings) = renderer.settings.as_object_mut() {
        settings.entry("includeCrds").or_insert(Value::Bool(false));
    }
    Ok(())
}

fn of_helm() -> PluginUse {
    PluginUse {
        plugin: HELM.to_owned(),
        settings: Value::Null,
    }
}

fn is_chart(tree: &dyn Tree) -> anyhow::Result<bool> {
    let chart = TreePath::parse("Chart.yaml").expect("the name of the file is a path");
    Ok(tree.stat(&chart)?.is_some())
}

/// Refuses the flags if another renderer is known to be used, which accepts none of them, and tells the user what to write.
fn refuse_for_others(
    spec: &ApplicationSpec,
    args: &HelmArgs,
    tree: &dyn Tree,
) -> anyhow::Result<()> {
    let named = spec
        .renderer
        .as_ref()
        .map(|of_use| of_use.plugin.as_str())
        .filter(|name| !name.is_empty());
    let why = match named {
        Some(name) if name != HELM && built_in_names().contains(&name) => {
            format!("the renderer is `{name}`")
        }
        None if !is_chart(tree)? => "there is no Chart.yaml".to_owned(),
        _ => return Ok(()),
    };
    Err(Usage(format!(
        "--{} is for charts, and {why}: settings of other renderers are given with --setting KEY=VALUE",
        first(args)
    ))
    .into())
}

/// Returns the name of one of the given flags.
fn first(args: &HelmArgs) -> &'static str {
    let given = [
        ("values", !args.values.is_empty()),
        ("set", !args.set.is_empty()),
        ("set-string", !args.set_string.is_empty()),
        ("set-json", !args.set_json.is_empty()),
        ("set-file", !args.set_file.is_empty()),
        ("set-literal", !args.set_literal.is_empty()),
        ("show-only", !args.show_only.is_empty()),
        ("include-crds", args.include_crds),
        ("skip-crds", args.skip_crds),
        ("no-hooks", args.no_hooks),
        ("skip-tests", args.skip_tests),
        ("is-upgrade", args.is_upgrade),
    ];
    let first = given.iter().find(|(_, is_given)| *is_given);
    first.map_or("skip-schema-validation", |(name, _)| name)
}

fn append(settings: &mut Map<String, Value>, field: &str, values: &[String]) -> anyhow::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let list = settings.entry(field).or_insert_with(|| json!([]));
    let Some(list) = list.as_array_mut() else {
        return Err(Usage(format!("`{field}` of the renderer `helm` is a list")).into());
    };
    list.extend(values.iter().cloned().map(Value::String));
    Ok(())
}

/// Returns the files that the flags name.
fn files(args: &HelmArgs) -> impl Iterator<Item = String> {
    let named_by_set_file = args.set_file.iter().flat_map(|text| files_of(text));
    args.values.iter().cloned().chain(named_by_set_file)
}

/// Returns the files in an argument of `--set-file`: `a=file1,b.c=file2,d={file3,file4}`, where `\` escapes a comma. An empty
/// value names none.
fn files_of(text: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut part = String::new();
    let mut place = Place::Key;
    let mut characters = text.chars();
    loop {
        let next = characters.next();
        match (next, place) {
            (Some('\\'), _) => part.extend(characters.next()),
            (Some('='), Place::Key) => {
                place = Place::File;
                part.clear();
            }
            (Some('{'), Place::File) if part.is_empty() => place = Place::List,
            (Some(','), Place::List) => files.push(std::mem::take(&mut part)),
            (Some(',') | None, Place::File) | (Some('}') | None, Place::List) => {
                files.push(std::mem::take(&mut part));
                place = Place::Key;
            }
            (Some(character), _) => part.push(character),
            (None, Place::Key) => {}
        }
        if next.is_none() {
            files.retain(|file| !file.is_empty());
            return files;
        }
    }
}

/// The position within an argument of `--set-file`.
#[derive(Clone, Copy)]
enum Place {
    Key,
    File,
    List,
}

/// Returns a file's content for the settings, which are JSON. What is not text is encoded in base64.
fn content(bytes: Vec<u8>) -> Value {
    String::from_utf8(bytes).map_or_else(
        |error| json!({ "base64": STANDARD.encode(error.as_bytes()) }),
        Value::String,
    )
}

fn file(path: &str) -> anyhow::Result<Vec<u8>> {
    let opened = std::fs::File::open(path);
    let opened = opened.map_err(|error| Usage(format!("{path} cannot be read: {error}")))?;
    bytes_of(opened, path)
}

fn text_of(from: impl std::io::Read, what: &str) -> anyhow::Result<String> {
    let text = String::from_utf8(bytes_of(from, what)?);
    text.map_err(|error| Usage(format!("{what} is no text in UTF-8: {error}")).into())
}

fn bytes_of(from: impl std::io::Read, what: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(|error| Usage(format!("{what} cannot be read: {error}")))?;
    if bytes.len() as u64 == MAX_FILE {
        anyhow::bail!("{what} has more than {MAX_FILE} bytes");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use pintle_core::tree::memory::MemoryTree;

    use super::*;

    fn spec(plugin: Option<&str>, settings: Value) -> ApplicationSpec {
        ApplicationSpec {
            renderer: plugin.map(|plugin| PluginUse {
                plugin: plugin.to_owned(),
                settings,
            }),
            ..ApplicationSpec::default()
        }
    }

    #[test]
    fn flags_go_on_after_what_the_file_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("prod.yaml"), "a: 1\n").unwrap();
        std::fs::write(path("cert"), "pem").unwrap();
        let args = HelmArgs {
            values: vec![path("prod.yaml"), "-".into()],
            set: vec!["a=1,b=2".into(), "c=3".into()],
            set_file: vec![format!("tls={},x={}", path("cert"), path("cert"))],
            skip_crds: true,
            no_hooks: true,
            ..HelmArgs::default()
        };
        let mut spec = spec(Some("helm"), json!({"set": ["z=0"], "values": {"k": true}}));
        let tree = MemoryTree::default();
        override_settings(&mut spec, &args, Some("b: 2\n"), &tree).unwrap();
        assert_eq!(
            spec.renderer.unwrap().settings,
            json!({
                "set": ["z=0", "a=1,b=2", "c=3"], "valuesFiles": ["pintle.yaml: values", path("prod.yaml"), "-"],
                "setFile": [format!("tls={},x={}", path("cert"), path("cert"))], "includeCrds": false, "noHooks": true,
                "fileContents": {
                    path("prod.yaml"): "a: 1\n", path("cert"): "pem", "pintle.yaml: values": r#"{"k":true}"#,
                    "-": "b: 2\n",
                },
            })
        );
    }

    #[test]
    fn a_chart_chooses_the_renderer_and_others_are_told() {
        let args = HelmArgs {
            set: vec!["a=1".into()],
            ..HelmArgs::default()
        };
        let chart = MemoryTree::new([("Chart.yaml", "name: web")]);
        let mut found = spec(None, Value::Null);
        override_settings(&mut found, &args, None, &chart).unwrap();
        assert_eq!(found.renderer.unwrap().plugin, "helm");
        let mut own = spec(Some("./mine.wasm"), Value::Null);
        override_settings(&mut own, &args, None, &MemoryTree::default()).unwrap();
        assert_eq!(own.renderer.unwrap().plugin, "./mine.wasm");
        let said = |mut spec: ApplicationSpec| {
            override_settings(&mut spec, &args, None, &MemoryTree::default())
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(said(spec(Some("manifests"), Value::Null)), @"--set is for charts, and the renderer is `manifests`: settings of other renderers are given with --setting KEY=VALUE");
        insta::assert_snapshot!(said(spec(None, Value::Null)), @"--set is for charts, and there is no Chart.yaml: settings of other renderers are given with --setting KEY=VALUE");
    }

    #[test]
    fn a_bare_chart_is_printed_without_its_definitions_unless_they_are_asked_for() {
        let chart = MemoryTree::new([("Chart.yaml", "name: web")]);
        let settings = |mut spec: ApplicationSpec, tree: &MemoryTree| {
            without_crds(&mut spec, tree).unwrap();
            spec.renderer.map(|renderer| renderer.settings)
        };
        let without = Some(json!({"includeCrds": false}));
        assert_eq!(settings(spec(None, Value::Null), &chart), without);
        assert_eq!(settings(spec(Some(""), Value::Null), &chart), without);
        let asked = json!({"includeCrds": true});
        assert_eq!(
            settings(spec(Some("helm"), asked.clone()), &chart),
            Some(asked)
        );
        assert_eq!(
            settings(spec(None, Value::Null), &MemoryTree::default()),
            None
        );
        assert_eq!(
            settings(spec(Some("./mine.wasm"), Value::Null), &chart),
            Some(Value::Null)
        );
    }

    #[test]
    fn files_are_found_behind_their_keys() {
        assert_eq!(files_of("a=one,b.c=two"), ["one", "two"]);
        assert_eq!(files_of(r"a=one\,1"), ["one,1"]);
        assert_eq!(files_of("a=x=y"), ["x=y"]);
        assert_eq!(files_of("a={one,two},b=three"), ["one", "two", "three"]);
        assert_eq!(files_of("a={one},b[0]={two"), ["one", "two"]);
        for none in ["nothing", "", "a=", "a=,b={}", "a={"] {
            assert_eq!(files_of(none), Vec::<String>::new(), "{none}");
        }
    }
}
