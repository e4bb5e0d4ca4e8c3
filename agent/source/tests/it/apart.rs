//! One commit that cannot be fetched, among others of its repository that can.

use std::path::Path;

use pintle_harness::GitRepo;
use pintle_source::{Excess, Snapshot, SourceError};

use crate::fixture::{
    Desk, Scripted, branch, lines, noise, not_ours, open_servers, read, repository, result,
};

/// Makes a repository with the branches `main`, `other` and `bad`, and returns the commit of `bad`.
fn branches(name: &str) -> (GitRepo, String) {
    let repository = repository(open_servers(), name);
    repository
        .push_files(&[("a.yaml", "main\n")], "first")
        .unwrap();
    repository.branch("other").unwrap();
    repository
        .push_files(&[("a.yaml", "other\n")], "second")
        .unwrap();
    repository.branch("bad").unwrap();
    let bad = repository
        .push_files(&[("a.yaml", &noise(200_000))], "third")
        .unwrap();
    (repository, bad)
}

type Fetched = Result<Snapshot, SourceError>;

/// Asks for `main`, `other` and `bad` at once, so that they share a conversation.
async fn ask(desk: &Desk, url: &str) -> [Fetched; 3] {
    let (main, other, bad) = tokio::join!(
        desk.fetch(url, branch("main")),
        desk.fetch(url, branch("other")),
        desk.fetch(url, branch("bad")),
    );
    [main, other, bad]
}

/// Asks for all of them, checks that only `bad` cannot be fetched, and returns why.
async fn refused(desk: &Desk, url: &str) -> SourceError {
    let [main, other, bad] = ask(desk, url).await;
    assert_eq!(read(&main.unwrap(), "a.yaml"), "main\n");
    assert_eq!(read(&other.unwrap(), "a.yaml"), "other\n");
    bad.unwrap_err()
}

/// Returns whether what was fetched first is still in use.
fn is_first_generation(cache: &Path) -> bool {
    let repositories = cache.join("repositories");
    std::fs::read_dir(repositories)
        .unwrap()
        .flatten()
        .all(|entry| entry.path().join("1").exists() && !entry.path().join("2").exists())
}

#[tokio::test]
async fn a_server_that_does_not_send_it() {
    let (repository, bad) = branches("unsent");
    let server = Scripted::git(repository.bare(), move |seen| {
        seen.says(&format!("want {bad}")).then(|| not_ours(&bad))
    });
    let url = server.url_of("a.git");
    let mut desk = Desk::new();
    let error = refused(&desk, &url).await;
    assert!(error.to_string().contains("not our ref"), "{error}");
    // All at once, and then one by one.
    assert_eq!(server.fetches(), 4);

    // After a restart the others are in the cache.
    desk.repositories = desk.again();
    let error = refused(&desk, &url).await;
    assert!(error.to_string().contains("not our ref"), "{error}");
    assert_eq!(server.fetches(), 5);
    assert!(is_first_generation(desk.dir.path()));
}

#[tokio::test]
async fn one_that_is_too_large() {
    let servers = open_servers();
    let (repository, _) = branches("too-large");
    let url = servers.git_http(&repository);
    let desk = Desk::limited(|limits| limits.object = 100_000);
    for _ in 0..2 {
        let error = refused(&desk, &url).await;
        let expected = SourceError::TooLarge {
            url: url.clone(),
            what: Excess::Object,
            limit: 100_000,
        };
        assert_eq!(error, expected);
        assert!(is_first_generation(desk.dir.path()));
    }
}

#[tokio::test]
async fn one_that_comes_broken() {
    let (repository, bad) = branches("broken");
    let server = Scripted::git(repository.bare(), move |seen| {
        let nonsense = || result(&lines(&["packfile\n", "\u{1}nonsense", "0000"]));
        seen.says(&format!("want {bad}")).then(nonsense)
    });
    let url = server.url_of("a.git");
    let desk = Desk::new();
    for _ in 0..2 {
        let error = refused(&desk, &url).await;
        assert!(matches!(error, SourceError::Objects { .. }), "{error}");
        assert!(is_first_generation(desk.dir.path()));
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_not_asked_again_for_each() {
    let (repository, _) = branches("gone");
    let server = Scripted::git(repository.bare(), |seen| seen.says("want ").then(Vec::new));
    let told = ask(&Desk::new(), &server.url_of("a.git")).await;
    for error in told.map(Result::unwrap_err) {
        assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    }
    // The server might have closed a kept connection, so each request is sent once more.
    assert_eq!(server.fetches(), 2);
}
