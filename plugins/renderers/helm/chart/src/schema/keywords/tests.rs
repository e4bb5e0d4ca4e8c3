use serde_json::from_str;

use super::*;

const DRAFTS: [Draft; 5] = [Draft::V4, Draft::V6, Draft::V7, Draft::V2019, Draft::V2020];

fn problems(schema: &str, draft: Draft) -> Vec<String> {
    let schema: Json = from_str(schema).expect("good JSON");
    let regex = |pattern: &str| (pattern == "(").then(|| "unclosed".to_owned());
    let mut checker = Checker::new(&regex);
    checker.run("", &schema, draft);
    checker.problems
}

#[test]
fn what_each_draft_refuses() {
    // Whether drafts 4, 6, 7, 2019-09 and 2020-12 refuse the schema.
    for (schema, refused) in [
        (r#"{"required": []}"#, [true, false, false, false, false]),
        (r#"{"required": ["a", "a"]}"#, [true; 5]),
        (
            r#"{"exclusiveMinimum": true, "minimum": 1}"#,
            [false, true, true, true, true],
        ),
        (
            r#"{"exclusiveMinimum": 1}"#,
            [true, false, false, false, false],
        ),
        (r#"{"exclusiveMaximum": false}"#, [true; 5]),
        (r##"{"$id": "#/a"}"##, [false, false, false, true, true]),
        (r##"{"$id": "#"}"##, [false; 5]),
        (r#"{"id": 5}"#, [true, false, false, false, false]),
        (r#"{"items": []}"#, [true; 5]),
        (r#"{"items": [true]}"#, [true, false, false, false, true]),
        (r#"{"items": [{}]}"#, [false, false, false, false, true]),
        (r#"{"additionalItems": 5}"#, [true, true, true, true, false]),
        (r#"{"additionalProperties": false}"#, [false; 5]),
        (r#"{"not": true}"#, [true, false, false, false, false]),
        (r#"{"enum": []}"#, [true, true, true, false, false]),
        (r#"{"enum": [1, 1.0]}"#, [true, true, true, false, false]),
        (r#"{"type": []}"#, [true; 5]),
        (r#"{"type": ["string", "string"]}"#, [true; 5]),
        (r#"{"minLength": 2.0}"#, [false; 5]),
        (r#"{"minLength": -1}"#, [true; 5]),
        (r#"{"minLength": 0.5}"#, [true; 5]),
        (r#"{"multipleOf": 0}"#, [true; 5]),
        (r#"{"multipleOf": 1e-3}"#, [false; 5]),
        (r#"{"format": 5}"#, [true; 5]),
        (r#"{"default": 5, "unknown": {"type": 5}}"#, [false; 5]),
        (r#"{"properties": {"a": 5}}"#, [true; 5]),
        (r#"{"properties": {"type": {}}}"#, [false; 5]),
        (r#"{"definitions": {"a": {"type": 1}}}"#, [true; 5]),
        (
            r#"{"$defs": {"a": {"type": 1}}}"#,
            [false, false, false, true, true],
        ),
        (
            r#"{"dependencies": {"a": []}}"#,
            [true, false, false, false, false],
        ),
        (r#"{"dependencies": {"a": [1]}}"#, [true; 5]),
        (
            r#"{"patternProperties": {"(": {}}}"#,
            [false, false, true, true, true],
        ),
        (r#"{"pattern": "("}"#, [true; 5]),
        (r#"{"examples": 5}"#, [false, false, true, true, true]),
        (r#"{"$anchor": "a:b"}"#, [false, false, false, false, true]),
        (r#"{"$anchor": "_a"}"#, [false, false, false, true, false]),
        (r#"{"$ref": "\\"}"#, [false, true, true, true, true]),
    ] {
        let got = DRAFTS.map(|draft| !problems(schema, draft).is_empty());
        assert_eq!(got, refused, "{schema}");
    }
}

#[test]
fn all_problems_are_told() {
    let schema =
        r#"{"properties": {"a/b": {"type": "strin", "title": 5}, "c": {"allOf": [{}, 5]}}}"#;
    let mut told = problems(schema, Draft::V7);
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "has \"strin\" at /properties/a~1b/type: must be one or several of array, boolean, integer, null, number, object, string",
            "has 5 at /properties/a~1b/title: must be a string",
            "has 5 at /properties/c/allOf/1: must be a schema: an object or a boolean",
        ]
    );
}

#[test]
fn a_resource_may_have_its_own_draft() {
    let inner = |id: &str| {
        format!(
            r#"{{"not": {{{id}"$schema": "http://json-schema.org/draft-04/schema#", "required": []}}}}"#
        )
    };
    assert_eq!(problems(&inner(""), Draft::V7), Vec::<String>::new());
    assert_eq!(problems(&inner(r#""id": "x","#), Draft::V7).len(), 1);
}
