//! `--follow`: again on each change of the files, or on each new commit.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{input::Origin, interrupt::end_on_interrupt};
use crate::cli::{exit::Exit, output};

/// Editors write a file in several steps; a build writes many files.
const QUIET: Duration = Duration::from_millis(200);
/// How often a remote repository is asked.
const INTERVAL: Duration = Duration::from_secs(10);

/// Runs once; or, to follow, until Ctrl-C, or until standard output takes no more: a failure is told then, and the next
/// change starts anew.
///
/// `cancel` is what Ctrl-C cancels where what is under way stops by itself; without it, that is given up.
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
        _watcher: notify::RecommendedWatcher,
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
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // What a watcher cannot tell (an overflow) counts as a change.
                if event.is_ok_and(|event| event.kind.is_access()) {
                    return;
                }
                let _ = send.send(());
            })
            .context("changes of files cannot be watched on this system")?;
        let root = watched_folder(origin, folder);
        watcher
            .watch(&root, RecursiveMode::Recursive)
            .with_context(|| format!("{} cannot be watched", root.display()))?;
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

/// A commit shows in the repository's `.git`, the working tree's files in the folder itself.
fn watched_folder(origin: &Origin, folder: &Path) -> std::path::PathBuf {
    if matches!(origin, Origin::Local(_)) {
        let git = folder
            .ancestors()
            .map(|ancestor| ancestor.join(".git"))
            .find(|git| git.is_dir());
        if let Some(git) = git {
            return git;
        }
    }
    folder.to_owned()
}
