//! What a render asks for from other hosts. Other runs may work while it is being fetched, for as long as the run is wanted.

use async_trait::async_trait;
use pintle_core::digest::{Digest, Digester};
use pintle_host::{Input, Source};
use tokio_util::sync::CancellationToken;

use super::slot::Slot;
use crate::{
    agent::{fetching::Fetching, logins::FromSecret},
    pipeline::render::{FetchInputs, RenderError},
};

/// Fetches for a run.
pub(super) struct ForRun<'a> {
    pub(super) way: FromSecret<'a>,
    pub(super) fetching: &'a Fetching,
    pub(super) slot: &'a Slot,
    pub(super) cancel: &'a CancellationToken,
}

#[async_trait]
impl FetchInputs for ForRun<'_> {
    async fn fetch(&self, sources: Vec<Source>) -> Result<Vec<Input>, RenderError> {
        let (inputs, opens) = self.way.open().await?;
        let what = named(&sources, opens);
        let keychain = inputs.logins.keychain.clone();
        let fetch = async move { inputs.fetch(sources).await };
        let fetching = self.fetching.fetch(what, fetch);
        let fetched = self.slot.while_sent(fetching, self.cancel).await;
        let fetched = fetched.ok_or(RenderError::Cancelled)?;
        let refused = |error| self.way.refused(error, &keychain);
        let unpacking = fetched.map_err(refused)?.unpack();
        let inputs = self.cancel.run_until_cancelled(unpacking).await;
        inputs.ok_or(RenderError::Cancelled)?.map_err(refused)
    }
}

/// Returns a digest that identifies what is fetched, and with what.
fn named(sources: &[Source], opens: Digest) -> Digest {
    let mut what = Digester::new("inputs/v1").part(opens.as_bytes());
    for source in sources {
        what.add(source.to_string());
    }
    what.finish()
}
