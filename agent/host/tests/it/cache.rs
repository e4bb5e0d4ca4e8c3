//! Compiled code on disk: used when intact, and recreated when not.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use pintle_core::{
    digest::Digest,
    plugin::{Fault, PluginId, Stage},
};
use pintle_host::{CodeFrom, Host, LoadRequest, Observer, Options};
use serde_json::json;

use crate::{components::Watchman, support::assessed};

/// An observer that records for each compilation whether the cache had the code.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<bool>>);

impl Observer for Notes {
    fn called(&self, _: &PluginId, _: Stage, _: Duration, _: Option<&Fault>) {}

    fn compiled(&self, _: Digest, from: CodeFrom, _: Duration) {
        self.0.lock().unwrap().push(from == CodeFrom::Cache);
    }
}

/// Loads and calls a plugin on a new host. Returns whether its code came from the cache.
async fn cached(folder: &Path) -> bool {
    let notes = Arc::new(Notes::default());
    let options = Options {
        cache: Some(folder.to_owned()),
        observer: Arc::clone(&notes) as Arc<dyn Observer>,
        ..Options::default()
    };
    let host = Host::new(options).unwrap();
    let component = Watchman::default().bytes();
    let plugin = host
        .load(LoadRequest::new("watchman", component.clone()))
        .await
        .unwrap();
    let again = host
        .load(LoadRequest::new("other", component))
        .await
        .unwrap();
    let health = again.health().unwrap();
    assessed(&health, "Pod", &json!({}), 0).await.unwrap();
    drop(plugin);
    let notes = notes.0.lock().unwrap();
    assert_eq!(notes.len(), 1, "one component is compiled once on a host");
    notes[0]
}

/// The files of one plugin in the cache.
struct Files {
    code: PathBuf,
    /// The plugin's description of itself.
    description: PathBuf,
}

/// Returns the files of the one plugin. Next to its code is a seal, and nothing else.
fn files(folder: &Path) -> Files {
    let files = fs::read_dir(folder.join("compiled")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort_by_key(|file| file.extension().map(ToOwned::to_owned));
    let [description, code, seal] = &files[..] else {
        panic!("{files:?}");
    };
    assert_eq!(code.with_extension("seal"), *seal);
    Files {
        code: code.clone(),
        description: description.clone(),
    }
}

#[tokio::test]
async fn a_spoilt_description_is_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!cached(folder.path()).await);
    let description = files(folder.path()).description;
    let whole = fs::read(&description).unwrap();
    fs::write(&description, b"not a description").unwrap();
    assert!(cached(folder.path()).await);
    assert_eq!(fs::read(&description).unwrap(), whole);
}

#[tokio::test]
async fn code_is_compiled_once_and_then_loaded() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!cached(folder.path()).await);
    assert!(cached(folder.path()).await);
}

#[tokio::test]
async fn code_that_is_not_as_it_was_written_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!cached(folder.path()).await);
    let spoil: [fn(&Path); 3] = [
        |file| {
            let mut bytes = fs::read(file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(file, bytes).unwrap();
        },
        |file| fs::write(file, b"not code").unwrap(),
        |file| fs::write(file, b"").unwrap(),
    ];
    for spoil in spoil {
        spoil(&files(folder.path()).code);
        assert!(!cached(folder.path()).await);
        assert!(cached(folder.path()).await, "and is whole again");
    }
}
