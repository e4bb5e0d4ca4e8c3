//! Links that lead out of the folder that is read, to elsewhere in its revision.

use std::{fs, os::unix::fs::symlink, sync::Arc};

use pintle_core::{
    digest::Digest,
    readset::{Facts, Question, ReadSet, entries_answer, glob_answer, read_answer},
    tree::{EntryKind, Tree, TreeError, glob, walk},
};
use pintle_harness::GitRepo;
use pintle_source::{Limits, WorkTree, local};

use crate::fixture::{open_servers, path, repository};

/// A file that only a link within the linked chart leads to.
const LIB: &str = "lib/lib.tpl";
const HELPERS: &str = "common/templates/_helpers.tpl";

/// Creates a repository with a chart that shares another chart and values with others.
fn monorepo(name: &str) -> GitRepo {
    let repository = repository(open_servers(), name);
    for (file, text) in [
        ("apps/web/Chart.yaml", "name: web"),
        ("base/values.yaml", "a: 1"),
        ("common/Chart.yaml", "name: common"),
        (HELPERS, "helpers"),
        (LIB, "lib"),
        ("other/x.yaml", "x"),
    ] {
        repository.write(file, text).unwrap();
    }
    link(&repository, "apps/web/charts/common", "../../../common");
    link(
        &repository,
        "apps/web/values.yaml",
        "../../base/values.yaml",
    );
    link(&repository, "common/templates/lib.tpl", "../../lib/lib.tpl");
    repository.commit("first").unwrap();
    repository
}

fn link(repository: &GitRepo, name: &str, target: &str) {
    let at = repository.work().join(name);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&at); // where it led before
    symlink(target, at).unwrap();
}

/// Returns a folder of the newest commit.
fn committed(repository: &GitRepo, folder: &str) -> Arc<dyn Tree> {
    let here = local(repository.work(), Limits::default()).unwrap();
    here.snapshot.tree(&path(folder)).unwrap()
}

fn files(tree: &dyn Tree) -> Vec<String> {
    let found = walk(tree, &path("")).unwrap();
    found.into_iter().map(|(at, _)| at.to_string()).collect()
}

#[test]
fn charts_and_values_are_shared_by_links() {
    let repository = monorepo("shared");
    let web = committed(&repository, "apps/web");
    assert_eq!(
        files(&*web),
        [
            "Chart.yaml",
            "charts/common/Chart.yaml",
            "charts/common/templates/_helpers.tpl",
            "charts/common/templates/lib.tpl",
            "values.yaml",
        ]
    );
    let read = |file: &str| web.read(&path(file)).unwrap();
    assert_eq!(read("charts/common/templates/_helpers.tpl"), b"helpers");
    assert_eq!(read("charts/common/templates/lib.tpl"), b"lib");
    assert_eq!(read("values.yaml"), b"a: 1");
}

#[test]
fn a_walk_ends_although_links_lead_back() {
    let repository = monorepo("back");
    link(&repository, "apps/web/above", "..");
    link(&repository, "apps/web/root", "../..");
    link(&repository, "apps/web/itself", "../web");
    link(&repository, "common/back", "../apps/web");
    repository.commit("links").unwrap();
    let web = committed(&repository, "apps/web");
    assert_eq!(files(&*web).len(), 9);
    for name in ["above", "root", "itself", "charts/common/back"] {
        let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
        let listed = web.entries(&path(folder)).unwrap();
        let entry = listed.iter().find(|entry| entry.name == last).unwrap();
        assert_eq!((entry.kind, entry.size), (EntryKind::File, 0), "{name}");
        let within = web.read(&path(&format!("{name}/Chart.yaml")));
        assert!(matches!(within, Err(TreeError::Link { .. })), "{name}");
    }
}

#[test]
fn the_content_of_a_folder_covers_what_its_links_lead_to() {
    let repository = monorepo("content");
    link(&repository, "apps/web/later", "../../later/a.yaml");
    link(&repository, "apps/web/now.yaml", "../../current/a.yaml");
    link(&repository, "current", "v1");
    repository.write("v1/a.yaml", "1").unwrap();
    repository.write("v2/a.yaml", "2").unwrap();
    let content = || {
        repository.commit("changed").unwrap();
        committed(&repository, "apps/web").content().unwrap()
    };
    let mut last = content();
    for elsewhere in ["other/x.yaml", "lib/y.yaml", "v2/b.yaml", "README.md"] {
        repository.write(elsewhere, "changed").unwrap();
        assert_eq!(content(), last, "{elsewhere}");
    }
    for file in [
        "apps/web/Chart.yaml",
        "base/values.yaml",
        HELPERS,
        "common/new.yaml",
        LIB,
        "later/a.yaml",
        "v1/a.yaml",
    ] {
        repository.write(file, "changed").unwrap();
        let now = content();
        assert_ne!(now, last, "{file}");
        last = now;
    }
    link(&repository, "current", "v2");
    assert_ne!(content(), last, "a link on the way leads elsewhere");
    repository.remove("base/values.yaml").unwrap();
    let now = content();
    repository.write("base/other.yaml", "").unwrap();
    assert_eq!(content(), now, "what it leads to is not there");

    let before = committed(&repository, "apps").content().unwrap();
    link(&repository, "common/templates/lib.tpl", "_helpers.tpl");
    repository.commit("no link leads out").unwrap();
    assert_ne!(
        committed(&repository, "apps").content().unwrap(),
        before,
        "from a folder above, too"
    );
    assert_eq!(
        committed(&repository, "common").content().unwrap(),
        repository.git(&["rev-parse", "HEAD:common"]).unwrap(),
        "it is git's where nothing leads out"
    );
}

#[test]
fn what_has_too_many_folders_to_be_looked_through_changes_with_each_commit() {
    let repository = repository(open_servers(), "wide");
    for number in 0..1000 {
        repository.write(&format!("wide/{number}/a"), "").unwrap();
    }
    let content = || {
        repository.commit("changed").unwrap();
        committed(&repository, "wide").content().unwrap()
    };
    let before = content();
    assert_eq!(content(), before);
    repository.write("other", "").unwrap();
    assert_ne!(content(), before);
}

struct NoFacts;

impl Facts for NoFacts {
    fn answer(&self, _: &Question) -> Option<Digest> {
        None
    }
}

#[test]
fn what_was_read_through_links_stands_until_it_changes() {
    let repository = monorepo("read-set");
    let web = committed(&repository, "apps/web");
    let mut reads = ReadSet::default();
    for file in [
        "charts/common/templates/_helpers.tpl",
        "charts/common/templates/lib.tpl",
        "values.yaml",
    ] {
        let answer = read_answer(&web.stat(&path(file)));
        reads.record(Question::Read(file.to_owned()), answer);
    }
    let pattern = "charts/**";
    let found = glob_answer(&glob(&*web, pattern).unwrap());
    reads.record(Question::Glob(pattern.to_owned()), found);
    let listed = entries_answer(&web.entries(&path("charts/common")));
    reads.record(Question::Entries("charts/common".to_owned()), listed);
    let changed_by = |file: &str, text: &str| {
        repository.write(file, text).unwrap();
        repository.commit(file).unwrap();
        let now = committed(&repository, "apps/web");
        reads.first_change(&*now, &NoFacts).cloned()
    };
    assert_eq!(changed_by("other/x.yaml", "changed"), None);
    // It was listed, and its size has not changed.
    assert_eq!(changed_by("common/Chart.yaml", "name: COMMON"), None);
    for (file, before, read) in [
        (HELPERS, "helpers", "charts/common/templates/_helpers.tpl"),
        (LIB, "lib", "charts/common/templates/lib.tpl"),
        ("base/values.yaml", "a: 1", "values.yaml"),
    ] {
        let question = Question::Read(read.to_owned());
        assert_eq!(changed_by(file, "changed"), Some(question));
        assert_eq!(changed_by(file, before), None);
    }
    let question = Question::Entries("charts/common".to_owned());
    assert_eq!(changed_by("common/new.yaml", ""), Some(question));
}

fn scanned(repository: &GitRepo, folder: &str) -> WorkTree {
    WorkTree::scan(&repository.work().join(folder), Limits::default()).unwrap()
}

#[test]
fn files_that_are_not_committed_are_reached_by_links_too() {
    let repository = monorepo("scanned");
    let web = committed(&repository, "apps/web");
    let clean = scanned(&repository, "apps/web");
    assert_eq!(
        walk(&*clean.tree(), &path("")).unwrap(),
        walk(&*web, &path("")).unwrap()
    );
    let content = web.content().unwrap();
    assert_eq!(clean.revision.commit, format!("dev:{content}"));
    assert_eq!(
        clean.revision.tree,
        repository.git(&["rev-parse", "HEAD:apps/web"]).unwrap()
    );
    let commit = || scanned(&repository, "apps/web").revision.commit;
    repository.write("other/x.yaml", "changed").unwrap();
    assert_eq!(commit(), clean.revision.commit);
    for file in [HELPERS, LIB, "base/values.yaml"] {
        let before = commit();
        repository.write(file, "changed").unwrap();
        assert_ne!(commit(), before, "{file}");
    }
    let now = scanned(&repository, "apps/web").tree();
    let values = now.read(&path("values.yaml")).unwrap();
    assert_eq!(values, b"changed");
}

#[test]
fn what_links_lead_to_is_named_for_who_watches_it() {
    let repository = monorepo("places");
    let root = repository.work().canonicalize().unwrap();
    let expected = [
        "apps/web",
        "apps/web/charts",
        "base/values.yaml",
        "common",
        "common/templates",
        LIB,
    ];
    let expected = expected.map(|place| root.join(place));
    let places = scanned(&repository, "apps/web").places;
    let places: Vec<_> = places.into_iter().collect();
    assert_eq!(places, expected);
}

#[test]
fn links_lead_to_no_file_that_is_not_in_the_repository() {
    let repository = monorepo("bounded");
    repository.write(".gitignore", "/generated/").unwrap();
    repository.write("generated/a.yaml", "ignored").unwrap();
    let secret = repository.work().parent().unwrap().join("secret");
    fs::write(&secret, "outside").unwrap();
    let absolute = repository.work().join("base/values.yaml");
    for (name, target) in [
        ("ignored", "../../generated/a.yaml"),
        ("git", "../../.git/config"),
        ("outside", "../../../secret"),
        ("absolute", absolute.to_str().unwrap()),
        ("folder", "../../../"),
    ] {
        link(&repository, &format!("apps/web/{name}"), target);
    }
    repository.commit("links").unwrap();
    for tree in [
        committed(&repository, "apps/web"),
        scanned(&repository, "apps/web").tree(),
    ] {
        for name in ["ignored", "git", "outside", "absolute", "folder"] {
            tree.read(&path(name)).unwrap_err();
            let listed = tree.entries(&path("")).unwrap();
            let entry = listed.iter().find(|entry| entry.name == name).unwrap();
            assert_eq!((entry.kind, entry.size), (EntryKind::File, 0), "{name}");
        }
    }
}

#[test]
fn a_folder_differs_from_its_commit_by_what_its_links_lead_to() {
    let repository = monorepo("differs");
    let differs = || {
        let folder = repository.work().join("apps/web");
        let here = local(&folder, Limits::default()).unwrap();
        WorkTree::differs(&folder, &here, Limits::default()).unwrap()
    };
    assert_eq!(differs(), Some(false));
    repository.write("other/x.yaml", "changed").unwrap();
    assert_eq!(differs(), Some(false));
    repository.write(LIB, "changed").unwrap();
    assert_eq!(differs(), Some(true));
}
