//! State that clients share, whomever they trust.

use crate::{
    chart::{Archives, Indexes},
    turns::Turns,
};

/// State that any number of [`Registry`](crate::Registry)s may share: turns with the servers that they speak to, indexes of
/// chart repositories, and packed archives, which have a bound together.
///
/// No client gets anything that it could not have fetched itself.
#[derive(Debug, Default)]
pub struct Shared {
    pub(crate) turns: Turns,
    pub(crate) indexes: Indexes,
    pub(crate) archives: Archives,
}

impl Shared {
    /// Has room for so many bytes of packed archives, from when they come until nobody holds them, in place of 256 MiB. Those that
    /// are held leave a quarter of it to those that come, one archive takes no more than it leaves to others, and those of up to
    /// 64 KiB do not count.
    pub fn with_room_for_archives(bytes: u64) -> Self {
        Self {
            archives: Archives::new(bytes),
            ..Self::default()
        }
    }
}
