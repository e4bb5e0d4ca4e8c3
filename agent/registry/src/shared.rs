//! State that clients share, whomever they trust.

use crate::{
    chart::{Archives, Indexes},
    turns::Turns,
};

/// State that any number of [`Registry`](crate::Registry)s may share: turns with the servers that they speak to, indexes of
/// chart repositories, and the bytes of archives.
///
/// No client gets anything that it could not have fetched itself.
#[derive(Debug, Default)]
pub struct Shared {
    pub(crate) turns: Turns,
    pub(crate) indexes: Indexes,
    pub(crate) archives: Archives,
}
