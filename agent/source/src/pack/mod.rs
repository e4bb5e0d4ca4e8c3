//! Packs that a server sends, on their way into the cache.
//!
//! A pack goes to disk as it arrives, however slowly. It is then surveyed without keeping anything of it. Only if indexing it
//! would stay within the limits is it indexed, one pack at a time in this process: gix keeps the bytes of an object until it
//! has reached the object's end, and the bases of deltas for as long as some deltas still have to be put together.

mod survey;

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use gix::{
    objs::Exists as _,
    odb::pack::{Bundle, bundle::write::Options as PackOptions},
    progress::Discard,
};
use tokio::sync::Semaphore;

use self::survey::{Flaw, survey};
use crate::{
    cache::pack_dir,
    error::{Excess, SourceError, chain, lack},
    session::FetchError,
    store::Store,
    transport::Conversation,
};

/// The permits for indexing a pack in this process, which has memory for one at a time.
static INDEXED: Semaphore = Semaphore::const_new(1);

/// Reads a pack to its end, and adds it to a store if it is within the limits.
pub(crate) fn keep(
    pack: &mut dyn BufRead,
    store: &Store,
    conversation: &Conversation,
) -> Result<(), FetchError> {
    let dir = pack_dir(store);
    let failed = |error: io::Error| unusable(&dir, &error);
    let mut file = nameless(&dir).map_err(failed)?;
    receive(pack, &mut file, &dir)?;
    // Not taken earlier: only those who asked for what a slow server has should wait for that server.
    let _turn = conversation.turn(&INDEXED).map_err(FetchError::Known)?;
    file.rewind().map_err(failed)?;
    // Nobody else adds to the store in the meantime.
    let here = store.steady();
    let seen = survey(
        &mut BufReader::new(&file),
        conversation.limits(),
        &conversation.interrupt,
        &|id| here.exists(id),
    );
    let is_thin = seen.map_err(|flaw| refused(flaw, conversation))?;
    file.rewind().map_err(failed)?;
    index(&file, &dir, is_thin.then_some(here), conversation).map_err(|error| {
        if let Some(cause) = lack(&error) {
            return unusable(&dir, cause);
        }
        if error.is_resource_exhausted() {
            let limit = conversation.limits().object;
            return refused(Flaw::TooMuch(Excess::Object, limit), conversation);
        }
        FetchError::Objects(chain(&error))
    })
}

fn unusable(dir: &Path, error: &io::Error) -> FetchError {
    FetchError::Known(SourceError::cache(dir, error))
}

/// Creates a file that is gone when this process ends, however it ends.
fn nameless(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!("incoming-{:032x}", rand::random::<u128>()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Writes what the server sends to a file.
fn receive(pack: &mut dyn BufRead, file: &mut File, dir: &Path) -> Result<(), FetchError> {
    loop {
        let bytes = match pack.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(FetchError::Objects(chain(&error))),
        };
        let length = bytes.len();
        if length == 0 {
            return Ok(());
        }
        file.write_all(bytes)
            .map_err(|error| unusable(dir, &error))?;
        pack.consume(length);
    }
}

/// Adds a pack to a store. A thin pack may name objects that are in the store and not in the pack.
fn index(
    pack: &File,
    dir: &Path,
    here: Option<gix::odb::Handle>,
    conversation: &Conversation,
) -> gix::Result<()> {
    let options = PackOptions {
        // Each thread holds whole objects.
        thread_limit: Some(1),
        alloc_limit_bytes: usize::try_from(conversation.limits().object).ok(),
        ..PackOptions::default()
    };
    let written = Bundle::write_to_directory(
        &mut BufReader::new(pack),
        Some(dir),
        &mut Discard,
        &conversation.interrupt,
        here,
        gix::hash::Kind::Sha1,
        options,
    )?;
    if let Some(keep) = written.keep_path {
        // It protects against `git gc`, which nobody runs here.
        let _ = fs::remove_file(keep);
    }
    Ok(())
}

fn refused(flaw: Flaw, conversation: &Conversation) -> FetchError {
    match flaw {
        Flaw::Malformed(reason) => FetchError::Objects(reason),
        Flaw::TooMuch(what, limit) => FetchError::Known(SourceError::TooLarge {
            url: conversation.url(),
            what,
            limit,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{survey::tests::Packed, *};
    use crate::{limits::Limits, transport::tests::conversation};

    #[test]
    fn what_is_not_here_is_not_looked_for_on_the_disk_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        gix::init_bare(dir.path()).unwrap();
        let limits = Limits::default();
        let store = Store::open(dir.path(), limits, None, Arc::default()).unwrap();
        let conversation = conversation(&runtime, limits);
        let id =
            gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::objs::Kind::Blob, b"x").unwrap();
        let before = store.steady();
        let mut pack = Packed::new();
        pack.blob(1);
        keep(&mut pack.finish().as_slice(), &store, &conversation).unwrap();
        assert!(!before.exists(&id));
        assert!(store.steady().exists(&id));
    }

    #[test]
    fn a_full_disk_is_not_taken_for_a_malformed_pack() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let mut sent = b"PACK".as_slice();
        let error = receive(&mut sent, &mut full, Path::new("/cache")).unwrap_err();
        let error = error.into_source("URL".to_owned());
        assert!(error.is_full() && error.is_retryable(), "{error}");
        insta::assert_snapshot!(error, @"the cache folder /cache cannot be used: No space left on device (os error 28): make room on its volume, or give it a larger one");
    }

    #[test]
    fn what_arrives_leaves_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = nameless(dir.path()).unwrap();
        receive(&mut b"PACK".as_slice(), &mut file, dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        file.rewind().unwrap();
        assert_eq!(io::read_to_string(file).unwrap(), "PACK");
    }
}
