//! The agent's metrics, in Prometheus' text format.

use pintle_core::names::ApplicationName;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// The labels of an application.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ApplicationLabels {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl ApplicationLabels {
    /// Returns the labels of an application.
    pub(crate) fn of(application: &ApplicationName) -> Self {
        Self {
            namespace: application.namespace.clone(),
            name: application.name.clone(),
        }
    }
}

/// The label for how something ended. The values are fixed names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabels {
    pub(crate) outcome: &'static str,
}

/// The labels of a plugin call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PluginLabels {
    pub(crate) plugin: String,
    pub(crate) kind: &'static str,
    pub(crate) outcome: &'static str,
}

type Seconds = Family<OutcomeLabels, Histogram, fn() -> Histogram>;

/// All metrics of the agent.
pub(crate) struct Metrics {
    registry: Registry,
    /// 1 if the application is converged and healthy.
    pub(crate) ready: Family<ApplicationLabels, Gauge>,
    /// The number of managed objects.
    pub(crate) objects: Family<ApplicationLabels, Gauge>,
    /// Pipeline runs, by how they ended.
    pub(crate) runs: Family<OutcomeLabels, Counter>,
    /// How long runs took, from the first stage to health.
    pub(crate) run_seconds: Seconds,
    /// Renders, by whether they were done or the old result still held.
    pub(crate) renders: Family<OutcomeLabels, Counter>,
    /// Fetches, by how they ended.
    pub(crate) fetches: Family<OutcomeLabels, Counter>,
    /// Objects that were repaired after somebody else had changed them.
    pub(crate) repairs: Family<ApplicationLabels, Counter>,
    /// Objects that others have changed and that are left as they are.
    pub(crate) drifted: Family<ApplicationLabels, Gauge>,
    /// Objects whose repair keeps being undone.
    pub(crate) fights: Family<ApplicationLabels, Gauge>,
    /// Plugin calls.
    pub(crate) plugin_calls: Family<PluginLabels, Counter>,
    /// The shards of applications that this replica holds.
    pub(crate) shards: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        fn seconds() -> Histogram {
            Histogram::new(exponential_buckets(0.01, 2.0, 16))
        }
        let mut metrics = Self {
            registry: Registry::with_prefix("pintle"),
            ready: Family::default(),
            objects: Family::default(),
            runs: Family::default(),
            run_seconds: Family::new_with_constructor(seconds),
            renders: Family::default(),
            fetches: Family::default(),
            repairs: Family::default(),
            drifted: Family::default(),
            fights: Family::default(),
            plugin_calls: Family::default(),
            shards: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "application_ready",
            "1 if converged and healthy when a run ended last",
            metrics.ready.clone(),
        );
        registry.register(
            "application_objects",
            "Objects that are managed",
            metrics.objects.clone(),
        );
        registry.register("runs", "Runs of the pipeline", metrics.runs.clone());
        registry.register(
            "run_duration_seconds",
            "Duration of runs, until healthy where they wait for that",
            metrics.run_seconds.clone(),
        );
        registry.register(
            "renders",
            "Renders done and reused",
            metrics.renders.clone(),
        );
        registry.register("fetches", "Fetches of sources", metrics.fetches.clone());
        registry.register(
            "drift_repairs",
            "Objects put right after a foreign change",
            metrics.repairs.clone(),
        );
        registry.register(
            "drifted_objects",
            "Objects that others have changed and that are left as they are",
            metrics.drifted.clone(),
        );
        registry.register(
            "drift_fights",
            "Objects whose repair keeps being undone",
            metrics.fights.clone(),
        );
        registry.register(
            "plugin_calls",
            "Calls of plugins",
            metrics.plugin_calls.clone(),
        );
        registry.register(
            "shards",
            "Shards of the applications that this replica holds, of 128",
            metrics.shards.clone(),
        );
        metrics
    }

    /// Returns all metrics in the `OpenMetrics` text format.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut out, &self.registry);
        out
    }

    /// Removes the metrics of an application that is gone.
    pub(crate) fn forget(&self, application: &ApplicationName) {
        let labels = ApplicationLabels::of(application);
        self.ready.remove(&labels);
        self.objects.remove(&labels);
        self.repairs.remove(&labels);
        self.drifted.remove(&labels);
        self.fights.remove(&labels);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Parses the name and the labels of one line of the text.
    fn series(line: &str) -> (&str, BTreeSet<&str>) {
        let (series, _) = line.rsplit_once(' ').expect("it ends with a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let of_histograms = ["_bucket", "_sum", "_count"];
        let name = of_histograms
            .into_iter()
            .find_map(|ending| name.strip_suffix(ending))
            .unwrap_or(name);
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        let labels = labels
            .map(|(label, _)| label)
            .filter(|label| *label != "le");
        (name, labels.collect())
    }

    /// Parses the names and the labels of one row of the reference.
    fn documented(row: &str) -> Vec<(&str, BTreeSet<&str>)> {
        fn quoted(text: &str) -> impl Iterator<Item = &str> {
            text.split('`').skip(1).step_by(2)
        }
        let cells: Vec<&str> = row.split('|').collect();
        let labels = cells[2].split(':').next().unwrap_or_default();
        let labels: BTreeSet<&str> = quoted(labels).collect();
        quoted(cells[1])
            .map(|name| (name, labels.clone()))
            .collect()
    }

    #[test]
    fn the_reference_has_each_metric_with_its_labels() {
        let metrics = Metrics::new();
        let application = ApplicationLabels::of(&ApplicationName::new("shop", "web"));
        let outcome = OutcomeLabels { outcome: "done" };
        for gauge in [
            &metrics.ready,
            &metrics.objects,
            &metrics.drifted,
            &metrics.fights,
        ] {
            gauge.get_or_create(&application).set(1);
        }
        for counter in [&metrics.runs, &metrics.renders, &metrics.fetches] {
            counter.get_or_create(&outcome).inc();
        }
        metrics.repairs.get_or_create(&application).inc();
        metrics.run_seconds.get_or_create(&outcome).observe(1.0);
        let call = PluginLabels {
            plugin: "webhook".into(),
            kind: "notifier",
            outcome: "ok",
        };
        metrics.plugin_calls.get_or_create(&call).inc();
        let text = metrics.text();
        let exported: BTreeMap<_, _> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(series)
            .collect();
        let rows = include_str!("../../../../docs/operating.md").lines();
        let rows = rows.filter(|row| row.starts_with("| `pintle_"));
        let in_reference: BTreeMap<_, _> = rows.flat_map(documented).collect();
        assert_eq!(exported, in_reference);
    }

    #[test]
    fn is_readable_text_and_forgets() {
        let metrics = Metrics::new();
        let application = ApplicationName::new("shop", "we\"b");
        let labels = ApplicationLabels::of(&application);
        metrics.ready.get_or_create(&labels).set(1);
        metrics
            .runs
            .get_or_create(&OutcomeLabels { outcome: "done" })
            .inc();
        let text = metrics.text();
        assert!(
            text.contains(r#"pintle_application_ready{namespace="shop",name="we\"b"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"pintle_runs_total{outcome="done"} 1"#),
            "{text}"
        );
        metrics.forget(&application);
        assert!(!metrics.text().contains("shop"));
    }
}
