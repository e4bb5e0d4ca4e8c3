//! Links of folders outside any repository, which may lead anywhere.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
};

use pintle_core::tree::{EntryKind, walk};
use pintle_source::{Limits, SourceError, WorkTree};
use tempfile::TempDir;

use crate::fixture::{names, path};

/// A folder of this machine with other folders beside it, none of them in a repository.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let at = self.at(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }

    fn link(&self, name: &str, target: impl AsRef<Path>) {
        let at = self.at(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(target, at).unwrap();
    }

    fn scan(&self, name: &str) -> Result<WorkTree, SourceError> {
        WorkTree::scan(&self.at(name), Limits::default())
    }

    fn files(&self, name: &str) -> Vec<(String, String)> {
        let tree = self.scan(name).unwrap().tree();
        let found = walk(&*tree, &path("")).unwrap();
        let texts = found.into_iter().map(|(at, _)| {
            let bytes = tree.read(&at).unwrap();
            (at.to_string(), String::from_utf8(bytes).unwrap())
        });
        texts.collect()
    }
}

#[test]
fn what_links_lead_to_is_in_their_place() {
    let disk = Disk::new();
    disk.write("web/own.yaml", "own");
    disk.link("web/linked.yaml", "own.yaml");
    disk.link("web/values.yaml", "../current/values.yaml");
    disk.link("current", "v1");
    disk.write("v1/values.yaml", "v1");
    disk.link("web/charts/common", disk.at("src/common"));
    disk.link("web/charts/again", "common");
    // A clone of a repository, such as somebody has who works on several charts.
    disk.write("src/common/.git/HEAD", "ref: refs/heads/main\n");
    disk.write("src/common/Chart.yaml", "common");
    disk.link("src/common/templates/lib.tpl", "../../lib.tpl");
    disk.write("src/lib.tpl", "lib");
    let files = [
        ("charts/again/Chart.yaml", "common"),
        ("charts/again/templates/lib.tpl", "lib"),
        ("charts/common/Chart.yaml", "common"),
        ("charts/common/templates/lib.tpl", "lib"),
        ("linked.yaml", "own"),
        ("own.yaml", "own"),
        ("values.yaml", "v1"),
    ];
    let expected = files.map(|(at, text)| (at.to_owned(), text.to_owned()));
    assert_eq!(disk.files("web"), expected);

    // The folder that is named may be a link, too.
    disk.link("named", "web");
    assert_eq!(disk.files("named"), expected);
}

#[test]
fn what_changes_behind_a_link_makes_another_revision() {
    let disk = Disk::new();
    disk.link("web/values.yaml", "../values.yaml");
    disk.link("web/templates", "../templates");
    disk.write("values.yaml", "1");
    disk.write("templates/a.yaml", "1");
    let commit = || disk.scan("web").unwrap().revision.commit;
    let mut last = commit();
    disk.write("other.yaml", "1");
    assert_eq!(commit(), last);
    for file in ["values.yaml", "templates/a.yaml", "templates/b.yaml"] {
        disk.write(file, "2");
        let now = commit();
        assert_ne!(now, last, "{file}");
        last = now;
    }
}

#[test]
fn what_is_behind_links_is_named_for_who_watches_it() {
    let disk = Disk::new();
    disk.link("web/values.yaml", "../current/values.yaml");
    disk.link("current", "v1");
    disk.write("v1/values.yaml", "1");
    disk.link("web/charts", "../charts");
    disk.write("charts/common/Chart.yaml", "");
    disk.link("web/later.yaml", "../later.yaml");
    let root = disk.0.path().canonicalize().unwrap();
    let expected = [
        "charts",
        "charts/common",
        "current",
        "later.yaml",
        "v1/values.yaml",
        "web",
    ];
    let expected = expected.map(|place| root.join(place));
    let places: Vec<PathBuf> = disk.scan("web").unwrap().places.into_iter().collect();
    assert_eq!(places, expected);
}

#[test]
fn what_cannot_be_followed_is_told_to_who_reads_it() {
    let disk = Disk::new();
    disk.write("a.yaml", "a");
    disk.write("web/deep/own.yaml", "own");
    disk.write("web/templates/a.yaml", "a");
    for (name, target) in [
        ("dangling", "../none.yaml"),
        ("absent", "/none/none.yaml"),
        ("through-file", "../a.yaml/x"),
        ("slash", "../a.yaml/"),
        ("self", "self"),
        ("ping", "pong"),
        ("pong", "ping"),
        ("here", "."),
        ("above", ".."),
        ("root", "/"),
        ("deep/up", "../../web"),
        ("device", "/dev/null"),
    ] {
        disk.link(&format!("web/{name}"), target);
    }
    // A folder beside this one, with a link that leads back.
    disk.link("web/beside", "../beside");
    disk.link("beside/back", "../web");
    let _socket = UnixListener::bind(disk.at("web/socket")).unwrap();
    let tree = disk.scan("web").unwrap().tree();
    let told = |name: &str| {
        let stat = tree.stat(&path(name)).unwrap().unwrap();
        assert_eq!((stat.kind, stat.size), (EntryKind::File, 0), "{name}");
        tree.read(&path(name)).unwrap_err().to_string()
    };
    insta::assert_snapshot!(told("dangling"), @"dangling could not be read: it is a symbolic link to `../none.yaml`, which does not exist");
    insta::assert_snapshot!(told("absent"), @"absent could not be read: it is a symbolic link to `/none/none.yaml`, which does not exist");
    insta::assert_snapshot!(told("through-file"), @"through-file could not be read: it is a symbolic link to `../a.yaml/x`, which does not exist");
    insta::assert_snapshot!(told("slash"), @"slash could not be read: it is a symbolic link to `../a.yaml/`, which does not exist");
    insta::assert_snapshot!(told("self"), @"self could not be read: it is a symbolic link to `self`, which never ends");
    insta::assert_snapshot!(told("ping"), @"ping could not be read: it is a symbolic link to `pong`, which never ends");
    for name in ["here", "above", "root", "deep/up", "beside/back"] {
        let told = told(name);
        let expected =
            "which leads back to a folder around it: let it lead to what is needed of that";
        assert!(told.ends_with(expected), "{told}");
    }
    insta::assert_snapshot!(told("device"), @"device could not be read: it is a pipe, a socket or a device: expected a file or a folder");
    insta::assert_snapshot!(told("socket"), @"socket could not be read: it is a pipe, a socket or a device: expected a file or a folder");
    // None of them gets in the way of a caller that does not read it.
    assert_eq!(names(&*tree, "templates"), ["a.yaml"]);
    assert_eq!(tree.read(&path("deep/own.yaml")).unwrap(), b"own");
    assert_eq!(names(&*tree, "").len(), 15);
}

#[test]
fn links_that_multiply_folders_come_to_an_end() {
    let disk = Disk::new();
    // Two ways from each folder to the next one: more than a hundred thousand to the last, which is empty.
    for level in 0..17 {
        for name in ["a", "b"] {
            disk.link(&format!("{level}/{name}"), format!("../{}", level + 1));
        }
    }
    fs::create_dir(disk.at("17")).unwrap();
    let told = disk.scan("0").unwrap_err().to_string();
    // Whichever the system lists first has more entries than there may be.
    let expected =
        " has 100001 entries, with all that was listed before it, and the limit is 100000";
    let link = told.strip_suffix(expected);
    assert!(matches!(link, Some("a" | "b")), "{told}");
}

/// Makes a folder that nobody can list anything of: the path of its contents is longer than a path may be.
fn unlisted(disk: &Disk) -> PathBuf {
    let longest = 4095;
    disk.write(&format!("held/{}", "f".repeat(255)), "");
    let mut folder = disk.at("deep");
    let part = "d".repeat(200);
    while folder.as_os_str().len() + part.len() + "//held".len() <= longest {
        folder.push(&part);
    }
    fs::create_dir_all(&folder).unwrap();
    let folder = folder.join("held");
    fs::rename(disk.at("held"), &folder).unwrap();
    folder
}

#[test]
fn what_may_not_be_read_is_told_to_who_reads_it() {
    let disk = Disk::new();
    disk.write("web/templates/a.yaml", "a");
    let folder = unlisted(&disk);
    disk.link("web/logs", &folder);
    disk.link("web/beside", "../beside");
    disk.write("beside/a.yaml", "a");
    disk.link("beside/within", &folder);
    // A regular file that can be opened, but whose first byte cannot be read.
    disk.link("web/key", "/proc/self/mem");
    let tree = disk.scan("web").unwrap().tree();
    assert_eq!(names(&*tree, ""), ["beside", "key", "logs", "templates"]);
    assert_eq!(tree.read(&path("templates/a.yaml")).unwrap(), b"a");
    assert_eq!(tree.read(&path("beside/a.yaml")).unwrap(), b"a");
    for name in ["logs", "beside/within"] {
        let stat = tree.stat(&path(name)).unwrap().unwrap();
        assert_eq!(stat.kind, EntryKind::Folder, "{name}");
        let told = tree.entries(&path(name)).unwrap_err().to_string();
        assert!(
            told.starts_with(&format!("{name} could not be read: "))
                && told.ends_with("File name too long (os error 36)"),
            "{told}"
        );
        assert!(tree.read(&path(name)).is_err(), "{name}");
        // A walk reports what it could not see.
        assert!(walk(&*tree, &path(name)).is_err(), "{name}");
    }
    insta::assert_snapshot!(tree.read(&path("key")).unwrap_err(), @"key could not be read: Input/output error (os error 5)");
}

#[test]
fn folders_behind_links_have_a_depth_too() {
    let disk = Disk::new();
    disk.link("0/next", "../1");
    disk.link("1/next", "../2");
    disk.write("2/a.yaml", "a");
    let scan = |depth| {
        let limits = Limits {
            depth,
            ..Limits::default()
        };
        WorkTree::scan(&disk.at("0"), limits)
    };
    scan(2).unwrap();
    insta::assert_snapshot!(scan(1).unwrap_err(), @"next/next has 2 levels, and the limit is 1");
}
