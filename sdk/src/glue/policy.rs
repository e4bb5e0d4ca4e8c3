//! Exports policies.

use crate::policy::Severity;
use crate::{Finding, Policy};

use super::wit::{plan, types};
use super::{Adapter, HostContext};

wit_bindgen::generate!({
    path: ["../wit/types", "../wit/policy"],
    inline: "
        package pintle:sdk-policy;
        world evaluates { export pintle:policy/policy@1.0.0; }
    ",
    with: {
        "pintle:types/types@1.0.0": crate::glue::wit::types,
        "pintle:types/plan@1.0.0": crate::glue::wit::plan,
    },
    pub_export_macro: true,
});

use exports::pintle::policy::policy;

impl<T: Policy> policy::Guest for Adapter<T> {
    fn evaluate(
        settings: String,
        plan: &plan::Plan,
    ) -> Result<Vec<policy::Finding>, types::Failure> {
        let settings = super::settings::<T>(&settings)?;
        let findings = T::evaluate(&settings, plan, &HostContext)?;
        Ok(findings.into_iter().map(Into::into).collect())
    }
}

impl From<Severity> for policy::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warn => Self::Warn,
            Severity::Deny => Self::Deny,
        }
    }
}

impl From<Finding> for policy::Finding {
    fn from(finding: Finding) -> Self {
        Self {
            rule: finding.rule,
            severity: finding.severity.into(),
            object: finding.object.map(Into::into),
            problem: finding.problem.into(),
        }
    }
}
