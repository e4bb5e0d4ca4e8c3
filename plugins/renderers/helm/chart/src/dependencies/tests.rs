//! Tests which subcharts remain, and what the parent chart imports.

use std::rc::Rc;

use pintle_goencoding::functions::to_json;

use super::*;
use crate::{metadata::Metadata, yaml::read_values};

fn values(text: &str) -> Map {
    read_values(text.as_bytes()).expect("good YAML")
}

/// Returns a chart with values and subcharts.
fn chart(name: &str, version: &str, own: &str, dependencies: Vec<Chart>) -> Chart {
    Chart {
        metadata: Metadata {
            name: name.to_owned(),
            version: version.to_owned(),
            ..Metadata::default()
        },
        lock: None,
        values: values(own),
        schema: None,
        templates: Rc::from([]),
        files: Rc::from([]),
        dependencies,
        kept_path: None,
    }
}

fn wants(mut chart: Chart, dependencies: &str) -> Chart {
    let document = crate::yaml::read(format!("dependencies: {dependencies}").as_bytes());
    let document = document.expect("good YAML");
    chart.metadata.read(&document).expect("good dependencies");
    chart
}

/// Returns the names of the charts that are used, and the values of the top chart.
fn processed(mut chart: Chart, user: &str) -> (Vec<String>, String, Vec<String>) {
    let mut warnings = Warnings::default();
    process(&mut chart, &values(user), &mut warnings).expect("values that fit");
    let names = chart.dependencies.iter().map(|one| one.name().to_owned());
    let names = names.collect();
    (
        names,
        to_json(&chart.values.into()).to_string(),
        warnings.into_messages(),
    )
}

fn two() -> Vec<Chart> {
    vec![
        chart("a", "1.0.0", "", vec![]),
        chart("b", "2.1.0", "", vec![]),
    ]
}

fn used(dependencies: &str, own: &str, user: &str) -> Vec<String> {
    processed(wants(chart("top", "1.0.0", own, two()), dependencies), user).0
}

#[test]
fn conditions_decide_before_tags() {
    let both =
        "[{name: a, version: '*', condition: 'x.z,a.enabled', tags: [t]}, {name: b, version: ^2}]";
    assert_eq!(used(both, "", ""), ["a", "b"]);
    assert_eq!(used(both, "tags: {t: false}", ""), ["b"]);
    assert_eq!(
        used(both, "tags: {t: false}", "a: {enabled: true}"),
        ["a", "b"]
    );
    assert_eq!(used(both, "a: {enabled: false}", ""), ["b"]);
    assert_eq!(
        used(both, "a: {enabled: false}", "x: {z: true}"),
        ["a", "b"]
    );
    assert_eq!(used(both, "", "a: {enabled: 'no'}"), ["a", "b"]);
    assert_eq!(
        used(
            "[{name: a, version: '*', tags: [s, t]}]",
            "tags: {s: false, t: true}",
            ""
        ),
        ["b", "a"]
    );
}

#[test]
fn an_empty_list_of_dependencies_is_not_none() {
    // What the lower chart disables is still there if the upper one specifies no dependencies.
    let left = |dependencies: Option<&str>| {
        let inner = chart("b", "1.0.0", "", vec![]);
        let below = wants(
            chart("a", "1.0.0", "", vec![inner]),
            "[{name: b, version: '*', condition: b.used}]",
        );
        let top = chart("top", "1.0.0", "", vec![below]);
        let mut top = match dependencies {
            Some(dependencies) => wants(top, dependencies),
            None => top,
        };
        let off = values("a: {b: {used: false}}");
        process(&mut top, &off, &mut Warnings::default()).expect("values that fit");
        top.dependencies[0].dependencies.len()
    };
    assert_eq!(left(None), 1);
    assert_eq!(left(Some("null")), 1);
    assert_eq!(left(Some("[]")), 0);
}

#[test]
fn aliases_and_versions() {
    let names = used(
        "[{name: a, version: '*', alias: one}, {name: a, version: ^1, alias: two}, {name: b, version: ^3}]",
        "",
        "",
    );
    assert_eq!(
        names,
        ["b", "one", "two"],
        "what no version fits stays as it is"
    );
}

// To the library, an empty text is not a range, so no chart satisfies such a dependency. Not even its alias is assigned.
#[test]
fn what_names_no_version_is_met_by_no_chart() {
    let names = used(
        "[{name: a, alias: one}, {name: b, version: '^2 ||', alias: two}]",
        "",
        "",
    );
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn values_are_imported() {
    let sub = chart(
        "sub",
        "1.0.0",
        "exports: {data: {a: 1, b: 1}}\ninner: {c: 3}",
        vec![],
    );
    let top = chart("top", "1.0.0", "a: 0", vec![sub]);
    let dependencies =
        "[{name: sub, version: '*', import-values: [data, {child: inner, parent: x.y}, none]}]";
    let (_, values, warnings) = processed(wants(top, dependencies), "");
    insta::assert_snapshot!(values, @r#"{"a":0,"b":1,"sub":{"exports":{"data":{"a":1,"b":1}},"global":{},"inner":{"c":3}},"x":{"y":{"c":3}}}"#);
    insta::assert_snapshot!(warnings.join("\n"), @r#"the chart "sub" has no table "exports.none" among its values to import"#);
}

#[test]
fn values_that_are_no_table_are_refused() {
    let mut top = wants(
        chart("top", "1.0.0", "a: 1", two()),
        "[{name: a, version: '*'}]",
    );
    let error = process(&mut top, &Map::new(), &mut Warnings::default()).expect_err("no table");
    insta::assert_snapshot!(error, @r#"type mismatch on top.a: the values of the chart "a" must be a table, and here is a number"#);
}

#[test]
fn charts_keep_their_defaults() {
    let sub = chart("a", "1.0.0", "t: {nn: null, l: [{nn: null}]}", vec![]);
    let own = "a: {t: {m: null}}\no: {nn: null, p: 1, q: {r: null}, l: [{nn: null}]}";
    let top = chart("top", "1.0.0", own, vec![sub]);
    let text = |values: &Map| to_json(&values.clone().into()).to_string();
    let given = |nulls| {
        let user = values("o: {k: 1, p: null}");
        let given = coalesce(&top, &user, nulls, &mut Warnings::default());
        text(&given.expect("values that fit"))
    };
    insta::assert_snapshot!(given(Nulls::Remove), @r#"{"a":{"global":{},"t":{"l":[{"nn":null}]}},"o":{"k":1,"l":[{"nn":null}],"q":{}}}"#);
    insta::assert_snapshot!(given(Nulls::Keep), @r#"{"a":{"global":{},"t":{"l":[{"nn":null}],"m":null,"nn":null}},"o":{"k":1,"l":[{"nn":null}],"nn":null,"p":null,"q":{"r":null}}}"#);
    assert_eq!(text(&top.values), text(&values(own)));
    let below = "t: {nn: null, l: [{nn: null}]}";
    assert_eq!(text(&top.dependencies[0].values), text(&values(below)));
}

#[test]
fn what_is_missing() {
    let top = wants(chart("top", "1.0.0", "", two()), "[{name: a}, {name: c}]");
    assert_eq!(missing(&top), ["c"]);
}
