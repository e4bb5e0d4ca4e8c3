//! What policies say about a plan. A plan can be applied only if all of them let it through.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{object::ObjectId, plan::Plan, problem::Problem};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth fixing.
    Warn,
    /// Nothing is written.
    Deny,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Deny => "deny",
        })
    }
}

/// Something that a policy found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The policy plugin's name.
    pub policy: String,
    /// The stable name of the rule, for exceptions.
    pub rule: String,
    /// The severity.
    pub severity: Severity,
    /// The object, or `None` if the finding is about the plan as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectId>,
    /// What is wrong, where, and what to do about it.
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}: ", self.severity, self.policy, self.rule)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        self.problem.fmt(f)
    }
}

/// A plan that no policy denies.
#[derive(Debug, Clone)]
pub struct Checked {
    plan: Plan,
    findings: Vec<Finding>,
}

/// A plan that a policy denies. None of it is written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", denials(.findings))]
pub struct Denied {
    /// The plan.
    pub plan: Box<Plan>,
    /// All findings, denials first.
    pub findings: Vec<Finding>,
}

fn denials(findings: &[Finding]) -> String {
    let lines: Vec<_> = findings
        .iter()
        .filter(|f| f.severity == Severity::Deny)
        .map(ToString::to_string)
        .collect();
    format!(
        "policy refuses the plan, nothing was written:\n{}",
        lines.join("\n")
    )
}

impl Checked {
    /// Lets a plan through unless one of the findings denies it.
    pub fn new(plan: Plan, mut findings: Vec<Finding>) -> Result<Self, Denied> {
        findings.sort_by(|a, b| {
            let key = |f: &Finding| {
                (
                    std::cmp::Reverse(f.severity),
                    f.object.clone(),
                    f.rule.clone(),
                )
            };
            key(a).cmp(&key(b))
        });
        if findings
            .iter()
            .any(|finding| finding.severity == Severity::Deny)
        {
            return Err(Denied {
                plan: Box::new(plan),
                findings,
            });
        }
        Ok(Self { plan, findings })
    }

    /// Returns the plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns what policies found but let pass.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

/// A plan that may be applied, with what policies found in it.
#[derive(Debug, Clone)]
pub struct Approved {
    checked: Checked,
}

impl Approved {
    /// Approves a checked plan: besides policies, there is no one to ask yet.
    pub fn without_gates(checked: Checked) -> Self {
        Self { checked }
    }

    /// Returns the plan.
    pub fn plan(&self) -> &Plan {
        self.checked.plan()
    }

    /// Returns what policies found but let pass.
    pub fn findings(&self) -> &[Finding] {
        self.checked.findings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::Depth, seed::Seed};

    fn finding(rule: &str, severity: Severity) -> Finding {
        let (policy, problem) = ("guardrails".to_owned(), Problem::new("is not good"));
        Finding {
            policy,
            rule: rule.into(),
            severity,
            object: None,
            problem,
        }
    }

    #[test]
    fn one_denial_stops_the_whole_plan() {
        let plan = Plan::new(Depth::Local, Vec::new(), &Seed::from_text("s"));
        assert!(Checked::new(plan.clone(), vec![finding("a", Severity::Warn)]).is_ok());
        let denied = Checked::new(
            plan,
            vec![finding("a", Severity::Warn), finding("b", Severity::Deny)],
        )
        .unwrap_err();
        insta::assert_snapshot!(denied, @r"
        policy refuses the plan, nothing was written:
        deny guardrails/b: is not good
        ");
        assert_eq!(denied.findings[0].rule, "b");
    }
}
