//! `--follow`: run again on each change to the files, or on each new commit.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{input::Origin, interrupt::end_on_interrupt};
use crate::cli::{exit::Exit, output};

/// How long to wait for further changes: editors write a file in several steps, and a build writes many files.
const QUIET: Duration = Duration::from_millis(200);
/// How often a remote repository is asked.
const INTERVAL: Duration = Duration::from_secs(10);

/// Runs once. With `follow`, runs again on each change, until Ctrl-C, or until standard output can no longer be written to. With
/// `follow`, a run that fails is reported, and the next change starts another one.
///
/// `cancel` is the token that Ctrl-C cancels, for work in progress that stops on its own. Without it, work in progress is
/// abandoned.
pub(super) async fn run(
    origin: &Origin,
    follow: bool,
    cancel: Option<&CancellationToken>,
    mut once: impl AsyncFnMut() -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    if !follow {
        return Box::pin(once()).await;
    }
    let mut changes = Changes::of(origin)?;
    let interrupted = cancel.cloned().unwrap_or_else(end_on_interrupt);
    loop {
        let ended = tokio::select! {
            ended = Box::pin(once()) => ended,
            () = interrupted.cancelled(), if cancel.is_none() => return Ok(Exit::Done),
        };
        if interrupted.is_cancelled() {
            return ended;
        }
        if let Err(error) = ended {
            output::error(&error);
        }
        if output::is_lost() {
            return Ok(Exit::Done);
        }
        output::note("waiting for a change; end with Ctrl-C");
        tokio::select! {
            () = changes.next() => {}
            () = interrupted.cancelled() => return Ok(Exit::Done),
        }
    }
}

enum Changes {
    Files {
        _watcher: Arc<Mutex<RecommendedWatcher>>,
        events: mpsc::UnboundedReceiver<()>,
    },
    Remote,
}

impl Changes {
    fn of(origin: &Origin) -> anyhow::Result<Self> {
        let Some(folder) = origin.folder() else {
            return Ok(Self::Remote);
        };
        let (send, events) = mpsc::unbounded_channel();
        let places = Arc::new(Watched::below(watched_folder(origin, folder)));
        let seen = Arc::clone(&places);
        let tell = move |event: notify::Result<Event>| {
            // An event that a watcher cannot describe, such as an overflow, counts as a change.
            if event.is_ok_and(|event| event.kind.is_access() || !seen.has(&event)) {
                return;
            }
            let _ = send.send(());
        };
        // Not everything that links lead to is read. What is read is watched on its own.
        let config = notify::Config::default().with_follow_symlinks(false);
        let mut watcher = RecommendedWatcher::new(tell, config)
            .context("changes of files cannot be watched on this system")?;
        let root = &places.root;
        watcher
            .watch(root, RecursiveMode::Recursive)
            .with_context(|| format!("{} cannot be watched", root.display()))?;
        let watcher = Arc::new(Mutex::new(watcher));
        if let Some(disk) = origin.disk() {
            let watcher = Arc::clone(&watcher);
            disk.watch_with(move |read| places.watch(&watcher, read));
        }
        Ok(Self::Files {
            _watcher: watcher,
            events,
        })
    }

    async fn next(&mut self) {
        match self {
            Self::Remote => tokio::time::sleep(INTERVAL).await,
            Self::Files { events, .. } => {
                events.recv().await;
                while tokio::time::timeout(QUIET, events.recv())
                    .await
                    .is_ok_and(|event| event.is_some())
                {}
            }
        }
    }
}

/// Returns the folder to watch. A commit shows in git's own folder, and a change to a file of the working tree in the folder
/// itself.
fn watched_folder(origin: &Origin, folder: &Path) -> PathBuf {
    if matches!(origin, Origin::Local(_))
        && let Some(git) = pintle_source::git_folder(folder)
    {
        return git;
    }
    folder.to_owned()
}

/// The paths whose changes count.
struct Watched {
    /// The named folder, or the repository, with everything below it.
    root: PathBuf,
    /// Other paths that are read because links and charts lead there.
    beside: Mutex<BTreeSet<PathBuf>>,
}

impl Watched {
    fn below(root: PathBuf) -> Self {
        Self {
            root,
            beside: Mutex::default(),
        }
    }

    /// Returns whether an event is about what is read. An event without a path is about everything.
    fn has(&self, event: &Event) -> bool {
        let beside = self.beside();
        let is_read = |path: &PathBuf| {
            let is_within = path.parent().is_some_and(|folder| beside.contains(folder));
            path.starts_with(&self.root) || beside.contains(path) || is_within
        };
        event.paths.is_empty() || event.paths.iter().any(is_read)
    }

    /// Begins to watch the paths outside of the root, and returns whether any of them is new.
    fn watch(&self, watcher: &Mutex<RecommendedWatcher>, places: &BTreeSet<PathBuf>) -> bool {
        let beside: Vec<&PathBuf> = places
            .iter()
            .filter(|place| !place.starts_with(&self.root))
            .collect();
        let is_new = self.add(&beside);
        // A file, or a folder, shows in its parent folder even if it is replaced. A folder that was replaced has to be watched
        // anew.
        let folders: BTreeSet<&Path> = beside
            .iter()
            .flat_map(|place| [place.parent(), place.is_dir().then_some(place.as_path())])
            .flatten()
            .collect();
        let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in folders {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive)
                && is_new
            {
                let folder = folder.display();
                output::warning(&format!("changes in {folder} are not seen: {error}"));
            }
        }
        is_new
    }

    /// Adds paths. The lock is held no longer than that: a watcher that adds a new folder may be reporting a change.
    fn add(&self, places: &[&PathBuf]) -> bool {
        let mut beside = self.beside();
        let before = beside.len();
        beside.extend(places.iter().copied().cloned());
        beside.len() > before
    }

    fn beside(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use notify::EventKind;

    use super::*;

    #[test]
    fn what_is_read_counts_and_not_what_is_beside_it() {
        let watched = Watched::below(PathBuf::from("/desk/web"));
        let [values, common] = ["/desk/values.yaml", "/desk/common"].map(PathBuf::from);
        assert!(watched.add(&[&values, &common]));
        assert!(!watched.add(&[&values]));
        let has = |paths: &[&str]| {
            let event = paths
                .iter()
                .fold(Event::new(EventKind::Any), |event, path| {
                    event.add_path(PathBuf::from(path))
                });
            watched.has(&event)
        };
        for path in [
            "/desk/web",
            "/desk/web/deep/a.yaml",
            "/desk/values.yaml",
            "/desk/common",
            "/desk/common/new.yaml",
        ] {
            assert!(has(&[path]), "{path}");
        }
        for path in ["/desk", "/desk/notes", "/desk/common/deep/a.yaml"] {
            assert!(!has(&[path]), "{path}");
        }
        assert!(has(&["/desk/notes", "/desk/values.yaml"]), "a rename");
        assert!(has(&[]), "an overflow");
    }
}
