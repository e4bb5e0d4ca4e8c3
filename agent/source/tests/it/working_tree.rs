//! Files that are not committed.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use pintle_core::tree::{TreeError, walk};
use pintle_source::{Limits, SourceError, WorkTree, git_folder, is_bare, local};

use crate::fixture::{names, noise, open_servers, path, repository};

#[test]
fn commits_of_a_linked_working_tree_show_in_the_folder_of_the_main_one() {
    let repository = repository(open_servers(), "linked");
    repository
        .push_files(&[("app/a.yaml", "a")], "first")
        .unwrap();
    let main = repository.work().join(".git").canonicalize().unwrap();
    let within = repository.work().join("app");
    assert_eq!(git_folder(&within), Some(main.clone()));
    let dir = tempfile::tempdir().unwrap();
    let linked = dir.path().join("feature");
    let add = ["worktree", "add", "--quiet", "-b", "feature"];
    repository
        .git(&[&add[..], &[linked.to_str().unwrap()]].concat())
        .unwrap();
    assert_eq!(git_folder(&linked.join("app")), Some(main));
    assert_eq!(git_folder(dir.path()), None);
}

#[test]
fn a_clean_folder_has_the_ids_of_its_commit() {
    let repository = repository(open_servers(), "clean");
    repository.write("app/run.sh", "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("run.sh", repository.work().join("app/link")).unwrap();
    fs::set_permissions(
        repository.work().join("app/run.sh"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    // Names that git sorts differently than the alphabet does.
    repository
        .push_files(
            &[
                ("app-a", "1"),
                ("app.b", "2"),
                ("app/a.yaml", "a"),
                ("z", ""),
            ],
            "first",
        )
        .unwrap();
    let scanned = WorkTree::scan(repository.work(), Limits::default()).unwrap();
    let here = local(repository.work(), Limits::default()).unwrap();
    assert_eq!(scanned.revision.tree, here.snapshot.revision.tree);
    assert_eq!(
        scanned.revision.commit,
        format!("dev:{}", here.snapshot.revision.tree)
    );
    assert_eq!(
        (scanned.revision.reference.as_str(), scanned.revision.time),
        ("main", here.snapshot.revision.time)
    );
    let tree = here.snapshot.tree(&path("")).unwrap();
    assert_eq!(
        walk(&*scanned.tree(), &path("")).unwrap(),
        walk(&*tree, &path("")).unwrap()
    );

    let within = local(&repository.work().join("app"), Limits::default()).unwrap();
    assert_eq!(
        (within.path, within.root),
        (path("app"), repository.work().canonicalize().unwrap())
    );
    let part = WorkTree::scan(&repository.work().join("app"), Limits::default()).unwrap();
    assert_eq!(
        part.revision.tree,
        repository.git(&["rev-parse", "HEAD:app"]).unwrap()
    );
}

#[test]
fn many_files_have_the_ids_that_git_gives_them_too() {
    let repository = repository(open_servers(), "many-files");
    // Enough to be read on all processors, including a long one and some that are equal.
    let mut files: Vec<(String, String)> = (0..100)
        .map(|n| (format!("folder-{}/file-{n}", n % 7), format!("{}", n % 50)))
        .collect();
    files.push(("long".to_owned(), noise(2 << 20)));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    repository.push_files(&files, "many").unwrap();
    let scanned = WorkTree::scan(repository.work(), Limits::default()).unwrap();
    let here = local(repository.work(), Limits::default()).unwrap();
    assert_eq!(scanned.revision.tree, here.snapshot.revision.tree);
    for (name, text) in files {
        let read = scanned.tree().read(&path(name)).unwrap();
        assert!(read == text.as_bytes(), "{name}");
    }
}

#[test]
fn a_folder_differs_from_its_commit_by_what_git_status_would_show() {
    let repository = repository(open_servers(), "differs");
    let files = [
        (".gitignore", "*.log\n"),
        ("app/a.yaml", "a: 1"),
        ("b", "b"),
    ];
    repository.push_files(&files, "first").unwrap();
    let differs = |folder: &str| {
        let folder = repository.work().join(folder);
        let here = local(&folder, Limits::default()).unwrap();
        WorkTree::differs(&folder, &here, Limits::default()).unwrap()
    };
    assert_eq!(differs(""), Some(false));
    // One file written again with the same content, and one that is ignored.
    repository.write("app/a.yaml", "a: 1").unwrap();
    repository.write("app/a.log", "ignored").unwrap();
    assert_eq!(differs(""), Some(false));

    repository.write("app/a.yaml", "a: 2").unwrap();
    assert_eq!((differs(""), differs("app")), (Some(true), Some(true)));
    repository.git(&["add", "--all"]).unwrap();
    assert_eq!(differs("app"), Some(true), "staged is not committed");
    repository.push_files(&[], "second").unwrap();
    assert_eq!(differs(""), Some(false));

    repository.write("b", "another").unwrap();
    assert_eq!((differs(""), differs("app")), (Some(true), Some(false)));
    repository.write("b", "b").unwrap();
    repository.write("app/new.yaml", "").unwrap();
    assert_eq!(differs("app"), Some(true), "git does not know it yet");
    fs::remove_file(repository.work().join("app/new.yaml")).unwrap();
    fs::remove_file(repository.work().join("app/a.yaml")).unwrap();
    assert_eq!(differs(""), Some(true));
}

#[test]
fn a_submodule_is_no_difference() {
    let repository = repository(open_servers(), "differs-module");
    repository.push_files(&[("a", "a")], "first").unwrap();
    let module = repository.work().join("module");
    repository
        .git(&["clone", "--quiet", ".", module.to_str().unwrap()])
        .unwrap();
    repository.push_files(&[], "with a module").unwrap();
    let differs = || {
        let here = local(repository.work(), Limits::default()).unwrap();
        WorkTree::differs(repository.work(), &here, Limits::default()).unwrap()
    };
    assert_eq!(differs(), Some(false));
    // As git leaves it when it is not asked for the submodule.
    fs::remove_dir_all(&module).unwrap();
    fs::create_dir(&module).unwrap();
    assert_eq!(differs(), Some(false));
}

#[test]
fn what_git_ignores_is_not_there() {
    let repository = repository(open_servers(), "ignored");
    repository
        .write("forced/kept.log", "tracked although a rule matches")
        .unwrap();
    repository.git(&["add", "--all"]).unwrap();
    for (file, text) in [
        (".gitignore", "*.log\n/build/\n!keep.log\n"),
        ("app/.gitignore", "local.yaml\n"),
        ("a.yaml", "a"),
        ("a.log", ""),
        ("keep.log", ""),
        ("build/out.yaml", ""),
        ("app/local.yaml", ""),
        ("app/new.yaml", "not committed"),
        ("app/build/in.yaml", ""),
    ] {
        repository.write(file, text).unwrap();
    }
    fs::create_dir_all(repository.work().join("empty/folder")).unwrap();
    let nested = repository.work().join("nested");
    repository
        .git(&["init", "--quiet", nested.to_str().unwrap()])
        .unwrap();
    let tree = WorkTree::scan(repository.work(), Limits::default())
        .unwrap()
        .tree();
    assert_eq!(
        names(&*tree, ""),
        [
            ".gitignore",
            "a.yaml",
            "app",
            "forced",
            "keep.log",
            "nested"
        ]
    );
    assert_eq!(names(&*tree, "app"), [".gitignore", "build", "new.yaml"]);
    assert_eq!(names(&*tree, "forced"), ["kept.log"]);
    assert!(matches!(
        tree.entries(&path("nested")),
        Err(TreeError::Submodule { .. })
    ));
    // Whoever names an ignored folder means it.
    let build = WorkTree::scan(&repository.work().join("build"), Limits::default())
        .unwrap()
        .tree();
    assert_eq!(names(&*build, ""), ["out.yaml"]);
}

#[test]
fn changes_make_another_revision_and_late_ones_are_not_seen() {
    let repository = repository(open_servers(), "changing");
    // Too large for the scan to keep.
    let large = "b".repeat((4 << 20) + 1);
    let files = [("a.yaml", "a"), ("b.yaml", &large), ("c.yaml", &large)];
    repository.push_files(&files, "first").unwrap();
    let scan = || WorkTree::scan(repository.work(), Limits::default()).unwrap();
    let before = scan();
    repository.write("a.yaml", "changed").unwrap();
    let after = scan();
    assert_ne!(before.revision.commit, after.revision.commit);
    assert_eq!(after.tree().read(&path("a.yaml")).unwrap(), b"changed");
    assert_eq!(before.tree().read(&path("a.yaml")).unwrap(), b"a");
    assert_eq!(
        before.tree().read(&path("b.yaml")).unwrap(),
        large.as_bytes()
    );
    repository.write("c.yaml", "changed").unwrap();
    insta::assert_snapshot!(before.tree().read(&path("c.yaml")).unwrap_err(), @"c.yaml could not be read: it changed while it was used: run again");
    // The same when it is replaced by a link to somewhere else.
    fs::remove_file(repository.work().join("b.yaml")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", repository.work().join("b.yaml")).unwrap();
    assert!(before.tree().read(&path("b.yaml")).is_err());
}

#[test]
fn a_folder_without_a_repository() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), "a").unwrap();
    let scanned = WorkTree::scan(dir.path(), Limits::default()).unwrap();
    assert_eq!(names(&*scanned.tree(), ""), ["a.yaml"]);
    let modified = fs::metadata(dir.path().join("a.yaml")).unwrap().mtime();
    assert_eq!(
        (scanned.revision.time, scanned.revision.summary.as_str()),
        (modified, "files that are not committed")
    );
    let error = local(dir.path(), Limits::default()).unwrap_err();
    assert!(matches!(error, SourceError::NotARepository { .. }));
    let text = error
        .to_string()
        .replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(text, @"DIR is not in a git repository: run `git init` and commit, or take the files as they are with --dev");
    assert!(WorkTree::scan(&dir.path().join("none"), Limits::default()).is_err());
}

#[test]
fn a_folder_is_named_from_another_one() {
    let repository = repository(open_servers(), "beside");
    for file in ["apps/web/a", "apps/common/b", "common/c"] {
        repository.write(file, "").unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    for folder in ["web", "common"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    fs::write(dir.path().join("common/d"), "").unwrap();
    let at = |folder: &Path, path: &str| {
        let files = WorkTree::beside(folder, path, Limits::default()).unwrap();
        names(&*files.tree(), "")
    };
    let web = repository.work().join("apps/web");
    assert_eq!(at(&web, "../common"), ["b"]);
    assert_eq!(at(&web, "/common"), ["c"]);
    let web = dir.path().join("web");
    assert_eq!(at(&web, "../common"), ["d"]);
    let absolute = dir.path().join("common").display().to_string();
    assert_eq!(at(&web, &absolute), ["d"]);
}

#[test]
fn a_repository_without_a_commit() {
    let repository = repository(open_servers(), "unborn");
    repository.write("a.yaml", "a").unwrap();
    let error = local(repository.work(), Limits::default()).unwrap_err();
    assert!(matches!(error, SourceError::Empty { .. }), "{error}");
    assert_eq!(
        names(
            &*WorkTree::scan(repository.work(), Limits::default())
                .unwrap()
                .tree(),
            ""
        ),
        ["a.yaml"]
    );
}

#[test]
fn too_much_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for index in 0..11 {
        fs::write(dir.path().join(index.to_string()), vec![b'x'; 100]).unwrap();
    }
    let limits = Limits {
        entries: 10,
        ..Limits::default()
    };
    let error = WorkTree::scan(dir.path(), limits).unwrap_err();
    assert!(
        matches!(error, SourceError::Tree(TreeError::TooLarge { .. })),
        "{error}"
    );
    let limits = Limits {
        file: 99,
        ..Limits::default()
    };
    let tree = WorkTree::scan(dir.path(), limits).unwrap().tree();
    insta::assert_snapshot!(tree.read(&path("0")).unwrap_err(), @"0 has 100 bytes, and the limit is 99");
    assert_eq!(tree.entries(&path("")).unwrap().len(), 11);
}

#[test]
fn a_bare_repository_is_no_folder_of_files() {
    let repository = repository(open_servers(), "bare");
    assert!(is_bare(repository.bare()));
    assert!(!is_bare(repository.work()));
    assert!(!is_bare(&repository.bare().join("refs")));
    assert!(!is_bare(&repository.work().join("none")));
}
