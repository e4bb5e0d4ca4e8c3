//! What an object's annotations say beyond the object: whether it is a hook, and whether it stays.

use pintle_sdk::{Hook, hook::InvalidAnnotation};
use pintle_yaml::Node;

use crate::{objects::Object, report::Report};

/// Helm's annotation for an object that stays when it leaves the source.
/// <https://helm.sh/docs/howto/charts_tips_and_tricks/#tell-helm-not-to-uninstall-a-resource>
const RESOURCE_POLICY: &str = "helm.sh/resource-policy";

/// Returns what makes an object a hook; `None` for other objects.
pub(crate) fn of(object: &Object) -> Result<Option<Hook>, InvalidAnnotation> {
    Hook::of_annotations(|name| annotation(object, name))
}

/// Returns whether an object stays when it leaves the source.
pub(crate) fn stays(object: &Object) -> bool {
    let policy = annotation(object, RESOURCE_POLICY);
    policy.is_some_and(|policy| policy.trim().eq_ignore_ascii_case("keep"))
}

/// Returns whether the annotations of a hook are valid, and reports them if not.
pub(crate) fn check(object: &Object, report: &mut Report) -> bool {
    match of(object) {
        Ok(_) => true,
        Err(error) => {
            let pointer = pintle_yaml::pointer("/metadata/annotations", error.annotation);
            report.problem(object.problem(error.message, &pointer).hint(error.hint));
            false
        }
    }
}

fn annotation<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    let annotations = object.node.at("/metadata/annotations")?;
    annotations.get(name).and_then(Node::as_str)
}
