//! Invalid settings are reported with a pointer and with what would be valid.

use pintle_sdk::testing::{check_health, check_plugin, schema, settings};
use pintle_sdk::{Assessment, Failure, GroupKind, Health, Plugin, Problem, Request, Status};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

struct Sound;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    /// Which registries.
    #[serde(default)]
    registries: Vec<Registry>,
    #[serde(default)]
    mode: Mode,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Registry {
    host: String,
    #[serde(default)]
    #[serde(rename = "a/b~c")]
    odd: Option<u8>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Warn,
    Deny,
}

impl Plugin for Sound {
    const NAME: &'static str = "sound-1";
    const VERSION: &'static str = "1.2.3-rc.1";
    const SUMMARY: &'static str = "a sound plugin";
    type Settings = Settings;

    fn requests() -> Vec<Request> {
        vec![
            Request::HttpHost("*.example.com:8443".to_owned()),
            Request::ClusterRead("v1/ConfigMap".to_owned()),
            Request::ClusterRead("apps/v1/Deployment".to_owned()),
        ]
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        let empty = settings
            .registries
            .iter()
            .enumerate()
            .filter(|(_, registry)| registry.host.is_empty());
        empty
            .map(|(index, _)| Problem::new("no host").pointer(format!("/registries/{index}/host")))
            .collect()
    }
}

impl Health for Sound {
    fn judges() -> Vec<GroupKind> {
        vec![GroupKind::new("", "ConfigMap"), GroupKind::new("apps", "*")]
    }

    fn assess(_: &Settings, _: &Value, _: u64) -> Result<Assessment, Failure> {
        Ok(Assessment::new(Status::Healthy, "it exists"))
    }
}

fn problem(value: &Value) -> String {
    let problems = settings::<Sound>(value).expect_err("bad settings");
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn good_settings_are_parsed() {
    let settings =
        settings::<Sound>(&json!({"registries": [{"host": "ghcr.io"}]})).expect("good settings");
    assert_eq!(settings.registries[0].host, "ghcr.io");
    assert_eq!(settings.registries[0].odd, None);
    assert!(matches!(settings.mode, Mode::Warn));
}

#[test]
fn unknown_fields_list_the_valid_ones() {
    insta::assert_snapshot!(
        problem(&json!({"registrys": []})),
        @"/registrys: unknown field `registrys`, expected `registries` or `mode`"
    );
    insta::assert_snapshot!(
        problem(&json!({"registries": [{"host": "a"}, {"hots": "b"}]})),
        @"/registries/1/hots: unknown field `hots`, expected `host` or `a/b~c`"
    );
}

#[test]
fn wrong_values_say_what_was_expected_and_where() {
    insta::assert_snapshot!(
        problem(&json!({"registries": [{"host": 1}]})),
        @"/registries/0/host: invalid type: integer `1`, expected a string"
    );
    insta::assert_snapshot!(
        problem(&json!({"registries": [{"host": "a", "a/b~c": 256}]})),
        @"/registries/0/a~1b~0c: invalid value: integer `256`, expected u8"
    );
    insta::assert_snapshot!(
        problem(&json!({"registries": [{}]})),
        @"/registries/0: missing field `host`"
    );
    insta::assert_snapshot!(
        problem(&json!({"mode": "allow"})),
        @"/mode: unknown variant `allow`, expected `warn` or `deny`"
    );
}

#[test]
fn settings_are_an_object() {
    for (value, noun) in [
        (json!(null), "null"),
        (json!([[], "warn"]), "a list"),
        (json!("{}"), "a string"),
        (json!(1), "a number"),
        (json!(true), "a boolean"),
    ] {
        assert_eq!(
            problem(&value),
            format!("settings are {noun}, not an object")
        );
    }
}

#[test]
fn what_a_schema_cannot_say_is_validated_too() {
    insta::assert_snapshot!(
        problem(&json!({"registries": [{"host": ""}, {"host": "a"}, {"host": ""}]})),
        @r"
    /registries/0/host: no host
    /registries/2/host: no host
    "
    );
}

#[test]
fn the_schema_is_json_schema_2020_12_with_the_doc_comments() {
    let schema = schema::<Sound>();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(
        schema["properties"]["registries"]["description"],
        "Which registries."
    );
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn a_sound_plugin_conforms() {
    check_plugin::<Sound>();
    check_health::<Sound>();
}

/// A plugin that breaks one rule.
macro_rules! unsound {
    ($test:ident, $message:literal, $settings:ty, $name:literal, $version:literal, $requests:expr) => {
        #[test]
        #[should_panic(expected = $message)]
        fn $test() {
            struct Unsound;
            impl Plugin for Unsound {
                const NAME: &'static str = $name;
                const VERSION: &'static str = $version;
                const SUMMARY: &'static str = "unsound";
                type Settings = $settings;
                fn requests() -> Vec<Request> {
                    $requests
                }
            }
            check_plugin::<Unsound>();
        }
    };
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only the schema is looked at")]
struct Open {
    field: u8,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the schema is looked at")]
struct OpenInside {
    inner: Vec<Open>,
    /// A field whose name is a keyword of JSON Schema.
    properties: Option<Registry>,
    default: Mode,
}

unsound!(
    names_are_short,
    "NAME `aaaa",
    Settings,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "1.0.0",
    vec![]
);
unsound!(
    versions_have_no_leading_zeros,
    "VERSION `1.02.3`",
    Settings,
    "x",
    "1.02.3",
    vec![]
);
unsound!(
    prereleases_have_names,
    "VERSION `1.2.3-`",
    Settings,
    "x",
    "1.2.3-",
    vec![]
);
unsound!(
    versions_are_short,
    "has more than 128 bytes",
    Settings,
    "x",
    "1.0.0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    vec![]
);
unsound!(
    names_are_plain,
    "NAME `Loud!`",
    Settings,
    "Loud!",
    "1.0.0",
    vec![]
);
unsound!(
    names_do_not_end_in_a_hyphen,
    "NAME `loud-`",
    Settings,
    "loud-",
    "1.0.0",
    vec![]
);
unsound!(
    versions_are_semantic,
    "VERSION `1.0`",
    Settings,
    "x",
    "1.0",
    vec![]
);
unsound!(
    unknown_fields_are_refused,
    "at [\"/\"] of",
    Open,
    "x",
    "1.0.0",
    vec![]
);
unsound!(
    unknown_fields_inside_are_refused,
    "at [\"/$defs/Open\"] of",
    OpenInside,
    "x",
    "1.0.0",
    vec![]
);
unsound!(
    hosts_are_no_urls,
    "requested host `https://example.com`",
    Settings,
    "x",
    "1.0.0",
    vec![Request::HttpHost("https://example.com".to_owned())]
);
unsound!(
    kinds_have_versions,
    "requested kind `ConfigMap`",
    Settings,
    "x",
    "1.0.0",
    vec![Request::ClusterRead("ConfigMap".to_owned())]
);
