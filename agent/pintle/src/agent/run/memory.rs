//! What is remembered of the last render, and whether it still holds.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use pintle_cluster::Release;
use pintle_core::{
    application::{ApplicationSpec, Condition},
    digest::Digest,
    machine::Cause,
    readset::{self, Question},
    tree::Tree,
};
use pintle_host::{ClusterQuestion, Facts, Source};

use super::converge::Run;
use crate::{
    agent::{
        job::Memory,
        lookups::{self, Answers},
        reasons,
    },
    pipeline::{cluster::PluginReader, inputs::Surroundings},
};

impl Run {
    /// Returns the last render, if it still holds.
    pub(super) async fn remembered(
        &self,
        tree: &dyn Tree,
        facts: Facts,
        surroundings: &Surroundings,
        release: &Release,
        cause: Cause,
    ) -> Option<Arc<Memory>> {
        let memory = self.job.memory.as_ref()?;
        if cause == Cause::Settings || memory.generation != self.job.application.generation {
            return None;
        }
        let facts = Known {
            facts,
            surroundings,
            memory,
            are_inputs_fresh: are_inputs_fresh(
                cause,
                self.job.failure.is_some(),
                memory.fetched.elapsed(),
                memory.spec.interval.get(),
            ),
            cluster: self.looked_up(memory, release).await,
        };
        let stands = memory.reads.first_change(tree, &facts).is_none();
        stands.then(|| Arc::clone(memory))
    }

    /// Returns whether the status says that this render is in the cluster. The render in the status may be older than the last
    /// one: then the status of the run that failed with the last one could not be written.
    pub(super) fn was_converged_to(&self, rendered: Digest) -> bool {
        let ready = Condition::ready(&self.before.conditions);
        ready.is_some_and(|ready| ready.reason == reasons::CONVERGED)
            && self.before.rendered_digest == Some(rendered)
            && self.before.observed_generation == Some(self.job.application.generation)
    }

    /// Returns whether the status already shows the answers to the newest requests and which revision runs instead of which, and
    /// no repairs are left to be made. A person who asked waits for that.
    pub(super) fn is_answered(&self) -> bool {
        let (job, before) = (&self.job, &self.before);
        let answer = job.rollback_answer.as_ref();
        self.learned.stands.is_none()
            && job.requested == before.last_handled_reconcile
            && job.repairs_for.is_none()
            && answer.map(|answer| &answer.request) == before.last_handled_rollback.as_ref()
            && job.rollback == before.rollback
    }

    /// Asks the cluster again what the last render asked. A question without an answer counts as changed.
    async fn looked_up(&self, memory: &Memory, release: &Release) -> Answers {
        let mut answers = Answers::new();
        let asked = lookups::answers(&memory.reads);
        if asked.is_empty() {
            return answers;
        }
        let Ok(reader) = self.shared.cluster.reader_for(release.account.as_ref()) else {
            return answers;
        };
        let reader = PluginReader(reader);
        for question in asked.into_keys() {
            if let Ok(answer) = question.ask(&reader, &release.seed).await {
                answers.insert(question, answer);
            }
        }
        answers
    }
}

/// Answers the questions of the last render that are not about its folder.
struct Known<'a> {
    facts: Facts,
    surroundings: &'a Surroundings,
    memory: &'a Memory,
    /// Whether what was fetched from other hosts is still fresh.
    are_inputs_fresh: bool,
    cluster: Answers,
}

impl readset::Facts for Known<'_> {
    fn answer(&self, question: &Question) -> Option<Digest> {
        match question {
            Question::Input(text) => match Source::parse(text)? {
                Source::Folder(path) => self.surroundings.content(&path),
                // What is named by its digest never changes.
                source if self.are_inputs_fresh || source.is_pinned() => {
                    self.memory.reads.answer(question)
                }
                _ => None,
            },
            Question::Cluster(text) => {
                let question = ClusterQuestion::parse(text)?;
                self.cluster.get(&question).copied()
            }
            _ => self.facts.answer(question),
        }
    }
}

/// Returns whether inputs of this age from other hosts are still fresh.
fn are_inputs_fresh(cause: Cause, is_source_away: bool, age: Duration, interval: Duration) -> bool {
    match cause {
        // Drift is repaired to what was applied. Nobody asks for anything newer, and the host that it came from may be away.
        Cause::Drift => true,
        Cause::Request => false,
        // Where the source does not answer, nothing newer is fetched from other hosts either, and what is known is repaired. A
        // retry may be for a run that was asked for something newer.
        Cause::Revision | Cause::Settings | Cause::Retry => is_source_away || age < interval,
    }
}

/// Returns the plugins that a run's result depends on.
pub(super) fn plugins_of(spec: &ApplicationSpec, renderer: &str) -> BTreeSet<String> {
    let named = spec
        .policies
        .iter()
        .chain(&spec.health)
        .map(|of_use| of_use.plugin.clone());
    let notifiers = spec.notifiers.iter().map(|of_use| of_use.plugin.clone());
    named
        .chain(notifiers)
        .chain([renderer.to_owned(), "kubernetes".to_owned()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repair_looks_for_nothing_newer_and_whoever_asks_always_does() {
        let interval = Duration::from_mins(5);
        let [new, old] = [Duration::from_mins(4), Duration::from_mins(6)];
        let counts = |cause| {
            let ages = [(false, new), (false, old), (true, old)];
            ages.map(|(is_away, age)| are_inputs_fresh(cause, is_away, age, interval))
        };
        assert_eq!(counts(Cause::Drift), [true, true, true]);
        assert_eq!(counts(Cause::Request), [false, false, false]);
        for cause in [Cause::Revision, Cause::Settings, Cause::Retry] {
            assert_eq!(counts(cause), [true, false, true], "{cause:?}");
        }
    }
}
