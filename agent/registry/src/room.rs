//! A number of bytes that many share, with a limit on their total.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of bytes that all holders share. Nobody waits for room: holders of a part would wait for each other.
#[derive(Debug)]
pub(crate) struct Room {
    /// The room that is left, with one permit for each byte.
    left: Arc<Semaphore>,
    limit: u64,
}

impl Room {
    pub(crate) fn new(limit: u64) -> Self {
        let all = usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            left: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
            limit,
        }
    }

    /// Returns an empty share.
    pub(crate) fn share(&self) -> Share {
        let nothing = Arc::clone(&self.left).try_acquire_many_owned(0);
        Share {
            taken: nothing.expect("nobody closes it"),
            limit: self.limit,
        }
    }
}

/// A holder's share of the room. It is returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    taken: OwnedSemaphorePermit,
    limit: u64,
}

impl Share {
    /// Returns the size of the whole room, in bytes.
    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns how many bytes this share may have at present. It may have no more than it leaves to others, so that a few huge
    /// shares that grow slowly or stay do not keep out all smaller ones.
    pub(crate) fn most(&self) -> u64 {
        let left = self.taken.semaphore().available_permits() as u64;
        u64::midpoint(left, self.size())
    }

    /// Takes this many more bytes, and returns whether that was possible.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        if bytes == 0 {
            return true;
        }
        let size = self.size().saturating_add(bytes);
        if size > self.most().min(u32::MAX.into()) {
            return false;
        }
        let room = Arc::clone(self.taken.semaphore());
        let more = u32::try_from(bytes).ok();
        let Some(more) = more.and_then(|more| room.try_acquire_many_owned(more).ok()) else {
            return false;
        };
        self.taken.merge(more);
        true
    }

    fn size(&self) -> u64 {
        self.taken.num_permits() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_a_bound_together_and_smaller_ones_find_room() {
        let room = Room::new(256 << 20);
        let huge = [(); 3].map(|()| {
            let mut share = room.share();
            while share.grow(1 << 20) {}
            share
        });
        let sizes = [128, 64, 32].map(|size: u64| size << 20);
        assert_eq!(huge.each_ref().map(Share::size), sizes);
        let mut small = room.share();
        assert_eq!(small.most(), 16 << 20);
        assert!(small.grow(16 << 20) && !small.grow(1));
        drop(huge);
        assert!(small.grow(80 << 20));
        drop(small);
        assert_eq!(room.left.available_permits(), 256 << 20);
    }
}
