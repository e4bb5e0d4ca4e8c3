//! Repositories that try to lead a reader astray.

use std::{collections::BTreeMap, fs, sync::Arc};

use pintle_core::tree::{EntryKind, Tree, TreeError, TreePath, walk};
use pintle_harness::GitRepo;
use pintle_source::{Limits, Local, WorkTree, local};
use proptest::prelude::*;

use crate::fixture::{
    Desk, blob, branch, git_with, line, names, open_servers, path, push_tree, push_tree_id,
    repository, tree,
};

/// Reads a file in both ways.
fn read(tree: &dyn Tree, at: &TreePath) -> Result<Vec<u8>, TreeError> {
    let (stat, bytes) = tree.stat_and_read(at);
    assert_eq!((&stat, &bytes), (&tree.stat(at), &tree.read(at)), "{at}");
    bytes
}

/// Reads a file and returns its text, or the message of the error.
fn text(tree: &dyn Tree, file: &str) -> String {
    match read(tree, &path(file)) {
        Ok(bytes) => String::from_utf8(bytes).unwrap(),
        Err(error) => error.to_string(),
    }
}

/// A tree with the cache that it reads from.
struct Held {
    tree: Arc<dyn Tree>,
    _desk: Desk,
}

impl std::ops::Deref for Held {
    type Target = dyn Tree;

    fn deref(&self) -> &Self::Target {
        &*self.tree
    }
}

async fn pushed(repository: &GitRepo) -> Held {
    limited(repository, |_| {}).await
}

async fn limited(repository: &GitRepo, change: impl FnOnce(&mut Limits)) -> Held {
    let desk = Desk::limited(change);
    let snapshot = desk
        .fetch(&open_servers().git_http(repository), branch("main"))
        .await
        .unwrap();
    let tree = snapshot.tree(&path("")).unwrap();
    Held { tree, _desk: desk }
}

fn link(repository: &GitRepo, name: &str, target: &str) {
    let at = repository.work().join(name);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(target, at).unwrap();
}

#[tokio::test]
async fn links_are_followed_within_the_tree_and_no_further() {
    let repository = repository(open_servers(), "links");
    repository.write("app/a.yaml", "a").unwrap();
    repository.write("app/deep/b.yaml", "b").unwrap();
    repository.write("base/c.yaml", "c").unwrap();
    for (name, target) in [
        ("app/good.yaml", "a.yaml"),
        ("app/chain.yaml", "./deep/../good.yaml"),
        ("app/folder", "deep/"),
        ("app/base", "../base"),
        ("app/dangling", "none.yaml"),
        ("app/through-file", "a.yaml/x"),
        ("app/slash", "a.yaml/"),
        ("app/absolute", "/etc/passwd"),
        ("app/escape", "../../../../etc/passwd"),
        ("app/self", "self"),
        ("app/ping", "pong"),
        ("app/pong", "ping"),
        ("app/here", "."),
        ("app/up", ".."),
        ("top", "app"),
    ] {
        link(&repository, name, target);
    }
    repository.commit("links").unwrap();
    repository.push().unwrap();
    let whole = pushed(&repository).await;
    assert_eq!(text(&*whole, "app/good.yaml"), "a");
    assert_eq!(text(&*whole, "app/chain.yaml"), "a");
    assert_eq!(text(&*whole, "app/folder/b.yaml"), "b");
    assert_eq!(text(&*whole, "app/base/c.yaml"), "c");
    assert_eq!(text(&*whole, "top/base/c.yaml"), "c");
    let real = whole.stat(&path("app/a.yaml")).unwrap().unwrap();
    let linked = whole.stat(&path("app/chain.yaml")).unwrap().unwrap();
    assert_eq!((linked.content, linked.size), (real.content, real.size));
    insta::assert_snapshot!(text(&*whole, "app/absolute"), @"app/absolute is a symbolic link that leaves the repository, is absolute or never ends: let it lead, by a relative path, to what is in the repository");
    insta::assert_snapshot!(text(&*whole, "app/escape"), @"app/escape is a symbolic link that leaves the repository, is absolute or never ends: let it lead, by a relative path, to what is in the repository");
    insta::assert_snapshot!(text(&*whole, "app/self"), @"app/self is a symbolic link that leaves the repository, is absolute or never ends: let it lead, by a relative path, to what is in the repository");
    insta::assert_snapshot!(text(&*whole, "app/ping"), @"app/ping is a symbolic link that leaves the repository, is absolute or never ends: let it lead, by a relative path, to what is in the repository");
    insta::assert_snapshot!(text(&*whole, "app/up/app/a.yaml"), @"app/up is a symbolic link that leaves the repository, is absolute or never ends: let it lead, by a relative path, to what is in the repository");
    insta::assert_snapshot!(text(&*whole, "app/dangling"), @"app/dangling could not be read: it is a symbolic link to `none.yaml`, which does not exist");
    insta::assert_snapshot!(text(&*whole, "app/through-file"), @"app/through-file could not be read: it is a symbolic link to `a.yaml/x`, which does not exist");
    insta::assert_snapshot!(text(&*whole, "app/slash"), @"app/slash could not be read: it is a symbolic link to `a.yaml/`, which does not exist");
    insta::assert_snapshot!(text(&*whole, "app/a.yaml/x"), @"app/a.yaml/x does not exist");
    assert_eq!(whole.stat(&path("app/dangling")), Ok(None));
    assert!(matches!(
        whole.stat(&path("app/escape")),
        Err(TreeError::Link { .. })
    ));

    // From the application's folder, links lead to the same places, but not to a folder above it.
    let desk = Desk::new();
    let snapshot = desk
        .fetch(&open_servers().git_http(&repository), branch("main"))
        .await
        .unwrap();
    for folder in ["app", "top"] {
        let app = tree(&snapshot, folder);
        assert_eq!(text(&*app, "folder/b.yaml"), "b");
        assert_eq!(text(&*app, "base/c.yaml"), "c");
        insta::allow_duplicates! {
            insta::assert_snapshot!(text(&*app, "up/base/c.yaml"), @"up is a symbolic link that leaves the repository, is absolute or never ends: let it lead, by a relative path, to what is in the repository");
        }
        let listed = app.entries(&path("")).unwrap();
        assert_eq!(listed.len(), 16, "what cannot be followed is listed too");
        let kind = |name: &str| {
            listed
                .iter()
                .find(|entry| entry.name == name)
                .map(|entry| (entry.kind, entry.size))
        };
        for name in ["folder", "base"] {
            assert_eq!(kind(name), Some((EntryKind::Folder, 0)), "{name}");
        }
        for name in ["here", "up", "escape", "self", "dangling", "absolute"] {
            assert_eq!(kind(name), Some((EntryKind::File, 0)), "{name}");
        }
        assert!(walk(&*app, &path("")).unwrap().len() >= 13);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn links_from_one_large_folder_through_another_are_followed() {
    let repository = repository(open_servers(), "large-folders");
    let (file, link) = (
        blob(&repository, b"x"),
        blob(&repository, b"../pool/file29999"),
    );
    let folder = |lines: Vec<Vec<u8>>| git_with(&repository, &["mktree", "-z"], &lines.concat());
    let files = |count: usize| -> Vec<Vec<u8>> {
        let name = |number| format!("file{number}").into_bytes();
        (0..count)
            .map(|number| line("100644", &file, &name(number)))
            .collect()
    };
    let links = (0..200).map(|number| line("120000", &link, format!("link{number}").as_bytes()));
    let pool = folder(files(30_000));
    let farm = folder(files(29_800).into_iter().chain(links).collect());
    let root = [
        line("040000", &farm, b"farm"),
        line("040000", &pool, b"pool"),
    ];
    push_tree(&repository, &root.concat());
    let tree = pushed(&repository).await;
    let entries = tree.entries(&path("farm")).unwrap();
    assert_eq!(entries.len(), 30_000);
    assert!(entries.iter().all(|entry| entry.size == 1));
    assert_eq!(text(&*tree, "farm/link199"), "x");
}

#[tokio::test]
async fn submodules_are_named_when_they_are_needed() {
    let repository = repository(open_servers(), "submodule");
    let head = repository
        .push_files(&[("app/a.yaml", "a")], "first")
        .unwrap();
    let app = repository.git(&["rev-parse", "HEAD:app"]).unwrap();
    push_tree(
        &repository,
        &[
            line("040000", &app, b"app"),
            line("160000", &head, b"vendor"),
            line("120000", &blob(&repository, b"vendor/x"), b"link"),
        ]
        .concat(),
    );
    let tree = pushed(&repository).await;
    assert_eq!(names(&*tree, ""), ["app", "link", "vendor"]);
    assert_eq!(text(&*tree, "app/a.yaml"), "a");
    insta::assert_snapshot!(text(&*tree, "vendor/x.yaml"), @"vendor is a git submodule, which is not supported: vendor its files, or deploy it as an application of its own");
    assert!(matches!(
        tree.entries(&path("vendor")),
        Err(TreeError::Submodule { .. })
    ));
    assert!(matches!(
        tree.read(&path("link")),
        Err(TreeError::Submodule { .. })
    ));
    assert!(matches!(
        walk(&*tree, &path("")),
        Err(TreeError::Submodule { .. })
    ));
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_its_size() {
    let repository = repository(open_servers(), "giants");
    repository.write("large", vec![b'x'; 5001]).unwrap();
    repository.write("fits", vec![b'x'; 5000]).unwrap();
    for index in 0..11 {
        repository.write(&format!("wide/{index}"), "").unwrap();
        repository
            .write(&format!("narrow/{}", index % 10), "")
            .unwrap();
    }
    repository
        .write(&format!("{}leaf", "d/".repeat(9)), "deep")
        .unwrap();
    repository.commit("giants").unwrap();
    repository.push().unwrap();
    let tree = limited(&repository, |limits| {
        limits.file = 5000;
        limits.entries = 10;
        limits.depth = 8;
    })
    .await;
    insta::assert_snapshot!(text(&*tree, "large"), @"large has 5001 bytes, and the limit is 5000");
    assert_eq!(text(&*tree, "fits").len(), 5000);
    assert_eq!(
        tree.stat(&path("large")).unwrap().unwrap().size,
        5001,
        "its size can be asked for"
    );
    insta::assert_snapshot!(tree.entries(&path("wide")).unwrap_err(), @"wide has 11 entries, and the limit is 10");
    insta::assert_snapshot!(tree.stat(&path("wide/0")).unwrap_err(), @"wide has 11 entries, and the limit is 10");
    assert_eq!(tree.entries(&path("narrow")).unwrap().len(), 10);
    insta::assert_snapshot!(text(&*tree, "d/d/d/d/d/d/d/d/d/leaf"), @"d/d/d/d/d/d/d/d/d has 9 levels, and the limit is 8");
}

#[tokio::test]
async fn names_that_mean_harm() {
    let repository = repository(open_servers(), "names");
    let good = blob(&repository, b"good");
    let evil = blob(&repository, b"evil");
    let cases: [(&[u8], &str); 6] = [
        (b"caf\xe9.yaml", "is not UTF-8"),
        (b"..", "is reserved"),
        (b".git", "is reserved for git"),
        (b".GIT", "is reserved for git"),
        (b"a\\b", "holds a `\\`"),
        (b"a\x1b[31m", "holds control characters"),
    ];
    for (name, reason) in cases {
        let raw = [
            b"100644 ",
            name,
            b"\0",
            &hex(&evil),
            b"100644 good\0",
            &hex(&good),
        ]
        .concat();
        let id = git_with(
            &repository,
            &["hash-object", "-w", "-t", "tree", "--literally", "--stdin"],
            &raw,
        );
        let outer = git_with(
            &repository,
            &["mktree", "--missing", "-z"],
            &line("040000", &id, b"folder"),
        );
        push_tree_id(&repository, &outer);
        let tree = pushed(&repository).await;
        let error = tree.entries(&path("folder")).unwrap_err().to_string();
        assert!(
            error.starts_with("folder could not be read: the name `") && error.contains(reason),
            "{error}"
        );
        assert!(!error.contains('\x1b'), "{error}");
        assert_eq!(
            text(&*tree, "folder/good"),
            "good",
            "its neighbours can be read"
        );
    }
    // Two entries with one name: nobody gets either.
    let raw = [
        b"100644 twin\0".as_slice(),
        &hex(&good),
        b"100644 twin\0",
        &hex(&evil),
    ]
    .concat();
    let id = git_with(
        &repository,
        &["hash-object", "-w", "-t", "tree", "--literally", "--stdin"],
        &raw,
    );
    let outer = git_with(
        &repository,
        &["mktree", "--missing", "-z"],
        &line("040000", &id, b"folder"),
    );
    push_tree_id(&repository, &outer);
    let tree = pushed(&repository).await;
    insta::assert_snapshot!(tree.entries(&path("folder")).unwrap_err(), @"folder could not be read: it has two entries named `twin`");
    insta::assert_snapshot!(text(&*tree, "folder/twin"), @"folder/twin does not exist");
}

fn hex(id: &str) -> Vec<u8> {
    (0..20)
        .map(|index| u8::from_str_radix(&id[index * 2..index * 2 + 2], 16).unwrap())
        .collect()
}

#[tokio::test]
async fn a_large_file_pointer_is_not_taken_for_the_file() {
    let repository = repository(open_servers(), "lfs");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    repository
        .push_files(&[("model.yaml", pointer)], "pointer")
        .unwrap();
    let tree = pushed(&repository).await;
    // Another fetch would bring the same.
    assert!(!tree.read(&path("model.yaml")).unwrap_err().is_broken());
    insta::assert_snapshot!(text(&*tree, "model.yaml"), @"model.yaml could not be read: it is a Git LFS pointer, and LFS is not supported: commit the file itself, which `git lfs migrate export` does");
}

/// An entry of a random repository.
#[derive(Debug, Clone)]
enum Thing {
    File(u8),
    Link(Vec<&'static str>),
}

fn farms() -> impl Strategy<Value = BTreeMap<String, Thing>> {
    let part = prop::sample::select(vec!["a", "b", "c", "..", ".", ""]);
    let thing = prop_oneof![
        1 => any::<u8>().prop_map(Thing::File),
        2 => prop::collection::vec(part, 1..6).prop_map(Thing::Link),
    ];
    let place = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|parts| parts.join("/"));
    prop::collection::btree_map(place, thing, 1..12).prop_map(|mut farm| {
        // A path cannot go on below a file.
        let names: Vec<String> = farm.keys().cloned().collect();
        farm.retain(|name, _| {
            !names
                .iter()
                .any(|other| other.len() < name.len() && name.starts_with(&format!("{other}/")))
        });
        farm
    })
}

/// Reads everything that a walk finds, and what is named by hand; returns the bytes of each path.
fn harvest(tree: &dyn Tree) -> BTreeMap<String, Result<Vec<u8>, TreeError>> {
    let mut harvest = BTreeMap::new();
    if let Ok(found) = walk(tree, &path("")) {
        for (at, entry) in found {
            let bytes = read(tree, &at);
            if let Ok(bytes) = &bytes {
                assert_eq!(bytes.len() as u64, entry.size, "{at}");
                assert_eq!(
                    tree.stat(&at).unwrap().unwrap().content,
                    entry.content,
                    "{at}"
                );
            }
            harvest.insert(at.to_string(), bytes);
        }
    }
    for first in ["a", "b", "c"] {
        for second in ["a", "b", "c"] {
            for third in ["a", "b", "c"] {
                let at = path(&format!("{first}/{second}/{third}"));
                harvest.insert(at.to_string(), read(tree, &at));
            }
        }
    }
    harvest
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Outside lies a file with content that nothing inside has. Whatever the links are, nobody reads that file, reading ends,
    /// and the commit and the files on disk give the same answers, which are those of the operating system.
    #[test]
    fn no_farm_of_links_leads_out(farm in farms()) {
        let outside = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(outside.path().join(name), "outside").unwrap();
        }
        let inside = outside.path().join("x");
        fs::create_dir(&inside).unwrap();
        let git = |args: &[&str]| {
            let status = std::process::Command::new("git").current_dir(&inside).args(args)
                .env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").status().unwrap();
            assert!(status.success(), "git {args:?}");
        };
        for (name, thing) in &farm {
            let at = inside.join(name);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            match thing {
                Thing::File(byte) => fs::write(at, vec![b'i'; usize::from(*byte) + 8]).unwrap(),
                Thing::Link(parts) => {
                    let target = parts.join("/");
                    std::os::unix::fs::symlink(if target.is_empty() { "." } else { &target }, at).unwrap();
                }
            }
        }
        git(&["init", "--quiet"]);
        git(&["add", "--all"]);
        git(&["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--allow-empty", "-m", "farm"]);
        let Local { snapshot, .. } = local(&inside, Limits::default()).unwrap();
        let committed = harvest(&*snapshot.tree(&path("")).unwrap());
        let scanned = WorkTree::scan(&inside, Limits::default()).unwrap();
        prop_assert_eq!(&scanned.revision.tree, &snapshot.revision.tree);
        let now = harvest(&*scanned.tree());
        prop_assert_eq!(&committed, &now);
        for (at, bytes) in &committed {
            if let Ok(bytes) = bytes {
                prop_assert_ne!(bytes.as_slice(), b"outside".as_slice(), "{}", at);
                prop_assert_eq!(bytes, &fs::read(inside.join(at)).unwrap(), "{}", at);
            }
        }
        // A folder of it is bounded by the whole.
        for name in ["a", "b", "c"] {
            let folder = inside.join(name);
            if !folder.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
                continue;
            }
            let committed = harvest(&*snapshot.tree(&path(name)).unwrap());
            let now = harvest(&*WorkTree::scan(&folder, Limits::default()).unwrap().tree());
            prop_assert_eq!(&committed, &now);
            for (at, bytes) in &committed {
                if let Ok(bytes) = bytes {
                    prop_assert_ne!(bytes.as_slice(), b"outside".as_slice(), "{}", at);
                    prop_assert_eq!(bytes, &fs::read(folder.join(at)).unwrap(), "{}", at);
                }
            }
        }
    }
}
