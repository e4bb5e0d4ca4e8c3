//! What is special about single functions: the arguments that matter to them, and results that differ on every run.

/// Functions whose result differs on every run.
pub(super) const UNSTABLE: &[&str] = &[
    "ago",
    "now",
    "shuffle",
    "randAlpha",
    "randAlphaNum",
    "randAscii",
    "randNumeric",
    "randBytes",
    "randInt",
    "uuidv4",
    "bcrypt",
    "htpasswd",
    "encryptAES",
    "genPrivateKey",
    "genCA",
    "genCAWithKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
];

/// Functions that take many milliseconds per call: only listed calls and wrong calls of them are made.
pub(super) const SLOW: &[&str] = &[
    "bcrypt",
    "htpasswd",
    "derivePassword",
    "genPrivateKey",
    "genCA",
    "genCAWithKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
];

/// Functions whose result is as large as a numeric argument.
pub(super) const GROWING: &[&str] = &[
    "repeat",
    "indent",
    "nindent",
    "until",
    "untilStep",
    "seq",
    "randAlpha",
    "randAlphaNum",
    "randAscii",
    "randNumeric",
    "randBytes",
];

/// Returns a template that shows what is the same about `$r` on every run.
pub(super) fn shape(name: &str) -> Option<&'static str> {
    Some(match name {
        "randAlpha" => r#"{{ len $r }} {{ regexMatch "^[a-zA-Z]*$" $r }}"#,
        "randAlphaNum" => r#"{{ len $r }} {{ regexMatch "^[0-9a-zA-Z]*$" $r }}"#,
        "randAscii" => r#"{{ len $r }} {{ regexMatch "^[ -~]*$" $r }}"#,
        "randNumeric" => r#"{{ len $r }} {{ regexMatch "^[0-9]*$" $r }}"#,
        "randBytes" => "{{ len $r }} {{ len (b64dec $r) }}",
        "randInt" | "now" | "ago" => "{{ typeOf $r }}",
        "uuidv4" => {
            r#"{{ regexMatch "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$" $r }}"#
        }
        "bcrypt" => "{{ len $r }} {{ trunc 7 $r }}",
        "htpasswd" => r#"{{ len $r }} {{ regexReplaceAll "[$].*" $r "" }}"#,
        "encryptAES" => "{{ typeOf $r }} {{ len $r }}",
        "shuffle" => r#"{{ len $r }} {{ splitList "" $r | sortAlpha }}"#,
        "keys" | "values" => "{{ typeOf $r }} {{ len $r }} {{ sortAlpha $r }}",
        "genPrivateKey" => r#"{{ splitList "\n" $r | first }} {{ typeOf $r }}"#,
        "genCA"
        | "genCAWithKey"
        | "genSelfSignedCert"
        | "genSelfSignedCertWithKey"
        | "genSignedCert"
        | "genSignedCertWithKey" => {
            r#"{{ typeOf $r }} {{ splitList "\n" $r.Cert | first }} {{ splitList "\n" $r.Key | first }}"#
        }
        _ => return None,
    })
}

/// A certificate that takes less than a millisecond to create, unlike those of `genCA`.
const CERTIFICATE: &str = r#"(genCAWithKey "c" 1 (genPrivateKey "ecdsa"))"#;

/// Returns the argument types that a function accepts, if its parameters are declared for any type and its code is stricter.
pub(super) fn accepts(name: &str) -> Option<&'static [&'static str]> {
    Some(match name.strip_prefix("must").unwrap_or(name) {
        "append" | "push" | "Append" | "Push" | "prepend" | "Prepend" | "without" | "Without"
        | "slice" | "Slice" => &["[]any", "any"],
        "first" | "First" | "rest" | "Rest" | "last" | "Last" | "initial" | "Initial"
        | "reverse" | "Reverse" | "uniq" | "Uniq" | "compact" | "Compact" | "concat"
        | "sortAlpha" => &["[]any"],
        "has" | "Has" => &["any", "[]any"],
        "chunk" | "Chunk" => &["int", "[]any"],
        "join" => &["string", "[]any"],
        "div" | "mod" => &["float64", "float64"],
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => &["comparable", "comparable"],
        _ => return None,
    })
}

/// Returns an argument of a type that a function accepts.
pub(super) fn usual(name: &str, param: &str) -> &'static str {
    match (name, param) {
        ("genPrivateKey", _) => r#""ecdsa""#,
        (_, "string") => r#""abc""#,
        (_, "int" | "uint32") => "2",
        (_, "float64") => "0.5",
        (_, "bool") => "true",
        (_, "[]any") => "nil",
        (_, "map[string]any") => r#"(dict "a" 1)"#,
        (_, "time.Time") => r#"(toDate "2006-01-02" "2021-03-04")"#,
        (_, "sprig.certificate") => CERTIFICATE,
        _ => r#""any""#,
    }
}
