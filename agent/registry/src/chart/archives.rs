//! The packed archives that are in use.

use std::{
    collections::HashMap,
    env,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use pintle_core::digest::Digest;
use tokio::sync::Semaphore;

use super::{
    archive::Layout,
    incoming::{Kind, Spool, no_room},
    packed::{Archive, Packed},
};
use crate::{
    content::{Content, SMALL},
    error::Cause,
    room::{Room, Share},
};

/// The number of archives that are unpacked at the same time. Each can take 100 MiB and a full processor.
const UNPACKED_AT_ONCE: usize = 2;
/// The default room for archives that are not small, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// The archives that are held, each only once: one chart may be the source of hundreds of applications in as many namespaces.
///
/// A caller that adds an archive has fetched it itself, so nobody learns what others have. An equal archive is therefore looked
/// up only after the new one has been verified, and until then the new one needs room like any other. The held archives leave a
/// quarter of the room free, and an archive takes no more of the free room than it leaves. So an archive of up to an eighth of
/// the room (32 MiB of 256) can always arrive when no other is in flight, and then shares the equal one if that is held.
#[derive(Debug)]
pub(crate) struct Archives {
    held: Mutex<HashMap<(Digest, Layout), Weak<Packed>>>,
    unpacking: Arc<Semaphore>,
    /// The room for archives that are not small, from when they arrive until nobody holds them.
    room: Room,
    /// The part of the room for archives that are held.
    room_to_hold: Room,
}

impl Default for Archives {
    fn default() -> Self {
        Self::new(MAX_BYTES)
    }
}

impl Archives {
    /// Creates an empty set with room for this many bytes of archives.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self {
            held: Mutex::default(),
            unpacking: Arc::new(Semaphore::new(UNPACKED_AT_ONCE)),
            room: Room::new(max_bytes),
            room_to_hold: Room::new(max_bytes - max_bytes / 4),
        }
    }

    /// Returns the equal archive that others hold, or holds this one if there is room. The content has been verified. An archive
    /// that was just downloaded brings its share of the room. All archives take turns to be unpacked.
    pub(super) fn share(
        &self,
        digest: Digest,
        layout: Layout,
        content: Content,
        share: Option<Share>,
    ) -> Result<Archive, Cause> {
        let mut held = self.known();
        held.retain(|_, packed| packed.strong_count() > 0);
        let known = held.get(&(digest, layout)).and_then(Weak::upgrade);
        let packed = if let Some(known) = known.filter(|known| !known.is_lost()) {
            known
        } else {
            let shares = self.hold(content.size(), share)?;
            let packed = Arc::new(Packed::new(digest, layout, content, shares));
            held.insert((digest, layout), Arc::downgrade(&packed));
            packed
        };
        Ok(self.in_turn(packed))
    }

    /// Takes the shares for an archive that is held from now on. A small archive needs none. An archive from the cache does not
    /// have a share of the room yet.
    fn hold(&self, size: u64, share: Option<Share>) -> Result<Option<[Share; 2]>, Cause> {
        if size <= SMALL {
            return Ok(None);
        }
        let share = if let Some(share) = share {
            share
        } else {
            let mut share = self.room.share();
            if !share.grow(size) {
                return Err(no_room(&share));
            }
            share
        };
        let mut to_hold = self.room_to_hold.share();
        if !to_hold.grow(size) {
            return Err(no_room(&share));
        }
        Ok(Some([share, to_hold]))
    }

    /// Fails if there is no room for an archive of this size now, before any of it is downloaded.
    pub(super) fn check_room(&self, size: u64) -> Result<(), Cause> {
        let share = self.room.share();
        if size > SMALL && size > share.most() {
            return Err(no_room(&share));
        }
        Ok(())
    }

    /// Returns the spool for an incoming archive. It is in the cache's folder if there is a cache, which may then keep the file,
    /// and else in the folder for temporary files.
    pub(super) fn spool(&self, cache: Option<PathBuf>) -> Spool {
        let share = self.room.share();
        let kind = Kind::Archive {
            may_be_kept: cache.is_some(),
        };
        let temporary = env::temp_dir();
        match cache {
            Some(dir) => Spool::new(kind, dir, Some(temporary), share),
            None => Spool::new(kind, temporary, None, share),
        }
    }

    fn in_turn(&self, packed: Arc<Packed>) -> Archive {
        Archive::shared(packed, Arc::clone(&self.unpacking))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(Digest, Layout), Weak<Packed>>> {
        // A panic while the lock was held cannot leave the map in an inconsistent state.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt as _;

    use super::*;
    use crate::chart::ArchiveError;

    /// The size of a large archive.
    const LARGE: u64 = 2 * SMALL;

    /// Holds a small archive.
    fn hold(archives: &Archives, text: &'static str, layout: Layout) -> Archive {
        let content = Content::Memory(Bytes::from_static(text.as_bytes()));
        let shared = archives.share(Digest::of(text), layout, content, None);
        shared.unwrap()
    }

    /// Holds a large archive that was just downloaded.
    fn hold_large(archives: &Archives, text: &str) -> Result<Archive, Cause> {
        let mut share = archives.room.share();
        assert!(share.grow(LARGE), "{text} cannot come");
        archives.share(Digest::of(text), Layout::Chart, large(), Some(share))
    }

    fn large() -> Content {
        Content::Memory(vec![0; usize::try_from(LARGE).unwrap()].into())
    }

    fn is_same(a: &Archive, b: &Archive) -> bool {
        Arc::ptr_eq(&a.packed, &b.packed)
    }

    #[test]
    fn equal_archives_are_held_once_and_as_long_as_somebody_has_one() {
        let archives = Archives::default();
        let one = hold(&archives, "a chart", Layout::Chart);
        let equal = hold(&archives, "a chart", Layout::Chart);
        assert!(is_same(&one, &equal));
        let others = [
            hold(&archives, "another", Layout::Chart),
            hold(&archives, "a chart", Layout::Plain),
        ];
        assert!(others.iter().all(|other| !is_same(other, &one)));
        assert_eq!(archives.held.lock().unwrap().len(), 3);
        drop((one, equal, others));
        let last = hold(&archives, "the last", Layout::Chart);
        assert_eq!(archives.held.lock().unwrap().len(), 1);
        drop(last);
    }

    #[test]
    fn one_whose_file_is_damaged_is_replaced() {
        let archives = Archives::default();
        let file = tempfile::tempfile().unwrap();
        let content = Content::File(file, LARGE);
        let lost = archives.share(Digest::of("a chart"), Layout::Chart, content, None);
        let lost = lost.unwrap();
        assert_eq!(lost.files().unwrap_err(), ArchiveError::Lost);
        for _ in 0..2 {
            let fetched = hold_large(&archives, "a chart").unwrap();
            assert!(!is_same(&fetched, &lost) && !fetched.is_lost());
        }
    }

    #[test]
    fn equal_archives_count_once_and_until_the_last_who_holds_one_is_gone() {
        let archives = Archives::new(10 * LARGE);
        let most = || {
            let [all, held] = [&archives.room, &archives.room_to_hold].map(Room::share);
            [all.most(), held.most()].map(|bytes| bytes * 4 / LARGE)
        };
        assert_eq!(most(), [20, 15]);
        let [one, equal] = ["a chart"; 2].map(|text| hold_large(&archives, text).unwrap());
        assert_eq!(most(), [18, 13]);
        let other = hold_large(&archives, "another").unwrap();
        assert_eq!(most(), [16, 11]);
        drop(one);
        assert_eq!(most(), [16, 11]);
        drop(equal);
        assert_eq!(most(), [18, 13]);
        drop(other);
        assert_eq!(most(), [20, 15]);
    }

    #[test]
    fn one_of_an_eighth_can_always_come_and_finds_an_equal_one() {
        let eighth = 8 * LARGE;
        let archives = Archives::new(8 * eighth);
        let mut all = Vec::new();
        let refused = loop {
            match hold_large(&archives, &format!("number {}", all.len())) {
                Ok(archive) => all.push(archive),
                Err(cause) => break cause,
            }
        };
        assert!(matches!(refused, Cause::NoRoom { .. }), "{refused:?}");
        assert!(archives.room.share().grow(eighth));
        // An archive from the cache also finds an equal one, and is refused if there is neither an equal one nor room.
        let cached = |text| archives.share(Digest::of(text), Layout::Chart, large(), None);
        for equal in [hold_large(&archives, "number 0"), cached("number 0")] {
            assert!(is_same(&equal.unwrap(), &all[0]));
        }
        cached("another").unwrap_err();
        drop(all);
        cached("another").unwrap();
    }

    #[test]
    fn what_says_that_it_is_too_large_for_the_room_is_refused_at_once() {
        let archives = Archives::new(4 * LARGE);
        archives.check_room(2 * LARGE).unwrap();
        archives.check_room(2 * LARGE + 1).unwrap_err();
        let held = hold_large(&archives, "a chart").unwrap();
        archives.check_room(2 * LARGE).unwrap_err();
        drop(held);
        archives.check_room(2 * LARGE).unwrap();
        Archives::new(0).check_room(SMALL).unwrap();
    }

    #[tokio::test]
    async fn archives_are_unpacked_a_few_at_a_time() {
        let archives = Archives::default();
        let all = u32::try_from(UNPACKED_AT_ONCE).unwrap();
        let held = archives.unpacking.acquire_many(all).await.unwrap();
        // The last archive is already held.
        let shared = ["one", "another", "one"].map(|text| hold(&archives, text, Layout::Chart));
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
