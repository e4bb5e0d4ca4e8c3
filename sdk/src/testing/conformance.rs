//! Rules that every plugin should follow.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Health, Plugin, Request};

/// The maximum length in bytes of a name that the host accepts.
const LONGEST_NAME: usize = 63;

/// The maximum length in bytes of a registry's tag. Components are pushed with their version as the tag.
const LONGEST_TAG: usize = 128;

/// Checks the rules that every plugin should follow.
///
/// The name, version, summary and requests must be well formed, and the settings' schema must describe objects that refuse
/// unknown fields. One call in a test of the plugin is enough. The host checks less: it loads a plugin whose settings
/// accept unknown fields.
///
/// # Panics
///
/// Panics if a rule is broken, and says which.
pub fn check_plugin<T: Plugin>() {
    let name_ok = (1..=LONGEST_NAME).contains(&T::NAME.len())
        && T::NAME
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !T::NAME.starts_with('-')
        && !T::NAME.ends_with('-');
    assert!(
        name_ok,
        "NAME `{}` is not made of lowercase letters, digits and inner `-`, at most {LONGEST_NAME}",
        T::NAME
    );

    assert!(
        semver::Version::parse(T::VERSION).is_ok(),
        "VERSION `{}` is not a semantic version such as 1.2.3",
        T::VERSION
    );
    assert!(
        T::VERSION.len() <= LONGEST_TAG,
        "VERSION `{}` has more than {LONGEST_TAG} bytes",
        T::VERSION
    );

    assert!(
        !T::SUMMARY.is_empty() && !T::SUMMARY.contains('\n'),
        "SUMMARY is not one line"
    );

    for request in T::requests() {
        match request {
            Request::HttpHost(host) => {
                let plain = !host.is_empty() && !host.contains("://") && !host.contains('/');
                assert!(
                    plain,
                    "requested host `{host}` is no `name`, `*.name` or `name:port`"
                );
            }
            Request::ClusterRead(kind) => {
                let parts = kind.split('/').count();
                assert!(
                    kind == "*" || (2..=3).contains(&parts),
                    "requested kind `{kind}` is no `version/Kind`, `group/version/Kind` or `*`"
                );
            }
        }
    }

    let schema = super::schema::<T>();
    assert_eq!(schema["type"], "object", "the settings are not an object");
    let mut open = Vec::new();
    collect_open("", &schema, &mut open);
    assert!(
        open.is_empty(),
        "the settings ignore unknown fields at {open:?} of their schema: add #[serde(deny_unknown_fields)] to the types"
    );
}

/// Checks the rules that every health check should follow: those of [`check_plugin`], and that it names at least one kind
/// to judge, and none twice.
///
/// # Panics
///
/// Panics if a rule is broken, and says which.
pub fn check_health<T: Health>() {
    check_plugin::<T>();
    let judges = T::judges();
    let distinct: BTreeSet<_> = judges.iter().collect();
    assert!(!judges.is_empty(), "the plugin judges no kind");
    assert_eq!(
        distinct.len(),
        judges.len(),
        "the plugin names a kind twice"
    );
}

/// Collects the pointers of all schemas that name properties and accept others.
fn collect_open(pointer: &str, schema: &Value, open: &mut Vec<String>) {
    /// The keywords whose value is a schema, a list of schemas, or schemas by name. All other keywords hold data.
    const SCHEMAS: [&str; 4] = ["items", "additionalProperties", "not", "contains"];
    const LISTS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
    const BY_NAME: [&str; 3] = ["properties", "patternProperties", "$defs"];

    let Value::Object(keywords) = schema else {
        return;
    };
    let others = keywords.get("additionalProperties");
    if keywords.contains_key("properties")
        && others.is_none_or(|others| *others == Value::Bool(true))
    {
        open.push(if pointer.is_empty() {
            "/".to_owned()
        } else {
            pointer.to_owned()
        });
    }
    for (keyword, value) in keywords {
        let at = format!("{pointer}/{keyword}");
        match value {
            value if SCHEMAS.contains(&keyword.as_str()) => collect_open(&at, value, open),
            Value::Array(schemas) if LISTS.contains(&keyword.as_str()) => {
                for (index, schema) in schemas.iter().enumerate() {
                    collect_open(&format!("{at}/{index}"), schema, open);
                }
            }
            Value::Object(schemas) if BY_NAME.contains(&keyword.as_str()) => {
                for (name, schema) in schemas {
                    collect_open(&format!("{at}/{name}"), schema, open);
                }
            }
            _ => {}
        }
    }
}
