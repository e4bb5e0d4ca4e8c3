use super::*;

fn rendered(files: &[(&str, &str)]) -> Rendered {
    let files = files.iter();
    files
        .map(|(path, text)| ((*path).to_owned(), Text::from(*text)))
        .collect()
}

#[test]
fn manifests_and_hooks_are_sorted_by_kind() {
    let files = rendered(&[
        ("web/templates/_partial.yaml", "kind: Nothing"),
        (
            "web/templates/a.yaml",
            "kind: Deployment\nmetadata: {name: a}\n---\n# empty\n---\nkind: Secret\n",
        ),
        (
            "web/templates/b.yaml",
            "kind: Job\nmetadata:\n  name: b\n  annotations:\n    helm.sh/hook: 'Pre-Install, test-success'\n    helm.sh/hook-weight: '-5'\n    helm.sh/hook-delete-policy: hook-succeeded,Hook-Failed\n",
        ),
        (
            "web/templates/c.yaml",
            "kind: ConfigMap\nmetadata:\n  annotations: {helm.sh/hook: pre-install, helm.sh/hook-weight: x}\n",
        ),
        (
            "web/templates/d.yaml",
            "kind: Pod\nmetadata:\n  annotations: {helm.sh/hook: crd-install}\n",
        ),
    ]);
    let mut warnings = Warnings::default();
    let sorted = sort(&files, &mut warnings).expect("good manifests");
    let kinds: Vec<_> = sorted.manifests.iter().map(Manifest::kind).collect();
    assert_eq!(kinds, ["Secret", "Deployment", ""]);
    assert_eq!(sorted.manifests[0].line, 6);
    let hooks = &sorted.hooks;
    assert_eq!(
        hooks
            .iter()
            .map(|hook| hook.manifest.kind())
            .collect::<Vec<_>>(),
        ["ConfigMap", "Job"]
    );
    assert_eq!(hooks[0].weight, 0);
    assert_eq!(hooks[1].events, [HookEvent::PreInstall, HookEvent::Test]);
    assert_eq!(hooks[1].weight, -5);
    assert_eq!(hooks[1].delete_policies, ["hook-succeeded", "hook-failed"]);
    assert!(hooks[1].is_test());
    insta::assert_debug_snapshot!(warnings.messages(), @r#"
    [
        "web/templates/d.yaml: \"crd-install\" is no event of a hook that Helm knows, so Helm leaves the object out",
    ]
    "#);
}

#[test]
fn what_is_no_manifest_is_refused() {
    let error = |text: &str| {
        let files = rendered(&[("web/templates/a.yaml", text)]);
        sort(&files, &mut Warnings::default())
            .expect_err(text)
            .to_string()
    };
    insta::assert_snapshot!(error("- a"), @"YAML parse error on web/templates/a.yaml: the document must be a table, and here is a list");
    insta::assert_snapshot!(error("kind: A\n---\nkind: [B]"), @"YAML parse error on web/templates/a.yaml: kind must be a string, and here is a list");
    insta::assert_snapshot!(error("metadata: {annotations: {a: {}}}"), @"YAML parse error on web/templates/a.yaml: every value in metadata.annotations must be a string, and here is a table");
}

#[test]
fn line_feeds_at_the_end_of_documents_are_helm_s() {
    let text = Text::from("a: |+\n  x\n---\nb: |+\n  x\n\n---\nc: |+\n  x\n");
    let all = |found: Result<Vec<Manifest>, ManifestError>| {
        let found = found.expect("good manifests").into_iter();
        found.map(|one| one.json).collect::<Vec<_>>()
    };
    let [a, b, c] = [r#"{"a":"x\n\n"}"#, r#"{"b":"x\n\n\n"}"#, r#"{"c":"x\n\n"}"#];
    assert_eq!(all(read("web/templates/a.yaml", &text)), [a, b, c]);
    let [a, b] = [r#"{"a":"x\n"}"#, r#"{"b":"x\n\n"}"#];
    assert_eq!(all(read_definitions("web/crds/a.yaml", &text)), [a, b, c]);
    let of = |header: &str| {
        let text = Text::from(format!("a: {header}\n  x\n"));
        all(read("web/templates/a.yaml", &text))
    };
    for header in ["|+", ">+", "|2+", "|+2", ">2+ # a", "!!str |+"] {
        assert_eq!(of(header), [r#"{"a":"x\n\n"}"#], "{header}");
    }
    for header in ["|", "| # +", ">2 # 1 +"] {
        assert_eq!(of(header), [r#"{"a":"x\n"}"#], "{header}");
    }
}

#[test]
fn what_marks_the_byte_order_of_a_text_does_not_within_a_release() {
    let files = rendered(&[(
        "web/templates/a.yaml",
        "\u{feff}apiVersion: v1\nkind: A\n---\n\u{feff}kind: B\nmetadata: {annotations: {helm.sh/hook: test}}\n",
    )]);
    let sorted = sort(&files, &mut Warnings::default()).expect("good manifests");
    assert_eq!(
        sorted.manifests[0].json,
        "{\"kind\":\"A\",\"\u{feff}apiVersion\":\"v1\"}"
    );
    assert_eq!(sorted.manifests[0].api_version(), "");
    assert_eq!(sorted.hooks[0].manifest.kind(), "B");
}

#[test]
fn notes_are_taken_out() {
    let files = [
        ("web/charts/db/templates/NOTES.txt", "of db"),
        ("web/templates/NOTES.txt", "of web"),
        ("web/templates/a.yaml", "kind: A"),
    ];
    let mut own = rendered(&files);
    assert_eq!(
        take_notes(&mut own, "web", false).as_deref(),
        Some("of web")
    );
    assert_eq!(own.len(), 1);
    let mut all = rendered(&files);
    assert_eq!(
        take_notes(&mut all, "web", true).as_deref(),
        Some("of db\nof web")
    );
    assert_eq!(take_notes(&mut all, "web", true), None);
}
