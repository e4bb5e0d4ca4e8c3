//! Settings that are refused.

use pintle_policy_guardrails::Guardrails;
use pintle_sdk::{Problem, testing::settings};
use serde_json::{Value, json};

#[test]
fn settings_are_checked() {
    let wrong = |with: Value| {
        let problems = settings::<Guardrails>(&with).unwrap_err();
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        lines.join("\n")
    };
    insta::assert_snapshot!(wrong(json!({"rule": {}})), @"/rule: unknown field `rule`, expected one of `rules`, `exceptions`, `existing`, `images`, `labels`, `pods`, `deletions`");
    insta::assert_snapshot!(wrong(json!({"rules": {"image-tag-mising": "deny"}})), @"/rules/image-tag-mising: there is no rule `image-tag-mising`; the rules are `image-invalid`, `image-tag-missing`, `image-tag-latest`, `image-digest-missing`, `registry-not-allowed`, `label-missing`, `label-invalid`, `privileged-container`, `privilege-escalation`, `capability-added`, `host-namespace`, `host-path`, `host-port`, `confinement-removed`, `sysctl-unsafe`, `pod-template-missing`, `deletion-of-kind`, `too-many-deletions`");
    insta::assert_snapshot!(wrong(json!({"rules": {"host-path": "block"}})), @"/rules/host-path: unknown variant `block`, expected one of `deny`, `warn`, `info`, `off`");
    insta::assert_snapshot!(wrong(json!({"rules": {"host-path": true}})), @"/rules/host-path: invalid value: boolean `true`, expected `deny`, `warn`, `info` or `off`");
    insta::assert_snapshot!(wrong(json!({"exceptions": [{"rules": ["x"], "names": ["x"], "reason": "x"}]})), @"/exceptions/0/rules/0: there is no rule `x`; the rules are `image-invalid`, `image-tag-missing`, `image-tag-latest`, `image-digest-missing`, `registry-not-allowed`, `label-missing`, `label-invalid`, `privileged-container`, `privilege-escalation`, `capability-added`, `host-namespace`, `host-path`, `host-port`, `confinement-removed`, `sysctl-unsafe`, `pod-template-missing`, `deletion-of-kind`, `too-many-deletions`");
    insta::assert_snapshot!(wrong(json!({"exceptions": [{"rules": ["host-path"], "names": ["x"]}]})), @"/exceptions/0: missing field `reason`");
    let exceptions = json!([
        {"rules": ["host-path"], "reason": " "},
        {"rules": [], "names": ["x"], "reason": "x"},
        {"rules": ["too-many-deletions"], "names": ["x"], "reason": "x"},
    ]);
    insta::assert_snapshot!(wrong(json!({"exceptions": exceptions})), @"
    /exceptions/0/reason: an exception needs a reason
    /exceptions/0: an exception for everything switches the rule off (give it kinds, namespaces, names or containers, or set the rule to `off` in `rules`)
    /exceptions/1/rules: an exception names at least one rule
    /exceptions/2/rules: `too-many-deletions` is about the whole plan and has no exceptions (raise `deletions.limit`, or set the rule to `warn`)
    ");
    let registries = ["acme/**", "ghcr.io", "*", "localhost/x"];
    insta::assert_snapshot!(wrong(json!({"images": {"registries": registries}})), @"/images/registries/0: `acme/**` does not begin with a registry (write the registry too: `docker.io/acme/**`)");
    insta::assert_snapshot!(wrong(json!({"images": {"registries": ["["]}})), @r"/images/registries/0: `[` is no pattern: `[` has no closing `]`; write `\[` for the character itself");
    insta::assert_snapshot!(wrong(json!({"pods": {"hostPaths": ["/", "/data", "/data/"]}})), @"/pods/hostPaths/2: `/data/` matches no path, as paths end without `/` (write `/data` for itself, `/data/**` for all below it)");
    let templates = ["spec", "/spec/tasks/*/template", "/spec/task*/template"]
        .map(|pointer| json!({"kind": "X", "pointer": pointer}));
    let with = json!({"labels": {"required": [{"key": ""}]}, "pods": {"templates": templates}});
    insta::assert_snapshot!(wrong(with), @"
    /labels/required/0/key: a label needs a key
    /pods/templates/0/pointer: `spec` is no JSON pointer (write it with `/` before each part: `/spec/template`)
    /pods/templates/2/pointer: `/spec/task*/template` has a `*` within a part (as a part of its own it stands for all items: `/spec/tasks/*/template`)
    ");
    insta::assert_snapshot!(wrong(json!({"deletions": {"limit": -1}})), @"/deletions/limit: invalid value: integer `-1`, expected u32");
}
