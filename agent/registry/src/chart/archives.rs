//! Packed archives that somebody holds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use pintle_core::digest::Digest;
use tokio::sync::Semaphore;

use super::archive::{Archive, Layout, Packed};

/// Archives that are unpacked at one time. Each may take 100 MiB, and all of a processor.
const UNPACKED_AT_ONCE: usize = 2;

/// The archives that are held, each once: one chart may be the source of hundreds of applications in as many namespaces.
///
/// Whoever puts one in has fetched it himself, so nobody learns of what others have.
#[derive(Debug)]
pub(crate) struct Archives {
    held: Mutex<HashMap<(Digest, Layout), Weak<Packed>>>,
    unpacking: Arc<Semaphore>,
}

impl Default for Archives {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            unpacking: Arc::new(Semaphore::new(UNPACKED_AT_ONCE)),
        }
    }
}

impl Archives {
    /// Returns the archive that others hold in place of an equal one, or keeps this in mind. It is unpacked in turn with all others.
    pub(super) fn share(&self, archive: Archive) -> Archive {
        // A map is whole whatever happened to whoever held it.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, packed| packed.strong_count() > 0);
        let key = (archive.digest(), archive.layout());
        let known = held.get(&key).and_then(Weak::upgrade);
        let packed = known.unwrap_or_else(|| {
            let packed = Arc::clone(archive.packed());
            held.insert(key, Arc::downgrade(&packed));
            packed
        });
        Archive::shared(packed, Arc::clone(&self.unpacking))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt as _;

    use super::*;
    use crate::chart::ArchiveError;

    #[test]
    fn equal_archives_are_held_once_and_as_long_as_somebody_has_one() {
        let archives = Archives::default();
        let share = |text: &str, layout| {
            let bytes = Bytes::from(text.to_owned());
            archives.share(Archive::new(bytes, layout))
        };
        let place = |archive: &Archive| archive.bytes().as_ptr();
        let one = share("a chart", Layout::Chart);
        let equal = share("a chart", Layout::Chart);
        assert_eq!(place(&one), place(&equal));
        let others = [
            share("another", Layout::Chart),
            share("a chart", Layout::Plain),
        ];
        assert!(others.iter().all(|other| place(other) != place(&one)));
        drop((one, equal, others));
        let last = share("the last", Layout::Chart);
        assert_eq!(archives.held.lock().unwrap().len(), 1);
        drop(last);
    }

    #[tokio::test]
    async fn archives_are_unpacked_a_few_at_a_time() {
        let archives = Archives::default();
        let share = |text: &'static str| {
            let bytes = Bytes::from_static(text.as_bytes());
            archives.share(Archive::new(bytes, Layout::Chart))
        };
        let all = u32::try_from(UNPACKED_AT_ONCE).unwrap();
        let held = archives.unpacking.acquire_many(all).await.unwrap();
        // The last one is held by somebody already.
        let shared = ["one", "another", "one"].map(share);
        for archive in &shared {
            assert!(archive.unpack().now_or_never().is_none());
        }
        drop(held);
        for archive in &shared {
            assert_eq!(archive.unpack().await.unwrap_err(), ArchiveError::NotGzip);
        }
        assert_eq!(archives.unpacking.available_permits(), UNPACKED_AT_ONCE);
    }
}
