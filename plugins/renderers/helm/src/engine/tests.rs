use pintle_gotemplate::{List, Value};
use pintle_helm_chart::{Capabilities, Cluster, HelmDefaults, KubeVersion};

use super::*;

fn values(entries: &[(&str, Value)]) -> Map {
    let own: Map = entries.iter().cloned().collect();
    let map = Map::typed(Type::Named(&VALUES));
    map.insert("Values", own.into()).unwrap();
    map
}

fn render_with(data: &Map, files: &[(&str, &str)]) -> Result<Vec<(String, String)>, RenderError> {
    let template = |(name, text): &(&str, &str)| Template {
        name: (*name).to_owned(),
        base_path: "c/templates".to_owned(),
        text: (*text).into(),
        values: data.clone(),
    };
    let rendered = Engine::new(State::default()).render(files.iter().map(template).collect())?;
    Ok(rendered
        .into_iter()
        .map(|file| (file.name, file.text.to_string()))
        .collect())
}

fn render(data: &Map, text: &str) -> String {
    match render_with(data, &[("c/templates/a.yaml", text)]) {
        Ok(files) => files[0].1.clone(),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn partials_are_for_others_and_deeper_files_come_first() {
    let files = [
        (
            "c/templates/_helpers.tpl",
            r#"{{ define "name" }}outer{{ end }}"#,
        ),
        (
            "c/templates/b.yaml",
            r#"{{ include "name" . }} {{ .Template.Name }} {{ .Template.BasePath }}"#,
        ),
        ("c/templates/a.yaml", "a"),
        (
            "c/charts/d/templates/_helpers.tpl",
            r#"{{ define "name" }}inner{{ end }}"#,
        ),
        ("c/charts/d/templates/x.yaml", "x"),
    ];
    let rendered = render_with(&values(&[]), &files).unwrap();
    let expected = [
        ("c/charts/d/templates/x.yaml", "x"),
        ("c/templates/b.yaml", "outer c/templates/b.yaml c/templates"),
        ("c/templates/a.yaml", "a"),
    ];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(rendered, expected);
}

#[test]
fn no_value_is_nothing() {
    let data = values(&[("empty", Value::Nil)]);
    assert_eq!(
        render(&data, "[{{ .Values.empty }}{{ .Values.none }}]"),
        "[]"
    );
    assert_eq!(render(&data, "{{ print .Values.none }}"), "<nil>");
}

/// Returns data that contains a pointer to a struct.
fn with_capabilities() -> Map {
    let capabilities = Value::object(Capabilities::new(HelmDefaults));
    values(&[("capabilities", capabilities)])
}

#[test]
fn an_action_prints_what_a_pointer_leads_to() {
    let data = with_capabilities();
    let start = "{{v1.37.0 v1.37.0 1 37} [v1 ";
    for text in [
        "{{ .Values.capabilities }}",
        "{{ html .Values.capabilities }}",
    ] {
        let printed = render(&data, text);
        assert!(printed.starts_with(start), "{text}: {printed}");
    }
    let printed = render(&data, "{{ print .Values.capabilities }}");
    assert!(printed.starts_with(&format!("&{start}")), "{printed}");
}

#[test]
fn pretty_yaml_of_a_struct_has_its_fields() {
    let data = with_capabilities();
    let text = r#"{{ toYamlPretty (list .Values.capabilities.KubeVersion "x") }}"#;
    let expected = "- version: v1.37.0\n  major: \"1\"\n  minor: \"37\"\n- x";
    assert_eq!(render(&data, text), expected);
    let pretty = render(&data, "{{ toYamlPretty .Values.capabilities }}");
    let start =
        "kubeversion:\n  version: v1.37.0\n  major: \"1\"\n  minor: \"37\"\napiversions:\n  - v1\n";
    assert!(pretty.starts_with(start), "{pretty}");
    let end = "helmversion:\n  version: v4.3.1\n  gitcommit: \"\"\n  gittreestate: \"\"\n  goversion: go1.26.8\n  kubeclientversion: v1.37";
    assert!(pretty.ends_with(end), "{pretty}");
    let refused = render(&data, "{{ toYamlPretty (list 1i) }}");
    assert!(
        refused.ends_with("cannot marshal type: complex128"),
        "{refused}"
    );
}

#[test]
fn a_deep_copy_has_what_is_exported() {
    let data = values(&[(
        "capabilities",
        Value::object(Capabilities::new(Versioned("v1.33.4-gke.12"))),
    )]);
    let shown = |text: &str| render(&data, text);
    assert_eq!(
        shown("{{ deepCopy .Values.capabilities.KubeVersion }}"),
        "{v1.33.4-gke.12  1 33}"
    );
    let both =
        "{{ .Values.capabilities.KubeVersion }} {{ (deepCopy .Values).capabilities.KubeVersion }}";
    assert_eq!(shown(both), "v1.33.4 v1.33.4-gke.12");
    let version =
        r#"{{ deepCopy (list (semver "1.2.3-rc.1")) }} {{ typeOf (deepCopy (semver "1.2.3")) }}"#;
    assert_eq!(shown(version), "[0.0.0] *semver.Version");
}

#[test]
fn a_time_tells_its_zone() {
    let text = r#"{{ (toDate "2006-01-02" "2021-03-04").Location }} {{ (toDate "2006-01-02 MST" "2021-03-04 CET").Location.String }}"#;
    assert_eq!(render(&values(&[]), text), "UTC CET");
    let zone = r#"{{ toYamlPretty (toDate "2006-01-02" "2021-03-04").Location }}"#;
    assert_eq!(render(&values(&[]), zone), "{}");
}

/// A cluster with the given version.
struct Versioned(&'static str);

impl Cluster for Versioned {
    fn kube_version(&self) -> KubeVersion {
        KubeVersion::parse(self.0).unwrap()
    }

    fn api_versions(&self) -> Vec<String> {
        unreachable!("a copy looks at nothing")
    }
}

#[test]
fn tpl_sees_the_templates_around_it_and_its_own() {
    let data = values(&[
        ("text", r#"{{ define "own" }}own {{ .Values.x }}{{ end }}{{ include "own" . }} {{ include "outer" . }}"#.into()),
        ("x", "1".into()),
        ("nested", r#"{{ tpl "{{ tpl .Values.text . }}" . }}"#.into()),
        ("blank", "{{ tpl \"{{/* nothing */}}\" . }}!".into()),
    ]);
    let outer = r#"{{ define "outer" }}outer{{ end }}"#;
    assert_eq!(
        render(&data, &format!("{outer}{{{{ tpl .Values.text . }}}}")),
        "own 1 outer"
    );
    assert_eq!(
        render(&data, &format!("{outer}{{{{ tpl .Values.nested . }}}}")),
        "own 1 outer"
    );
    assert_eq!(render(&data, "{{ tpl .Values.blank . }}"), "!");
    assert_eq!(
        render(&data, "[{{ tpl \"{{ .Values.none }}<no value>\" . }}]"),
        "[]"
    );
    insta::assert_snapshot!(
        render(&data, r#"{{ tpl "{{ define \"z\" }}{{ end }}" . }}{{ include "z" . }}"#),
        @r#"
    error: c/templates/a.yaml:1:44
      executing "c/templates/a.yaml" at <include "z" .>:
        error calling include:
    template: no template "z" associated with template "gotpl"
    "#
    );
}

#[test]
fn errors_are_helm_s() {
    let data = values(&[("list", List::strings(["a"]).into())]);
    insta::assert_snapshot!(render(&data, "a\n{{ foo }}"), @r#"error: parse error at (c/templates/a.yaml:2): function "foo" not defined"#);
    insta::assert_snapshot!(render(&data, "{{ .Values.none.deeper }}"), @r#"
    error: c/templates/a.yaml:1:10
      executing "c/templates/a.yaml" at <.Values.none.deeper>:
        nil pointer evaluating interface {}.deeper
    "#);
    insta::assert_snapshot!(render(&data, r#"{{ define "n" }}{{ .Values.list.x }}{{ end }}{{ include "n" . }}"#), @r#"
    error: c/templates/a.yaml:1:48
      executing "c/templates/a.yaml" at <include "n" .>:
        error calling include:
    c/templates/a.yaml:1:26
      executing "n" at <.Values.list.x>:
        can't evaluate field x in type interface {}
    "#);
    insta::assert_snapshot!(render(&data, r#"{{ define "n" }}{{ required "give x!" .Values.x }}{{ end }}{{ include "n" . }}"#), @"error: execution error at (c/templates/a.yaml:1:62): give x!");
    insta::assert_snapshot!(render(&data, r#"{{ fail "no: never" }}"#), @"error: execution error at (c/templates/a.yaml:1:3): no: never");
    insta::assert_snapshot!(render(&data, r#"{{ tpl "{{ .Values.none.x }}" . }}"#), @r#"error: template: c/templates/a.yaml:1:3: executing "c/templates/a.yaml" at <tpl "{{ .Values.none.x }}" .>: error calling tpl: error during tpl function execution for "{{ .Values.none.x }}": template: gotpl:1:10: executing "gotpl" at <.Values.none.x>: nil pointer evaluating interface {}.x"#);
    insta::assert_snapshot!(render(&data, r#"{{ tpl "{{ if }}" . }}"#), @r#"error: template: c/templates/a.yaml:1:3: executing "c/templates/a.yaml" at <tpl "{{ if }}" .>: error calling tpl: cannot parse template "{{ if }}": template: gotpl:1: missing value for if"#);
}

#[test]
fn what_includes_itself_is_refused() {
    let text = r#"{{ define "n" }}{{ include "n" . }}{{ end }}{{ include "n" . }}"#;
    let refused = render(&values(&[]), text);
    assert!(refused.starts_with("error: "), "{refused}");
    assert!(refused.len() < 1000, "{refused}");
}

#[test]
fn required_wants_something() {
    let data = values(&[("zero", Value::int(0)), ("empty", "".into())]);
    assert_eq!(render(&data, r#"{{ required "x" .Values.zero }}"#), "0");
    let expected = "error: execution error at (c/templates/a.yaml:1:3): x";
    assert_eq!(
        render(&data, r#"{{ required "x" .Values.empty }}"#),
        expected
    );
}

#[test]
fn lookup_asks_the_cluster_if_there_is_one() {
    struct Cluster;
    impl Lookup for Cluster {
        fn lookup(
            &self,
            api: &str,
            kind: &str,
            namespace: &str,
            name: &str,
        ) -> Result<Option<Map>, String> {
            match name {
                "none" => Ok(None),
                "bad" => Err("not allowed".to_owned()),
                _ => Ok(Some(
                    [("asked", format!("{api} {kind} {namespace} {name}").into())]
                        .into_iter()
                        .collect(),
                )),
            }
        }
    }
    let text = r#"{{ (lookup "v1" "Secret" "ns" "x").asked }}{{ len (lookup "v1" "Secret" "ns" "none") }}"#;
    assert_eq!(render(&values(&[]), text), "0");
    let engine = Engine::new(State::default()).with_lookup(Rc::new(Cluster));
    let template = |text: &str| Template {
        name: "c/templates/a.yaml".to_owned(),
        base_path: "c/templates".to_owned(),
        text: text.into(),
        values: values(&[]),
    };
    let rendered = engine.render(vec![template(text)]).unwrap();
    assert_eq!(rendered[0].text, "v1 Secret ns x0");
    let error = engine
        .render(vec![template(r#"{{ lookup "v1" "Secret" "" "bad" }}"#)])
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("error calling lookup: not allowed"),
        "{error}"
    );
}
