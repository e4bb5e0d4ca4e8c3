//! Counts plugin calls.

use std::{sync::Arc, time::Duration};

use pintle_core::{
    digest::Digest,
    plugin::{Fault, PluginId, Stage},
};
use pintle_host::{CodeFrom, Observer};

use super::metrics::{Metrics, PluginLabels};

pub(crate) struct CallCounter(pub(crate) Arc<Metrics>);

impl std::fmt::Debug for CallCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallCounter")
    }
}

impl Observer for CallCounter {
    fn called(&self, plugin: &PluginId, _: Stage, _: Duration, fault: Option<&Fault>) {
        let outcome = fault.map_or("ok", Fault::name);
        let labels = PluginLabels {
            plugin: plugin.name.clone(),
            kind: plugin.kind.name(),
            outcome,
        };
        self.0.plugin_calls.get_or_create(&labels).inc();
    }

    fn compiled(&self, component: Digest, from: CodeFrom, time: Duration) {
        let cached = from == CodeFrom::Cache;
        tracing::debug!(%component, cached, ?time, "compiled");
    }
}
