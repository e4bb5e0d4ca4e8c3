use super::*;

fn problems(schema: &str, values: &str) -> Vec<String> {
    let values = crate::yaml::read_values(values.as_bytes()).expect("good YAML");
    let mut warnings = Warnings::default();
    let problems = one("web", schema.as_bytes(), &values, &mut warnings);
    let warnings = warnings.into_messages().into_iter();
    problems
        .into_iter()
        .map(|(path, message)| format!("{}: {message}", dotted(&path)))
        .chain(warnings.map(|warning| format!("warning: {warning}")))
        .collect()
}

#[test]
fn problems_say_where_and_what() {
    let schema = r##"{
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["image", "name"],
        "additionalProperties": false,
        "properties": {
            "replicas": {"type": "integer", "minimum": 1},
            "image": {"$ref": "#/definitions/image"},
            "ports": {"type": "array", "items": {"type": "integer", "maximum": 65535}, "uniqueItems": true},
            "mode": {"enum": ["a", "b"]},
            "host": {"type": "string", "format": "hostname", "pattern": "^[a-z.]+$", "maxLength": 5},
            "either": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["x"]}]},
            "one": {"oneOf": [{"type": "number"}, {"minimum": 1}]},
            "step": {"multipleOf": 0.1}
        },
        "definitions": {"image": {"properties": {"tag": {"type": ["string", "null"]}}}}
    }"##;
    let values = r"
replicas: 0.5
image: {tag: 1}
ports: [80, 70000, 80]
mode: c
host: A_B
either: {y: 1}
one: 3
step: 0.35
extra: 1
";
    insta::assert_snapshot!(problems(schema, values).join("\n"), @r#"
    : missing property "name"
    either: 'anyOf' failed: got object, want string; or missing property "x"
    host: "A_B" is not valid hostname
    image.tag: got number, want string or null
    mode: value must be one of "a", "b"
    one: 'oneOf' failed, subschemas 0, 1 matched
    ports: items at 0 and 2 are equal
    ports[1]: maximum: got 70000, want 65535
    replicas: got number, want integer
    step: multipleOf: got 0.35, want 0.1
    : additional properties "extra" not allowed
    "#);
    assert_eq!(
        problems(
            schema,
            "name: x\nimage: {tag: null}\nreplicas: 2\nstep: 0.3"
        ),
        [": additional properties \"name\" not allowed"]
    );
}

#[test]
fn drafts_differ() {
    // Beside a reference, draft 7 ignores everything else.
    let schema = |draft: &str| {
        format!(
            r##"{{"$schema": "{draft}", "properties": {{"a": {{"$ref": "#/definitions/any", "type": "string"}},
                "b": {{"format": "ipv4"}}, "c": {{"prefixItems": [{{"type": "string"}}]}}}},
                "definitions": {{"any": true}}}}"##
        )
    };
    let values = "a: 1\nb: x\nc: [1]";
    assert_eq!(
        problems(&schema("http://json-schema.org/draft-07/schema#"), values),
        ["b: \"x\" is not valid ipv4"]
    );
    assert_eq!(
        problems(
            &schema("https://json-schema.org/draft/2020-12/schema"),
            values
        ),
        [
            "a: got number, want string",
            "c[0]: got number, want string"
        ]
    );
}

#[test]
fn keywords_newer_than_the_draft_say_nothing() {
    let drafts = [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ];
    for (keywords, value, refused) in [
        (r#""unevaluatedProperties": false"#, "{z: 1}", "...RR"),
        (r#""unevaluatedItems": false"#, "[1]", "...RR"),
        (r##""$recursiveRef": "#/definitions/text""##, "1", "...RR"),
        (r##""$dynamicRef": "#/definitions/text""##, "1", "....R"),
        (r##""$recursiveRef": "#/nothing""##, "1", "...RR"),
        (r##""$dynamicRef": "#/nothing""##, "1", "....R"),
        (r#""dependentRequired": {"z": ["q"]}"#, "{z: 1}", "...RR"),
        (r#""contains": {"type": "string"}"#, "[1]", ".RRRR"),
        (r#""if": {}, "then": {"type": "string"}"#, "1", "..RRR"),
        (r#""prefixItems": [{"type": "string"}]"#, "[1]", "....R"),
        (
            r##""$ref": "#/definitions/text", "const": "a""##,
            "b",
            ".RRRR",
        ),
        (
            r##""$ref": "#/definitions/text", "enum": ["a"]"##,
            "b",
            "...RR",
        ),
        (
            r##""$ref": "#/definitions/text", "if": {"$ref": "#/nothing"}"##,
            "b",
            "..RRR",
        ),
        (
            r##""not": {"$ref": "#a"}, "definitions": {"x": {"$anchor": "a"}}"##,
            "b",
            "RRRRR",
        ),
    ] {
        let is_refused = |draft: &str| {
            let definitions = r#"{"text": {"type": "string"}}"#;
            let schema = format!(
                r#"{{"$schema": "{draft}", "definitions": {definitions}, "properties": {{"v": {{{keywords}}}}}}}"#
            );
            !problems(&schema, &format!("v: {value}")).is_empty()
        };
        let got = drafts.map(|draft| if is_refused(draft) { 'R' } else { '.' });
        assert_eq!(String::from_iter(got), refused, "{keywords} {value}");
    }
}

#[test]
fn a_part_may_have_its_own_draft() {
    let schema = r##"{
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "parts/root.json",
        "properties": {"new": {"$ref": "new.json#rest"}, "self": {"$ref": "#"}, "plain": {"unevaluatedProperties": false}},
        "definitions": {"new": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "new.json",
            "$defs": {"rest": {"$anchor": "rest", "unevaluatedProperties": false}}
        }}
    }"##;
    assert_eq!(problems(schema, "plain: {a: 1}"), Vec::<String>::new());
    // The same id is resolved each time a reference reaches it, and leads to the same address.
    assert_eq!(
        problems(schema, "self: {self: {self: {new: {a: 1}}}}"),
        ["self.self.self.new.a: nothing is allowed here"]
    );
}

#[test]
fn what_is_left_over_is_known() {
    let schema = r#"{"allOf": [{"properties": {"a": true}}], "properties": {"b": true}, "unevaluatedProperties": false}"#;
    assert_eq!(problems(schema, "a: 1\nb: 2"), Vec::<String>::new());
    assert_eq!(
        problems(schema, "a: 1\nc: 2"),
        ["c: nothing is allowed here"]
    );
}

#[test]
fn counts_may_be_larger_than_any_value() {
    let schema = |keyword: &str| {
        format!(
            r#"{{"properties": {{"a": {{"{keyword}": 4294967296}}, "b": {{"{keyword}": 4294967296}}}}}}"#
        )
    };
    let of = |keyword: &str| problems(&schema(keyword), "a: text\nb: [1]");
    assert_eq!(of("minLength"), ["a: minLength: got 4, want 4294967296"]);
    assert_eq!(of("minItems"), ["b: minItems: got 1, want 4294967296"]);
    assert_eq!(of("maxLength"), Vec::<String>::new());
}

#[test]
fn references_by_id_anchor_and_pointer() {
    let schema = r##"{
        "$id": "https://example.com/root.json",
        "$defs": {
            "text": {"$anchor": "text", "type": "string"},
            "item": {"$id": "item.json", "$defs": {"inner": {"type": "boolean"}}, "properties": {"flag": {"$ref": "#/$defs/inner"}}}
        },
        "properties": {
            "a": {"$ref": "#text"},
            "b": {"$ref": "item.json"},
            "c": {"$ref": "https://example.com/root.json#/$defs/text"},
            "d": {"$ref": "https://elsewhere.example/x.json"}
        }
    }"##;
    insta::assert_snapshot!(problems(schema, "a: 1\nb: {flag: 1}\nc: 1\nd: 1").join("\n"), @r##"
    a: got number, want string
    b.flag: got number, want boolean
    c: got number, want string
    warning: the schema of the chart "web" refers to "https://elsewhere.example/x.json", which is not fetched: what it asks for is not checked
    "##);
}

#[test]
fn a_schema_may_refer_to_itself_by_the_name_of_its_file() {
    let of = |own_id: &str, reference: &str| {
        let schema = format!(
            r#"{{{own_id} "properties": {{"a": {{"$ref": "{reference}#/$defs/text"}}}}, "$defs": {{"text": {{"type": "string"}}}}}}"#
        );
        problems(&schema, "a: 1")
    };
    for reference in [
        "values.schema.json",
        "./values.schema.json",
        "/values.schema.json",
        "file:///values.schema.json",
    ] {
        assert_eq!(of("", reference), ["a: got number, want string"]);
    }
    // This also holds beside an id, to which other references are then relative.
    let own_id = r#""$id": "https://example.com/root.json","#;
    assert_eq!(
        of(own_id, "file:///values.schema.json"),
        ["a: got number, want string"]
    );
    assert_eq!(
        of("", "sub/values.schema.json"),
        [
            r#": values.schema.json refers to "sub/values.schema.json#/$defs/text", which is not there, at /properties/a/$ref"#
        ]
    );
    assert_eq!(
        problems(r#"{"$defs": {"a": {"$id": "values.schema.json"}}}"#, "a: 1"),
        [r#": values.schema.json has the id or anchor "file:///values.schema.json" twice"#]
    );
}

#[test]
fn malformed_schemas_are_refused() {
    let schemas = [
        "{",
        "[]",
        r#"{"properties": {"a": {"type": "strin"}}}"#,
        r#"{"pattern": "(?!a)"}"#,
        r##"{"properties": {"env": {"$id": "#/properties/env"}}}"##,
        r##"{"not": {"$ref": "#/$defs/none"}, "$defs": {"a": {"$ref": "#/nothing"}}}"##,
        r##"{"not": {"$ref": "#/own/a"}, "own": {"a": {"minLength": -1}, "b": {"minLength": -1}}}"##,
        r##"{"$ref": "#"}"##,
        r#"{"properties": {"b": {"$ref": "other.json"}}, "$defs": {"a": {"$ref": "other.json"}}}"#,
        r#"{"$defs": {"a": {"$anchor": "a"}, "b": {"$anchor": "a"}}}"#,
        r#"{"unknown": {"$anchor": "a"}, "$defs": {"b": {"$anchor": "a"}}}"#,
    ];
    let all: Vec<_> = schemas
        .iter()
        .flat_map(|schema| problems(schema, "a: 1"))
        .collect();
    insta::assert_snapshot!(all.join("\n"), @r##"
    : values.schema.json is not JSON: EOF while parsing an object at line 1 column 1
    : values.schema.json is no schema: a schema is an object or a boolean
    : values.schema.json has "strin" at /properties/a/type: must be one or several of array, boolean, integer, null, number, object, string
    : values.schema.json has "(?!a)" at /pattern: must be a regex, and "(?!a)" is none: error parsing regexp: invalid or unsupported Perl syntax: `(?!`
    : values.schema.json has "#/properties/env" at /properties/env/$id: must be a URI reference without a fragment
    : values.schema.json refers to "#/$defs/none", which is not there, at /not/$ref
    : values.schema.json has -1 at /own/a/minLength: must be a whole number of at least 0
    : the schema leads in circles, or is too large to be followed
    : values.schema.json refers to "other.json", which is not there, at /properties/b/$ref
    : values.schema.json has the id or anchor "#a" twice
    "##);
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced() {
    let schema = b"{\"title\": \"caf\xE9\", \"properties\": {\"a\": {\"const\": \"\xE9\"}}}";
    let values = crate::yaml::read_values("a: \u{fffd}".as_bytes()).expect("good YAML");
    let told = one("web", schema, &values, &mut Warnings::default());
    assert_eq!(told, Problems::new());
}

#[test]
fn unique_items_are_so_by_value() {
    let schema = r#"{"properties": {"a": {"uniqueItems": true}}}"#;
    let told = |items: &str| problems(schema, &format!("a: [{items}]"));
    for (items, expected) in [
        ("1, 2, 1.0", "a: items at 0 and 2 are equal"),
        ("[1], {b: 1}, [1.0]", "a: items at 0 and 2 are equal"),
        (
            "x, {b: 1, c: [2]}, {c: [2], b: 1.0}, x",
            "a: items at 1 and 2 are equal",
        ),
        ("null, null", "a: items at 0 and 1 are equal"),
    ] {
        assert_eq!(told(items), [expected], "{items}");
    }
    let different = "1, '1', true, 'true', null, 'null', [], {}, '', 0, [0], [[0]], 0.1, 1.1, {a: 1}, {a: 2}, {b: 1}";
    assert_eq!(told(different), Vec::<String>::new());
    // All items are compared, in no more time than it takes to read them.
    let many: Vec<_> = (0..30_000).map(|number| number.to_string()).collect();
    let many = many.join(", ");
    assert_eq!(told(&many), Vec::<String>::new());
    assert_eq!(
        told(&format!("{many}, 29999.0")),
        ["a: items at 29999 and 30000 are equal"]
    );
}

#[test]
fn patterns_are_go_s() {
    let schema = r#"{
        "properties": {"a": {"pattern": "^\\p{Lu}[\\d-x]{,2}$"}},
        "patternProperties": {"^(?i)É": {"type": "string"}}
    }"#;
    assert_eq!(problems(schema, "a: 'Ä-{,2}'\né: x"), Vec::<String>::new());
    assert_eq!(
        problems(schema, "a: Ä-\né: 1"),
        [
            r#"a: "Ä-" does not match pattern "^\\p{Lu}[\\d-x]{,2}$""#,
            "é: got number, want string"
        ]
    );
}

#[test]
fn patterns_take_only_so_much_memory() {
    let pattern = |index: usize| format!(r#""{index}": {{"pattern": "^{index}\\pL{{200}}"}}"#);
    let schema = |count: usize| {
        let patterns: Vec<_> = (0..count).map(pattern).collect();
        format!(r#"{{"properties": {{{}}}}}"#, patterns.join(", "))
    };
    assert_eq!(problems(&schema(2), "a: 1"), Vec::<String>::new());
    let told = problems(&schema(200), "a: 1").join("\n");
    assert!(
        told.contains("the patterns of the schema are too large"),
        "{told}"
    );
}

proptest::proptest! {
    #[test]
    fn no_schema_is_a_problem(
        schema in r#"\{"(type|enum|\$ref|items|not|anyOf|properties|minimum|pattern|required)": ("string"|"\#"|\[\]|\[\{\}, false\]|\{"a": \{\}\}|1|true|null)\}"#,
        values in "(a: 1|b: \\[1, x\\]|\\{\\})",
    ) {
        let _ = problems(&schema, &values);
    }
}
