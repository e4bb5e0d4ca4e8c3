//! What clients share, whomever they trust.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::{
    chart::{Archives, Indexes},
    turns::Turns,
};

/// Archives that are unpacked at one time. Each may take 100 MiB, and all of a processor.
const UNPACKED_AT_ONCE: usize = 2;

/// What any number of [`Registry`](crate::Registry)s may share: turns with those that they speak to, indexes of chart
/// repositories, and the bytes of archives.
///
/// Nobody is given what he could not have fetched himself.
#[derive(Debug)]
pub struct Shared {
    pub(crate) turns: Turns,
    pub(crate) indexes: Indexes,
    pub(crate) archives: Archives,
    pub(crate) unpacking: Arc<Semaphore>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            turns: Turns::default(),
            indexes: Indexes::default(),
            archives: Archives::default(),
            unpacking: Arc::new(Semaphore::new(UNPACKED_AT_ONCE)),
        }
    }
}
