//! What clients share, whomever they trust.

use crate::{
    chart::{Archives, Indexes},
    turns::Turns,
};

/// What any number of [`Registry`](crate::Registry)s may share: turns with those that they speak to, indexes of chart
/// repositories, and the bytes of archives.
///
/// Nobody is given what he could not have fetched himself.
#[derive(Debug, Default)]
pub struct Shared {
    pub(crate) turns: Turns,
    pub(crate) indexes: Indexes,
    pub(crate) archives: Archives,
}
