//! `pintle:types/context`: facts about the destination of a result.

use std::sync::Arc;

use pintle_core::{
    digest::{Digest, Digester},
    readset::{self, Question},
    seed::Seed,
};

use crate::{bindings::wit::context::Host, state::State};

/// The destination of a result. Each fact that a plugin reads is added to the read set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// The application's name.
    pub name: String,
    /// The namespace for objects that do not name one.
    pub namespace: String,
    /// The cluster's version, such as `v1.36.3`.
    pub kube_version: String,
    /// The APIs that the cluster serves: `apps/v1`, `apps/v1/Deployment`, …, sorted.
    pub api_versions: Arc<[String]>,
    /// The commit, in hexadecimal.
    pub revision: String,
    /// The time when the revision was created, in seconds since the epoch.
    pub revision_time: i64,
}

/// The context and the secret seed from which a plugin's random bytes are derived.
///
/// Answers the questions of a [`ReadSet`](readset::ReadSet) that are about the context.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The destination of the result.
    pub context: Context,
    /// The application's seed.
    pub seed: Seed,
}

/// The name under which derived bytes are recorded. They change only when the seed does.
pub(crate) const SEED: &str = "seed";

impl Facts {
    fn digest(&self, fact: &str) -> Option<Digest> {
        let context = &self.context;
        let digest = Digester::new("context");
        Some(match fact {
            "name" => digest.part(&context.name).finish(),
            "namespace" => digest.part(&context.namespace).finish(),
            "kube-version" => digest.part(&context.kube_version).finish(),
            "api-versions" => context
                .api_versions
                .iter()
                .fold(digest, Digester::part)
                .finish(),
            "revision" => digest.part(&context.revision).finish(),
            "revision-time" => digest.part(context.revision_time.to_be_bytes()).finish(),
            // Derived, so that the read set reveals nothing about the seed.
            SEED => digest
                .part(self.seed.derive("pintle/read-set", 32))
                .finish(),
            _ => return None,
        })
    }
}

impl readset::Facts for Facts {
    fn answer(&self, question: &Question) -> Option<Digest> {
        match question {
            Question::Context(fact) => self.digest(fact),
            _ => None,
        }
    }
}

impl State {
    fn fact(&mut self, fact: &str) -> wasmtime::Result<&Facts> {
        self.called(0)?;
        let facts = self
            .facts
            .as_deref()
            .ok_or_else(|| wasmtime::format_err!("the context is not to be read at this stage"))?;
        if let Some(answer) = facts.digest(fact) {
            self.reads
                .record(Question::Context(fact.to_owned()), answer);
        }
        Ok(facts)
    }
}

impl Host for State {
    fn name(&mut self) -> wasmtime::Result<String> {
        Ok(self.fact("name")?.context.name.clone())
    }

    fn namespace(&mut self) -> wasmtime::Result<String> {
        Ok(self.fact("namespace")?.context.namespace.clone())
    }

    fn kube_version(&mut self) -> wasmtime::Result<String> {
        Ok(self.fact("kube-version")?.context.kube_version.clone())
    }

    fn api_versions(&mut self) -> wasmtime::Result<Vec<String>> {
        let versions = self.fact("api-versions")?.context.api_versions.to_vec();
        self.traffic
            .charge(versions.iter().map(|version| version.len() + 16).sum())?;
        Ok(versions)
    }

    fn revision(&mut self) -> wasmtime::Result<String> {
        Ok(self.fact("revision")?.context.revision.clone())
    }

    fn revision_time(&mut self) -> wasmtime::Result<i64> {
        Ok(self.fact("revision-time")?.context.revision_time)
    }

    fn secret_bytes(&mut self, purpose: String, length: u32) -> wasmtime::Result<Vec<u8>> {
        self.called(purpose.len())?;
        let bytes = self.fact(SEED)?.seed.derive(&purpose, length as usize);
        self.traffic.charge(bytes.len())?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use readset::Facts as _;

    use super::*;

    #[test]
    fn each_fact_has_a_digest_of_its_own_and_others_have_none() {
        let facts = Facts {
            context: Context::default(),
            seed: Seed::from_text("s"),
        };
        let ask = |facts: &Facts, fact: &str| facts.answer(&Question::Context(fact.to_owned()));
        let changed = Facts {
            context: Context {
                name: "n".into(),
                namespace: "ns".into(),
                kube_version: "v1".into(),
                api_versions: ["v1".to_owned()].into(),
                revision: "r".into(),
                revision_time: 1,
            },
            seed: Seed::from_text("t"),
        };
        for fact in [
            "name",
            "namespace",
            "kube-version",
            "api-versions",
            "revision",
            "revision-time",
            SEED,
        ] {
            assert_eq!(ask(&facts, fact), ask(&facts, fact));
            assert_ne!(ask(&facts, fact), ask(&changed, fact), "{fact}");
        }
        assert_eq!(ask(&facts, "weather"), None);
        assert_eq!(facts.answer(&Question::Read("name".into())), None);
    }
}
