use super::*;
use insta::assert_snapshot;
use serde_json::{Value, json};

fn id(kind: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: kind.into(),
        namespace: Some("shop".into()),
        name: "web".into(),
    }
}

fn refusal(code: u16, message: &str, causes: Value) -> Refusal {
    Refusal {
        request: "PATCH /x".into(),
        is_read: false,
        code,
        reason: String::new(),
        message: message.into(),
        object: None,
        causes: serde_json::from_value(causes).unwrap(),
        is_unsure: false,
    }
}

fn error_of(kind: &str, code: u16, message: &str, causes: Value) -> WriteError {
    let refusal = refusal(code, message, causes);
    let account = ServiceAccount::new("shop", "deployer");
    WriteError::of(
        RequestError::Refused(Box::new(refusal)),
        &id(kind),
        "v1",
        Some(&account),
    )
}

#[test]
fn a_conflict_names_field_and_manager() {
    let error = error_of(
        "A",
        409,
        "Apply failed with 1 conflict",
        json!([
            {"reason": "FieldManagerConflict", "message": "conflict with \"kubectl-edit\" using apps/v1", "field": ".spec.replicas"}
        ]),
    );
    assert_eq!(error.retry(), Retry::OnChange);
    assert_snapshot!(error, @".spec.replicas is owned by kubectl-edit: leave the field out of the source, or take it over with the annotation pintle.dev/adopt=allowed");
    let race = error_of("A", 409, "object has been modified", json!([]));
    assert!(matches!(race, WriteError::Request(_)));
    assert_eq!(race.retry(), Retry::Backoff);
}

#[test]
fn an_immutable_field_is_told_from_an_invalid_one() {
    let cause = |message: &str| json!([{"reason": "FieldValueInvalid", "message": message, "field": "spec.selector"}]);
    assert_snapshot!(error_of("A", 422, "", cause("Invalid value: {}: field is immutable")), @"a field that cannot be changed once the object exists would change: spec.selector: Invalid value: {}: field is immutable; undo that, or let the object be deleted and made again with the annotation pintle.dev/replace=allowed");
    assert_snapshot!(error_of("A", 422, "", cause("Invalid value: -1: must be greater than or equal to 0")), @"it is not valid: spec.selector: Invalid value: -1: must be greater than or equal to 0");
    let huge = format!("Invalid value: {}: field is immutable", "x".repeat(5000));
    assert!(error_of("A", 422, "", cause(&huge)).to_string().len() < 400);
    let sts =
        "Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden";
    assert!(matches!(
        error_of("A", 422, "", cause(sts)),
        WriteError::Immutable(_)
    ));
}

#[test]
fn what_would_be_refused_as_a_new_object_too_is_not_immutable_but_invalid() {
    let causes = json!([
        {"reason": "FieldValueInvalid", "message": "Invalid value: {}: `selector` does not match template `labels`", "field": "spec.template.metadata.labels"},
        {"reason": "FieldValueInvalid", "message": "Invalid value: {}: field is immutable", "field": "spec.selector"}
    ]);
    let error = error_of("A", 422, "", causes);
    assert_eq!(error.retry(), Retry::OnChange);
    assert_snapshot!(error, @"it is not valid: spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`; spec.selector: Invalid value: {}: field is immutable");
}

#[test]
fn what_does_not_fit_a_definition_that_has_just_changed_is_planned_again() {
    let misfit = "failed to create typed patch object (shop/w; example.com/v1, Kind=Widget): .spec.colour: field not declared in schema";
    let early = WriteError::Early(Box::new(error_of("Widget", 500, misfit, json!([]))));
    assert_eq!(early.retry(), Retry::Backoff);
    assert_snapshot!(early, @"it is not valid: spec.colour: field not declared in schema; its definition has changed in the same run, so it is planned again");
}

#[test]
fn a_misfit_names_the_field_although_the_server_calls_it_its_own_fault() {
    let error = error_of(
        "A",
        500,
        "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): .spec.replicaz: field not declared in schema",
        json!([]),
    );
    assert_eq!(error.retry(), Retry::OnChange);
    assert_snapshot!(error, @"it is not valid: spec.replicaz: field not declared in schema");
}

#[test]
fn several_misfits_are_told_one_by_one() {
    let of = |kind: &str, details: &str| {
        let start = "failed to create typed patch object (shop/web; /v1, Kind=X): errors:\n";
        error_of(kind, 500, &format!("{start}{details}"), json!([]))
    };
    let two = "  .spec.replicaz: field not declared in schema\n  .spec.templat: field not declared in schema";
    assert_snapshot!(of("A", two), @"it is not valid: spec.replicaz: field not declared in schema; spec.templat: field not declared in schema");
    let secret = "  .data.pin: expected string, got &value.valueUnstructured{Value:1234}\n  .dat: field not declared in schema";
    assert_snapshot!(of("Secret", secret), @"it is not valid: data.pin: expected text: quote the value; dat: field not declared in schema");
}

#[test]
fn no_error_shows_what_a_secret_holds() {
    let cause = json!([{"reason": "FieldValueInvalid", "message": "Invalid value: \"hunter2\": is bad", "field": "data[p]"}]);
    assert_snapshot!(error_of("Secret", 422, "Secret is invalid: hunter2", cause), @"it is not valid: data[p]: is bad");
    assert_snapshot!(error_of("Secret", 422, "hunter2", json!([])), @"it is not valid: the server refuses its content");
    let misfit = "failed to convert new object (shop/se; /v1, Kind=Secret) to proper version: illegal base64 data hunter2";
    assert_snapshot!(error_of("Secret", 500, misfit, json!([])), @"it is not valid: data: cannot be decoded: are all values base64?");
}

#[test]
fn a_value_of_a_secret_that_is_no_text_is_not_shown() {
    let of = |detail: &str| {
        let start = "failed to create typed patch object (shop/web; /v1, Kind=Secret): ";
        error_of("Secret", 500, &format!("{start}{detail}"), json!([])).to_string()
    };
    let number = ".data.pin: expected string, got &value.valueUnstructured{Value:1234}";
    assert_snapshot!(of(number), @"it is not valid: data.pin: expected text: quote the value");
    let map = r#".data.pin: expected string, got &value.valueUnstructured{Value:map[string]interface {}{"a: b":"hunter2"}}"#;
    assert_snapshot!(of(map), @"it is not valid: data.pin: expected text: quote the value");
    let whole = r#".data: expected map, got &value.valueUnstructured{Value:"hunter2"}"#;
    assert_snapshot!(of(whole), @"it is not valid: data: expected map");
    assert_snapshot!(of(".dat: field not declared in schema"), @"it is not valid: dat: field not declared in schema");
    assert_snapshot!(of(".data.pin: hunter2 is odd"), @"it is not valid: data.pin: the server refuses its content");
}

#[test]
fn namespaces_rights_and_admission_are_told_apart() {
    let terminating = json!([{"reason": "NamespaceTerminating", "message": "", "field": ""}]);
    assert_snapshot!(error_of("A", 403, "unable to create new content", terminating), @"the namespace shop is being deleted: waiting until it is gone");
    assert_snapshot!(error_of("A", 404, "namespaces \"shop\" not found", json!([])), @"the namespace shop does not exist: add a Namespace to the source, or create it");
    let forbidden = error_of(
        "A",
        403,
        "configmaps \"web\" is forbidden: User \"u\" cannot patch",
        json!([]),
    );
    assert_eq!(forbidden.retry(), Retry::Backoff);
    assert_snapshot!(forbidden, @r#"the service account shop/deployer may not do this: configmaps "web" is forbidden: User "u" cannot patch"#);
    assert_snapshot!(error_of("A", 404, "the server could not find the requested resource", json!([])), @"the API server has no kind A in v1: is its CRD installed?");
    assert_snapshot!(error_of("A", 403, "admission webhook \"w\" denied the request: no", json!([])), @r#"admission refuses it: admission webhook "w" denied the request: no"#);
}

#[test]
fn what_a_quota_or_limits_refuse_is_no_missing_right() {
    let of = |message: &str| error_of("Service", 403, message, json!([]));
    let quota = of(
        "services \"web\" is forbidden: exceeded quota: q, requested: services.loadbalancers=1, used: services.loadbalancers=0, limited: services.loadbalancers=0",
    );
    assert_eq!(quota.retry(), Retry::Backoff);
    assert_snapshot!(quota, @r#"admission refuses it: services "web" is forbidden: exceeded quota: q, requested: services.loadbalancers=1, used: services.loadbalancers=0, limited: services.loadbalancers=0"#);
    for message in [
        "pods \"web\" is forbidden: maximum cpu usage per Container is 1, but limit is 2",
        "pods \"web\" is forbidden: violates PodSecurity \"restricted:latest\": hostNetwork",
    ] {
        assert!(matches!(of(message), WriteError::Denied(_)), "{message}");
    }
    for message in [
        "roles.rbac.authorization.k8s.io \"web\" is forbidden: user \"u\" (groups=[\"g\"]) is attempting to grant RBAC permissions not currently held:\n{}",
        "configmaps \"web\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>",
        "services is forbidden: User \"u\" cannot list resource \"services\" in API group \"\" in the namespace \"shop\"",
    ] {
        assert!(
            matches!(of(message), WriteError::Forbidden { .. }),
            "{message}"
        );
    }
}

#[test]
fn the_reason_of_a_denial_is_told_on_whatever_line_it_is() {
    let policy = "admission webhook \"validate.kyverno.svc-fail\" denied the request: \n\nresource Deployment/shop/web was blocked due to the following policies \n\nrequire-labels:\n  check: label team is missing\n";
    assert_snapshot!(error_of("A", 400, policy, json!([])), @r#"admission refuses it: admission webhook "validate.kyverno.svc-fail" denied the request: resource Deployment/shop/web was blocked due to the following policies; require-labels: check: label team is missing"#);
    // It may quote the content that it examined.
    let quoting = "admission webhook \"w\" denied the request: data is wrong\nfound hunter2";
    assert_snapshot!(error_of("Secret", 403, quoting, json!([])), @r#"admission refuses it: admission webhook "w" denied the request: data is wrong"#);
    let long = format!(
        "admission webhook \"w\" denied the request: {}",
        "é".repeat(5000)
    );
    for kind in ["A", "Secret"] {
        let shown = error_of(kind, 403, &long, json!([])).to_string();
        assert!(shown.len() < 1100 && shown.ends_with('…'), "{shown}");
    }
}

#[test]
fn what_admission_denies_is_not_against_the_schema() {
    let is_against = |code, message: &str| {
        let refusal = refusal(code, message, json!([]));
        refusal.is_against_schema()
    };
    let policy = "widgets.example.com \"w\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: false";
    assert!(!is_against(422, policy));
    assert!(!is_against(
        422,
        "admission webhook \"w\" denied the request: no"
    ));
    assert!(is_against(
        422,
        "Widget.example.com \"w\" is invalid: spec.colour: Unsupported value"
    ));
    let misfit = "failed to create typed patch object (shop/w; example.com/v1, Kind=Widget): .spec.colour: field not declared in schema";
    assert!(is_against(500, misfit));
}

#[test]
fn only_what_is_about_the_object_waits_for_a_change_of_it() {
    let passing = [
        (401, "Unauthorized"),
        (408, "Request Timeout"),
        (425, ""),
        (522, "<html>connection timed out</html>"),
    ];
    for (code, message) in passing {
        let error = error_of("A", code, message, json!([]));
        assert!(matches!(error, WriteError::Request(_)), "{code}: {error}");
        assert_eq!(error.retry(), Retry::Backoff, "{code}");
    }
    let malformed = RequestError::Malformed {
        request: "PATCH /x".into(),
        detail: "expected value at line 1 column 1".into(),
    };
    let malformed = WriteError::of(malformed, &id("A"), "v1", None);
    assert_eq!(malformed.retry(), Retry::Backoff);
    assert_eq!(WriteError::CameAndWent.retry(), Retry::Backoff);
    for code in [400, 405, 406, 413, 415, 422] {
        let error = error_of("A", code, "", json!([]));
        assert_eq!(error.retry(), Retry::OnChange, "{code}");
    }
}

#[test]
fn what_another_object_may_let_go_is_waited_for() {
    let port = json!({"reason": "FieldValueInvalid", "field": "spec.ports[0].nodePort",
        "message": "Invalid value: 30080: provided port is already allocated"});
    let wrong = json!({"reason": "FieldValueInvalid", "field": "spec.type", "message": "Invalid value: \"x\": no"});
    let retry = |causes: Value| error_of("Service", 422, "", causes).retry();
    assert_eq!(retry(json!([port])), Retry::Backoff);
    assert_eq!(retry(json!([port, wrong])), Retry::OnChange);
}

#[test]
fn a_failure_says_where_the_object_is_written() {
    let failure = ObjectFailure {
        id: id("ConfigMap"),
        position: Some(Position {
            file: "a.yaml".into(),
            line: 3,
            column: 1,
        }),
        error: WriteError::NamespaceMissing("shop".into()),
    };
    assert_snapshot!(failure, @"a.yaml:3:1: ConfigMap shop/web: the namespace shop does not exist: add a Namespace to the source, or create it");
    assert_eq!(retry(std::slice::from_ref(&failure)), Retry::Backoff);
}
