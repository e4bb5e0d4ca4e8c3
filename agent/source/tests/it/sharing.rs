//! How many requests reach a server.

use std::{
    io::{Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use pintle_core::application::Reference;
use pintle_harness::Proxy;
use pintle_source::Remote;

use crate::fixture::{
    Desk, Scripted, branch, kept, lines, noise, old_ssh, open_servers, read, repository, response,
    result, small, upload_pack,
};

/// Returns how often a list of references and how often objects were asked for.
fn counts(proxy: &Proxy) -> (usize, usize) {
    let seen = proxy.seen();
    let conversations = seen
        .iter()
        .filter(|request| request.method == "GET")
        .count();
    // Each conversation lists once; the rest are fetches.
    let posts = seen
        .iter()
        .filter(|request| request.method == "POST")
        .count();
    (conversations, posts.saturating_sub(conversations))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_who_ask_at_once_share_one_fetch() {
    let servers = open_servers();
    let repository = small(servers, "shared");
    repository.tag("v1.0.0").unwrap();
    let proxy = Proxy::start(servers.http(), None).unwrap();
    let url = servers
        .git_http(&repository)
        .replace(servers.http(), &proxy.url());
    let desk = Desk::new();
    let ask = |count: usize| {
        let tasks: Vec<_> = (0..count)
            .map(|index| {
                let (repositories, remote) = (desk.repositories.clone(), Remote::anonymous(&url));
                let reference = match index % 3 {
                    0 => branch("main"),
                    1 => Reference::Tag("v1.0.0".into()),
                    _ => Reference::Semver("*".into()),
                };
                tokio::spawn(async move {
                    repositories
                        .fetch(&remote, &reference)
                        .await
                        .unwrap()
                        .revision
                        .commit
                })
            })
            .collect();
        async move {
            let head = repository.head().unwrap();
            for task in tasks {
                assert_eq!(task.await.unwrap(), head);
            }
        }
    };
    ask(1000).await;
    let (conversations, fetches) = counts(&proxy);
    assert!(
        conversations <= 2,
        "{conversations} conversations for 1000 questions"
    );
    assert_eq!(fetches, 1);
}

#[tokio::test]
async fn nothing_new_costs_no_fetch() {
    let servers = open_servers();
    let repository = small(servers, "polled");
    let proxy = Proxy::start(servers.http(), None).unwrap();
    let url = servers
        .git_http(&repository)
        .replace(servers.http(), &proxy.url());
    let desk = Desk::new();
    let remote = Remote::anonymous(&url);
    for _ in 0..3 {
        desk.fetch(&url, branch("main")).await.unwrap();
    }
    assert_eq!(counts(&proxy), (3, 1));

    // Another process also finds what this one fetched.
    desk.again().fetch(&remote, &branch("main")).await.unwrap();
    assert_eq!(counts(&proxy), (4, 1));
}

#[tokio::test]
async fn only_what_changed_is_sent() {
    let servers = open_servers();
    let large = noise(200_000);
    for server in ["of today", "of old", "of old, through ssh"] {
        let repository = repository(servers, "increments");
        repository
            .push_files(&[("large", &large), ("small", "0")], "first")
            .unwrap();
        let old = Scripted::old_git(repository.bare());
        let remote = match server {
            "of today" => Remote::anonymous(servers.git_http(&repository)),
            "of old" => Remote::anonymous(old.url_of("a.git")),
            _ => old_ssh(servers, &repository),
        };
        let desk = Desk::new();
        let main = branch("main");
        desk.repositories.fetch(&remote, &main).await.unwrap();
        let size = || -> u64 {
            packs(desk.dir.path())
                .iter()
                .map(|path| std::fs::metadata(path).unwrap().len())
                .sum()
        };
        let first = size();
        for round in 1..=5 {
            let text = round.to_string();
            repository.push_files(&[("small", &text)], &text).unwrap();
            let snapshot = desk.repositories.fetch(&remote, &main).await.unwrap();
            assert_eq!(
                (read(&snapshot, "small"), read(&snapshot, "large").len()),
                (text, large.len()),
                "a server {server}"
            );
        }
        assert!(
            size() - first < first / 4,
            "a server {server}: {first} bytes at first, {} after five small commits",
            size()
        );
    }
}

#[tokio::test]
async fn an_old_server_that_is_not_ready_for_what_is_known_is_asked_without() {
    let common = format!("ACK {} common\n", "1".repeat(40));
    let answers = [
        response("400 Bad Request", "text/plain", b""),
        response("500 Internal Server Error", "text/plain", b""),
        result(b""),
        result(&lines(&["0000", &common, "NAK\n"])),
        result(&lines(&[
            "0000",
            &common.replace("common", "later"),
            "NAK\n",
        ])),
        result(&lines(&["0000", &common, "\u{1}nonsense", "0000"])),
    ];
    for answer in answers {
        let said = String::from_utf8_lossy(&answer).into_owned();
        let repository = small(open_servers(), "not-ready");
        let server = Scripted::old_git_but(repository.bare(), move |seen| {
            seen.says("have ").then(|| answer.clone())
        });
        let url = server.url_of("a.git");
        let desk = Desk::new();
        desk.fetch(&url, branch("main")).await.unwrap();
        repository
            .push_files(&[("app/a.yaml", "a: 2\n")], "second")
            .unwrap();
        let fetched = desk.fetch(&url, branch("main")).await;
        let snapshot = fetched.unwrap_or_else(|error| panic!("{error} after {said}"));
        assert_eq!(read(&snapshot, "app/a.yaml"), "a: 2\n");
        let requests = server.requests();
        let told = requests.iter().filter(|seen| seen.says("have ")).count();
        assert_eq!(told, 1, "{said}");
    }
}

/// Returns the response of a server that wants to be left alone for ten minutes.
pub(crate) fn busy() -> Vec<u8> {
    let head = "429 Too Many Requests\r\nretry-after: 600";
    response(head, "text/plain", b"")
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_is_asked_once_for_all_references() {
    let repository = small(open_servers(), "busy");
    let is_busy = Arc::new(AtomicBool::new(true));
    let refuses = Arc::clone(&is_busy);
    let server = Scripted::git(repository.bare(), move |_| {
        refuses.load(Ordering::Relaxed).then(busy)
    });
    let remote = Remote::anonymous(server.url_of("a.git"));
    let desk = Desk::new();
    for name in ["main", "a", "b", "c", "d"] {
        let polled = desk.repositories.poll(&remote, &branch(name)).await;
        let error = polled.unwrap_err();
        let wish = error.retry_after().unwrap();
        assert!(wish > Duration::ZERO && wish <= Duration::from_mins(10));
        let said = error.to_string();
        assert!(said.ends_with("429 Too Many Requests"), "{name}: {said}");
    }
    assert_eq!(server.requests().len(), 1);

    // Somebody wants to know now.
    let main = branch("main");
    let error = desk.repositories.fetch(&remote, &main).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_mins(10)));
    assert_eq!(server.requests().len(), 2);
    is_busy.store(false, Ordering::Relaxed);
    desk.repositories.fetch(&remote, &main).await.unwrap();
    // The server has answered, so the others need not wait any more.
    desk.repositories.poll(&remote, &main).await.unwrap();
}

#[tokio::test]
async fn an_old_server_that_wants_to_be_left_alone_is_not_asked_in_another_way() {
    let repository = small(open_servers(), "old-and-busy");
    let server = Scripted::old_git_but(repository.bare(), |seen| seen.says("have ").then(busy));
    let url = server.url_of("a.git");
    let desk = Desk::new();
    desk.fetch(&url, branch("main")).await.unwrap();
    repository
        .push_files(&[("app/a.yaml", "a: 2\n")], "second")
        .unwrap();
    let before = server.fetches();
    let error = desk.refused(&url, branch("main")).await;
    assert!(error.retry_after().is_some(), "{error}");
    assert_eq!(server.fetches(), before + 1);
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_when_the_next_request_comes_is_no_failure() {
    let repository = small(open_servers(), "closing");
    let bare = repository.bare().to_owned();
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&closed);
    let server = Scripted::with_socket(move |seen, socket| {
        let answer = kept(upload_pack(&bare, seen, "version=2"));
        let _ = socket.write_all(&answer);
        if matches!(socket.read(&mut [0; 4096]), Ok(1..)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let desk = Desk::new();
    let fetched = desk.fetch(&server.url_of("a.git"), branch("main")).await;
    assert_eq!(read(&fetched.unwrap(), "app/a.yaml"), "a: 1\n");
    assert!(closed.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn history_is_not_fetched() {
    let servers = open_servers();
    let repository = repository(servers, "history");
    let old = "old\n".repeat(10);
    let first = repository.push_files(&[("a", &old)], "first").unwrap();
    let id = repository
        .git(&["rev-parse", &format!("{first}:a")])
        .unwrap();
    repository.push_files(&[("a", "new\n")], "second").unwrap();
    let desk = Desk::new();
    desk.fetch(&servers.git_http(&repository), branch("main"))
        .await
        .unwrap();
    let objects = packs(desk.dir.path());
    let listing = repository
        .git(&[
            "verify-pack",
            "-v",
            objects[0].with_extension("idx").to_str().unwrap(),
        ])
        .unwrap();
    assert!(!listing.contains(&id), "{listing}");
}

pub(crate) fn packs(cache: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![cache.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "pack")
            {
                found.push(path);
            }
        }
    }
    found
}
