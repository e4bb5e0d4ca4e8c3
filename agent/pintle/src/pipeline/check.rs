//! What policies find in a plan.

use std::{collections::BTreeMap, sync::Arc};

use pintle_core::{
    application::{PluginUse, Source},
    check::{Approved, Checked, Denied, Finding},
    names::ApplicationName,
    plan::Plan,
    plugin::PluginError,
    revision::Revision,
    seed::Seed,
};
use pintle_host::{ClusterReader, Context, PolicyRequest};
use serde_json::{Value, json};

use super::{
    catalog::{Catalog, CatalogError},
    render::{RenderError, check_settings},
};

/// Why a plan may not be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// A policy refuses the plan.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A policy cannot be asked: nothing passes unseen.
    #[error(transparent)]
    Policy(#[from] RenderError),
}

impl From<CatalogError> for CheckError {
    fn from(error: CatalogError) -> Self {
        Self::Policy(error.into())
    }
}

impl From<PluginError> for CheckError {
    fn from(error: PluginError) -> Self {
        Self::Policy(error.into())
    }
}

/// The application that a plan belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a ApplicationName,
    /// The labels of the Application, or none where there is no Application.
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// The source of the Application, or `None` where there is no Application.
    pub(crate) source: Option<&'a Source>,
    pub(crate) revision: &'a Revision,
}

impl Subject<'_> {
    /// Returns the document about the application that policies are given. It has the same fields whoever asks them. Unknown
    /// fields are empty.
    pub(crate) fn document(&self) -> Value {
        json!({
            "name": self.name.name,
            "namespace": self.name.namespace,
            "labels": self.labels,
            "source": self.source.map_or_else(|| json!({}), |source| json!(source)),
            "revision": self.revision.commit,
            "author": self.revision.author,
            "committer": self.revision.committer,
        })
    }
}

/// Asks every policy, even after one has refused, so that all problems are reported at once. If policies may read from the
/// cluster, they find what `cluster` returns now: no earlier answer is kept.
pub(crate) async fn check(
    catalog: &Catalog,
    policies: &[PluginUse],
    plan: Plan,
    application: Value,
    context: &Context,
    seed: &Seed,
    cluster: Arc<dyn ClusterReader>,
) -> Result<Approved, CheckError> {
    let plan = Arc::new(plan);
    let application = Arc::new(application);
    let mut findings: Vec<Finding> = Vec::new();
    for of_use in policies {
        let ready = catalog.find(&of_use.plugin).await?;
        let policy = ready.plugin.policy().map_err(CatalogError::from)?;
        let settings = ready.settings(&of_use.settings);
        check_settings(&ready.plugin, &settings).await?;
        let request = PolicyRequest {
            settings,
            plan: Arc::clone(&plan),
            application: Arc::clone(&application),
            context: context.clone(),
            seed: seed.clone(),
            cluster: Arc::clone(&cluster),
        };
        findings.extend(policy.evaluate(request).await?);
    }
    let plan = Arc::try_unwrap(plan).unwrap_or_else(|shared| (*shared).clone());
    Ok(Approved::without_gates(Checked::new(plan, findings)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the fields that the contract promises.
    fn promised() -> Vec<&'static str> {
        let contract = include_str!("../../../../wit/types/types.wit");
        let said = contract
            .lines()
            .find_map(|line| line.trim().strip_prefix("/// The application: "))
            .expect("the contract says what policies are told of an application");
        let said = said.trim_end_matches('.');
        let mut names: Vec<_> = said
            .split(", ")
            .flat_map(|part| part.split(" and "))
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn policies_are_told_of_an_application_what_the_contract_says_whoever_asks() {
        let name = ApplicationName::new("shop", "web");
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let source = json!({"git": {"url": "https://git.example.com/shop.git"}});
        let of_application: Source = serde_json::from_value(source.clone()).unwrap();
        let revision = Revision {
            commit: "0123abcd".into(),
            author: "Ada <ada@example.com>".into(),
            committer: "Bob <bob@example.com>".into(),
            ..Revision::default()
        };
        let by_agent = Subject {
            name: &name,
            labels: &labels,
            source: Some(&of_application),
            revision: &revision,
        };
        let by_command = Subject {
            labels: &BTreeMap::new(),
            source: None,
            ..by_agent
        };
        for subject in [by_agent, by_command] {
            let document = subject.document();
            let mut keys: Vec<_> = document.as_object().unwrap().keys().collect();
            keys.sort_unstable();
            assert_eq!(keys, promised());
            for (key, value) in [
                ("name", "web"),
                ("namespace", "shop"),
                ("revision", "0123abcd"),
                ("author", "Ada <ada@example.com>"),
                ("committer", "Bob <bob@example.com>"),
            ] {
                assert_eq!(document[key], value);
            }
        }
        let told = by_agent.document();
        assert_eq!(told["labels"], json!({"team": "a"}));
        assert_eq!(told["source"]["git"]["url"], source["git"]["url"]);
        let told = by_command.document();
        assert_eq!((&told["labels"], &told["source"]), (&json!({}), &json!({})));
    }
}
