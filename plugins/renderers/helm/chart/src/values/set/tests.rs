//! Tests the meaning of lines of values. The expected results come from Helm 4.3.1.

use pintle_goencoding::functions::to_json;
use proptest::prelude::*;

use super::*;

type Put = fn(&str, &Map) -> Result<(), SetError>;

/// Returns what a line makes of `{"k": {"b": 1}, "l": [1]}`, as JSON, or why it is malformed.
fn after(put: Put, line: &str) -> String {
    let start = serde_json::json!({"k": {"b": 1}, "l": [1]});
    let Value::Map(values) = crate::values::from_json(&start) else {
        panic!("a table");
    };
    match put(line, &values) {
        Ok(()) => to_json(&values.into()).to_string(),
        Err(error) => format!("error: {error}"),
    }
}

fn all(put: Put, lines: &[&str]) -> String {
    let lines = lines.iter();
    let lines: Vec<String> = lines
        .map(|line| format!("{line:24} {}", after(put, line)))
        .collect();
    lines.join("\n")
}

#[test]
fn typed_values() {
    insta::assert_snapshot!(all(set, &[
        "a=1", "a=0", "a=01", "a=-1", "a=1.5", "a=true", "a=False", "a=null", "a=", "a=text", "a=9223372036854775808",
        "a=1,b=x", r"a=x\,y", r"a\.b=1", r"a=x\=y", "a=b=c", " a = 1",
    ]), @r#"
    a=1                      {"a":1,"k":{"b":1},"l":[1]}
    a=0                      {"a":0,"k":{"b":1},"l":[1]}
    a=01                     {"a":"01","k":{"b":1},"l":[1]}
    a=-1                     {"a":-1,"k":{"b":1},"l":[1]}
    a=1.5                    {"a":"1.5","k":{"b":1},"l":[1]}
    a=true                   {"a":true,"k":{"b":1},"l":[1]}
    a=False                  {"a":false,"k":{"b":1},"l":[1]}
    a=null                   {"a":null,"k":{"b":1},"l":[1]}
    a=                       {"a":"","k":{"b":1},"l":[1]}
    a=text                   {"a":"text","k":{"b":1},"l":[1]}
    a=9223372036854775808    {"a":"9223372036854775808","k":{"b":1},"l":[1]}
    a=1,b=x                  {"a":1,"b":"x","k":{"b":1},"l":[1]}
    a=x\,y                   {"a":"x,y","k":{"b":1},"l":[1]}
    a\.b=1                   {"a.b":1,"k":{"b":1},"l":[1]}
    a=x\=y                   {"a":"x=y","k":{"b":1},"l":[1]}
    a=b=c                    {"a":"b=c","k":{"b":1},"l":[1]}
     a = 1                   {" a ":" 1","k":{"b":1},"l":[1]}
    "#);
}

#[test]
fn tables_and_lists() {
    insta::assert_snapshot!(all(set, &[
        "k.c=2", "k.b=2", "k=2", "k.b.c=2", "a.b.c=1", "a={}", "a={x}", "a={1,x,null}", "a={x},b=1", "a[0]=1", "a[2]=1",
        "l[0]=2", "l[1].x=2", "a[0].x=1,a[0].y=2", "a[0][1]=1", "l.x=1", "k[0]=1", "a[0]=", "a[0].x=",
    ]), @r#"
    k.c=2                    {"k":{"b":1,"c":2},"l":[1]}
    k.b=2                    {"k":{"b":2},"l":[1]}
    k=2                      {"k":2,"l":[1]}
    k.b.c=2                  error: unable to parse key: "b" holds a number, though a key is set in it
    a.b.c=1                  {"a":{"b":{"c":1}},"k":{"b":1},"l":[1]}
    a={}                     {"a":[""],"k":{"b":1},"l":[1]}
    a={x}                    {"a":["x"],"k":{"b":1},"l":[1]}
    a={1,x,null}             {"a":[1,"x",null],"k":{"b":1},"l":[1]}
    a={x},b=1                {"a":["x"],"b":1,"k":{"b":1},"l":[1]}
    a[0]=1                   {"a":[1],"k":{"b":1},"l":[1]}
    a[2]=1                   {"a":[null,null,1],"k":{"b":1},"l":[1]}
    l[0]=2                   {"k":{"b":1},"l":[2]}
    l[1].x=2                 {"k":{"b":1},"l":[1,{"x":2}]}
    a[0].x=1,a[0].y=2        {"a":[{"x":1,"y":2}],"k":{"b":1},"l":[1]}
    a[0][1]=1                {"a":[[null,1]],"k":{"b":1},"l":[1]}
    l.x=1                    error: unable to parse key: "l" holds a list, though a key is set in it
    k[0]=1                   error: unable to parse key: "k" holds a table, though an item is set in it
    a[0]=                    {"a":[""],"k":{"b":1},"l":[1]}
    a[0].x=                  {"a":[],"k":{"b":1},"l":[1]}
    "#);
}

#[test]
fn malformed_lines() {
    insta::assert_snapshot!(all(set, &[
        "a", "a,b=1", "a.", "a.=1", "a={x", "a[x]=1", "a[-1]=1", "a[0]x=1", "a[65537]=1", "a[4294967296]=1", "a[0", "=1", "", ",",
        &format!("{}a=1", "a.".repeat(31)), &format!("a{}=1", "[0]".repeat(101)),
    ]), @r#"
    a                        error: key "a" has no value
    a,b=1                    error: key "a" has no value (cannot end with ,)
    a.                       {"k":{"b":1},"l":[1]}
    a.=1                     error: key map "a" has no value
    a={x                     error: list must terminate with '}'
    a[x]=1                   error: error parsing index: "x" is not a number
    a[-1]=1                  error: negative -1 index not allowed
    a[0]x=1                  error: unexpected data at end of array index: "x"
    a[65537]=1               error: index of 65537 is greater than maximum supported index of 65536
    a[4294967296]=1          error: index of 4294967296 is greater than maximum supported index of 65536
    a[0                      {"k":{"b":1},"l":[1]}
    =1                       {"k":{"b":1},"l":[1]}
                             {"k":{"b":1},"l":[1]}
    ,                        error: key "" has no value (cannot end with ,)
    a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a=1 error: value name nested level is greater than maximum supported nested level of 30
    a[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]=1 error: a key has more than 100 indices
    "#);
}

#[test]
fn texts_json_and_literals() {
    insta::assert_snapshot!(all(set_string, &["a=1", "a=null", "a={1,true}", "a[0]=0"]), @r#"
    a=1                      {"a":"1","k":{"b":1},"l":[1]}
    a=null                   {"a":"null","k":{"b":1},"l":[1]}
    a={1,true}               {"a":["1","true"],"k":{"b":1},"l":[1]}
    a[0]=0                   {"a":["0"],"k":{"b":1},"l":[1]}
    "#);
    insta::assert_snapshot!(all(set_json, &[
        r#"a={"x": [1, "y"]}"#, r#"a=1,b="x, y""#, "a=", "a= ,b=1", "k=null", "a=x", r#"a={"x":1}x"#,
    ]), @r#"
    a={"x": [1, "y"]}        {"a":{"x":[1,"y"]},"k":{"b":1},"l":[1]}
    a=1,b="x, y"             {"a":1,"b":"x, y","k":{"b":1},"l":[1]}
    a=                       {"a":null,"k":{"b":1},"l":[1]}
    a= ,b=1                  {"a":null,"b":1,"k":{"b":1},"l":[1]}
    k=null                   {"k":null,"l":[1]}
    a=x                      error: the value of "a" is not JSON: invalid character 'x' looking for beginning of value
    a={"x":1}x               error: key "x" has no value
    "#);
    insta::assert_snapshot!(all(set_literal, &["a=1,b=2", r"a=x\,y", "k.c==", "l[0]={x}", "a[1].b= x", "a", ""]), @r#"
    a=1,b=2                  {"a":"1,b=2","k":{"b":1},"l":[1]}
    a=x\,y                   {"a":"x\\,y","k":{"b":1},"l":[1]}
    k.c==                    {"k":{"b":1,"c":"="},"l":[1]}
    l[0]={x}                 {"k":{"b":1},"l":["{x}"]}
    a[1].b= x                {"a":[null,{"b":" x"}],"k":{"b":1},"l":[1]}
    a                        error: key "a" has no value
                             {"k":{"b":1},"l":[1]}
    "#);
}

#[test]
fn what_is_json_for_go() {
    let merged = |line: &str| match merge_json(line, Map::new()) {
        Ok(values) => to_json(&values.into()).to_string(),
        Err(error) => format!("error: {error}"),
    };
    // A lone surrogate is replaced, and anything after a value begins the next key.
    assert_eq!(merged(r#" {"a": "\ud800"} "#), "{\"a\":\"\u{fffd}\"}");
    assert_eq!(
        merged(r#"{"a": 1} x"#),
        "error: it is not JSON: invalid character 'x' after top-level value"
    );
    assert_eq!(
        after(set_json, r#"k="\udc00x",l=1b=2"#),
        "{\"b\":2,\"k\":\"\u{fffd}x\",\"l\":1}"
    );
    assert_eq!(
        merged("a=1e999"),
        "error: the value of \"a\" is not JSON: json: cannot unmarshal number 1e999 into Go value of type float64"
    );
    assert_eq!(merged("[1]"), "{}");
}

#[test]
fn files() {
    let read = |path: &str| match path {
        "there" => Ok(Value::from("text\n")),
        _ => Err(format!("there is no {path}")),
    };
    let values = Map::new();
    set_file("a=there,b.c=there", &values, &read).expect("a file");
    assert_eq!(
        to_json(&values.clone().into()).to_string(),
        r#"{"a":"text\n","b":{"c":"text\n"}}"#
    );
    let error = set_file("a=none", &values, &read).expect_err("no file");
    insta::assert_snapshot!(error, @"there is no none");
}

proptest! {
    #[test]
    fn no_line_is_a_problem(line in r#"[ab.,=\[\]{}\\0-9"-]{0,24}"#) {
        for put in [set, set_string, set_json, set_literal] {
            let values = Map::new();
            let _ = put(&line, &values);
        }
    }

    #[test]
    fn a_plain_text_is_itself(text in "[a-z ]{1,12}") {
        let values = Map::new();
        set_string(&format!("a.b[0]={text}"), &values).expect("a good line");
        let json = to_json(&values.into()).to_string();
        prop_assert_eq!(json, format!(r#"{{"a":{{"b":["{text}"]}}}}"#));
    }
}
