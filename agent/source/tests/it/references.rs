//! What each kind of reference leads to, and what is reported when it leads nowhere.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use pintle_core::application::Reference;
use pintle_source::{Remote, SourceError};

use crate::fixture::{
    Desk, Scripted, Seen, branch, lines, only_tips, open_servers, push_tree_id, read, repository,
    result, small, tidy, tree,
};
use crate::sharing::busy;

#[tokio::test]
async fn each_kind_of_reference() {
    let servers = open_servers();
    let repository = small(servers, "kinds");
    let first = repository.head().unwrap();
    repository.tag("v1.0.0").unwrap();
    repository
        .git(&["tag", "-a", "v1.1.0", "-m", "annotated"])
        .unwrap();
    let second = repository
        .push_files(&[("app/a.yaml", "a: 2\n")], "second")
        .unwrap();
    repository.tag("v2.0.0-rc.1").unwrap();
    let url = servers.git_http(&repository);
    let desk = Desk::new();
    for (reference, commit, name) in [
        (Reference::Default, &second, "main"),
        (branch("main"), &second, "main"),
        (Reference::Tag("v1.0.0".into()), &first, "v1.0.0"),
        (Reference::Tag("v1.1.0".into()), &first, "v1.1.0"),
        (Reference::Semver("*".into()), &first, "v1.1.0"),
        (
            Reference::Semver(">=2.0.0-rc.0".into()),
            &second,
            "v2.0.0-rc.1",
        ),
        (Reference::Commit(first.clone()), &first, ""),
    ] {
        let snapshot = desk.fetch(&url, reference.clone()).await.unwrap();
        assert_eq!(
            (
                &snapshot.revision.commit,
                snapshot.revision.reference.as_str()
            ),
            (commit, name),
            "{reference:?}"
        );
    }
    let revision = desk.fetch(&url, Reference::Default).await.unwrap().revision;
    assert_eq!(
        revision.tree,
        repository.git(&["rev-parse", "HEAD^{tree}"]).unwrap()
    );
    assert_eq!(
        revision.time.to_string(),
        repository.git(&["log", "-1", "--format=%ct"]).unwrap()
    );
    assert_eq!(
        (revision.author.as_str(), revision.summary.as_str()),
        ("Test <test@example.com>", "second")
    );
}

#[tokio::test]
async fn what_leads_nowhere_is_explained() {
    let servers = open_servers();
    let repository = small(servers, "nowhere");
    repository.tag("v1.0.0").unwrap();
    let url = servers.git_http(&repository);
    let desk = Desk::new();
    let refused = async |reference| {
        let text = tidy(&desk.refused(&url, reference).await);
        text.replace(
            repository.bare().file_stem().unwrap().to_str().unwrap(),
            "REPO",
        )
    };
    insta::assert_snapshot!(refused(branch("mian")).await, @"http://HOST/git/REPO.git has no branch `mian`; did you mean `main`?");
    insta::assert_snapshot!(refused(Reference::Tag("main".into())).await, @"http://HOST/git/REPO.git has no tag `main`; it is a branch");
    insta::assert_snapshot!(refused(Reference::Semver("^2".into())).await, @"http://HOST/git/REPO.git has no tag in the version range `^2`; its versions are `v1.0.0`");
    insta::assert_snapshot!(refused(Reference::Semver("two".into())).await, @"`two` is not a version range: `two` is not a version; expected one such as `>=1.2.0, <2.0.0`");
    insta::assert_snapshot!(refused(Reference::Commit("1234567".into())).await, @"`1234567` is not a commit id: expected all of its 40 hexadecimal digits, as a shorter one may come to mean another commit");
    insta::assert_snapshot!(refused(Reference::Commit("0123456789012345678901234567890123456789".into())).await, @"http://HOST/git/REPO.git has no commit 0123456789012345678901234567890123456789: it was never pushed, or a force-push removed it");
}

#[tokio::test]
async fn an_empty_repository_says_so() {
    let servers = open_servers();
    let repository = repository(servers, "empty");
    let desk = Desk::new();
    let url = servers.git_http(&repository);
    let error = desk.refused(&url, Reference::Default).await.to_string();
    assert_eq!(error, format!("{url} has no commits yet: push one"));
    // The failure is not remembered.
    repository.push_files(&[("a", "a")], "first").unwrap();
    desk.fetch(&url, Reference::Default).await.unwrap();
}

#[tokio::test]
async fn a_tag_may_name_what_is_no_commit() {
    let servers = open_servers();
    let repository = small(servers, "tree-tag");
    repository.git(&["tag", "folder", "HEAD^{tree}"]).unwrap();
    repository.push().unwrap();
    let url = servers.git_http(&repository);
    let error = Desk::new()
        .refused(&url, Reference::Tag("folder".into()))
        .await
        .to_string();
    assert_eq!(error, format!("folder of {url} is a tree, not a commit"));
}

#[tokio::test]
async fn a_branch_is_rewritten_and_deleted() {
    let servers = open_servers();
    let repository = small(servers, "rewritten");
    let url = servers.git_http(&repository);
    let desk = Desk::new();
    repository.branch("topic").unwrap();
    repository
        .push_files(&[("app/a.yaml", "topic\n")], "topic")
        .unwrap();
    let before = desk.fetch(&url, branch("topic")).await.unwrap();

    // Another history under the same name, and then back to the old one.
    let tree_id = repository.git(&["rev-parse", "main^{tree}"]).unwrap();
    let rewritten = push_tree_id(&repository, &tree_id);
    let main = desk.fetch(&url, branch("main")).await.unwrap();
    assert_eq!(
        (main.revision.commit, read(&before, "app/a.yaml")),
        (rewritten, "topic\n".to_owned())
    );
    repository
        .git(&["push", "--quiet", "--force", "origin", "main:main"])
        .unwrap();
    let back = desk.fetch(&url, branch("main")).await.unwrap();
    assert_eq!(read(&back, "app/a.yaml"), "a: 1\n");

    repository.delete_remote("topic").unwrap();
    assert!(
        desk.refused(&url, branch("topic"))
            .await
            .to_string()
            .contains("has no branch `topic`")
    );
    assert_eq!(
        read(&before, "app/a.yaml"),
        "topic\n",
        "what is held stays readable"
    );
}

#[tokio::test]
async fn an_old_server_and_a_commit_that_is_no_tip() {
    let servers = open_servers();
    let repository = small(servers, "old");
    let first = repository.head().unwrap();
    let second = repository
        .push_files(&[("app/a.yaml", "a: 2\n")], "second")
        .unwrap();
    repository
        .push_files(&[("app/a.yaml", "a: 3\n")], "third")
        .unwrap();
    only_tips(&repository);
    let server = Scripted::old_git(repository.bare());
    let desk = Desk::new();
    assert_eq!(
        read(
            &desk
                .fetch(&server.url_of("r.git"), branch("main"))
                .await
                .unwrap(),
            "app/a.yaml"
        ),
        "a: 3\n"
    );
    for (commit, text) in [(&first, "a: 1\n"), (&second, "a: 2\n")] {
        let snapshot = desk
            .fetch(&server.url_of("r.git"), Reference::Commit(commit.clone()))
            .await
            .unwrap();
        assert_eq!(read(&snapshot, "app/a.yaml"), text);
    }
    let missing = Reference::Commit("0123456789012345678901234567890123456789".into());
    let error = desk.refused(&server.url_of("r.git"), missing.clone()).await;
    assert!(error.to_string().contains("has no commit"), "{error}");
    // The whole history was searched. As long as nothing is pushed, that is not repeated.
    let before = server.requests().len();
    desk.refused(&server.url_of("r.git"), missing).await;
    assert_eq!(server.requests().len(), before + 1);
    repository
        .push_files(&[("app/a.yaml", "a: 4\n")], "fourth")
        .unwrap();
    let snapshot = desk
        .fetch(&server.url_of("r.git"), branch("main"))
        .await
        .unwrap();
    assert_eq!(read(&snapshot, "app/a.yaml"), "a: 4\n");
}

#[tokio::test]
async fn a_commit_that_only_comes_with_too_much_history() {
    let servers = open_servers();
    let repository = small(servers, "far-back");
    let second = repository
        .push_files(&[("app/a.yaml", "a: 2\n")], "second")
        .unwrap();
    repository
        .push_files(&[("app/a.yaml", "a: 3\n")], "third")
        .unwrap();
    only_tips(&repository);
    // Over stateless HTTP, git sends any commit that a branch or tag leads to.
    let tips_only = |asked: String| {
        move |seen: &Seen| {
            seen.says(&asked)
                .then(|| result(&lines(&["ERR tips only\n"])))
        }
    };
    let asked = || tips_only(format!("want {second}"));
    let today = Scripted::git(repository.bare(), asked());
    let old = Scripted::old_git_but(repository.bare(), asked());
    for server in [old, today] {
        // The tip has six objects, and each commit before it has four that are in no later one.
        let desk = Desk::limited(|limits| limits.objects = 10);
        let url = server.url_of("a.git");
        let error = desk.refused(&url, Reference::Commit(second.clone())).await;
        assert!(!error.is_retryable());
        assert_eq!(
            tidy(&error).replace(&second, "COMMIT"),
            "http://HOST/a.git sends only tips of branches and tags alone, and commit COMMIT is none of them; with all of \
             the history it sends more than 10 objects at once, the limit of one transfer: put a tag on the commit and \
             follow that, or follow a branch"
        );
        // It does not get in the way of others.
        let snapshot = desk.fetch(&url, branch("main")).await.unwrap();
        assert_eq!(read(&snapshot, "app/a.yaml"), "a: 3\n");
    }
}

#[tokio::test]
async fn what_jgit_has_searched_for_is_not_searched_for_again() {
    let repository = small(open_servers(), "jgit");
    let missing = "0123456789012345678901234567890123456789";
    let server = Scripted::git(repository.bare(), move |seen| {
        let refusal = format!("ERR want {missing} not valid\n");
        seen.says("want ").then(|| result(&lines(&[&refusal])))
    });
    let url = server.url_of("a.git");
    let error = Desk::new()
        .refused(&url, Reference::Commit(missing.to_owned()))
        .await;
    assert!(matches!(error, SourceError::NoCommit { .. }), "{error}");
    assert_eq!(server.fetches(), 1);
}

#[tokio::test]
async fn a_commit_that_was_fetched_needs_no_server() {
    let repository = small(open_servers(), "outage");
    let first = repository.head().unwrap();
    let is_away = Arc::new(AtomicBool::new(false));
    let refuses = Arc::clone(&is_away);
    let server = Scripted::git(repository.bare(), move |_| {
        refuses.load(Ordering::Relaxed).then(busy)
    });
    let remote = Remote::anonymous(server.url_of("a.git"));
    let desk = Desk::new();
    let main = branch("main");
    desk.fetch(&remote.url, main.clone()).await.unwrap();
    let second = repository
        .push_files(&[("app/a.yaml", "a: 2\n")], "second")
        .unwrap();
    desk.fetch(&remote.url, main.clone()).await.unwrap();
    let third = repository
        .push_files(&[("app/a.yaml", "a: 3\n")], "third")
        .unwrap();

    is_away.store(true, Ordering::Relaxed);
    // The server asks to be left alone.
    desk.refused(&remote.url, main.clone()).await;
    let before = server.requests().len();
    for (commit, text) in [(&first, "a: 1\n"), (&second, "a: 2\n")] {
        let reference = Reference::Commit(commit.clone());
        // One that has it open, one that has to leave the server alone, and another process.
        let fetched = [
            desk.fetch(&remote.url, reference.clone()).await,
            desk.repositories.poll(&remote, &reference).await,
            desk.again().fetch(&remote, &reference).await,
        ];
        for snapshot in fetched.map(Result::unwrap) {
            assert_eq!(snapshot.revision.commit, *commit);
            assert_eq!(read(&snapshot, "app/a.yaml"), text);
        }
    }
    assert_eq!(server.requests().len(), before);

    // A commit that was never fetched needs the server, and so does any commit when the cache is gone.
    let third = Reference::Commit(third);
    desk.refused(&remote.url, third.clone()).await;
    let polled = desk.repositories.poll(&remote, &third).await;
    assert!(polled.unwrap_err().retry_after().is_some());
    std::fs::remove_dir_all(desk.dir.path().join("repositories")).unwrap();
    let first = Reference::Commit(first);
    desk.refused(&remote.url, first.clone()).await;
    is_away.store(false, Ordering::Relaxed);
    let snapshot = desk.fetch(&remote.url, first).await.unwrap();
    assert_eq!(read(&snapshot, "app/a.yaml"), "a: 1\n");
}

#[tokio::test]
async fn a_folder_that_is_not_there() {
    let servers = open_servers();
    let repository = repository(servers, "folders");
    let commit = repository
        .push_files(
            &[
                ("apps/web/a.yaml", ""),
                ("apps/api/a.yaml", ""),
                ("file", ""),
            ],
            "first",
        )
        .unwrap();
    let desk = Desk::new();
    let snapshot = desk
        .fetch(&servers.git_http(&repository), branch("main"))
        .await
        .unwrap();
    let missing = |folder: &str| {
        let error = snapshot
            .tree(&crate::fixture::path(folder))
            .unwrap_err()
            .to_string();
        error.replace(&commit[..12], "COMMIT")
    };
    insta::assert_snapshot!(missing("apps/wbe"), @"main@COMMIT has no folder `apps/wbe`; did you mean `apps/web`?");
    insta::assert_snapshot!(missing("production"), @"main@COMMIT has no folder `production`; of `.` its folders are `apps`");
    insta::assert_snapshot!(missing("file"), @"file is not a folder");
    assert_eq!(
        crate::fixture::names(&*tree(&snapshot, "apps/web"), ""),
        ["a.yaml"]
    );
}
