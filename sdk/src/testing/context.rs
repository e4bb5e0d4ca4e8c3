//! A context with fixed answers.

use std::rc::Rc;

use crate::{Cluster, Context};

use super::MemoryCluster;

/// A context with fixed answers. The defaults are those of [`FixedContext::default`].
#[derive(Clone, Debug)]
pub struct FixedContext {
    /// The name; `app` by default.
    pub name: String,
    /// The namespace; `default` by default.
    pub namespace: String,
    /// The cluster's version; `v1.33.0` by default.
    pub kube_version: String,
    /// What the cluster serves; `apps/v1`, `apps/v1/Deployment`, `v1` and `v1/ConfigMap` by default.
    pub api_versions: Vec<String>,
    /// The revision; forty zeros by default.
    pub revision: String,
    /// The time of the revision in seconds since the epoch; 0 by default.
    pub revision_time: i64,
    /// The stand-in for the application's secret seed.
    pub seed: u64,
    /// The cluster; empty by default.
    pub cluster: MemoryCluster,
}

impl Default for FixedContext {
    fn default() -> Self {
        Self {
            name: "app".to_owned(),
            namespace: "default".to_owned(),
            kube_version: "v1.33.0".to_owned(),
            api_versions: ["apps/v1", "apps/v1/Deployment", "v1", "v1/ConfigMap"]
                .map(str::to_owned)
                .to_vec(),
            revision: "0".repeat(40),
            revision_time: 0,
            seed: 0,
            cluster: MemoryCluster::new(),
        }
    }
}

impl FixedContext {
    /// Creates a context with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the application's name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets the cluster.
    #[must_use]
    pub fn with_cluster(mut self, cluster: MemoryCluster) -> Self {
        self.cluster = cluster;
        self
    }
}

impl Context for FixedContext {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn namespace(&self) -> String {
        self.namespace.clone()
    }

    fn kube_version(&self) -> String {
        self.kube_version.clone()
    }

    fn api_versions(&self) -> Vec<String> {
        self.api_versions.clone()
    }

    fn revision(&self) -> String {
        self.revision.clone()
    }

    fn revision_time(&self) -> i64 {
        self.revision_time
    }

    /// Returns bytes that are repeatable and different for each purpose and seed, but not secret: FNV-1a stretched by
    /// splitmix64.
    fn secret_bytes(&self, purpose: &str, length: u32) -> Vec<u8> {
        let mut state = purpose
            .bytes()
            .fold(self.seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let words = std::iter::repeat_with(move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)).to_le_bytes()
        });
        words.flatten().take((length as usize).min(8160)).collect()
    }

    /// Returns `None`: in a native test the plugin calculates the result itself, as it must when the host leaves a
    /// calculation to it.
    fn power_modulo(&self, _: &[u8], _: &[u8], _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn cluster(&self) -> &dyn Cluster {
        &self.cluster
    }

    fn shared(&self) -> Rc<dyn Context> {
        Rc::new(self.clone())
    }
}
