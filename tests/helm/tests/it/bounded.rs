//! Templates that demand too much: each is refused, and none crashes the renderer.
//!
//! Helm has no such limits. Many of these templates end its process or fill the memory of the machine.

use pintle_helm_tests::oracle::Expression;
use pintle_helm_tests::{generate, ours};

/// The stack that the deepest of these templates needs in an unoptimised build, with a margin. Templates must not need more stack
/// when they may run longer.
const STACK: usize = 64 << 20;

fn rendered(text: &str) -> Result<Vec<u8>, String> {
    let asked = Expression {
        text: text.to_owned(),
        input: generate::input(),
        helpers: generate::HELPERS.to_owned(),
    };
    let thread = std::thread::Builder::new().stack_size(STACK);
    thread
        .spawn(move || ours::expression(&ours::engine(), &asked))
        .expect("a thread can be started")
        .join()
        .unwrap_or_else(|_| panic!("{:?} panics", &text))
}

/// Returns a template that builds something deep or long in a variable, and then uses it.
fn grown(start: &str, step: &str, times: usize, used: &str) -> String {
    format!(
        "{{{{ $x := {start} }}}}{{{{ range until {times} }}}}{{{{ $x = {step} }}}}{{{{ end }}}}{used}"
    )
}

#[test]
fn what_is_too_much_is_refused() {
    let texts = [
        r#"{{ repeat 2000000000 "x" }}"#,
        "{{ until 2000000000 }}",
        "{{ untilStep 0 2000000000 1 }}",
        "{{ untilStep 0 -2000000000 -1 }}",
        "{{ seq 1 2000000000 }}",
        r#"{{ indent 2000000000 "x\ny" }}"#,
        r#"{{ nindent 2000000000 "x\ny" }}"#,
        "{{ randAlphaNum 2000000000 }}",
        "{{ randBytes 2000000000 }}",
        "{{ range until 100000 }}{{ range until 100000 }}x{{ end }}{{ end }}",
        "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}",
        "{{ range 9000000000000000000 }}x{{ end }}",
        r#"{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}"#,
        r#"{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}"#,
        r#"{{ define "a" }}{{ tpl "{{ include \"a\" . }}" . }}{{ end }}{{ include "a" . }}"#,
        r#"{{ define "a" }}{{ include "b" . }}{{ end }}{{ define "b" }}{{ template "a" . }}{{ end }}{{ template "b" . }}"#,
        r#"{{ regexReplaceAll "" (repeat 1000000 "a") (repeat 1000000 "b") }}"#,
        r#"{{ replace "" (repeat 1000000 "b") (repeat 1000000 "a") }}"#,
        r#"{{ join (repeat 1000000 "b") (until 1000000) }}"#,
        r#"{{ wrapWith 1 (repeat 1000000 "b") (repeat 1000000 "a ") }}"#,
        r#"{{ .Files.Glob (repeat 1000 "*a") }}"#,
        r#"{{ .Files.Glob (repeat 1000000 "{a,") }}"#,
    ];
    for text in texts {
        let given = rendered(text);
        assert!(
            given.is_err(),
            "{text} gives {} bytes",
            given.unwrap().len()
        );
    }
}

/// Uses a map that contains itself, and values that are deeper than any stack. The outcome is not defined, only that there is
/// one.
#[test]
fn cycles_and_depth_end() {
    let used = [
        "$x",
        "toYaml $x",
        "toYamlPretty $x",
        "toJson $x",
        "toPrettyJson $x",
        "toRawJson $x",
        "toToml $x",
        "deepCopy $x | len",
        "merge $x $x | len",
        "merge (dict) $x | len",
        "mergeOverwrite $x $x | len",
        "mergeOverwrite (dict) $x | len",
        "deepEqual $x $x",
        "eq $x $x",
        "printf `%#v` $x",
        "printf `%q` $x",
        "toString $x",
        "quote $x",
        "html $x",
        "cat $x",
        "has $x (list $x)",
        "uniq (list $x $x)",
        "without (list $x) $x",
        "values $x | len",
        "keys $x",
        "dig `d` `d` 1 $x | len",
        "toStrings (list $x)",
        "join `,` (list $x)",
        "hasKey $x `d`",
        "sortAlpha (list $x)",
        "typeOf $x",
        "kindOf $x",
        "empty $x",
        "default $x $x | len",
        "compact (list $x) | len",
    ];
    for used in used {
        let _ = rendered(&format!(
            "{{{{ $x := dict }}}}{{{{ $_ := set $x `d` $x }}}}{{{{ {used} }}}}"
        ));
        let _ = rendered(&grown(
            "dict",
            "dict `d` $x",
            200_000,
            &format!("{{{{ {used} }}}}"),
        ));
        let _ = rendered(&grown(
            "list",
            "list $x",
            200_000,
            &format!("{{{{ {used} }}}}"),
        ));
    }
    for read in [
        "fromYaml",
        "fromYamlArray",
        "fromJson",
        "fromJsonArray",
        "fromToml",
        "mustFromJson",
    ] {
        for open in [
            "[", "{a: ", "{\"a\":", "- ", "- - - ", "a = [", "[[[[", "(((",
        ] {
            let _ = rendered(&format!(
                "{{{{ {read} (repeat 300000 `{open}`) | toString | len }}}}"
            ));
        }
    }
    for pattern in [
        "(",
        "(a",
        "a{1000}",
        "(a|",
        "[a",
        "a**",
        "(?:a{1,1000}){1,1000}",
    ] {
        let _ = rendered(&format!(
            "{{{{ regexMatch (repeat 100000 `{pattern}`) `aaaa` }}}}"
        ));
        let _ = rendered(&format!(
            "{{{{ regexFindAll `{pattern}` (repeat 10000 `a`) -1 | len }}}}"
        ));
    }
    for text in [
        "{{",
        "{{(",
        "{{if 1}}",
        "{{range .}}",
        "{{with .}}",
        "{{1|",
        "{{.a",
        "{{$x:=",
        "{{define `a`}}",
    ] {
        let _ = rendered(&text.repeat(100_000));
        let _ = rendered(&format!("{text} {}", "(".repeat(200_000)));
    }
}

#[test]
fn edges_of_numbers_and_times() {
    for number in [
        "9223372036854775807",
        "-9223372036854775808",
        "-1",
        "0",
        "1e308",
        "-1e308",
        "0.1",
        "(int64 1e300)",
        "(atoi `99999999999999999999`)",
        "(div 1 0)",
        "(float64 `NaN`)",
        "(float64 `Inf`)",
        "(float64 `-Inf`)",
    ] {
        for used in [
            "add N 1",
            "sub 0 N 1",
            "mul N N",
            "div N -1",
            "mod N -1",
            "add1 N",
            "max N 1",
            "floor N",
            "ceil N",
            "round N 400",
            "round N -400",
            "round 1.5 (int N)",
            "int N",
            "int64 N",
            "float64 N",
            "toString N",
            "substr (int N) 1 `abc`",
            "substr 0 (int N) `abc`",
            "trunc (int N) `abc`",
            "abbrev (int N) `abcdefgh`",
            "abbrevboth (int N) 5 `abcdefgh`",
            "abbrevboth 5 (int N) `abcdefgh`",
            "slice (list 1 2 3) (int N)",
            "slice (list 1 2) 0 (int N)",
            "slice `abc` (int N)",
            "index (list 1 2) (int N)",
            "chunk (int N) (list 1 2) | len",
            "splitn `a` (int N) `banana`",
            "plural `a` `b` (int N)",
            "wrap (int N) `a b c`",
            "regexFindAll `a` `banana` (int N)",
            "regexSplit `a` `banana` (int N)",
            "date `2006` (int64 N)",
            "dateInZone `2006` (int64 N) `UTC`",
            "duration N",
            "durationRound N",
            "ago (toDate `2006` `0001`)",
            "unixEpoch now",
            "dateModify `9223372036854775807h` now",
            "durationHours (int64 N)",
            "htmlDate (int64 N)",
            "toOctal N",
            "toDecimal N",
            "until (int N | min 5)",
            "untilStep 0 5 (int N)",
            "seq N",
            "seq 1 N 3",
            "printf `%d %x %c %U %e %.500f` N N N N N N",
            "printf `%*d` (int N) 1",
            "genPrivateKey N",
            "nindent (int N | min 5) `a`",
            "randInt (int N) 5",
            "randInt 5 (int N)",
            "mulf N N",
            "divf N 0",
            "addf N N",
            "subf N N",
            "maxf N 1",
            "atoi (toString N)",
        ] {
            let _ = rendered(&format!("{{{{ {} }}}}", used.replace('N', number)));
        }
    }
}
