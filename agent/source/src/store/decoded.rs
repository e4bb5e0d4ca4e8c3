//! Decoded folders. All open stores share one bound for them, since there may be thousands of stores.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use gix::ObjectId;

use crate::tree::objects::{Folder, Node};

/// The most bytes that are kept in total. Any are kept because all trees over a store pass through the same outer folders.
const KEPT: usize = 32 << 20;
/// The bytes that an allocation takes beside its contents.
const ALLOCATION: usize = 16;

/// The decoded folders of all stores that were made with it.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    kept: Mutex<Kept>,
    stores: AtomicU64,
}

/// The decoded folders of one store. Folders of another store are not among them, even with the same id: whoever knows an id is
/// not necessarily allowed to read what it names.
#[derive(Debug)]
pub(super) struct Decoded {
    folders: Arc<Folders>,
    store: u64,
}

type Key = (u64, ObjectId);

#[derive(Debug, Default)]
struct Kept {
    folders: HashMap<Key, One>,
    /// The bytes of all folders.
    bytes: usize,
    /// The number of requests so far.
    clock: u64,
}

#[derive(Debug)]
struct One {
    folder: Arc<Folder>,
    bytes: usize,
    /// The clock at the last request for it.
    asked: u64,
}

impl Decoded {
    pub(super) fn new(folders: Arc<Folders>) -> Self {
        let store = folders.stores.fetch_add(1, Ordering::Relaxed);
        Self { folders, store }
    }

    pub(super) fn get(&self, id: &ObjectId) -> Option<Arc<Folder>> {
        self.folders.lock().get((self.store, *id))
    }

    pub(super) fn keep(&self, id: ObjectId, folder: &Arc<Folder>) {
        self.folders.lock().keep((self.store, id), folder);
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        self.folders.lock().forget_store(self.store);
    }
}

impl Folders {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        // It only ever holds whole folders, so a panic leaves nothing half done that matters.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn get(&mut self, key: Key) -> Option<Arc<Folder>> {
        self.clock += 1;
        let one = self.folders.get_mut(&key)?;
        one.asked = self.clock;
        Some(Arc::clone(&one.folder))
    }

    fn keep(&mut self, key: Key, folder: &Arc<Folder>) {
        self.clock += 1;
        let one = One {
            folder: Arc::clone(folder),
            bytes: weight(folder),
            asked: self.clock,
        };
        self.bytes += one.bytes;
        if let Some(before) = self.folders.insert(key, one) {
            self.bytes -= before.bytes;
        }
        if self.bytes > KEPT {
            self.forget_oldest();
        }
    }

    /// Makes room for as much again, so that this does not happen for each new folder. The most recently requested folder
    /// stays.
    fn forget_oldest(&mut self) {
        let mut keys: Vec<(u64, Key)> = self
            .folders
            .iter()
            .map(|(key, one)| (one.asked, *key))
            .collect();
        keys.sort_unstable();
        keys.pop();
        for (_, key) in keys {
            if self.bytes <= KEPT / 2 {
                return;
            }
            if let Some(one) = self.folders.remove(&key) {
                self.bytes -= one.bytes;
            }
        }
    }

    fn forget_store(&mut self, store: u64) {
        let bytes = &mut self.bytes;
        self.folders.retain(|(of, _), one| {
            let stays = *of != store;
            if !stays {
                *bytes -= one.bytes;
            }
            stays
        });
    }
}

/// Returns roughly how many bytes a folder takes.
fn weight(folder: &Folder) -> usize {
    let names = folder
        .nodes()
        .iter()
        .map(|node| node.name.len() + ALLOCATION);
    size_of::<(Key, One)>()
        + size_of::<Folder>()
        + folder.len() * size_of::<Node>()
        + names.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::objects::NodeKind;

    fn id(number: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[number; 20])
    }

    fn folder(entries: usize) -> Arc<Folder> {
        let nodes = (0..entries).map(|number| {
            let name = format!("{number:0250}").into_bytes();
            (name, NodeKind::File, id(0))
        });
        Arc::new(Folder::new(nodes))
    }

    #[test]
    fn many_stores_keep_no_more_together_than_one() {
        let folders = Arc::new(Folders::default());
        let large = folder(10_000);
        assert!(weight(&large) > 10_000 * 250);
        let stores: Vec<Decoded> = (0..100)
            .map(|_| {
                let store = Decoded::new(Arc::clone(&folders));
                store.keep(id(1), &large);
                assert!(store.get(&id(1)).is_some());
                store
            })
            .collect();
        assert!(folders.lock().bytes <= KEPT);
        let kept = stores.iter().filter(|store| store.get(&id(1)).is_some());
        assert!(kept.count() * weight(&large) <= KEPT);
        drop(stores);
        assert_eq!(folders.lock().bytes, 0);
        assert!(folders.lock().folders.is_empty());
    }

    #[test]
    fn what_one_store_has_no_other_gives() {
        let folders = Arc::new(Folders::default());
        let [one, other] = [0, 1].map(|_| Decoded::new(Arc::clone(&folders)));
        one.keep(id(1), &folder(2));
        assert!(one.get(&id(1)).is_some());
        assert!(other.get(&id(1)).is_none());
    }

    #[test]
    fn a_folder_that_all_lead_through_stays_and_others_go() {
        let store = Decoded::new(Arc::default());
        store.keep(id(0), &folder(10));
        let large = folder(10_000);
        for number in 1..100 {
            store.keep(id(number), &large);
            assert!(store.get(&id(0)).is_some());
        }
        assert!(store.get(&id(1)).is_none());
        assert!(store.get(&id(99)).is_some());
    }

    #[test]
    fn one_that_comes_again_is_counted_once() {
        let store = Decoded::new(Arc::default());
        let one = folder(10);
        store.keep(id(0), &one);
        store.keep(id(0), &one);
        assert_eq!(store.folders.lock().bytes, weight(&one));
    }
}
