//! Kinds that extend, guard or divide the API.

use pintle_sdk::Assessment;

use crate::object::Object;
use crate::verdict::{Verdict, degraded, healthy, progressing};

/// Judges a `CustomResourceDefinition` by whether its kind can be used.
///
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>
pub(crate) fn definition(object: Object) -> Verdict {
    let conditions = object.conditions()?;
    if let Some(refused) = conditions.untruth("NamesAccepted") {
        return Ok(degraded(format!(
            "its names are not accepted: {}",
            refused.why()
        )));
    }
    if let Some(leaving) = conditions.truth("Terminating") {
        return Ok(progressing(format!("is being removed: {}", leaving.why())));
    }
    if let Some(refused) = conditions
        .untruth("Established")
        .filter(|it| it.reason != "Installing")
    {
        return Ok(degraded(format!("is not established: {}", refused.why())));
    }
    if conditions.truth("Established").is_none() {
        return Ok(progressing("is not established yet"));
    }
    Ok(healthy("is established"))
}

/// Judges an `APIService` by whether the aggregator reaches it.
pub(crate) fn api_service(object: Object) -> Verdict {
    let conditions = object.conditions()?;
    Ok(match conditions.get("Available") {
        Some(available) if available.is_true() => healthy("is available"),
        Some(unavailable) => progressing(unavailable.why()),
        None => progressing("has not been observed by the aggregator yet"),
    })
}

/// Judges a Namespace.
pub(crate) fn namespace(object: Object) -> Verdict {
    let conditions = object.conditions()?;
    if object.text("/status/phase") != Some("Terminating") {
        return Ok(healthy("is active"));
    }
    let obstacles: Vec<String> = conditions
        .iter()
        .filter(|condition| condition.is_true())
        .map(super::object::Condition::why)
        .collect();
    Ok(progressing(if obstacles.is_empty() {
        "is being deleted".to_owned()
    } else {
        format!("is being deleted: {}", obstacles.join("; "))
    }))
}

/// Judges a `CertificateSigningRequest` by whether its certificate has been issued.
pub(crate) fn signing_request(object: Object) -> Verdict {
    let conditions = object.conditions()?;
    if let Some(denied) = conditions.truth("Denied") {
        return Ok(degraded(format!("is denied: {}", denied.why())));
    }
    if let Some(failed) = conditions.truth("Failed") {
        return Ok(degraded(format!("could not be signed: {}", failed.why())));
    }
    Ok(
        if object
            .text("/status/certificate")
            .is_some_and(|certificate| !certificate.is_empty())
        {
            healthy("is approved and signed")
        } else if conditions.truth("Approved").is_some() {
            progressing("is approved and waits for its signer")
        } else {
            progressing("waits for approval")
        },
    )
}

/// Judges an admission policy written in CEL. Type warnings do not stop the policy: they name expressions that will fail on
/// some kinds.
///
/// <https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#type-checking>
pub(crate) fn admission_policy(object: Object) -> Assessment {
    let mut warnings = object.items("/status/typeChecking/expressionWarnings");
    let Some(first) = warnings.next() else {
        return healthy("is in force");
    };
    let field = first.text("/fieldRef").unwrap_or("an expression");
    let warning = first.text("/warning").unwrap_or_default();
    let more = warnings.count();
    let more = if more > 0 {
        format!(" (and {more} more)")
    } else {
        String::new()
    };
    healthy(format!(
        "is in force, with a type warning{more} for {field}: {warning}"
    ))
}

/// Judges a `FlowSchema`. One that dangles has no effect.
pub(crate) fn flow_schema(object: Object) -> Verdict {
    Ok(match object.conditions()?.truth("Dangling") {
        Some(dangling) => degraded(dangling.why()),
        None => healthy("is in force"),
    })
}
