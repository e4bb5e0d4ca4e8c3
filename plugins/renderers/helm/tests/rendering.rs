//! Tests the renderer from an application's point of view: a folder and settings go in, objects or problems come out.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;

use pintle_renderer_helm::Helm;
use pintle_sdk::{
    Failure, Hook, HookDeletion, HookEvent, HookOutcome, Plugin as _, Problem, Renderer, Rendering,
    Tree,
    testing::{FixedContext, MemoryCluster, MemoryTree, check_plugin, settings},
};
use serde_json::{Value, json};

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.2.3\n";

/// Returns a chart `web` with the given files in addition to `Chart.yaml`.
fn chart(files: &[(&str, &str)]) -> MemoryTree {
    let tree = MemoryTree::new().file("Chart.yaml", CHART);
    files
        .iter()
        .fold(tree, |tree, (path, text)| tree.file(path, *text))
}

/// Returns a template with one `ConfigMap`.
fn config(name: &str, data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  value: {data}\n")
}

fn try_render(tree: &MemoryTree, with: &Value, inputs: &[&dyn Tree]) -> Result<Rendering, Failure> {
    let settings = settings::<Helm>(with).map_err(Failure::Refused)?;
    Helm::render(&settings, tree, inputs, &FixedContext::new())
}

fn render(tree: &MemoryTree, with: &Value) -> Rendering {
    try_render(tree, with, &[]).unwrap_or_else(|failure| panic!("{failure}"))
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

fn refusal(tree: &MemoryTree, with: &Value) -> String {
    match try_render(tree, with, &[]) {
        Err(Failure::Refused(problems)) => lines(&problems),
        other => panic!("expected a refusal: {other:?}"),
    }
}

/// Returns `NAME=VALUE` for each `ConfigMap`, one per line.
fn values(rendering: &Rendering) -> String {
    let mut text = String::new();
    for object in &rendering.objects {
        let name = object.manifest["metadata"]["name"].as_str().unwrap();
        writeln!(text, "{name}={}", object.manifest["data"]["value"]).unwrap();
    }
    text
}

#[test]
fn keeps_the_rules_of_plugins() {
    check_plugin::<Helm>();
}

#[test]
fn a_chart_chooses_the_renderer() {
    assert!(Helm::detect(&chart(&[])));
    assert!(!Helm::detect(&MemoryTree::new().file("a.yaml", "")));
    assert!(!Helm::detect(&MemoryTree::new().file("Chart.yaml/a", "")));
}

#[test]
fn values_come_from_everywhere_in_order() {
    let template = config("a", "{{ .Values | toJson | quote }}");
    let tree = chart(&[
        ("templates/a.yaml", &template),
        (
            "values.yaml",
            "a: 1\nb: 1\nc: 1\nd: 1\ne: 1\nf: 1\ng: 1\nh: gone\n",
        ),
        ("one.yaml", "{b: 2, c: 2, d: 2, e: 2, f: 2, g: 2}"),
        ("two.yaml", "{c: 3, d: 3, e: 3, f: 3, g: 3}"),
        ("file.txt", "text\n"),
    ]);
    let rendering = render(
        &tree,
        &json!({
            "valuesFiles": ["one.yaml", "two.yaml"],
            "values": {"d": 4, "e": 4, "f": 4, "g": 4, "h": null},
            "setJson": [r#"e={"x": 5}"#],
            "set": ["f=6", "g=6"],
            "setString": ["g=7"],
            "setFile": ["i=file.txt"],
            "setLiteral": ["j=a,b"],
        }),
    );
    insta::assert_snapshot!(values(&rendering), @r#"a="{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":{\"x\":5},\"f\":6,\"g\":\"7\",\"i\":\"text\\n\",\"j\":\"a,b\"}""#);
}

#[test]
fn a_file_in_a_value_need_not_be_a_text() {
    let template = config(
        "a",
        "{{ b64enc .Values.a }} {{ b64enc (index .Values.b 1) }}",
    );
    let tree = chart(&[("templates/a.yaml", &template)]).file("key.bin", b"\xFE\xED\x01\x02");
    let with = json!({
        "setFile": ["a=key.bin", "b={x,typed}"],
        "fileContents": {"x": "text", "typed": {"base64": "/v8="}},
    });
    assert_eq!(values(&render(&tree, &with)), "a=\"/u0BAg== /v8=\"\n");
    let with = json!({"setFile": ["a=typed"], "fileContents": {"typed": {"base64": "?"}}});
    assert!(refusal(&tree, &with).contains("what `fileContents` has for typed is no base64"));
}

#[test]
fn what_templates_see_of_the_world() {
    let template = config(
        "{{ .Release.Name }}",
        r#"{{ printf "%s %s %s %v %v" .Release.Namespace .Capabilities.KubeVersion.Version (now | date "2006") (.Capabilities.APIVersions.Has "apps/v1/Deployment") (.Capabilities.APIVersions.Has "a/v1") | quote }}"#,
    );
    let tree = chart(&[("templates/a.yaml", &template)]);
    insta::assert_snapshot!(values(&render(&tree, &json!({}))), @r#"app="default v1.33.0 1970 true false""#);
    let with = json!({"releaseName": "r", "namespace": "n", "kubeVersion": "1.30", "apiVersions": ["a/v1"]});
    insta::assert_snapshot!(values(&render(&tree, &with)), @r#"r="n v1.30 1970 true true""#);
}

#[test]
fn values_have_helm_s_methods() {
    let template = config(
        "a",
        r#"{{ list (.Values.AsMap.a | toJson) (.Values.YAML) (.Values.Table "a.b").c (.Values.PathValue "a.b.c") (printf "%T %T" .Values .Values.AsMap) (.AsMap.Release.Name) | toJson | quote }}"#,
    );
    let tree = chart(&[
        ("templates/a.yaml", &template),
        ("values.yaml", "a: {b: {c: 1}}"),
    ]);
    insta::assert_snapshot!(values(&render(&tree, &json!({}))), @r#"a="[\"{\\\"b\\\":{\\\"c\\\":1}}\",\"a:\\n  b:\\n    c: 1\\n\",1,1,\"common.Values map[string]interface {}\",\"app\"]""#);
    let said = |text: &str| refusal(&chart(&[("templates/a.yaml", text)]), &json!({}));
    let all = [
        said(r#"{{ .Values.Table "a" }}"#),
        said(r#"{{ .Values.PathValue "" }}"#),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    templates/a.yaml:1:11: template: web/templates/a.yaml:1:10: executing "web/templates/a.yaml" at <.Values.Table>: error calling Table: "a" is not a table
    templates/a.yaml:1:11: template: web/templates/a.yaml:1:10: executing "web/templates/a.yaml" at <.Values.PathValue>: error calling PathValue: YAML path cannot be empty
    "#);
}

#[test]
fn only_what_a_chart_asks_for_is_read() {
    let template = config("a", "b");
    let tree = chart(&[
        ("templates/a.yaml", &template),
        ("README.md", "much"),
        ("files/a.txt", "text"),
        ("crds/a.yaml", ""),
    ]);
    render(&tree, &json!({"includeCrds": false}));
    insta::assert_snapshot!(tree.reads().join("\n"), @r"
    entries 
    entries crds
    entries files
    entries templates
    read Chart.yaml
    read templates/a.yaml
    ");

    let shows = r#"{{ .Files.Get "files/a.txt" }}"#;
    let template = config("a", shows);
    let tree = chart(&[("templates/a.yaml", &template), ("files/a.txt", "text")]);
    insta::assert_snapshot!(values(&render(&tree, &json!({}))), @r#"a="text""#);

    let template = config("a", "{{ tpl .Values.t . }}");
    let tree = chart(&[
        ("templates/a.yaml", &template),
        ("files/a.txt", "text"),
        ("files/t.tpl", shows),
    ]);
    let rendering = render(&tree, &json!({"setFile": ["t=files/t.tpl"]}));
    insta::assert_snapshot!(values(&rendering), @r#"a="text""#);
}

#[test]
fn secrets_repeat_and_differ_by_application() {
    let template = config("a", "{{ randAlphaNum 10 }}-{{ randAlphaNum 10 }}");
    let tree = chart(&[("templates/a.yaml", &template)]);
    let with_seed = |seed| {
        let settings = settings::<Helm>(&json!({})).unwrap();
        let context = FixedContext {
            seed,
            ..FixedContext::new()
        };
        values(&Helm::render(&settings, &tree, &[], &context).unwrap())
    };
    assert_eq!(with_seed(1), with_seed(1));
    assert_ne!(with_seed(1), with_seed(2));
    let first = with_seed(1);
    let (one, other) = first.trim().split_once('-').unwrap();
    assert_ne!(&one[one.len() - 10..], &other[..10]);
}

#[test]
fn lookup_sees_the_cluster() {
    let template = config(
        "a",
        r#"{{ dig "data" "x" "none" (lookup "v1" "ConfigMap" "n" "b") }}"#,
    );
    let tree = chart(&[("templates/a.yaml", &template)]);
    let found = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": "n"}, "data": {"x": "found"}});
    let with = |cluster| {
        let settings = settings::<Helm>(&json!({})).unwrap();
        let context = FixedContext::new().with_cluster(cluster);
        values(&Helm::render(&settings, &tree, &[], &context).unwrap())
    };
    assert_eq!(with(MemoryCluster::new()), "a=\"none\"\n");
    assert_eq!(with(MemoryCluster::new().object(found)), "a=\"found\"\n");
}

const JOB: &str = r#"apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations:
    helm.sh/hook: pre-install, Pre-Upgrade
    helm.sh/hook-weight: "-5"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,unknown
    helm.sh/hook-output-log-policy: hook-failed
---
apiVersion: v1
kind: Pod
metadata:
  name: test
  annotations: {helm.sh/hook: test}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: data
  annotations: {helm.sh/resource-policy: " Keep "}
"#;

#[test]
fn hooks_and_what_is_kept() {
    let tree = chart(&[("templates/a.yaml", JOB)]);
    let rendering = render(&tree, &json!({}));
    let objects: Vec<(&str, bool, Option<&Hook>)> = rendering
        .objects
        .iter()
        .map(|one| {
            (
                one.manifest["kind"].as_str().unwrap(),
                one.keep,
                one.hook.as_ref(),
            )
        })
        .collect();
    let migrate = Hook::new([HookEvent::PreInstall, HookEvent::PreUpgrade])
        .weight(-5)
        .deletion([HookDeletion::BeforeCreation, HookDeletion::Succeeded])
        .logs([HookOutcome::Failed]);
    let test = Hook::new([HookEvent::Test]);
    assert_eq!(
        objects,
        [
            ("PersistentVolumeClaim", true, None),
            ("Pod", false, Some(&test)),
            ("Job", false, Some(&migrate)),
        ]
    );
    assert_eq!(render(&tree, &json!({"skipTests": true})).objects.len(), 2);
    assert_eq!(render(&tree, &json!({"noHooks": true})).objects.len(), 1);
}

#[test]
fn lists_are_taken_apart_and_empty_documents_left_out() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n- apiVersion: v1\n  kind: ConfigMapList\n  items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}]\n---\n# nothing\n";
    let rendering = render(&chart(&[("templates/a.yaml", list)]), &json!({}));
    assert_eq!(values(&rendering), "a=null\nb=null\n");
    let source = rendering.objects[0].source.as_ref().unwrap();
    assert_eq!(source.file, "templates/a.yaml");
}

#[test]
fn definitions_and_single_templates() {
    let tree = chart(&[
        (
            "crds/crd.yaml",
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.b.c}\n",
        ),
        ("templates/a.yaml", &config("a", "1")),
        ("templates/b.yaml", &config("b", "{{ .Values.x }}")),
        ("templates/NOTES.txt", "Hello {{ .Release.Name }}"),
        ("values.yaml", "x: 2"),
    ]);
    let rendering = render(&tree, &json!({}));
    assert_eq!(values(&rendering), "a.b.c=null\na=1\nb=2\n");
    assert_eq!(rendering.notes.as_deref(), Some("Hello app"));
    let rendering = render(&tree, &json!({"includeCrds": false}));
    assert_eq!(values(&rendering), "a=1\nb=2\n");
    let rendering = render(&tree, &json!({"showOnly": ["templates/b*"]}));
    assert_eq!(values(&rendering), "b=2\n");
    insta::assert_snapshot!(refusal(&tree, &json!({"showOnly": ["templates/c.yaml"]})), @"/showOnly/0: could not find template templates/c.yaml in chart (name a template that gives something: `templates/deployment.yaml`, `charts/*/templates/*.yaml`)");
}

#[test]
fn of_two_definitions_in_crds_the_first_is_taken() {
    let definition = |version: &str, name: &str, group: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/{version}\nkind: CustomResourceDefinition\n\
             metadata: {{name: {name}}}\nspec: {{group: {group}}}\n---\n"
        )
    };
    let child = |name: &str| format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n");
    let [own, a, b] = ["own", "a", "b"].map(|group| definition("v1", "x", group));
    let (newer, older) = (definition("v1", "w", "a"), definition("v1beta1", "w", "b"));
    let other = definition("v1", "z", "z");
    let tree = chart(&[
        ("charts/a/Chart.yaml", &child("a")),
        ("charts/a/crds/x.yaml", &[a, newer, other.clone()].concat()),
        ("charts/b/Chart.yaml", &child("b")),
        ("charts/b/crds/x.yaml", &[b.clone(), older].concat()),
        ("crds/x.yaml", &own),
    ]);
    let groups = |rendering: &Rendering| {
        let texts = rendering.objects.iter().map(|object| {
            let (metadata, spec) = (&object.manifest["metadata"], &object.manifest["spec"]);
            format!("{}={}", metadata["name"], spec["group"]).replace('"', "")
        });
        texts.collect::<Vec<_>>().join(" ")
    };
    let rendering = render(&tree, &json!({}));
    assert_eq!(groups(&rendering), "x=own w=a z=z");
    insta::assert_snapshot!(lines(&rendering.warnings), @r#"
    the CustomResourceDefinition "x" in charts/a/crds/x.yaml is left out: crds/x.yaml comes first and defines it differently, and Helm creates only the first
    the CustomResourceDefinition "x" in charts/b/crds/x.yaml is left out: crds/x.yaml comes first and defines it differently, and Helm creates only the first
    the CustomResourceDefinition "w" in charts/b/crds/x.yaml is left out: charts/a/crds/x.yaml comes first and defines it differently, and Helm creates only the first
    "#);
    // Only the selected definitions are compared, and never with the output of a template.
    let shown = render(&tree, &json!({"showOnly": ["charts/b/crds/*"]}));
    assert_eq!(groups(&shown), "x=b w=b");
    let tree = chart(&[
        ("crds/x.yaml", &own),
        ("templates/x.yaml", &b),
        ("templates/z.yaml", &other),
    ]);
    let rendering = render(&tree, &json!({}));
    assert_eq!(groups(&rendering), "x=own x=b z=z");
}

#[test]
fn objects_have_the_lines_at_which_they_begin() {
    let template = "# first\n{{- if true }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n{{- end }}\n\
        ---\n{{ include \"b\" . }}\n\
        {{- range list \"c\" \"d\" }}\n\
        ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ . }}}\ndata: {value: {{ $.Values.none }}}\n\
        {{- end }}\n";
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n";
    let definitions =
        format!("{definition}metadata: {{name: x}}\n---\n{definition}metadata: {{name: z}}\n");
    let tree = chart(&[
        ("crds/x.yaml", &definitions),
        ("templates/a.yaml", template),
        (
            "templates/_b.tpl",
            "{{ define \"b\" }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n{{ end }}",
        ),
    ]);
    let rendering = render(&tree, &json!({}));
    let lines = rendering.objects.iter().map(|object| {
        let source = object.source.as_ref().unwrap();
        let name = object.manifest["metadata"]["name"].as_str().unwrap();
        format!("{name} {source}")
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"
    x crds/x.yaml:1:1
    z crds/x.yaml:5:1
    a templates/a.yaml:1:1
    b templates/a.yaml:8:1
    c templates/a.yaml:11:1
    d templates/a.yaml:11:1
    ");
    let said = |text: &str| refusal(&chart(&[("templates/a.yaml", text)]), &json!({}));
    let unfinished = said("kind: A\n---\n\nkind: [\n");
    assert!(
        unfinished.starts_with("templates/a.yaml:3:1: YAML parse error"),
        "{unfinished}"
    );
    insta::assert_snapshot!(said("# none\n---\nkind: A\n"), @"templates/a.yaml:3:1: the A has no apiVersion, or none that is a string");
}

/// Returns a chart with a dependency.
fn dependent(dependency: &str, lock: &str) -> MemoryTree {
    let chart = format!("{CHART}dependencies:\n- {dependency}\n");
    let tree = MemoryTree::new().file("Chart.yaml", chart).file(
        "templates/a.yaml",
        config("a", r#"{{ include "db.name" . }}"#),
    );
    if lock.is_empty() {
        tree
    } else {
        tree.file("Chart.lock", lock)
    }
}

fn sources(tree: &MemoryTree, with: &Value) -> Result<String, String> {
    let settings = settings::<Helm>(with).map_err(|problems| lines(&problems))?;
    match Helm::inputs(&settings, tree) {
        Ok(sources) => Ok(format!("{sources:?}")),
        Err(Failure::Refused(problems)) => Err(lines(&problems)),
        Err(other) => panic!("{other}"),
    }
}

/// Returns a lock file that pins the dependency `db`.
fn locked(digest: &str) -> String {
    let pinned = "{name: db, version: 1.4.2, repository: 'https://charts.example.com'}";
    format!("digest: sha256:{digest}\ndependencies: [{pinned}]")
}

#[test]
fn what_is_fetched() {
    let asked = |dependency: &str, lock: &str| {
        sources(&dependent(dependency, lock), &json!({})).unwrap_or_else(|refused| refused)
    };
    let all = [
        asked(
            "{name: db, version: 1.0.0, repository: 'https://charts.example.com'}",
            "",
        ),
        asked(
            "{name: db, version: 1.0.0+x, repository: 'oci://r.example.com/charts/'}",
            "",
        ),
        asked("{name: db, version: '*', repository: 'file://../db'}", ""),
        asked("{name: db, repository: 'file://../db'}", ""),
        asked(
            "{name: db, version: ^1, repository: 'https://charts.example.com'}",
            &locked("ab8fd95a8fbd151154c1c96307cc9a0c76f81b8f80bad99d3db6518ab010a0c7"),
        ),
        asked(
            "{name: db, version: ^1, repository: 'https://charts.example.com'}",
            &locked("00"),
        ),
        asked(
            "{name: db, version: ^1, repository: 'https://charts.example.com'}",
            "",
        ),
        asked("{name: db, version: ^1}", ""),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    [Chart(Chart { repository: "https://charts.example.com", name: "db", version: "1.0.0", digest: None })]
    [Oci(Remote { reference: "oci://r.example.com/charts/db:1.0.0_x", digest: None })]
    [Folder("../db")]
    Chart.yaml:1:1: dependency "db" has an invalid version/constraint format: improper constraint: "" (write a range of versions such as `^1.2`, or `*` for any)
    [Chart(Chart { repository: "https://charts.example.com", name: "db", version: "1.4.2", digest: None })]
    Chart.lock:1:1: the lock file (Chart.lock) is out of sync with the dependencies in Chart.yaml (commit the Chart.lock that `helm dependency update` writes)
    Chart.yaml:1:1: the dependency "db" has the version "^1", and no Chart.lock pins an exact one (commit the Chart.lock that `helm dependency update` writes)
    []
    "#);
    let vendored = dependent("{name: db, version: ^1, repository: 'https://a'}", "").file(
        "charts/db/Chart.yaml",
        "{apiVersion: v2, name: db, version: 1.0.0}",
    );
    assert_eq!(sources(&vendored, &json!({})), Ok("[]".to_owned()));
    let chart = json!({"chart": {"oci": "oci://r.example.com/web", "version": "1.0.0"}});
    insta::assert_snapshot!(sources(&MemoryTree::new(), &chart).unwrap(), @r#"[Oci(Remote { reference: "oci://r.example.com/web:1.0.0", digest: None })]"#);
}

#[test]
fn what_was_fetched_is_used() {
    let tree = dependent(
        "{name: db, version: 1.0.0, repository: 'https://a', alias: store}",
        "",
    );
    let fetched = |version: &str| {
        let chart = format!("{{apiVersion: v2, name: db, version: {version}}}");
        MemoryTree::new()
            .file("Chart.yaml", chart)
            .file(".helmignore", "templates/")
            .file(
                "templates/_names.tpl",
                r#"{{ define "db.name" }}{{ .Chart.Name }}{{ end }}"#,
            )
    };
    let rendering = try_render(&tree, &json!({}), &[&fetched("1.0.0")]).unwrap();
    assert_eq!(values(&rendering), "a=\"web\"\n");
    let refused = try_render(&tree, &json!({}), &[&fetched("1.0.1")]).unwrap_err();
    insta::assert_snapshot!(refused, @r#"refused: Chart.yaml:1:1: the dependency "db" of version "1.0.0" was fetched from https://a, but the chart there is "db" of version "1.0.1""#);
    insta::assert_snapshot!(refusal(&tree, &json!({})), @"found in Chart.yaml, but missing in charts/ directory: db (`helm dependency update` writes Chart.lock, from which they are fetched; or commit them in charts/)");
    let settings = json!({"chart": {"oci": "oci://r.example.com/web", "version": "1.0.0"}});
    let whole = chart(&[("templates/a.yaml", &config("b", "c"))]);
    let rendering = try_render(&MemoryTree::new(), &settings, &[&whole]).unwrap();
    assert_eq!(values(&rendering), "b=\"c\"\n");
}

#[test]
fn what_was_fetched_may_show_the_files_of_the_chart() {
    let dependency = "{name: db, version: 1.0.0, repository: 'https://a'}";
    let shown = |definition: &str| {
        let tree = dependent(dependency, "").file("x.txt", "mine");
        let fetched = MemoryTree::new()
            .file(
                "Chart.yaml",
                "{apiVersion: v2, name: db, version: 1.0.0, type: library}",
            )
            .file(
                "templates/_names.tpl",
                format!("{{{{ define \"db.name\" }}}}{definition}{{{{ end }}}}"),
            );
        let rendering = try_render(&tree, &json!({}), &[&fetched]).unwrap();
        (
            values(&rendering),
            tree.reads().contains(&"read x.txt".to_owned()),
        )
    };
    let found = shown(r#"{{ .Files.Get "x.txt" }}"#);
    assert_eq!(found, ("a=\"mine\"\n".to_owned(), true));
    assert_eq!(shown("none"), ("a=\"none\"\n".to_owned(), false));
}

#[test]
fn problems_say_where_and_what_to_do() {
    let said = |files: &[(&str, &str)]| refusal(&chart(files), &json!({}));
    let all = [
        said(&[("templates/a.yaml", "a: {{ .Values.a.b }}\n")]),
        said(&[("templates/a.yaml", "\n  {{ if }}\n")]),
        said(&[(
            "templates/a.yaml",
            "{{ required \"a is needed\" .Values.a }}\n",
        )]),
        said(&[("templates/a.yaml", "kind: A\nmetadata:\n  name: a\n b: c\n")]),
        said(&[("templates/a.yaml", "kind: A\nmetadata:\n  name: a\n")]),
        said(&[("templates/a.yaml", "- a\n")]),
        said(&[("values.yaml", "a: [\n")]),
        said(&[
            ("values.yaml", "a: {b: 1}"),
            (
                "values.schema.json",
                r#"{"properties": {"a": {"properties": {"b": {"type": "string"}}}}}"#,
            ),
        ]),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    templates/a.yaml:1:14: web/templates/a.yaml:1:13
      executing "web/templates/a.yaml" at <.Values.a.b>:
        nil pointer evaluating interface {}.b
    templates/a.yaml:2:1: parse error at (web/templates/a.yaml:2): missing value for if
    templates/a.yaml:1:4: execution error at (web/templates/a.yaml:1:3): a is needed
    templates/a.yaml:1:1: YAML parse error on web/templates/a.yaml: error converting YAML to JSON: yaml: line 3: did not find expected key (the template's output there is ` b: c`)
    templates/a.yaml:1:1: the A "a" has no apiVersion, or none that is a string
    templates/a.yaml:1:1: YAML parse error on web/templates/a.yaml: the document must be a table, and here is a list (the template's output there is `- a`)
    values.yaml:1:1: cannot load values.yaml: error converting YAML to JSON: yaml: line 1: did not find expected node content
    values don't meet the specifications of the schema: web: at a.b: got number, want string
    "#);
}

#[test]
fn settings_are_checked() {
    let said = |with: Value| {
        let settings = settings::<Helm>(&with);
        lines(&settings.err().unwrap_or_default())
    };
    let all = [
        said(json!({"releaseName": "A"})),
        said(json!({"kubeVersion": "x"})),
        said(json!({"chart": {"oci": "a", "version": "1"}})),
        said(json!({"chart": {}})),
        said(json!({"valueFiles": []})),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    /releaseName: `A` is no release name (use lowercase letters, digits, inner `-` and `.`, at most 53 characters)
    /kubeVersion: could not parse "x" as version (write a version such as `v1.36.3`)
    /chart/oci: the reference does not begin with `oci://` (write `oci://registry.example.com/charts/web`)
    /chart: neither `oci` nor `repository` is set (name one of them, or leave `chart` out to render the folder)
    /chart/version: a chart from elsewhere needs a version (write the exact version: the next commit must not render another chart)
    /valueFiles: unknown field `valueFiles`, expected one of `releaseName`, `namespace`, `chart`, `values`, `valuesFiles`, `set`, `setString`, `setJson`, `setFile`, `setLiteral`, `fileContents`, `kubeVersion`, `apiVersions`, `includeCrds`, `noHooks`, `skipTests`, `showOnly`, `skipSchemaValidation`, `subNotes`, `isUpgrade`
    "#);
    assert_eq!(Helm::NAME, "helm");
    let said = |with: Value| refusal(&chart(&[]), &with);
    let all = [
        said(json!({"set": ["a"]})),
        said(json!({"setFile": ["a=none"]})),
        said(json!({"valuesFiles": ["none.yaml"]})),
        said(json!({"setJson": ["a={"]})),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    /set/0: failed parsing set data "a": key "a" has no value (the grammar is that of `helm --set`: a comma separates, a backslash takes the next character as it is)
    /setFile/0: failed parsing setFile data "a=none": cannot read `none`: there is no such file or folder (the grammar is that of `helm --set`: a comma separates, a backslash takes the next character as it is)
    /valuesFiles/0: cannot read `none.yaml`: there is no such file or folder
    /setJson/0: failed parsing setJson data "a={": the value of "a" is not JSON: unexpected end of JSON input (the grammar is that of `helm --set`: a comma separates, a backslash takes the next character as it is)
    "#);
}
