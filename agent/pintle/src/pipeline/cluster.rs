//! The cluster as plugins may read it.

use async_trait::async_trait;
use pintle_cluster::{Reader, RequestError};
use pintle_core::causes::chain;
use pintle_host::{ClusterError, ClusterReader, Page};
use serde_json::Value;

/// Reads for plugins, with the rights of the account that the reader acts as.
#[derive(Debug, Clone)]
pub(crate) struct PluginReader(pub(crate) Reader);

fn failed(error: RequestError) -> ClusterError {
    ClusterError {
        reason: chain(&error),
    }
}

#[async_trait]
impl ClusterReader for PluginReader {
    async fn get(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ClusterError> {
        let found = self.0.get(api_version, kind, namespace, name).await;
        found.map_err(failed)
    }

    async fn find(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        page: Option<&str>,
    ) -> Result<Page, ClusterError> {
        let found = self.0.find(api_version, kind, namespace, page).await;
        let (objects, next) = found.map_err(failed)?;
        Ok(Page { objects, next })
    }
}
