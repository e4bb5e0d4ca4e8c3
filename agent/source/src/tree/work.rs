//! What one call of a tree may cost, and where it may block.
//!
//! Nothing interrupts a call, not even a plugin's deadline. So the call counts what it does, and checks the clock before
//! anything whose cost no count reflects.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use gix::ObjectId;
use pintle_core::tree::{TreeError, TreePath};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

use super::{broken, objects::Folder, unusable};

/// The most steps of one call, which take less than a second. A step is the cost of decoding one entry of a folder.
///
/// This is enough for the largest folder that is accepted, with 50,000 entries that are all links through five other folders,
/// and for ten folders of that size on the way.
const STEPS: usize = 5_000_000;
/// The steps that it takes to look up a name in a decoded folder, or to read a link.
const LOOK: usize = 10;
/// The bytes of a link's target that take one step to go through.
const TARGET_BYTES: usize = 4;
/// The folders that one call keeps whatever their size. When links lead from one folder through another, that other folder is
/// looked into for each of the links.
const KEPT_FOLDERS: usize = 3;
/// The longest time of one call, which no honest call comes near. It covers what a count of steps does not see: sizes and links
/// that are made from thousands of other objects or from very large ones, and a disk that hardly responds.
const TIME: Duration = Duration::from_secs(10);

/// What one call may still do.
#[derive(Debug)]
pub(crate) struct Work {
    left: Cell<usize>,
    until: Instant,
    /// The folders that the call looked into last.
    folders: RefCell<VecDeque<(ObjectId, Arc<Folder>)>>,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self::within(STEPS, TIME)
    }

    fn within(steps: usize, time: Duration) -> Self {
        Self {
            left: Cell::new(steps),
            until: Instant::now() + time,
            folders: RefCell::default(),
        }
    }

    /// Returns a folder if it is one of those that the call looked into last.
    pub(crate) fn known(&self, id: &ObjectId) -> Option<Arc<Folder>> {
        let mut folders = self.folders.borrow_mut();
        let at = folders.iter().position(|(known, _)| known == id)?;
        let found = folders.remove(at)?;
        let folder = Arc::clone(&found.1);
        folders.push_back(found);
        Some(folder)
    }

    /// Keeps a folder that was not known.
    pub(crate) fn remember(&self, id: ObjectId, folder: &Arc<Folder>) {
        let mut folders = self.folders.borrow_mut();
        if folders.len() == KEPT_FOLDERS {
            folders.pop_front();
        }
        folders.push_back((id, Arc::clone(folder)));
    }

    /// Counts looking up a name, or reading a link.
    pub(crate) fn look(&self, at: &TreePath) -> Result<(), TreeError> {
        self.spend(LOOK, at)
    }

    /// Counts going through the target of a link.
    pub(crate) fn go_through(&self, target: &str, at: &TreePath) -> Result<(), TreeError> {
        self.spend(target.len() / TARGET_BYTES, at)
    }

    /// Counts steps. Once they run out, there are none for the rest of the call.
    pub(crate) fn spend(&self, steps: usize, at: &TreePath) -> Result<(), TreeError> {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or_default());
        match left {
            Some(_) => Ok(()),
            None => Err(unusable(
                at,
                "finding it leads through too many folders, or too large ones: replace symbolic links by what they lead to",
            )),
        }
    }

    /// Ends a call that takes too long. Must be called before each object that is read.
    pub(crate) fn check_time(&self, at: &TreePath) -> Result<(), TreeError> {
        if Instant::now() < self.until {
            return Ok(());
        }
        Err(broken(
            at,
            &format!(
                "reading it takes longer than {} s: the cache's disk is slow, or `git repack -a -d -f` is needed where the repository is kept",
                TIME.as_secs()
            ),
        ))
    }
}

/// Runs code that may take long without keeping other tasks from running. If the runtime has several workers, the current one
/// hands off its tasks first. That costs some microseconds, which is too much for each small file.
pub(super) fn aside<T>(run: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
            block_in_place(run)
        }
        // A command does one thing after another on its only thread, which cannot hand off anything.
        _ => run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_to_an_end() {
        let (work, at) = (Work::within(LOOK + 5, TIME), TreePath::root());
        work.look(&at).unwrap();
        work.spend(5, &at).unwrap();
        insta::assert_snapshot!(work.spend(1, &at).unwrap_err(), @". could not be read: finding it leads through too many folders, or too large ones: replace symbolic links by what they lead to");
        let work = Work::within(LOOK, TIME);
        work.spend(LOOK + 1, &at).unwrap_err();
        work.spend(1, &at).unwrap_err();
    }

    #[test]
    fn folders_of_any_size_stay_while_they_are_used() {
        let id = |number: u8| ObjectId::from_bytes_or_panic(&[number; 20]);
        let work = Work::new();
        let folder = Arc::new(Folder::default());
        for number in 0..3 {
            assert!(work.known(&id(number)).is_none());
            work.remember(id(number), &folder);
        }
        assert!(work.known(&id(0)).is_some());
        work.remember(id(3), &folder);
        assert!(work.known(&id(0)).is_some() && work.known(&id(2)).is_some());
        assert!(work.known(&id(1)).is_none(), "it was not used for longest");
    }

    #[test]
    fn time_comes_to_an_end() {
        let at = TreePath::root();
        Work::new().check_time(&at).unwrap();
        let over = Work::within(STEPS, Duration::ZERO);
        insta::assert_snapshot!(over.check_time(&at).unwrap_err(), @". could not be read: reading it takes longer than 10 s: the cache's disk is slow, or `git repack -a -d -f` is needed where the repository is kept");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_takes_long_keeps_no_task_from_running() {
        // This runs on the only worker, which would otherwise wait for itself.
        let waiting = tokio::spawn(async {
            aside(|| {
                let (tell, told) = std::sync::mpsc::channel();
                tokio::spawn(async move { tell.send(()) });
                told.recv()
            })
        });
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn where_there_is_one_thread_it_runs_there() {
        assert_eq!(aside(|| 7), 7);
    }

    #[test]
    fn where_there_is_no_runtime_it_runs_too() {
        assert_eq!(aside(|| 7), 7);
    }
}
