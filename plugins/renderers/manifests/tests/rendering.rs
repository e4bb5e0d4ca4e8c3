//! The renderer as an application meets it: a folder and settings in, objects or problems out.

#![expect(clippy::unwrap_used, reason = "tests")]

use pintle_renderer_manifests::Manifests;
use pintle_sdk::{
    Entry, Failure, Hook, HookEvent, Problem, ReadError, Renderer, Rendering, Tree,
    testing::{FixedContext, MemoryTree, check_plugin, settings},
};
use proptest::prelude::*;
use serde_json::{Value, json};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: NAME\n";

fn config(name: &str) -> String {
    CONFIG.replace("NAME", name)
}

fn try_render(tree: &MemoryTree, with: &Value) -> Result<Rendering, Failure> {
    let settings = settings::<Manifests>(with).map_err(Failure::Refused)?;
    Manifests::render(&settings, tree, &[], &FixedContext::new())
}

fn render(tree: &MemoryTree, with: &Value) -> Rendering {
    try_render(tree, with).unwrap_or_else(|failure| panic!("{failure}"))
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// Returns the problems of a refusal, one per line.
fn refusal(tree: &MemoryTree, with: &Value) -> String {
    match try_render(tree, with) {
        Err(Failure::Refused(problems)) => lines(&problems),
        other => panic!("expected a refusal: {other:?}"),
    }
}

/// Returns the refusal of one file.
fn refused(content: &str) -> String {
    refusal(&MemoryTree::new().file("a.yaml", content), &json!({}))
}

fn names(rendering: &Rendering) -> Vec<&str> {
    rendering
        .objects
        .iter()
        .map(|object| object.manifest["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[test]
fn keeps_the_rules_of_plugins() {
    check_plugin::<Manifests>();
}

#[test]
fn reads_every_file_below_the_folder() {
    let tree = MemoryTree::new()
        .file("web/deep/b.yml", config("b"))
        .file(
            "a.yaml",
            format!(
                "# head\n---\n{}---\n# nothing here\n---\n{}",
                config("a1"),
                config("a2")
            ),
        )
        .file(
            "c.json",
            r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c"}}"#,
        )
        .file("README.md", "# no manifest")
        .file("pintle.yaml", "source: {}\n")
        .file("web/pintle.yml", "source: {}\n")
        .file(".github/workflow.yaml", "on: push\n")
        .file("web/.hidden.yaml", "x");
    let rendering = render(&tree, &json!({}));
    assert_eq!(names(&rendering), ["a1", "a2", "c", "b"]);
    let sources: Vec<String> = rendering
        .objects
        .iter()
        .map(|object| object.source.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(
        sources,
        [
            "a.yaml:3:1",
            "a.yaml:10:1",
            "c.json:1:1",
            "web/deep/b.yml:1:1"
        ]
    );
    assert!(
        rendering
            .objects
            .iter()
            .all(|object| object.hook.is_none() && !object.keep)
    );
    assert_eq!(rendering.warnings, []);
    // No more was read than needed.
    assert_eq!(
        tree.reads(),
        [
            "glob **/*.json",
            "glob **/*.yaml",
            "glob **/*.yml",
            "read a.yaml",
            "read c.json",
            "read web/deep/b.yml",
            "read web/pintle.yml"
        ]
    );
}

#[test]
fn a_manifest_that_is_named_as_settings_are_is_told() {
    let tree = MemoryTree::new()
        .file("a.yaml", config("a"))
        .file("apps/pintle.yaml", config("b"))
        .file("jobs/pintle.yml", config("c"))
        .file(".ci/pintle.yaml", config("d"));
    let warnings = |with: Value| lines(&render(&tree, &with).warnings);
    insta::assert_snapshot!(warnings(json!({"exclude": ["jobs/*"]})), @"`apps/pintle.yaml` holds a manifest and is not read: only the settings of an application have this name (rename it, or name it in `exclude` to silence this)");
    assert_eq!(warnings(json!({"exclude": ["*/pintle.y*"]})), "");
}

#[test]
fn include_and_exclude_choose_files() {
    let tree = MemoryTree::new()
        .file("base/a.yaml", config("a"))
        .file("base/test/b.yaml", config("b"))
        .file("other/c.yaml", config("c"))
        .file(".deploy/d.yaml", config("d"))
        .file("base/notes.txt", "x");
    let chosen = |with: Value| names(&render(&tree, &with)).join(" ");
    assert_eq!(chosen(json!({"include": ["base/**"]})), "a b");
    assert_eq!(
        chosen(json!({"include": ["base/**"], "exclude": ["**/test/**"]})),
        "a"
    );
    assert_eq!(chosen(json!({"exclude": ["base/*.yaml"]})), "b c");
    assert_eq!(
        chosen(json!({"include": [".deploy/*.yaml", "other/*"]})),
        "d c"
    );
}

#[test]
fn patterns_that_choose_nothing_are_named() {
    let tree = MemoryTree::new()
        .file("a.yaml", config("a"))
        .file("test/b.yaml", config("b"))
        .file("test/notes.txt", "x");
    let with = json!({
        "include": ["**"],
        "exclude": ["test", "**/b.yaml", "test/*.yaml", "**/*.txt"],
        "substitute": {"files": ["*.yaml", "test/**"]},
    });
    let rendering = render(&tree, &with);
    assert_eq!(names(&rendering), ["a"]);
    insta::assert_snapshot!(lines(&rendering.warnings), @"
    /exclude/0: `test` excludes none of the files that `include` matches (patterns match whole paths: `test/**` is all that is in the folder `test`, `**/test/**` all that is in any folder of that name)
    /substitute/files/1: no file that is read matches `test/**` (patterns match whole paths: `test/**` is all that is in the folder `test`, `**/test/**` all that is in any folder of that name)
    ");
}

#[test]
fn a_pattern_that_only_files_match_that_are_not_included_is_not_said_to_match_none() {
    let tree = MemoryTree::new()
        .file("a.yaml", config("a"))
        .file("README.md", "# no manifest");
    let rendering = render(&tree, &json!({"exclude": ["README.md"]}));
    insta::assert_snapshot!(lines(&rendering.warnings), @"/exclude/0: `README.md` excludes none of the files that `include` matches (patterns match whole paths: `test/**` is all that is in the folder `test`, `**/test/**` all that is in any folder of that name)");
}

#[test]
fn the_folder_is_detected() {
    let detect = |files: &[&str]| {
        Manifests::detect(
            &files
                .iter()
                .fold(MemoryTree::new(), |tree, file| tree.file(file, config("a"))),
        )
    };
    assert!(detect(&["a.yaml"]));
    assert!(detect(&["deep/er/a.json", "pintle.yaml"]));
    assert!(!detect(&[]));
    assert!(!detect(&["pintle.yaml", "README.md", ".ci/a.yaml"]));
    assert!(!detect(&["Chart.yaml", "values.yaml", "templates/a.yaml"]));
    assert!(!detect(&["kustomization.yaml", "a.yaml"]));
}

/// A folder with more than the host searches.
struct Endless;

impl Tree for Endless {
    fn read(&self, _: &str) -> Result<Vec<u8>, ReadError> {
        Err(ReadError::NotFound)
    }

    fn entries(&self, _: &str) -> Result<Vec<Entry>, ReadError> {
        Err(ReadError::TooMany(100_000))
    }

    fn stat(&self, _: &str) -> Option<Entry> {
        None
    }

    fn glob(&self, _: &str) -> Result<Vec<String>, ReadError> {
        Err(ReadError::TooMany(100_000))
    }
}

#[test]
fn a_folder_that_cannot_be_searched_is_told_and_not_left_to_others() {
    assert!(Manifests::detect(&Endless));
    let settings = settings::<Manifests>(&json!({})).unwrap();
    let refused = Manifests::render(&settings, &Endless, &[], &FixedContext::new()).unwrap_err();
    insta::assert_snapshot!(refused, @"refused: cannot search for `**/*.yaml`: there are more than 100000 entries, or folders within each other, which is the limit: take out what is not deployed (or search less of it: of `deploy/**/*.yaml` in `include` only the folder `deploy` is searched)");
}

#[test]
fn a_folder_without_manifests_is_refused() {
    insta::assert_snapshot!(refusal(&MemoryTree::new(), &json!({})), @"there are no manifests: no file to read matches `**/*.yaml`, `**/*.yml`, `**/*.json` (is the application's path right? `include` says which files are read)");
    let tree = MemoryTree::new()
        .file("pintle.yaml", "x")
        .file("README.md", "x");
    insta::assert_snapshot!(refusal(&tree, &json!({})), @"there are no manifests: no file to read matches `**/*.yaml`, `**/*.yml`, `**/*.json` (`pintle.yaml` matches, but is hidden, excluded, no YAML or JSON by its name, or the application's own settings; see `include` and `exclude`)");
    insta::assert_snapshot!(refusal(&tree, &json!({"include": ["deploy/**"]})), @"there are no manifests: no file to read matches `deploy/**` (is the application's path right? `include` says which files are read)");
    let tree = MemoryTree::new().file("kustomization.yaml", "x");
    insta::assert_snapshot!(refusal(&tree, &json!({})), @"there are no manifests: no file to read matches `**/*.yaml`, `**/*.yml`, `**/*.json` (`kustomization.yaml` is read by another renderer; is that the one to use?)");
    insta::assert_snapshot!(refused("# nothing\n---\n---\nnull\n"), @"there is no object in `a.yaml`, the only file that is read (an application without objects would remove everything it has; delete the application if that is meant)");
    let tree = MemoryTree::new()
        .file("a.yaml", "")
        .file("b.yaml", "apiVersion: v1\nkind: List\nitems: []\n");
    insta::assert_snapshot!(refusal(&tree, &json!({})), @"there is no object in any of the 2 files that are read (an application without objects would remove everything it has; delete the application if that is meant)");
}

#[test]
fn files_of_other_tools_are_named() {
    let tree = MemoryTree::new()
        .file("a.yaml", config("a"))
        .file("sub/kustomization.yaml", "namespace: x\n");
    insta::assert_snapshot!(lines(&render(&tree, &json!({})).warnings), @"`sub/kustomization.yaml` is not read; what it says is not applied (use the renderer for it, or name it in `exclude` to silence this)");
    assert_eq!(
        render(&tree, &json!({"exclude": ["**/kustomization.yaml"]})).warnings,
        []
    );
}

#[test]
fn lists_are_opened() {
    let list = "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n\
        - apiVersion: v1\n  kind: List\n  items:\n  - {apiVersion: v1, kind: Secret, metadata: {name: b}}\n\
        - apiVersion: apps/v1\n  kind: DeploymentList\n  items:\n  - {metadata: {name: c}}\n";
    let rendering = render(&MemoryTree::new().file("a.yaml", list), &json!({}));
    assert_eq!(names(&rendering), ["a", "b", "c"]);
    assert_eq!(rendering.objects[2].manifest["kind"], "Deployment");
    assert_eq!(rendering.objects[2].manifest["apiVersion"], "apps/v1");
    assert_eq!(
        rendering.objects[1].source.as_ref().unwrap().to_string(),
        "a.yaml:11:5"
    );

    // A kind that merely ends in `List` is an object.
    let kind =
        "apiVersion: example.com/v1\nkind: AllowList\nmetadata: {name: x}\nspec: {items: []}\n";
    assert_eq!(
        names(&render(&MemoryTree::new().file("a.yaml", kind), &json!({}))),
        ["x"]
    );

    insta::assert_snapshot!(refused("apiVersion: v1\nkind: List\nitems:\n  a: b\n"), @"a.yaml:4:3: /items: the items of a List are a list, and this is a mapping");
    insta::assert_snapshot!(refused("apiVersion: v1\nkind: List\nitems:\n- x\n- {kind: ConfigMap, apiVersion: v1}\n"), @"
    a.yaml:4:3: an object is a mapping, and this is a text (separate objects with `---`, or put them into the `items` of a `kind: List`)
    a.yaml:5:3: /metadata: the object has no metadata (give it a metadata.name)
    ");
}

#[test]
fn every_problem_of_every_file_is_told_at_once() {
    let tree = MemoryTree::new()
        .file("a.yaml", format!("{}  labels: {{on: yes, version: 1.0}}\n---\nkind: [x]\n", config("a")))
        .file("b/b.yaml", "apiVersion: v1\nkind: Secret\n\tmetadata: {}\n---\napiVersion: v1\nkind: Secret\nmetadata: {generateName: x-}\n")
        .file("c.json", "{\"apiVersion\": \"v1\",\n \"kind\": 1,\n \"metadata\": null}")
        .file("d.yaml", b"a: \xff".as_slice())
        .file("e.yaml", "a: 1\na: 2\n");
    insta::assert_snapshot!(refusal(&tree, &json!({})), @"
    a.yaml:5:16: /metadata/labels/true: `true` is a text, and this is a boolean (quote it)
    a.yaml:5:30: /metadata/labels/version: `version` is a text, and this is a number (quote it)
    a.yaml:7:1: /apiVersion: the object has no apiVersion
    a.yaml:7:1: /metadata: the object has no metadata (give it a metadata.name)
    a.yaml:7:7: /kind: `kind` is a text, and this is a list
    b/b.yaml:2:7: /kind: invalid YAML: a tab where only spaces may indent (indent with spaces)
    b/b.yaml:7:26: /metadata/generateName: generateName gives the object another name on each apply, so that nothing could be updated or removed (give it a metadata.name)
    c.json:2:10: /kind: `kind` is a text, and this is a number (quote it)
    c.json:3:14: /metadata: metadata is a mapping, and this is nothing
    d.yaml:1:4: the text is not UTF-8 (save the file as UTF-8)
    e.yaml:2:1: /a: the key `a` occurs twice; it was first set at line 1 (keep one of the two)
    ");
}

#[test]
fn what_every_object_needs() {
    insta::assert_snapshot!(refused("metadata: {}\n"), @"
    a.yaml:1:1: /kind: the object has no kind
    a.yaml:1:1: /apiVersion: the object has no apiVersion
    a.yaml:1:11: /metadata/name: the object has no name
    ");
    insta::assert_snapshot!(refused("- a\n"), @"a.yaml:1:1: an object is a mapping, and this is a list (separate objects with `---`, or put them into the `items` of a `kind: List`)");
    insta::assert_snapshot!(refused("just text\n"), @"a.yaml:1:1: an object is a mapping, and this is a text (separate objects with `---`, or put them into the `items` of a `kind: List`)");
    insta::assert_snapshot!(refused("apiVersion: v1\nkind: ''\nmetadata: {name: ''}\n"), @"
    a.yaml:2:7: /kind: the object has no kind
    a.yaml:3:18: /metadata/name: the object has no name
    ");
    insta::assert_snapshot!(refused("apiVersion: a/b/c\nkind: Co nfig\nmetadata: {name: a/b, namespace: 12}\n"), @"
    a.yaml:1:13: /apiVersion: `a/b/c` is no apiVersion (write `v1`, or a group and a version such as `apps/v1`)
    a.yaml:2:7: /kind: `Co nfig` is no kind (a kind has letters and digits, as in `Deployment`)
    a.yaml:3:18: /metadata/name: `a/b` is no name of an object (a name has at most 253 characters, no `/` and no `%`, and is not `.` or `..`)
    a.yaml:3:34: /metadata/namespace: `namespace` is a text, and this is a number (quote it)
    ");
    insta::assert_snapshot!(refused("apiVersion: v1\nkind: Pod\nmetadata: {name: 1, namespace: My_NS, labels: x, annotations: {a/b: true, c: [1]}}\n"), @"
    a.yaml:3:18: /metadata/name: `name` is a text, and this is a number (quote it)
    a.yaml:3:32: /metadata/namespace: `My_NS` is no name of a namespace (use at most 63 lowercase letters, digits and inner `-`)
    a.yaml:3:47: /metadata/labels: labels are a mapping, and this is a text
    a.yaml:3:69: /metadata/annotations/a~1b: `a/b` is a text, and this is a boolean (quote it)
    a.yaml:3:78: /metadata/annotations/c: `c` is a text, and this is a list
    ");
    insta::assert_snapshot!(refused("apiVersion: v1\nkind: Pod\nmetadata: x\n"), @"a.yaml:3:11: /metadata: metadata is a mapping, and this is a text");
    insta::assert_snapshot!(refused("apiVersion: v1\nkind: Pod\n"), @"a.yaml:1:1: /metadata: the object has no metadata (give it a metadata.name)");
    insta::assert_snapshot!(refused("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nmetadata: {name: x}\n"), @"a.yaml:1:13: /apiVersion: this is a file of Kustomize, no object of a cluster (exclude it, or use a renderer for Kustomize)");
    insta::assert_snapshot!(refused("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Release.Name }}\n"), @"a.yaml:4:10: /metadata/name: a mapping cannot be a key (quote the key if it is text; `{{ ... }}` of a template is no YAML until it is rendered)");
    // Null labels, as generators write them, and generateName beside a name are fine.
    let content = "apiVersion: v1\nkind: Pod\nmetadata: {name: x, generateName: y, namespace: null, labels: null, creationTimestamp: null}\n";
    render(&MemoryTree::new().file("a.yaml", content), &json!({}));
}

#[test]
fn one_identity_twice_is_refused() {
    let deployment = |version: &str| {
        format!(
            "apiVersion: apps/{version}\nkind: Deployment\nmetadata: {{name: web, namespace: shop}}\n"
        )
    };
    let tree = MemoryTree::new()
        .file("b.yaml", deployment("v1"))
        .file(
            "a.yaml",
            format!("{}---\n{}", config("x"), deployment("v1beta1")),
        )
        .file(
            "c.yaml",
            format!("{}---\n{}", config("x"), deployment("v1")),
        );
    insta::assert_snapshot!(refusal(&tree, &json!({})), @"
    b.yaml:1:1: Deployment shop/web is also defined at a.yaml:6:1 (keep one of the two)
    c.yaml:1:1: ConfigMap x is also defined at a.yaml:1:1 (keep one of the two)
    c.yaml:6:1: Deployment shop/web is also defined at a.yaml:6:1 (keep one of the two)
    ");
    // Another group, namespace or name is another object.
    let tree = MemoryTree::new().file(
        "a.yaml",
        "{apiVersion: a.io/v1, kind: X, metadata: {name: x}}\n---\n{apiVersion: b.io/v1, kind: X, metadata: {name: x}}\n---\n\
         {apiVersion: a.io/v1, kind: X, metadata: {name: x, namespace: other}}\n",
    );
    assert_eq!(render(&tree, &json!({})).objects.len(), 3);
}

/// Returns a hook for some events.
fn migrate(events: &str) -> String {
    format!(
        "{}  annotations: {{helm.sh/hook: '{events}'}}\n",
        config("migrate")
    )
}

#[test]
fn hooks_may_share_an_identity_among_themselves() {
    let tree = MemoryTree::new()
        .file("a.yaml", migrate("pre-upgrade"))
        .file("b.yaml", migrate("post-install"));
    let rendering = render(&tree, &json!({}));
    assert_eq!(names(&rendering), ["migrate", "migrate"]);
    assert_eq!(rendering.warnings, []);
    let tree = tree.file("c.yaml", config("migrate"));
    insta::assert_snapshot!(refusal(&tree, &json!({})), @"c.yaml:1:1: ConfigMap migrate is also defined at a.yaml:1:1 (keep one of the two)");
}

#[test]
fn hooks_of_one_event_that_share_an_identity_are_named() {
    let tree = MemoryTree::new()
        .file("a.yaml", migrate("pre-upgrade"))
        .file("b.yaml", migrate("pre-install,pre-upgrade"))
        .file("c.yaml", migrate("pre-install"))
        .file("d.yaml", migrate("post-install"));
    let rendering = render(&tree, &json!({}));
    assert_eq!(names(&rendering), ["migrate"; 4]);
    insta::assert_snapshot!(lines(&rendering.warnings), @"
    b.yaml:1:1: ConfigMap migrate is also defined at a.yaml:1:1, and both are hooks of `pre-upgrade` (keep one of the two, unless both are meant)
    c.yaml:1:1: ConfigMap migrate is also defined at b.yaml:1:1, and both are hooks of `pre-install` (keep one of the two, unless both are meant)
    ");
}

#[test]
fn values_are_put_in_only_where_asked_for() {
    let script = format!(
        "{}data:\n  run: |\n    echo ${{HOME}} ${{image}} ${{x:-y}}\n",
        config("script")
    );
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: ${app}\n  annotations: {quoted: \"${replicas}\"}\n\
        spec:\n  replicas: ${replicas}\n  paused: ${paused:=no}\n  revisionHistoryLimit: ${history:=3}\n  image: \"r.io/${app}:${tag:=1.0}\"\n  \
        text: ${replicas}x\n  keep: $${replicas} ${replicas:-1} $(replicas) $replicas\n";
    let asking = format!(
        "{}  annotations: {{pintle.dev/substitute: enabled}}\ndata: {{k: '${{app}}'}}\n",
        config("asking")
    );
    let declining = format!(
        "{}  annotations: {{pintle.dev/substitute: disabled}}\ndata: {{k: '${{app}}'}}\n",
        config("declining")
    );
    let tree = MemoryTree::new()
        .file("script.yaml", script)
        .file("env/web.yaml", deployment)
        .file("asking.yaml", asking)
        .file("env/declining.yaml", declining);
    let with =
        json!({"substitute": {"files": ["env/**"], "variables": {"app": "web", "replicas": 2}}});
    let rendering = render(&tree, &with);
    assert_eq!(rendering.warnings, []);
    let object = |name: &str| {
        let found = rendering
            .objects
            .iter()
            .find(|object| object.manifest["metadata"]["name"] == name);
        &found
            .unwrap_or_else(|| panic!("{name} is missing"))
            .manifest
    };
    assert_eq!(
        object("script")["data"]["run"],
        "echo ${HOME} ${image} ${x:-y}\n"
    );
    assert_eq!(
        object("web")["spec"],
        json!({
            "replicas": 2, "paused": false, "revisionHistoryLimit": 3, "image": "r.io/web:1.0", "text": "2x",
            "keep": "${replicas} ${replicas:-1} $(replicas) $replicas",
        })
    );
    assert_eq!(object("web")["metadata"]["annotations"]["quoted"], "2");
    assert_eq!(object("asking")["data"]["k"], "web");
    assert_eq!(object("declining")["data"]["k"], "${app}");
}

#[test]
fn undefined_variables_are_named_with_their_place() {
    let content = format!(
        "{}data:\n  a: ${{one}}\n  b/c: |\n    x\n    ${{two}} ${{one}}\n",
        config("x")
    );
    let tree = MemoryTree::new().file("a.yaml", content);
    insta::assert_snapshot!(refusal(&tree, &json!({"substitute": {"files": ["*.yaml"], "variables": {"two": "2"}}})), @"
    a.yaml:6:6: /data/a: the variable `one` is not defined (add it to `substitute.variables`, give it a default as in `${one:=default}`, or write `$${one}` to keep the text `${one}`)
    a.yaml:8:5: /data/b~1c: the variable `one` is not defined (add it to `substitute.variables`, give it a default as in `${one:=default}`, or write `$${one}` to keep the text `${one}`)
    ");
    let with = json!({"substitute": {"files": ["*.yaml"], "variables": {"two": "2"}, "undefined": "keep"}});
    assert_eq!(
        render(&tree, &with).objects[0].manifest["data"],
        json!({"a": "${one}", "b/c": "x\n2 ${one}\n"})
    );
    let asking = |word: &str| {
        format!(
            "{}  annotations: {{pintle.dev/substitute: {word}}}\n",
            config("x")
        )
    };
    insta::assert_snapshot!(refused(&asking("always")), @"a.yaml:5:40: /metadata/annotations/pintle.dev~1substitute: the annotation `pintle.dev/substitute` is neither `enabled` nor `disabled`");
    insta::assert_snapshot!(refused(&asking("yes")), @"a.yaml:5:40: /metadata/annotations/pintle.dev~1substitute: `pintle.dev/substitute` is a text, and this is a boolean (quote it)");
}

#[test]
fn variables_that_nothing_uses_are_named() {
    let tree = MemoryTree::new().file("a.yaml", config("a"));
    let with = json!({"substitute": {"variables": {"image": "x"}}});
    insta::assert_snapshot!(lines(&render(&tree, &with).warnings), @"/substitute/variables/image: nothing uses the variable `image` (values are put only into the files of `substitute.files` and into objects with the annotation `pintle.dev/substitute: enabled`)");
}

#[test]
fn surprises_of_yaml_are_warned_of() {
    let content = format!(
        "{}data:\n  on: 'x'\n  mode: 0644\nimmutable: yes\n",
        config("a")
    );
    insta::assert_snapshot!(lines(&render(&MemoryTree::new().file("a.yaml", content), &json!({})).warnings), @"
    a.yaml:6:3: /data/on: the key `on` is read as `true` (quote the key if it is text)
    a.yaml:8:12: /immutable: `yes` is read as the boolean true (write true or false, or quote it if it is text)
    ");
}

#[test]
fn settings_are_checked() {
    let wrong = |with: Value| lines(&settings::<Manifests>(&with).unwrap_err());
    insta::assert_snapshot!(wrong(json!({"includes": []})), @"/includes: unknown field `includes`, expected one of `include`, `exclude`, `substitute`");
    insta::assert_snapshot!(wrong(json!({"include": ["[a"]})), @r"/include/0: `[a` is no pattern: `[` has no closing `]`; write `\[` for the character itself");
    insta::assert_snapshot!(wrong(json!({"include": []})), @"/include: no file would be read (leave the setting out to read every YAML and JSON file)");
    insta::assert_snapshot!(wrong(json!({"exclude": ["a**"]})), @"/exclude/0: `a**` is no pattern: `**` must stand alone between two `/`, as in `**/*.yaml`; use `*` within a name");
    insta::assert_snapshot!(wrong(json!({"include": ["/a.yaml"], "exclude": ["test/", "./test/**", "test/**/", "./"], "substitute": {"files": ["x/../*"]}})), @"
    /include/0: `/a.yaml` matches no path: a path begins in the application's folder, ends with a file, and has no part `.` or `..` (write `a.yaml`)
    /exclude/0: `test/` matches no path: a path begins in the application's folder, ends with a file, and has no part `.` or `..` (write `test/**`)
    /exclude/1: `./test/**` matches no path: a path begins in the application's folder, ends with a file, and has no part `.` or `..` (write `test/**`)
    /exclude/2: `test/**/` matches no path: a path begins in the application's folder, ends with a file, and has no part `.` or `..` (write `test/**`)
    /exclude/3: `./` matches no path: a path begins in the application's folder, ends with a file, and has no part `.` or `..` (write `test/**` for all that is in the folder `test`, and `*.yaml` for files of the application's folder)
    /substitute/files/0: `x/../*` matches no path: a path begins in the application's folder, ends with a file, and has no part `.` or `..` (write `test/**` for all that is in the folder `test`, and `*.yaml` for files of the application's folder)
    ");
    insta::assert_snapshot!(wrong(json!({"substitute": {"variables": {"a-b": 1, "1": 2, "ok_1": 3}}})), @"
    /substitute/variables/1: `1` is no name of a variable (use letters, digits and `_`, and no digit at the beginning)
    /substitute/variables/a-b: `a-b` is no name of a variable (use letters, digits and `_`, and no digit at the beginning)
    ");
    insta::assert_snapshot!(wrong(json!({"substitute": {"variables": {"a": [1]}}})), @"/substitute/variables/a: a variable is a text, a number or a boolean, no list and no mapping");
    insta::assert_snapshot!(wrong(json!({"substitute": {"variables": {"a": null}}})), @r#"/substitute/variables/a: a variable must not be null; write "" for the empty text"#);
    insta::assert_snapshot!(wrong(json!({"substitute": {"undefined": "ignore"}})), @"/substitute/undefined: unknown variant `ignore`, expected `error` or `keep`");
}

#[test]
fn a_file_larger_than_the_host_allows_is_refused() {
    let tree = MemoryTree::new()
        .file("a.yaml", config("a"))
        .file("b.yaml", "#".repeat(1_000))
        .limit(500);
    insta::assert_snapshot!(refusal(&tree, &json!({})), @"b.yaml:1:1: cannot read `b.yaml`: it has more than 500 bytes, the limit of a file: split it, or take it out of the folder");
}

#[test]
fn a_flood_of_problems_is_cut_off() {
    let content = "{}\n---\n".repeat(400);
    let text = refusal(&MemoryTree::new().file("a.yaml", content), &json!({}));
    assert_eq!(text.lines().count(), 101);
    assert_eq!(text.lines().last(), Some("there are 1100 more problems"));
}

proptest! {
    #[test]
    fn no_content_panics(files in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..4)) {
        let tree = files.into_iter().enumerate().fold(MemoryTree::new(), |tree, (index, bytes)| {
            tree.file(&format!("f{index}.{}", ["yaml", "json"][index % 2]), bytes)
        });
        let with = json!({"substitute": {"files": ["**"], "variables": {"a": 1}}});
        let _ = try_render(&tree, &with);
    }

    #[test]
    fn no_text_of_manifest_pieces_panics(
        text in "(apiVersion: v1|kind: List|kind: X|metadata:|  name: x|items:|- |  |\n|\n|---\n|\\$\\{a\\}|\\$\\$\\{|\\$\\{b:=|: |[a-z}{\\[\\]]){0,40}"
    ) {
        let with = json!({"substitute": {"files": ["**"], "variables": {"a": 1}}});
        let _ = try_render(&MemoryTree::new().file("a.yaml", text), &with);
    }

    /// A folder is a set: neither the order in which its files are listed nor the order of keys makes a difference.
    #[test]
    fn the_order_of_files_changes_nothing(order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle()) {
        let tree = |order: &[usize]| order.iter().fold(MemoryTree::new(), |tree, index| {
            tree.file(&format!("d{}/f{index}.yaml", index % 3), config(&format!("n{index}")))
        });
        let sorted: Vec<usize> = (0..8).collect();
        prop_assert_eq!(render(&tree(&order), &json!({})), render(&tree(&sorted), &json!({})));
    }
}

#[test]
fn annotations_make_hooks_and_let_objects_stay() {
    let job = config("job")
        + "  annotations: {helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-weight: '-1'}\n";
    let kept = config("kept") + "  annotations: {helm.sh/resource-policy: keep}\n";
    let tree = MemoryTree::new()
        .file("a.yaml", job)
        .file("b.yaml", kept)
        .file("c.yaml", config("plain"));
    let objects = render(&tree, &json!({})).objects;
    let hook = Hook::new([HookEvent::PreInstall, HookEvent::PreUpgrade]).weight(-1);
    assert_eq!(
        (objects[0].hook.as_ref(), objects[0].keep),
        (Some(&hook), false)
    );
    assert_eq!((objects[1].hook.as_ref(), objects[1].keep), (None, true));
    assert_eq!((objects[2].hook.as_ref(), objects[2].keep), (None, false));
}

#[test]
fn a_hook_of_no_event_is_refused() {
    let hook = config("job") + "  annotations:\n    pintle.dev/hook: pre-instal\n";
    insta::assert_snapshot!(refused(&hook), @"a.yaml:6:22: /metadata/annotations/pintle.dev~1hook: `pre-instal` is no event of a hook (use `pre-install`, `post-install`, `pre-upgrade`, `post-upgrade`, `pre-rollback`, `post-rollback`, `pre-delete`, `post-delete`, `test`)");
}
