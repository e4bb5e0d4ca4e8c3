//! A cache of content by digest, in a folder.
//!
//! A file is named by its digest, or by a combination of the digest and who may read it. Its modification time is when it was
//! last used. Files are renamed into place, and verified when they are read or opened. So neither a crash nor another process
//! can make the content wrong, and a manual change is found at the next read or opening. An open file keeps its content when it
//! is removed or replaced. Only a manual write into the file itself is not noticed while it is open.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use pintle_core::digest::{Digest, Digester};
use tempfile::{Builder, NamedTempFile, TempPath};

use crate::{content::Content, credentials::Credentials, options::CacheOptions};

/// The prefix for the name of a file that is being written.
const UNFINISHED: &str = ".new-";
/// The age from which an unfinished file counts as left by a crash. By default a download takes five
/// minutes at most.
const ABANDONED: Duration = Duration::from_mins(10);

/// The prefix for the name of a file that belongs to an archive. Earlier versions did not use one.
const ARCHIVE: &str = "archive-";

/// A folder of files that may be evicted at any time, the least recently used of a kind first.
///
/// Newer archives keep arriving, while a plugin is read at startup and then no more: by time alone, archives would evict all
/// plugins. So archives are evicted while they take more than three quarters of the limit, and other files while they do not;
/// one kind goes on to the other only when none of it is left. An archive that is larger than three quarters is not kept.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    dir: PathBuf,
    max_bytes: u64,
}

impl Folder {
    /// Creates a value for a folder that may hold this many bytes. The folder itself is created when the first file is kept.
    pub(crate) fn new(dir: PathBuf, max_bytes: u64) -> Self {
        Self { dir, max_bytes }
    }

    /// Returns the path of a file, which may not exist.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file, and evicts others to make room for it. A file that exceeds its limit is not written. Blocks.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let size = bytes.len() as u64;
        if size > self.most(name) {
            return Ok(());
        }
        let mut file = begin(&self.dir)?;
        file.write_all(bytes)?;
        self.adopt(name, file.into_temp_path(), size)
    }

    /// Renames a completely written file that was [begun](begin) in this folder to its final name, and evicts others to make room
    /// for it. A file that exceeds its limit is removed instead. Blocks.
    fn adopt(&self, name: &str, file: TempPath, size: u64) -> io::Result<()> {
        if size > self.most(name) {
            return Ok(());
        }
        file.persist(self.path(name)).map_err(|e| e.error)?;
        self.evict(name)
    }

    /// Returns the maximum size of a file, in bytes.
    fn most(&self, name: &str) -> u64 {
        if name.starts_with(ARCHIVE) {
            self.for_archives()
        } else {
            self.max_bytes
        }
    }

    /// Returns how many bytes archives may have when the other files need theirs.
    const fn for_archives(&self) -> u64 {
        self.max_bytes - self.max_bytes / 4
    }

    /// Removes files until the rest is within the limit, in the order that the folder describes, but never the file that was just
    /// written.
    fn evict(&self, keep: &str) -> io::Result<()> {
        let (mut archives, mut others) = self.list(keep)?;
        while archives.bytes + others.bytes > self.max_bytes {
            let (first, then) = if archives.bytes > self.for_archives() {
                (&mut archives, &mut others)
            } else {
                (&mut others, &mut archives)
            };
            let Some(path) = first.pop().or_else(|| then.pop()) else {
                break;
            };
            remove(path)?;
        }
        Ok(())
    }

    /// Lists the archives and the other files, and removes what a crash left. The file to keep is counted, but not listed for
    /// removal.
    fn list(&self, keep: &str) -> io::Result<(Listed, Listed)> {
        let now = SystemTime::now();
        let (mut archives, mut others) = (Listed::default(), Listed::default());
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // Another process may have removed the file since it was listed.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let used = metadata.modified()?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            if text.starts_with(UNFINISHED) {
                if now.duration_since(used).is_ok_and(|age| age > ABANDONED) {
                    remove(entry.path())?;
                }
                continue;
            }
            let listed = if text.starts_with(ARCHIVE) {
                &mut archives
            } else {
                &mut others
            };
            listed.bytes += metadata.len();
            if text != keep {
                listed.files.push((used, metadata.len(), entry.path()));
            }
        }
        for listed in [&mut archives, &mut others] {
            listed.files.sort_unstable();
            listed.files.reverse();
        }
        Ok((archives, others))
    }
}

/// The files of one kind in a folder.
#[derive(Default)]
struct Listed {
    /// The total size of all of them, in bytes.
    bytes: u64,
    /// The files that may be removed: when each was last used, its size and its path. The last one is removed first.
    files: Vec<(SystemTime, u64, PathBuf)>,
}

impl Listed {
    /// Takes the least recently used file off the list.
    fn pop(&mut self) -> Option<PathBuf> {
        let (_, size, path) = self.files.pop()?;
        self.bytes -= size;
        Some(path)
    }
}

/// Begins a file in a folder of a cache, which is created if it does not exist. Dropping the file removes it.
pub(crate) fn begin(dir: &Path) -> io::Result<NamedTempFile> {
    fs::create_dir_all(dir)?;
    Builder::new().prefix(UNFINISHED).tempfile_in(dir)
}

/// Records that a file was used now. Only the order of eviction depends on that.
pub(crate) fn touch(file: &fs::File) {
    let _ = file.set_modified(SystemTime::now());
}

fn remove(path: PathBuf) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The callers that may read cached content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// All who know its digest.
    All,
    /// Those that this digest identifies.
    Those(Digest),
}

impl Readers {
    /// Returns the readers that name this place and show it these credentials. Knowing a digest does not give the right to read
    /// the content.
    pub(crate) fn of(place: &str, credentials: &Credentials) -> Self {
        let those = Digester::new("registry-readers/v1")
            .part(place)
            .part(credentials.fingerprint().as_bytes());
        Self::Those(those.finish())
    }

    /// Returns the name of the file that has the content for these readers. Content for all is that of plugins, and the rest
    /// belongs to archives.
    fn file(self, digest: Digest) -> String {
        match self {
            Self::All => digest.hex(),
            Self::Those(those) => {
                let content = Digester::new("registry-content/v1")
                    .part(those.as_bytes())
                    .part(digest.as_bytes());
                format!("{ARCHIVE}{}", content.finish().hex())
            }
        }
    }
}

/// A cache of content by digest. It can only save work: if anything is wrong with it, that is logged and the content is fetched.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    folder: Folder,
    readers: Readers,
}

impl Cache {
    pub(crate) fn new(options: CacheOptions) -> Self {
        Self {
            // The folder's name stands for the format of its files. Another format would get another name.
            folder: Folder::new(options.dir.join("sha256"), options.max_bytes),
            readers: Readers::All,
        }
    }

    /// Returns the part of the cache that belongs to these readers.
    pub(crate) fn of(self, readers: Readers) -> Self {
        Self { readers, ..self }
    }

    /// Returns the folder that its files are in.
    pub(crate) fn dir(&self) -> &Path {
        &self.folder.dir
    }

    /// Returns the content with this digest, if it is cached and has at most `limit` bytes. Blocks.
    pub(crate) fn get(&self, digest: Digest, limit: u64) -> Option<Vec<u8>> {
        self.find(digest, limit, |mut file, _| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let got = Digest::of(&bytes);
            Ok((bytes, got))
        })
    }

    /// Like [`Cache::get`], but leaves large content in its file. Blocks.
    pub(crate) fn open(&self, digest: Digest, limit: u64) -> Option<Content> {
        self.find(digest, limit, |file, size| {
            let content = Content::of(file, size)?;
            let got = content.digest()?;
            Ok((content, got))
        })
    }

    /// Finds the content with this digest. `read` returns the content together with the digest that it actually has.
    fn find<T>(
        &self,
        digest: Digest,
        limit: u64,
        read: impl FnOnce(fs::File, u64) -> io::Result<(T, Digest)>,
    ) -> Option<T> {
        let path = self.path(digest);
        let found = || -> io::Result<Option<T>> {
            let file = fs::File::open(&path)?;
            let size = file.metadata()?.len();
            if size > limit {
                return Ok(None);
            }
            touch(&file);
            let (content, got) = read(file, size)?;
            if got != digest {
                tracing::warn!(path = %path.display(), "cached content is damaged; it is fetched again");
                fs::remove_file(&path)?;
                return Ok(None);
            }
            Ok(Some(content))
        };
        match found() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cached content cannot be read; it is fetched again");
                None
            }
        }
    }

    /// Returns the path of content, which may not exist. An archive that an earlier version kept is renamed to its current name.
    /// Blocks.
    fn path(&self, digest: Digest) -> PathBuf {
        let name = self.readers.file(digest);
        let path = self.folder.path(&name);
        if let Some(earlier) = name.strip_prefix(ARCHIVE)
            && !path.exists()
        {
            // Usually there is no such file. One that cannot be renamed is fetched again, and is evicted like any old file.
            let _ = fs::rename(self.folder.path(earlier), &path);
        }
        path
    }

    /// Keeps content. Blocks.
    pub(crate) fn put(&self, digest: Digest, bytes: &[u8]) {
        self.report(self.folder.write(&self.readers.file(digest), bytes));
    }

    /// Keeps a file that was [begun](begin) in the cache's folder. Blocks.
    pub(crate) fn adopt(&self, digest: Digest, file: TempPath, size: u64) {
        self.report(self.folder.adopt(&self.readers.file(digest), file, size));
    }

    fn report(&self, kept: io::Result<()>) {
        if let Err(error) = kept {
            tracing::warn!(dir = %self.folder.dir.display(), %error, "content cannot be cached");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;
    use crate::content::SMALL;

    fn cache(max_bytes: u64) -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let options = CacheOptions {
            max_bytes,
            ..CacheOptions::new(dir.path())
        };
        (dir, Cache::new(options))
    }

    fn put(cache: &Cache, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        cache.put(digest, bytes);
        digest
    }

    fn age(cache: &Cache, digest: Digest, seconds: u64) {
        let file = fs::File::options()
            .write(true)
            .open(cache.folder.dir.join(digest.hex()))
            .unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    }

    #[test]
    fn damage_is_a_miss_and_heals() {
        let (_dir, cache) = cache(100);
        let digest = put(&cache, b"content");
        assert_eq!(cache.get(digest, 100).as_deref(), Some(&b"content"[..]));
        assert_eq!(cache.get(digest, 6), None, "over the limit");
        fs::write(cache.folder.dir.join(digest.hex()), "changed").unwrap();
        assert_eq!(cache.get(digest, 100), None);
        assert!(!cache.folder.dir.join(digest.hex()).exists());
        put(&cache, b"content");
        assert!(cache.get(digest, 100).is_some());
    }

    #[test]
    fn what_some_have_kept_is_theirs() {
        let (_dir, cache) = cache(100);
        let me = Credentials::basic("me", "hunter2");
        let mine = cache.clone().of(Readers::of("oci://a/x", &me));
        let digest = put(&mine, b"content");
        assert!(mine.get(digest, 100).is_some());
        for others in [
            Readers::of("oci://a/x", &Credentials::Anonymous),
            Readers::of("oci://a/y", &me),
            Readers::All,
        ] {
            let theirs = cache.clone().of(others);
            assert_eq!(theirs.get(digest, 100), None, "{others:?}");
        }
        let again = cache.of(Readers::of("oci://a/x", &me));
        assert!(again.get(digest, 100).is_some());
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let (_dir, cache) = cache(10);
        let [a, b] = [b"aaaa", b"bbbb"].map(|bytes| put(&cache, bytes));
        age(&cache, a, 100);
        age(&cache, b, 50);
        assert!(
            cache.get(a, 100).is_some(),
            "and so `b` is the one not used for longest"
        );
        let c = put(&cache, b"cccc");
        assert_eq!(
            [a, b, c].map(|digest| cache.get(digest, 100).is_some()),
            [true, false, true]
        );
        let large = put(&cache, b"more than ten");
        assert!(
            cache.get(large, 100).is_none(),
            "never larger than the bound"
        );
        assert!(cache.get(a, 100).is_some());
    }

    #[test]
    fn archives_and_plugins_leave_each_other_their_share() {
        let (_dir, cache) = cache(100);
        let archives = cache
            .clone()
            .of(Readers::of("oci://a/x", &Credentials::Anonymous));
        let plugins = [b"plugin one", b"plugin two"].map(|bytes| put(&cache, bytes));
        for plugin in plugins {
            age(&cache, plugin, 100);
        }
        let kept = |cache: &Cache, all: &[Digest]| {
            let is_kept = |digest: &&Digest| cache.get(**digest, 100).is_some();
            all.iter().filter(is_kept).count()
        };
        let charts: Vec<_> = (10..40)
            .map(|number| put(&archives, format!("chart {number}..").as_bytes()))
            .collect();
        assert_eq!(kept(&archives, &charts), 8, "all that plugins leave");
        assert!(archives.get(charts[29], 100).is_some());
        assert_eq!(kept(&cache, &plugins), 2);

        for plugin in plugins {
            age(&cache, plugin, 100);
        }
        let others: Vec<_> = (10..40)
            .map(|number| put(&cache, format!("plugin {number}.").as_bytes()))
            .collect();
        assert_eq!(kept(&archives, &charts), 7);
        assert_eq!(kept(&cache, &others), 3, "more than a quarter needs room");
        assert!(cache.get(others[29], 100).is_some());
    }

    #[test]
    fn an_archive_that_would_leave_nothing_to_plugins_is_not_kept() {
        let (_dir, cache) = cache(100);
        let archives = cache
            .clone()
            .of(Readers::of("oci://a/x", &Credentials::Anonymous));
        let plugin = put(&cache, &[1; 25]);
        let kept = [75, 76].map(|size| {
            let digest = put(&archives, &vec![0; size]);
            archives.get(digest, 100).is_some()
        });
        assert_eq!(kept, [true, false]);
        assert!(cache.get(plugin, 100).is_some());
    }

    #[test]
    fn a_file_that_was_begun_is_kept_or_goes() {
        let (_dir, cache) = cache(100);
        let adopt = |bytes: &[u8]| {
            let mut file = begin(cache.dir()).unwrap();
            file.write_all(bytes).unwrap();
            let digest = Digest::of(bytes);
            cache.adopt(digest, file.into_temp_path(), bytes.len() as u64);
            cache.open(digest, 200).map(|content| content.size())
        };
        assert_eq!(
            [40, 60, 101].map(|size| adopt(&vec![b'x'; size])),
            [Some(40), Some(60), None]
        );
        drop(begin(cache.dir()).unwrap());
        assert_eq!(fs::read_dir(cache.dir()).unwrap().count(), 2);
        assert_eq!(adopt(b"more"), Some(4));
        assert_eq!(fs::read_dir(cache.dir()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_open_stays_when_it_has_to_make_room() {
        let (_dir, cache) = cache(2 * SMALL);
        let large = vec![b'x'; usize::try_from(SMALL).unwrap() + 1];
        let digest = put(&cache, &large);
        let content = cache.open(digest, 2 * SMALL).unwrap();
        assert!(matches!(content, Content::File(..)));
        age(&cache, digest, 100);
        put(&cache, &vec![b'y'; large.len()]);
        assert!(cache.open(digest, 2 * SMALL).is_none());
        assert_eq!(content.digest().unwrap(), digest);

        let damaged = put(&cache, b"content");
        fs::write(cache.dir().join(damaged.hex()), "changed").unwrap();
        assert!(cache.open(damaged, 100).is_none());
        assert!(!cache.dir().join(damaged.hex()).exists());
    }

    #[test]
    fn archives_that_an_earlier_version_kept_are_found_or_go() {
        let (_dir, cache) = cache(100);
        let archives = cache
            .clone()
            .of(Readers::of("oci://a/x", &Credentials::Anonymous));
        put(&cache, b"the plugin");
        let earlier = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            let name = archives.readers.file(digest);
            let path = cache.folder.path(name.strip_prefix(ARCHIVE).unwrap());
            fs::write(&path, bytes).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            let used = SystemTime::now() - Duration::from_secs(100);
            file.set_modified(used).unwrap();
            (digest, path)
        };
        let (wanted, old_name) = earlier(b"some chart");
        assert!(archives.get(wanted, 100).is_some());
        assert!(!old_name.exists());
        assert!(archives.get(wanted, 100).is_some(), "by its new name");

        let (_, unwanted) = earlier(&[0; 60]);
        for number in 10..20 {
            put(&archives, format!("chart {number}..").as_bytes());
        }
        assert!(!unwanted.exists());
        assert!(cache.get(Digest::of(b"the plugin"), 100).is_some());
    }

    #[test]
    fn what_a_crash_left_goes() {
        let (_dir, cache) = cache(100);
        put(&cache, b"content");
        let [old, young] = [".new-old", ".new-young"].map(|name| cache.folder.dir.join(name));
        fs::write(&old, "half").unwrap();
        fs::write(&young, "half").unwrap();
        fs::File::options()
            .write(true)
            .open(&old)
            .unwrap()
            .set_modified(SystemTime::now() - Duration::from_mins(11))
            .unwrap();
        put(&cache, b"other");
        assert!(!old.exists());
        assert!(young.exists(), "another process may be at it");
    }

    #[test]
    fn a_folder_that_is_gone_or_cannot_be_is_no_error() {
        let (dir, cache) = cache(100);
        let digest = put(&cache, b"content");
        fs::remove_dir_all(dir.path()).unwrap();
        assert_eq!(cache.get(digest, 100), None);
        fs::write(dir.path(), "a file").unwrap();
        put(&cache, b"content");
        assert_eq!(cache.get(digest, 100), None);
        fs::remove_file(dir.path()).unwrap();
    }

    #[test]
    fn many_at_once_agree() {
        let (_dir, cache) = cache(2_000);
        let contents: Vec<Vec<u8>> = (0..20).map(|i| vec![i; 300]).collect();
        thread::scope(|scope| {
            for offset in 0..4 {
                let (cache, contents) = (cache.clone(), &contents);
                scope.spawn(move || {
                    for i in 0..60 {
                        let bytes = &contents[(i * 7 + offset) % contents.len()];
                        let digest = put(&cache, bytes);
                        if let Some(found) = cache.get(digest, 1_000) {
                            assert_eq!(&found, bytes);
                        }
                    }
                });
            }
        });
        put(&cache, b"last");
        let kept = fs::read_dir(&cache.folder.dir).unwrap();
        let size: u64 = kept
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(size <= 2_000, "{size}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn gives_back_what_it_took_or_nothing(all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12)) {
            let (_dir, cache) = cache(100);
            for bytes in &all {
                let digest = put(&cache, bytes);
                let found = cache.get(digest, 100);
                prop_assert_eq!(found.as_ref(), Some(bytes));
            }
        }
    }
}
