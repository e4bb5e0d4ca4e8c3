//! Servers that are broken, slow or malicious.

use std::{io::Write as _, time::Duration};

use pintle_core::application::Reference;
use pintle_harness::Proxy;
use pintle_source::{Excess, Remote, Snapshot, SourceError};
use tokio::task::JoinHandle;

use crate::fixture::{
    Desk, Scripted, advertisement, basic, branch, lines, noise, open_servers, response, result,
    small, tidy, version_2,
};

const COMMIT: &str = "1111111111111111111111111111111111111111";

async fn told(server: &Scripted) -> String {
    let error = Desk::new()
        .refused(&server.url_of("a.git"), Reference::Default)
        .await;
    tidy(&error)
}

/// Starts a fetch without waiting for it yet.
fn begin(desk: &Desk, url: String) -> JoinHandle<Result<Snapshot, SourceError>> {
    let (repositories, remote) = (desk.repositories.clone(), Remote::anonymous(url));
    tokio::spawn(async move { repositories.fetch(&remote, &Reference::Default).await })
}

#[tokio::test]
async fn answers_that_are_no_gits() {
    let page = Scripted::start(|_| response("200 OK", "text/html", b"<html>Sign in</html>"));
    insta::assert_snapshot!(told(&page).await, @"http://HOST/a.git does not answer as a git server: it sends `text/html`; check the path, and that the host is not one that answers with a page for people");
    let busy = Scripted::start(|_| response("503 Service Unavailable", "text/plain", b""));
    insta::assert_snapshot!(told(&busy).await, @"http://HOST/a.git is not available: HTTP status 503 Service Unavailable");
    let no = Scripted::start(|_| response("403 Forbidden", "text/plain", b""));
    insta::assert_snapshot!(told(&no).await, @"http://HOST/a.git may not be read with these credentials: HTTP status 403 Forbidden");
    let noise = Scripted::start(|_| b"SSH-2.0-OpenSSH_9.2\r\n".to_vec());
    let error = Desk::new()
        .refused(&noise.url_of("a.git"), Reference::Default)
        .await;
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    let hangs_up = Scripted::start(|_| Vec::new());
    let error = Desk::new()
        .refused(&hangs_up.url_of("a.git"), Reference::Default)
        .await;
    assert!(
        matches!(error, SourceError::Unreachable { .. }) && error.is_retryable(),
        "{error}"
    );
    let speaks_up = Scripted::start(|_| {
        advertisement(&lines(&[
            "# service=git-upload-pack\n",
            "0000",
            "ERR you are not\x1b[31m welcome\n",
        ]))
    });
    insta::assert_snapshot!(told(&speaks_up).await, @"http://HOST/a.git does not answer as a git server: Transport handshake failed: An IO error occurred when talking to the server: you are not [31m welcome");
}

#[tokio::test]
async fn garbage_in_every_place() {
    let garbage: [&'static [u8]; 7] = [
        b"",
        b"0000",
        b"zzzz",
        b"ffff",
        b"0003",
        b"0009done\n",
        b"\xff\xff\xff\xff\xff",
    ];
    for bytes in garbage {
        for place in 0..3 {
            let server = Scripted::start(move |seen| match (seen.head.starts_with("GET"), place) {
                (true, 0) => advertisement(bytes),
                (true, _) => version_2(),
                (false, 1) => result(bytes),
                (false, _) if seen.body.windows(7).any(|window| window == b"ls-refs") => {
                    result(&lines(&[
                        &format!("{COMMIT} HEAD symref-target:refs/heads/main\n"),
                        &format!("{COMMIT} refs/heads/main\n"),
                        "0000",
                    ]))
                }
                (false, _) => result(bytes),
            });
            let outcome = Desk::new()
                .fetch(&server.url_of("a.git"), Reference::Default)
                .await;
            let error = outcome.expect_err("garbage is no repository");
            assert!(
                matches!(
                    error,
                    SourceError::Protocol { .. }
                        | SourceError::Objects { .. }
                        | SourceError::Empty { .. }
                ),
                "{bytes:?} in place {place}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn packs_that_are_broken() {
    let header = |count: u32| {
        [
            b"PACK".as_slice(),
            &2_u32.to_be_bytes(),
            &count.to_be_bytes(),
        ]
        .concat()
    };
    // A blob that claims to have 2 GiB, a delta without a base, a delta on itself, and no objects at all.
    let giant = [
        header(1),
        vec![0xb0, 0x80, 0x80, 0x80, 0x40],
        vec![0x78, 0x9c, 0x03, 0x00],
    ]
    .concat();
    let orphan = [
        header(1),
        vec![0x74],
        vec![0x22; 20],
        vec![0x78, 0x9c, 0x63, 0x60, 0x60, 0x00, 0x00],
    ]
    .concat();
    let itself = [
        header(1),
        vec![0x64, 0x00],
        vec![0x78, 0x9c, 0x63, 0x60, 0x60, 0x00, 0x00],
    ]
    .concat();
    let many = header(u32::MAX);
    let cut = [header(3), vec![0x30]].concat();
    for pack in [
        giant,
        orphan,
        itself,
        many,
        cut,
        header(0),
        b"PACKAGE".to_vec(),
    ] {
        let sent = pack.clone();
        let server = Scripted::start(move |seen| {
            if seen.head.starts_with("GET") {
                return version_2();
            }
            if seen.body.windows(7).any(|window| window == b"ls-refs") {
                return result(&lines(&[&format!("{COMMIT} refs/heads/main\n"), "0000"]));
            }
            let mut body = lines(&["packfile\n"]);
            body.extend(format!("{:04x}\u{1}", sent.len() + 5).into_bytes());
            body.extend(&sent);
            body.extend(b"0000");
            result(&body)
        });
        let error = Desk::new()
            .refused(&server.url_of("a.git"), branch("main"))
            .await;
        assert!(
            matches!(
                error,
                SourceError::Objects { .. }
                    | SourceError::Protocol { .. }
                    | SourceError::TooLarge { .. }
            ),
            "{pack:x?}: {error}"
        );
        // Once as it is, and once from scratch.
        let fetches = server
            .requests()
            .iter()
            .filter(|seen| seen.body.windows(5).any(|window| window == b"want "))
            .count();
        assert!((1..=2).contains(&fetches), "{fetches} fetches of {pack:x?}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let silent = Scripted::with_socket(|_, socket| {
        // Until the client has hung up.
        let _ = std::io::copy(socket, &mut std::io::sink());
    });
    let desk = Desk::limited(|limits| {
        limits.connect = Duration::from_secs(2);
        limits.idle = Duration::from_millis(500);
    });
    let error = desk
        .refused(&silent.url_of("a.git"), Reference::Default)
        .await;
    assert!(error.is_retryable());
    insta::assert_snapshot!(tidy(&error), @"http://HOST/a.git did not answer for more than 2500 ms");
}

#[tokio::test]
async fn a_host_that_says_nothing_leaves_turns_for_others() {
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let silent: Vec<Scripted> = (0..3)
        .map(|_| {
            let arrived = arrived.clone();
            Scripted::with_socket(move |_, socket| {
                let _ = arrived.send(());
                let _ = std::io::copy(socket, &mut std::io::sink());
            })
        })
        .collect();
    let desk = Desk::with(|options| options.concurrency = 2);
    let waiting: Vec<_> = silent
        .iter()
        .map(|server| begin(&desk, server.url_of("a.git")))
        .collect();
    has_arrived.recv().await.unwrap();

    // Another name is another host.
    let servers = open_servers();
    let repository = small(servers, "elsewhere");
    let url = servers
        .git_http(&repository)
        .replace("127.0.0.1", "localhost");
    desk.fetch(&url, branch("main")).await.unwrap();
    assert!(
        waiting.iter().all(|task| !task.is_finished()),
        "it was answered only after they had been given up"
    );
    desk.repositories.stop();
    for task in waiting {
        let error = task.await.unwrap().unwrap_err();
        assert!(matches!(error, SourceError::Stopped { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_host_that_was_silent_is_asked_for_one_repository_at_a_time() {
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::with_socket(move |seen, socket| {
        // First it hangs up, and then it is silent.
        if !seen.path().starts_with("/first") {
            let _ = arrived.send(());
            let _ = std::io::copy(socket, &mut std::io::sink());
        }
    });
    let desk = Desk::new();
    let error = desk
        .refused(&server.url_of("first.git"), Reference::Default)
        .await;
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    let waiting = ["a.git", "b.git", "c.git"].map(|name| begin(&desk, server.url_of(name)));
    has_arrived.recv().await.unwrap();

    // Another name is another host.
    let servers = open_servers();
    let repository = small(servers, "well");
    let url = servers
        .git_http(&repository)
        .replace("127.0.0.1", "localhost");
    desk.fetch(&url, branch("main")).await.unwrap();
    assert!(has_arrived.is_empty(), "it was asked for another one");
    assert!(waiting.iter().all(|task| !task.is_finished()));
    desk.repositories.stop();
    for task in waiting {
        let error = task.await.unwrap().unwrap_err();
        assert!(matches!(error, SourceError::Stopped { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_host_that_takes_its_time_for_hardly_anything_is_asked_for_one_repository_at_a_time() {
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let page = || response("200 OK", "text/html", b"");
    let server = Scripted::with_socket(move |seen, socket| {
        if seen.path().starts_with("/first") {
            // Longer than it may be silent, and then an answer that is not counted against it for any other reason.
            std::thread::sleep(Duration::from_millis(400));
            let _ = socket.write_all(&page());
        } else {
            let _ = arrived.send(());
            let _ = std::io::copy(socket, &mut std::io::sink());
        }
    });
    let desk = Desk::limited(|limits| limits.idle = Duration::from_millis(200));
    let error = desk
        .refused(&server.url_of("first.git"), Reference::Default)
        .await;
    assert!(matches!(error, SourceError::Protocol { .. }), "{error}");
    let waiting = ["a.git", "b.git", "c.git"].map(|name| begin(&desk, server.url_of(name)));
    has_arrived.recv().await.unwrap();

    // Another name is another host.
    let well = Scripted::start(move |_| page());
    let url = well.url_of("a.git").replace("127.0.0.1", "localhost");
    let error = desk.refused(&url, Reference::Default).await;
    assert!(matches!(error, SourceError::Protocol { .. }), "{error}");
    assert!(has_arrived.is_empty(), "it was asked for another one");
    desk.repositories.stop();
    for task in waiting {
        let error = task.await.unwrap().unwrap_err();
        assert!(matches!(error, SourceError::Stopped { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_never_ends() {
    let endless = |first: Vec<u8>, more: Vec<u8>, pause: Duration| {
        Scripted::with_socket(move |_, socket| {
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement\r\n\r\n";
            let mut alive = socket.write_all(&[head, &first[..]].concat()).is_ok();
            while alive {
                std::thread::sleep(pause);
                alive = socket.write_all(&more).is_ok();
            }
        })
    };
    let first = lines(&["# service=git-upload-pack\n", "0000", "version 2\n"]);
    let trickle = endless(first, lines(&["feature\n"]), Duration::from_millis(10));
    let desk = Desk::limited(|limits| limits.total = Duration::from_millis(500));
    let error = desk
        .refused(&trickle.url_of("a.git"), Reference::Default)
        .await;
    insta::assert_snapshot!(tidy(&error), @"http://HOST/a.git was being read for more than 500 ms");

    let first = lines(&[
        "# service=git-upload-pack\n",
        "0000",
        &format!("{COMMIT} HEAD\0agent=test\n"),
    ]);
    let more = lines(&[&format!("{COMMIT} refs/heads/{}\n", "x".repeat(1000))]).repeat(100);
    let long = [first.clone(), more.repeat(11)].concat();
    let flood = endless(first, more, Duration::ZERO);
    let desk = Desk::limited(|limits| limits.refs = 1 << 20);
    let error = desk
        .refused(&flood.url_of("a.git"), Reference::Default)
        .await;
    insta::assert_snapshot!(tidy(&error), @"http://HOST/a.git sends more than 1048576 bytes of branches and tags, the limit of their list: delete those that nobody needs; before version 2 of git's protocol the list holds all other references too");

    // A list that is long and then never ends holds no memory, and keeps nobody else from reading such a list.
    let line = lines(&[&format!("{COMMIT} refs/heads/x\n")]);
    let long = endless(long, line, Duration::from_millis(50));
    let desk = Desk::limited(|limits| limits.idle = Duration::from_secs(1));
    for _ in 0..3 {
        let error = desk
            .refused(&long.url_of("a.git"), Reference::Default)
            .await;
        let expected = "http://HOST/a.git has a long list of branches and tags, the rest of which did not come within 1 s: delete those that nobody needs";
        assert_eq!(tidy(&error), expected);
    }
}

#[tokio::test]
async fn more_objects_than_allowed() {
    let servers = open_servers();
    let repository = small(servers, "large");
    repository.write("noise", noise(300_000)).unwrap();
    repository.commit("large").unwrap();
    repository.push().unwrap();
    let url = servers.git_http(&repository);
    let desk = Desk::limited(|limits| limits.pack = 10_000);
    let error = desk.refused(&url, branch("main")).await;
    assert!(!error.is_retryable());
    assert_eq!(too_large(&error), Some((Excess::Transfer, 10_000)));
    let desk = Desk::limited(|limits| limits.objects = 5);
    let error = desk.refused(&url, branch("main")).await;
    assert_eq!(too_large(&error), Some((Excess::Objects, 5)));
    let desk = Desk::limited(|limits| limits.unpacked = 200_000);
    let error = desk.refused(&url, branch("main")).await;
    assert_eq!(too_large(&error), Some((Excess::Unpacked, 200_000)));
    let desk = Desk::limited(|limits| limits.object = 100_000);
    let error = desk.refused(&url, branch("main")).await;
    assert_eq!(too_large(&error), Some((Excess::Object, 100_000)));
    desk.again()
        .fetch(&Remote::anonymous(&url), &branch("main"))
        .await
        .unwrap();
}

fn too_large(error: &SourceError) -> Option<(Excess, u64)> {
    match error {
        SourceError::TooLarge { what, limit, .. } => Some((*what, *limit)),
        _ => None,
    }
}

#[tokio::test]
async fn small_packs_of_large_objects_are_not_put_together() {
    // Two files of one repeated byte each: some 80 kB when sent, and 80 MiB when unpacked.
    let servers = open_servers();
    let repository = small(servers, "bomb");
    for byte in [b'a', b'b'] {
        let name = format!("{}.bin", char::from(byte));
        repository.write(&name, vec![byte; 40 << 20]).unwrap();
    }
    repository.commit("bomb").unwrap();
    repository.push().unwrap();
    let proxy = Proxy::start(servers.http(), None).unwrap();
    let url = servers
        .git_http(&repository)
        .replace(servers.http(), &proxy.url());
    let desk = Desk::with(|options| options.limits.object = 32 << 20);
    let error = desk.refused(&url, branch("main")).await;
    assert_eq!(too_large(&error), Some((Excess::Object, 32 << 20)));
    assert!(!error.is_retryable());
    // A list, and one fetch: another would bring the same.
    assert_eq!(proxy.seen().len(), 3, "{:?}", proxy.seen());
}

#[tokio::test]
async fn a_pack_that_trickles_holds_up_nobody_else() {
    let (arrived, mut has_arrived) = tokio::sync::mpsc::unbounded_channel();
    let trickle = Scripted::with_socket(move |seen, socket| {
        let answer = if seen.head.starts_with("GET") {
            version_2()
        } else if seen.body.windows(7).any(|window| window == b"ls-refs") {
            result(&lines(&[&format!("{COMMIT} refs/heads/main\n"), "0000"]))
        } else {
            let head =
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-result\r\n\r\n";
            let begin = [head.as_slice(), &lines(&["packfile\n", "\u{1}PACK"])].concat();
            socket.write_all(&begin).unwrap();
            arrived.send(()).unwrap();
            let _ = std::io::copy(socket, &mut std::io::sink());
            return;
        };
        let _ = socket.write_all(&answer);
    });
    let desk = Desk::new();
    let (repositories, remote) = (
        desk.repositories.clone(),
        Remote::anonymous(trickle.url_of("a.git")),
    );
    let task = tokio::spawn(async move { repositories.fetch(&remote, &branch("main")).await });
    has_arrived.recv().await.unwrap();
    let servers = open_servers();
    let repository = small(servers, "beside");
    desk.fetch(&servers.git_http(&repository), branch("main"))
        .await
        .unwrap();
    assert!(
        !task.is_finished(),
        "it was taken only after the other was given up"
    );
    desk.repositories.stop();
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, SourceError::Stopped { .. }), "{error}");
}

#[tokio::test]
async fn redirects_do_not_take_credentials_along() {
    let servers = open_servers();
    let repository = small(servers, "moved");
    let target = servers.git_http(&repository);
    let other = Scripted::start(|_| response("401 Unauthorized", "text/plain", b""));
    let redirect = |to: String| {
        Scripted::start(move |seen| {
            let to = format!("{to}/info/refs?service=git-upload-pack");
            let _ = seen;
            format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
        })
    };
    // The redirect is followed, because hosts send one when a repository is renamed.
    let moved = redirect(target);
    Desk::new()
        .fetch(&moved.url_of("a.git"), branch("main"))
        .await
        .unwrap();

    // The other server gets no password.
    let away = redirect(other.url_of("a.git"));
    let remote = Remote {
        url: away.url_of("a.git"),
        credentials: basic("hunter2"),
    };
    let desk = Desk::new();
    let error = desk
        .repositories
        .fetch(&remote, &branch("main"))
        .await
        .unwrap_err();
    insta::assert_snapshot!(tidy(&error), @"`http://HOST/a.git` is not usable as a repository: it redirects to http://HOST/a.git, which answers with HTTP status 401 Unauthorized and gets no credentials, as they are not for it: use that URL");
    assert!(away.requests()[0].header("authorization").is_some());
    assert_eq!(
        other
            .requests()
            .iter()
            .filter_map(|seen| seen.header("authorization"))
            .count(),
        0
    );
    assert_eq!(other.requests().len(), 1);

    for (to, reason) in [
        ("file:///etc/passwd#", "which is less safe"),
        ("http://127.0.0.1:1/other?x=", "which is no repository"),
        ("http://u:p@127.0.0.1:1/a.git", "which is no repository"),
    ] {
        let error = told(&redirect(to.to_owned())).await;
        assert!(error.contains(reason) && !error.contains(":p@"), "{error}");
    }
    let endless = Scripted::start(|seen| {
        format!(
            "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            seen.path()
        )
        .into_bytes()
    });
    insta::assert_snapshot!(told(&endless).await, @"http://HOST/a.git does not answer as a git server: it redirects more than 5 times");
}

#[tokio::test]
async fn stopping_breaks_off_what_is_under_way() {
    let (arrived, has_arrived) = std::sync::mpsc::channel();
    let silent = Scripted::with_socket(move |_, socket| {
        arrived.send(()).unwrap();
        let _ = std::io::copy(socket, &mut std::io::sink());
    });
    let desk = Desk::new();
    let task = begin(&desk, silent.url_of("a.git"));
    tokio::task::spawn_blocking(move || has_arrived.recv().unwrap())
        .await
        .unwrap();
    desk.repositories.stop();
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, SourceError::Stopped { .. }), "{error}");
    let error = desk
        .refused(&silent.url_of("a.git"), Reference::Default)
        .await;
    assert!(matches!(error, SourceError::Stopped { .. }), "{error}");
}
