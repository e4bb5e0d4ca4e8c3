//! Archives of files, unpacked in memory within limits.

use std::{
    cell::Cell,
    io::{self, BufRead, Read},
};

use flate2::bufread::MultiGzDecoder;
use pintle_core::{digest::Digest, tree::TreePath};
use tar::EntryType;

use super::files::{Files, MAX_ENTRIES, MAX_PATHS, Unfit};

/// The maximum size of all files together, in bytes. Helm has the same limit.
const MAX_UNPACKED: u64 = 100 << 20;
/// The maximum length of a path, in bytes. Most operating systems have the same limit.
const MAX_PATH: usize = 4096;
/// The maximum number of folders above a file, as in git.
const MAX_DEPTH: usize = 64;
/// The maximum size of what describes one entry, in bytes: its header, and the records before it, such as a path that does not
/// fit into the header. All of it is read into memory at once. Go, and therefore Helm, has the same limit.
const MAX_DESCRIPTION: u64 = 1 << 20;
/// The maximum number of decompressed bytes, including headers and padding. This stops an archive that consists only of headers.
const MAX_STREAM: u64 = MAX_UNPACKED + (MAX_ENTRIES as u64) * 2048;
/// Advice on how to make an archive smaller.
pub(crate) const ARCHIVE_ADVICE: &str =
    "leave files out of it, for a chart with `.helmignore`, or split it";
/// The byte order mark that Windows editors put at the start of a text. Helm removes it from each file.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The file that lists which files of a chart's folder are not packed. It was applied when the chart was packed, and Helm does
/// not apply it again: the patterns may match files that were added to the archive later, such as those of a packed dependency.
const IGNORED: &str = ".helmignore";

/// How the files of an archive are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Below one folder, the chart's own, which is not part of their paths.
    Chart,
    /// At the top, with their paths as they are.
    Plain,
}

/// The reason why an archive is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It is not compressed as it should be.
    #[error("it is not a gzip archive")]
    NotGzip,
    /// It is damaged, or is not an archive.
    #[error("it cannot be unpacked: {0}")]
    Malformed(String),
    /// Its bytes differ from those that were verified: the file that holds them on this machine is damaged.
    #[error(
        "its copy on this machine was damaged after it was verified: it has to be fetched again"
    )]
    Lost,
    /// It contains no files.
    #[error("it holds no files")]
    Empty,
    /// A path in it leads out of it, or means something else on another operating system.
    #[error("it holds `{0}`, which is no path within it")]
    Path(String),
    /// A chart's files are at the top of the archive instead of in the chart's own folder.
    #[error("`Chart.yaml` is at its top, and not in the chart's own folder")]
    NoFolder,
    /// A path in it is longer than the limit.
    #[error("it holds `{0}…`, a path of more than {MAX_PATH} bytes: shorten the names in it")]
    LongPath(String),
    /// A path in it has more folders than the limit.
    #[error("it holds `{0}`, which lies in more than {MAX_DEPTH} folders: put it into fewer")]
    Deep(String),
    /// Its paths are together longer than the limit.
    #[error(
        "the paths of its files and folders have more than {MAX_PATHS} bytes together: shorten the names in it, or {ARCHIVE_ADVICE}"
    )]
    LongPaths,
    /// The description of an entry is larger than the limit.
    #[error(
        "what describes one of its entries, such as its path or attributes, has more than {MAX_DESCRIPTION} bytes: pack it without that"
    )]
    Description,
    /// A path in it is both a file and a folder.
    #[error("`{0}` is both a file and a folder in it")]
    InTheWay(TreePath),
    /// It has more files and folders than the limit.
    #[error("it has more than {MAX_ENTRIES} files and folders: {ARCHIVE_ADVICE}")]
    TooMany,
    /// Its files are together larger than the limit.
    #[error("its files have more than {MAX_UNPACKED} bytes together: {ARCHIVE_ADVICE}")]
    TooLarge,
}

/// Unpacks an archive with a known digest.
pub(super) fn unpack(
    mut packed: impl BufRead,
    digest: Digest,
    layout: Layout,
) -> Result<Files, ArchiveError> {
    let start = packed.fill_buf().map_err(broken)?;
    if !start.starts_with(b"\x1F\x8B") {
        return Err(ArchiveError::NotGzip);
    }
    let describing = Cell::new(0);
    let stream = Bounded {
        inner: MultiGzDecoder::new(packed),
        left: MAX_STREAM,
        describing: &describing,
    };
    let mut archive = tar::Archive::new(stream);
    let mut entries = archive.entries().map_err(broken)?;
    let mut files = Files::new(digest);
    let (mut count, mut left, mut any) = (0, MAX_UNPACKED, false);
    loop {
        describing.set(MAX_DESCRIPTION);
        let Some(entry) = entries.next() else { break };
        describing.set(u64::MAX);
        let mut entry = entry.map_err(broken)?;
        count += 1;
        if count > MAX_ENTRIES {
            return Err(ArchiveError::TooMany);
        }
        let kind = entry.header().entry_type();
        if is_passed_over(kind) {
            continue;
        }
        let Some(path) = path_of(&entry.path_bytes(), layout)? else {
            continue;
        };
        any = true;
        if entry.size() > left {
            return Err(ArchiveError::TooLarge);
        }
        let mut content = Vec::new();
        if !is_link(kind) {
            // The capacity never exceeds the limit, whatever a header says.
            content.reserve_exact(usize::try_from(entry.size()).unwrap_or_default());
            entry.read_to_end(&mut content).map_err(broken)?;
        }
        left -= content.len() as u64;
        if layout == Layout::Chart && path.as_str() == IGNORED {
            continue;
        }
        if layout == Layout::Chart && content.starts_with(BYTE_ORDER_MARK) {
            content.drain(..BYTE_ORDER_MARK.len());
        }
        files.note_time(entry.header().mtime().unwrap_or_default());
        files.insert(path, content).map_err(|unfit| match unfit {
            Unfit::InTheWay(path) => ArchiveError::InTheWay(path),
            Unfit::TooMany => ArchiveError::TooMany,
            Unfit::TooLong => ArchiveError::LongPaths,
        })?;
    }
    if any {
        Ok(files)
    } else {
        Err(ArchiveError::Empty)
    }
}

/// Returns whether to skip an entry. Folders follow from the paths of files, and the other kinds only describe entries.
fn is_passed_over(kind: EntryType) -> bool {
    kind.is_dir()
        || kind.is_pax_global_extensions()
        || kind.is_pax_local_extensions()
        || kind.is_gnu_longname()
        || kind.is_gnu_longlink()
}

/// Returns whether an entry is a link. A link becomes an empty file, as in Helm: its target is never read, wherever it is.
fn is_link(kind: EntryType) -> bool {
    !(kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse())
}

/// Returns the path of a file, or `None` for a name that names no file, such as `./`.
fn path_of(name: &[u8], layout: Layout) -> Result<Option<TreePath>, ArchiveError> {
    let shown = || -> String {
        let text = String::from_utf8_lossy(name);
        text.chars().filter(|c| !c.is_control()).take(200).collect()
    };
    let refused = || ArchiveError::Path(shown());
    if name.len() > MAX_PATH {
        return Err(ArchiveError::LongPath(shown()));
    }
    let name = std::str::from_utf8(name).map_err(|_| refused())?;
    // Archives packed on Windows have backslashes, and no forward slashes.
    let name = name.replace('\\', "/");
    let inner = match layout {
        Layout::Plain => name.as_str(),
        Layout::Chart => {
            let trimmed = name.strip_prefix("./").unwrap_or(&name);
            match trimmed.split_once('/') {
                Some((_, inner)) => inner,
                None if trimmed == "Chart.yaml" => return Err(ArchiveError::NoFolder),
                None => return Err(refused()),
            }
        }
    };
    let is_drive = inner
        .split_once(":/")
        .is_some_and(|(drive, _)| drive.len() == 1);
    let path = TreePath::parse(inner)
        .filter(|_| !is_drive && !name.starts_with('/') && !inner.chars().any(char::is_control))
        .ok_or_else(refused)?;
    if path.parts().count() > MAX_DEPTH + 1 {
        return Err(ArchiveError::Deep(shown()));
    }
    Ok((!path.is_root()).then_some(path))
}

fn broken(error: io::Error) -> ArchiveError {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Exhausted>())
    {
        Some(Exhausted::Stream) => ArchiveError::TooLarge,
        Some(Exhausted::Description) => ArchiveError::Description,
        None => ArchiveError::Malformed(error.to_string()),
    }
}

/// Decompression produced more bytes than the limit.
#[derive(Debug, thiserror::Error)]
enum Exhausted {
    #[error("it is too large")]
    Stream,
    #[error("what describes an entry is too large")]
    Description,
}

/// A reader that fails after a given number of bytes, so that a small archive cannot expand into a huge one.
struct Bounded<'a, R> {
    inner: R,
    left: u64,
    /// How many of these bytes the description of the next entry may still use.
    describing: &'a Cell<u64>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let describing = self.describing.get();
        if self.left == 0 && !buffer.is_empty() {
            return Err(io::Error::other(Exhausted::Stream));
        }
        if describing == 0 && !buffer.is_empty() {
            return Err(io::Error::other(Exhausted::Description));
        }
        let most = usize::try_from(self.left.min(describing)).unwrap_or(usize::MAX);
        let end = buffer.len().min(most);
        let read = self.inner.read(&mut buffer[..end])?;
        self.left -= read as u64;
        self.describing.set(describing - read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, sync::Arc};

    use bytes::Bytes;
    use flate2::{Compression, write::GzEncoder};
    use pintle_core::tree::{self, Tree as _};
    use proptest::prelude::*;

    use super::{super::packed::Archive, *};

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    /// Packs an archive with arbitrary names. The builder itself rejects those that lead out of it.
    fn pack(entries: &[(&str, EntryType, &[u8])]) -> Bytes {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            if kind.is_symlink() {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        gzip(&builder.into_inner().unwrap())
    }

    fn chart(names: &[&str]) -> Result<Vec<String>, String> {
        let entries: Vec<_> = names
            .iter()
            .map(|name| (*name, EntryType::Regular, &b"x"[..]))
            .collect();
        paths(pack(&entries), Layout::Chart)
    }

    fn paths(bytes: Bytes, layout: Layout) -> Result<Vec<String>, String> {
        let files = Archive::new(bytes, layout)
            .files()
            .map_err(|error| error.to_string())?;
        let found = tree::walk(&*files, &TreePath::root()).unwrap();
        Ok(found
            .into_iter()
            .map(|(path, _)| path.to_string())
            .collect())
    }

    #[test]
    fn the_charts_own_folder_does_not_count() {
        let names = [
            "web/Chart.yaml",
            "web/templates/a.yaml",
            "other/templates/b.yaml",
            "./web/x",
        ];
        let found = chart(&names).unwrap();
        assert_eq!(
            found,
            ["Chart.yaml", "templates/a.yaml", "templates/b.yaml", "x"]
        );
        assert_eq!(
            chart(&["web\\templates\\a.yaml"]).unwrap(),
            ["templates/a.yaml"]
        );
        let ignoring = ["web/.helmignore", "web/a", "web/charts/x/.helmignore"];
        assert_eq!(chart(&ignoring).unwrap(), ["a", "charts/x/.helmignore"]);
        let plain = pack(&[
            ("./a/b.yaml", EntryType::Regular, b"x"),
            ("./", EntryType::Directory, b""),
        ]);
        assert_eq!(paths(plain, Layout::Plain).unwrap(), ["a/b.yaml"]);
    }

    #[test]
    fn files_are_what_was_packed() {
        let bytes = pack(&[
            ("web/", EntryType::Directory, b""),
            (
                "web/Chart.yaml",
                EntryType::Regular,
                b"\xEF\xBB\xBFname: web\n",
            ),
            ("web/link", EntryType::Symlink, b""),
            ("web/a", EntryType::Regular, b"old"),
            ("web/a", EntryType::Regular, b"new"),
        ]);
        let archive = Archive::new(bytes, Layout::Chart);
        let files = archive.files().unwrap();
        let read = |path: &str| files.read(&TreePath::parse(path).unwrap()).unwrap();
        assert_eq!(read("Chart.yaml"), b"name: web\n");
        assert_eq!((read("link"), read("a")), (Vec::new(), b"new".to_vec()));
        assert!(Arc::ptr_eq(&files, &archive.clone().files().unwrap()));
        assert_eq!(files.entries(&TreePath::root()).unwrap().len(), 3);
        assert!(files.read(&TreePath::root()).is_err());
        assert!(files.entries(&TreePath::parse("a").unwrap()).is_err());
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        let said: Vec<String> = [
            &["web/../../etc/passwd"][..],
            &["/etc/passwd"],
            &["web//etc/passwd", "web/c:/windows"],
            &["Chart.yaml"],
            &["README.md"],
            &["web/a", "web/a/b"],
            &["web/a/b", "web/a"],
            &[],
        ]
        .iter()
        .map(|names| chart(names).unwrap_err())
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        it holds `web/../../etc/passwd`, which is no path within it
        it holds `/etc/passwd`, which is no path within it
        it holds `web//etc/passwd`, which is no path within it
        `Chart.yaml` is at its top, and not in the chart's own folder
        it holds `README.md`, which is no path within it
        `a` is both a file and a folder in it
        `a` is both a file and a folder in it
        it holds no files
        ");
    }

    #[test]
    fn what_grows_too_large_is_refused() {
        let large = vec![0; 60 << 20];
        let two = pack(&[
            ("web/a", EntryType::Regular, &large),
            ("web/b", EntryType::Regular, &large),
        ]);
        assert!(two.len() < 4 << 20, "{}", two.len());
        assert_eq!(
            paths(two, Layout::Chart),
            Err(ArchiveError::TooLarge.to_string())
        );
        // A header that promises more bytes than follow.
        let mut header = tar::Header::new_ustar();
        header.set_path("web/a").unwrap();
        header.set_size(1 << 40);
        header.set_cksum();
        let lie = gzip(header.as_bytes());
        assert_eq!(
            paths(lie, Layout::Chart),
            Err(ArchiveError::TooLarge.to_string())
        );
        let many: Vec<_> = (0..=MAX_ENTRIES)
            .map(|_| ("web/a", EntryType::Regular, &b""[..]))
            .collect();
        assert_eq!(
            paths(pack(&many), Layout::Chart),
            Err(ArchiveError::TooMany.to_string())
        );
    }

    /// Unpacks a chart of empty files whose paths may have any length.
    fn long(paths: impl IntoIterator<Item = String>) -> Result<Vec<String>, String> {
        let mut builder = tar::Builder::new(Vec::new());
        for path in paths {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_mode(0o644);
            let path = format!("web/{path}");
            builder.append_data(&mut header, path, io::empty()).unwrap();
        }
        self::paths(gzip(&builder.into_inner().unwrap()), Layout::Chart)
    }

    #[test]
    fn a_path_has_a_bound() {
        let below = |folders: usize| format!("{}x", "f/".repeat(folders));
        let fits = [below(MAX_DEPTH), "x".repeat(MAX_PATH - "web/".len())];
        assert_eq!(long(fits).unwrap().len(), 2);
        let too_deep = below(MAX_DEPTH + 1);
        let too_long = below(32 << 10);
        let said = [too_deep, too_long].map(|path| long([path]).unwrap_err());
        insta::assert_snapshot!(said.join("\n").replace("f/f/f/f/f/f/f/f/", ""), @r"
        it holds `web/f/x`, which lies in more than 64 folders: put it into fewer
        it holds `web/f/f/…`, a path of more than 4096 bytes: shorten the names in it
        ");
        let attributes = "x".repeat(2 << 20);
        let described = pack(&[
            ("web/x", EntryType::XHeader, attributes.as_bytes()),
            ("web/x", EntryType::Regular, b""),
        ]);
        insta::assert_snapshot!(paths(described, Layout::Chart).unwrap_err(), @"what describes one of its entries, such as its path or attributes, has more than 1048576 bytes: pack it without that");
    }

    #[test]
    fn all_paths_have_bounds_together() {
        // Folders that appear only in the paths of files.
        let count = MAX_ENTRIES / MAX_DEPTH + 1;
        let deep = (0..count).map(|number| format!("{number}/{}x", "f/".repeat(MAX_DEPTH - 1)));
        insta::assert_snapshot!(long(deep).unwrap_err(), @"it has more than 20000 files and folders: leave files out of it, for a chart with `.helmignore`, or split it");
        let name = "n".repeat(1000);
        let count = MAX_PATHS / (1000 + 2000 + 3000);
        let wide = (0..=count).map(|number| format!("{number}{name}/{name}/{name}"));
        insta::assert_snapshot!(long(wide).unwrap_err(), @"the paths of its files and folders have more than 16777216 bytes together: shorten the names in it, or leave files out of it, for a chart with `.helmignore`, or split it");
    }

    #[test]
    fn what_is_no_archive_is_told() {
        let whole = pack(&[("web/Chart.yaml", EntryType::Regular, &[b'x'; 4000])]);
        let said: Vec<String> = [
            Bytes::from_static(b"kind: ConfigMap"),
            gzip(b"not a tar"),
            whole.slice(..whole.len() / 2),
        ]
        .map(|bytes| paths(bytes, Layout::Chart).unwrap_err())
        .to_vec();
        assert_eq!(said[0], "it is not a gzip archive");
        assert!(
            said[1..]
                .iter()
                .all(|text| text.starts_with("it cannot be unpacked: ")),
            "{said:?}"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), as_tar in any::<bool>()) {
            let bytes = if as_tar { gzip(&bytes) } else { bytes.into() };
            let _ = Archive::new(bytes, Layout::Chart).files();
        }

        #[test]
        fn paths_stay_inside(name in "[a.:/\\\\c]{1,12}") {
            if let Ok(Some(path)) = path_of(name.as_bytes(), Layout::Chart) {
                prop_assert!(path.parts().all(|part| part != ".."));
            }
        }
    }
}
