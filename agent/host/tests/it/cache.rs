//! Compiled code on disk: used when whole, and made again when not.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use pintle_core::{
    digest::Digest,
    plugin::{Fault, PluginId, Stage},
};
use pintle_host::{Host, LoadRequest, Observer, Options, Settings};
use serde_json::json;

use crate::components::Watchman;

/// Notes for each compilation whether the cache had it.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<bool>>);

impl Observer for Notes {
    fn called(&self, _: &PluginId, _: Stage, _: Duration, _: Option<&Fault>) {}

    fn compiled(&self, _: Digest, cached: bool, _: Duration) {
        self.0.lock().unwrap().push(cached);
    }
}

/// Loads and calls a plugin on a new host, and says whether its code came from the cache.
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
    health
        .assess(&Settings::default(), &json!({}), 0)
        .await
        .unwrap();
    drop(plugin);
    let notes = notes.0.lock().unwrap();
    assert_eq!(notes.len(), 1, "one component is compiled once on a host");
    notes[0]
}

/// Gives the one file with code. Beside it lies its seal, and nothing else.
fn only_file(folder: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder.join("compiled")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let [code, seal] = &files[..] else {
        panic!("{files:?}");
    };
    assert_eq!(code.with_extension("seal"), *seal);
    code.clone()
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
        spoil(&only_file(folder.path()));
        assert!(!cached(folder.path()).await);
        assert!(cached(folder.path()).await, "and is whole again");
    }
}
