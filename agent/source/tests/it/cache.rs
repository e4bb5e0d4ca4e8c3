//! A cache that is deleted, damaged, or used by several processes at once.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use pintle_core::application::Reference;
use pintle_source::{Options, Remote, SourceError};

use crate::fixture::{
    Desk, Scripted, basic, branch, guarded_servers, lines, not_ours, open_servers, path, read,
    response, result, small, token,
};
use crate::sharing::packs;

/// Breaks the cache, given one of its packs.
type Damage = fn(&Path);

fn damage(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    // Packs are read-only, and may be mapped into memory, so another file replaces them.
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn it_may_be_deleted_at_any_time() {
    let servers = open_servers();
    let repository = small(servers, "deleted");
    let url = servers.git_http(&repository);
    let desk = Desk::new();
    let before = desk.fetch(&url, branch("main")).await.unwrap();
    for part in ["repositories", "key", "keys"] {
        let victim = desk.dir.path().join(part);
        let _ = if victim.is_dir() {
            fs::remove_dir_all(victim)
        } else {
            fs::remove_file(victim)
        };
        let snapshot = desk.fetch(&url, branch("main")).await.unwrap();
        assert_eq!(
            read(&snapshot, "app/a.yaml"),
            "a: 1\n",
            "after {part} was deleted"
        );
    }
    fs::remove_dir_all(desk.dir.path()).unwrap();
    repository
        .push_files(&[("app/a.yaml", "a: 2\n")], "second")
        .unwrap();
    let snapshot = desk.fetch(&url, branch("main")).await.unwrap();
    assert_eq!(read(&snapshot, "app/a.yaml"), "a: 2\n");
    // What was opened before may or may not be gone, but it is never wrong.
    if let Ok(bytes) = before
        .tree(&path(""))
        .and_then(|tree| Ok(tree.read(&path("app/a.yaml"))?))
    {
        assert_eq!(bytes, b"a: 1\n");
    }
}

#[tokio::test]
async fn what_is_damaged_is_fetched_anew() {
    let servers = open_servers();
    let kinds: [(&str, Damage); 6] = [
        ("cut", |pack| damage(pack, |bytes| bytes.truncate(40))),
        ("overwritten", |pack| {
            damage(pack, |bytes| bytes[12..].fill(0xff));
        }),
        ("no index", |pack| {
            fs::remove_file(pack.with_extension("idx")).unwrap();
        }),
        ("empty index", |pack| {
            damage(&pack.with_extension("idx"), Vec::clear);
        }),
        ("bad config", |pack| {
            fs::write(pack.ancestors().nth(3).unwrap().join("config"), "[core\n").unwrap();
        }),
        ("no HEAD", |pack| {
            fs::remove_file(pack.ancestors().nth(3).unwrap().join("HEAD")).unwrap();
        }),
    ];
    for (name, break_it) in kinds {
        let repository = small(servers, "damaged");
        let url = servers.git_http(&repository);
        let desk = Desk::new();
        desk.fetch(&url, branch("main")).await.unwrap();
        break_it(&packs(desk.dir.path())[0]);
        // Another process, which has nothing in memory.
        let remote = Remote::anonymous(&url);
        let snapshot = desk.again().fetch(&remote, &branch("main")).await.unwrap();
        assert_eq!(read(&snapshot, "app/a.yaml"), "a: 1\n", "{name}");
    }
}

#[tokio::test]
async fn damage_found_while_reading_is_mended_by_the_next_fetch() {
    let servers = open_servers();
    let repository = small(servers, "late");
    let url = servers.git_http(&repository);
    let desk = Desk::new();
    desk.fetch(&url, branch("main")).await.unwrap();
    // The file arrives in a pack of its own, so that the commit stays readable.
    repository
        .push_files(
            &[("app/a.yaml", &"text that makes a new blob\n".repeat(50))],
            "second",
        )
        .unwrap();
    desk.fetch(&url, branch("main")).await.unwrap();
    let blob = repository.git(&["rev-parse", "HEAD:app/a.yaml"]).unwrap();
    let other = desk.again();
    let remote = Remote::anonymous(&url);
    for pack in packs(desk.dir.path()) {
        let index = pack.with_extension("idx");
        let listing = repository
            .git(&["verify-pack", "-v", index.to_str().unwrap()])
            .unwrap();
        if let Some(line) = listing.lines().find(|line| line.starts_with(&blob)) {
            let offset: usize = line.split_whitespace().nth(4).unwrap().parse().unwrap();
            damage(&pack, |bytes| bytes[offset + 3..offset + 20].fill(0xff));
        }
    }
    let broken = other.fetch(&remote, &branch("main")).await.unwrap();
    let tree = broken.tree(&path("app")).unwrap();
    let error = tree.read(&path("a.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("a.yaml could not be read: "), "{error}");
    let mended = other.fetch(&remote, &branch("main")).await.unwrap();
    assert!(read(&mended, "app/a.yaml").starts_with("text that"));
}

#[tokio::test]
async fn what_cannot_be_fetched_anew_leaves_what_is_there() {
    let repository = small(open_servers(), "kept");
    let first = repository.head().unwrap();
    let is_broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&is_broken);
    let server = Scripted::git(repository.bare(), move |seen| {
        let nonsense = || result(&lines(&["packfile\n", "\u{1}nonsense", "0000"]));
        (breaks.load(Ordering::Relaxed) && seen.says("want ")).then(nonsense)
    });
    let url = server.url_of("a.git");
    let desk = Desk::new();
    desk.fetch(&url, branch("main")).await.unwrap();
    repository
        .push_files(&[("app/a.yaml", "a: 2\n")], "second")
        .unwrap();
    is_broken.store(true, Ordering::Relaxed);
    let error = desk.refused(&url, branch("main")).await;
    assert!(matches!(error, SourceError::Objects { .. }), "{error}");

    // A process that has nothing in memory also finds what was fetched before.
    let before = server.fetches();
    let remote = Remote::anonymous(&url);
    let snapshot = desk
        .again()
        .fetch(&remote, &Reference::Commit(first))
        .await
        .unwrap();
    assert_eq!(read(&snapshot, "app/a.yaml"), "a: 1\n");
    assert_eq!(server.fetches(), before);
}

#[tokio::test]
async fn what_a_killed_process_left_is_not_in_the_way() {
    let servers = open_servers();
    let repository = small(servers, "killed");
    let url = servers.git_http(&repository);
    let desk = Desk::new();
    desk.fetch(&url, branch("main")).await.unwrap();
    let packs = packs(desk.dir.path());
    let (pack_dir, bare) = (
        packs[0].parent().unwrap(),
        packs[0].ancestors().nth(3).unwrap(),
    );
    fs::write(bare.join("shallow.lock"), "").unwrap();
    fs::write(pack_dir.join(".tmpAbCdEf"), "half a pack").unwrap();
    repository
        .push_files(&[("app/a.yaml", "a: 2\n")], "second")
        .unwrap();
    let snapshot = desk
        .again()
        .fetch(&Remote::anonymous(&url), &branch("main"))
        .await
        .unwrap();
    assert_eq!(read(&snapshot, "app/a.yaml"), "a: 2\n");
    assert!(!pack_dir.join(".tmpAbCdEf").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_processes_share_it() {
    let servers = open_servers();
    let repository = small(servers, "crowd");
    let url = servers.git_http(&repository);
    let desk = Desk::new();
    for round in 0..3 {
        let text = format!("a: {round}\n");
        repository
            .push_files(&[("app/a.yaml", &text)], &text)
            .unwrap();
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (other, remote) = (desk.again(), Remote::anonymous(&url));
                tokio::spawn(async move {
                    read(
                        &other.fetch(&remote, &branch("main")).await.unwrap(),
                        "app/a.yaml",
                    )
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), text);
        }
    }
}

#[tokio::test]
async fn many_commits_do_not_make_it_grow_without_end() {
    let servers = open_servers();
    let repository = small(servers, "many");
    let old = Scripted::old_git(repository.bare());
    let caches = [servers.git_http(&repository), old.url_of("a.git")].map(|url| (url, Desk::new()));
    for round in 0..110 {
        let text = round.to_string();
        repository.write("app/a.yaml", &text).unwrap();
        repository
            .git(&["commit", "--quiet", "--all", "--message", &text])
            .unwrap();
        repository
            .git(&["push", "--quiet", "origin", "HEAD"])
            .unwrap();
        for (url, desk) in &caches {
            let snapshot = desk.fetch(url, branch("main")).await.unwrap();
            assert_eq!(read(&snapshot, "app/a.yaml"), text);
        }
    }
    for (url, desk) in &caches {
        let count = packs(desk.dir.path()).len();
        assert!(count < 20, "{count} packs of {url} after 110 commits");
    }
}

/// Adds packs beside another one, such as a server leaves behind that sends everything with each commit. They take no room on
/// disk.
fn swell(pack: &Path, count: usize) {
    for number in 0..count {
        let file = fs::File::create(pack.with_file_name(format!("{number}.pack"))).unwrap();
        file.set_len(40 << 20).unwrap();
    }
}

#[tokio::test]
async fn what_nobody_follows_any_more_does_not_stay() {
    let servers = open_servers();
    let repository = small(servers, "grown");
    let url = servers.git_http(&repository);
    let desk = Desk::new();
    desk.fetch(&url, branch("main")).await.unwrap();
    swell(&packs(desk.dir.path())[0], 4);
    repository
        .push_files(&[("app/a.yaml", "a: 2\n")], "second")
        .unwrap();
    let size = || -> u64 {
        packs(desk.dir.path())
            .iter()
            .map(|pack| fs::metadata(pack).unwrap().len())
            .sum()
    };
    // The replaced repository is removed only by a later fetch, as it was in use, perhaps also by a process that another test
    // was just starting.
    for _ in 0..100 {
        let snapshot = desk.fetch(&url, branch("main")).await.unwrap();
        assert_eq!(read(&snapshot, "app/a.yaml"), "a: 2\n");
        if size() < 1 << 20 {
            return;
        }
    }
    panic!("{} bytes for a few small files", size());
}

#[tokio::test]
async fn what_has_become_too_large_to_be_fetched_anew_is_added_to() {
    let repository = small(open_servers(), "too-large");
    let server = Scripted::git(repository.bare(), |_| None);
    let (url, main) = (server.url_of("a.git"), branch("main"));
    let remote = Remote::anonymous(&url);
    // Six objects come first, and then six more. The last commit has nine.
    let desk = Desk::limited(|limits| limits.objects = 8);
    desk.fetch(&url, branch("main")).await.unwrap();
    swell(&packs(desk.dir.path())[0], 4);
    repository
        .push_files(
            &[
                ("app/c.yaml", "c: 1\n"),
                ("app/d.yaml", "d: 1\n"),
                ("app/e.yaml", "e: 1\n"),
            ],
            "second",
        )
        .unwrap();
    let snapshot = desk.fetch(&url, branch("main")).await.unwrap();
    assert_eq!(read(&snapshot, "app/a.yaml"), "a: 1\n");
    assert_eq!(read(&snapshot, "app/e.yaml"), "e: 1\n");
    // Once as a whole, and then what was missing.
    assert_eq!(wants(&server, ""), 3);

    let push = |text: &str| {
        repository
            .push_files(&[("app/a.yaml", text)], text)
            .unwrap()
    };
    for text in ["2", "3"] {
        push(text);
        // A process that has nothing in memory does not repeat the failed attempt either.
        let limits = |options: &mut Options| options.limits.objects = 8;
        let snapshot = desk.again_with(limits).fetch(&remote, &main).await.unwrap();
        assert_eq!(read(&snapshot, "app/a.yaml"), text);
    }
    assert_eq!(wants(&server, ""), 5);

    // With a larger limit it can be fetched as a whole.
    push("4");
    let snapshot = desk.again().fetch(&remote, &main).await.unwrap();
    assert_eq!(read(&snapshot, "app/e.yaml"), "e: 1\n");
    let packs = packs(desk.dir.path());
    let is_new = |pack: &Path| pack.ancestors().nth(3).unwrap().ends_with("2");
    assert_eq!(packs.iter().filter(|pack| is_new(pack)).count(), 1);
}

/// Counts the requests for a commit, or for any if none is named.
fn wants(server: &Scripted, commit: &str) -> usize {
    let want = format!("want {commit}");
    let requests = server.requests();
    requests.iter().filter(|seen| seen.says(&want)).count()
}

#[tokio::test]
async fn what_the_server_has_no_more_stays_for_who_follows_it() {
    // The commit is found in the cache, or a conversation brings it, before the branch moves on. And some servers fail when
    // they are asked for what they do not have.
    for comes_with_main in [true, false] {
        let repository = small(open_servers(), "pruned");
        let first = repository.head().unwrap();
        let is_pruned = Arc::new(AtomicBool::new(false));
        let (prunes, want) = (Arc::clone(&is_pruned), format!("want {first}"));
        let refusal = if comes_with_main {
            not_ours(&first)
        } else {
            response("500 Internal Server Error", "text/plain", b"")
        };
        let server = Scripted::git(repository.bare(), move |seen| {
            (prunes.load(Ordering::Relaxed) && seen.says(&want)).then(|| refusal.clone())
        });
        let url = server.url_of("a.git");
        let desk = Desk::new();
        let pinned = Reference::Commit(first.clone());
        if comes_with_main {
            desk.fetch(&url, branch("main")).await.unwrap();
        }
        desk.fetch(&url, pinned.clone()).await.unwrap();
        swell(&packs(desk.dir.path())[0], 8);
        repository
            .push_files(&[("app/a.yaml", "a: 2\n")], "second")
            .unwrap();
        is_pruned.store(true, Ordering::Relaxed);
        let main = desk.fetch(&url, branch("main")).await.unwrap();
        assert_eq!(read(&main, "app/a.yaml"), "a: 2\n");
        // It is asked for in vain once, and not with each new commit.
        let before = wants(&server, &first);
        repository
            .push_files(&[("app/a.yaml", "a: 3\n")], "third")
            .unwrap();
        let main = desk.fetch(&url, branch("main")).await.unwrap();
        assert_eq!(read(&main, "app/a.yaml"), "a: 3\n");
        assert_eq!(wants(&server, &first), before);
        let pinned = desk.fetch(&url, pinned).await.unwrap();
        assert_eq!(read(&pinned, "app/a.yaml"), "a: 1\n");
    }
}

#[tokio::test]
async fn what_the_server_has_no_more_is_not_in_the_way_where_nothing_can_be_added() {
    let repository = small(open_servers(), "unfit");
    let first = repository.head().unwrap();
    let is_pruned = Arc::new(AtomicBool::new(false));
    let (prunes, gone) = (Arc::clone(&is_pruned), first.clone());
    let server = Scripted::git(repository.bare(), move |seen| {
        if !prunes.load(Ordering::Relaxed) {
            return None;
        }
        if seen.says(&format!("want {gone}")) {
            return Some(not_ours(&gone));
        }
        let nonsense = || result(&lines(&["packfile\n", "\u{1}nonsense", "0000"]));
        seen.says(&format!("have {gone}")).then(nonsense)
    });
    let url = server.url_of("a.git");
    let desk = Desk::new();
    desk.fetch(&url, Reference::Commit(first)).await.unwrap();
    repository
        .push_files(&[("app/a.yaml", "a: 2\n")], "second")
        .unwrap();
    is_pruned.store(true, Ordering::Relaxed);
    let main = desk.fetch(&url, branch("main")).await.unwrap();
    assert_eq!(read(&main, "app/a.yaml"), "a: 2\n");
}

#[tokio::test]
async fn a_copy_that_was_fetched_with_a_token_that_was_replaced_does_not_stay() {
    let servers = guarded_servers();
    let repository = small(servers, "replaced");
    let url = servers.git_http(&repository);
    let desk = Desk::with(|options| options.cache_bytes = 0);
    let [old, new] = [basic("hunter2"), token("open-sesame")].map(|credentials| Remote {
        url: url.clone(),
        credentials,
    });
    let main = branch("main");
    desk.repositories.fetch(&old, &main).await.unwrap();
    let copy = packs(desk.dir.path()).remove(0);
    desk.repositories.forget(&old);
    // The fetch may still be about to release it, and so may a process that another test is just starting.
    for round in 0..100 {
        let text = round.to_string();
        repository
            .push_files(&[("app/a.yaml", &text)], &text)
            .unwrap();
        let snapshot = desk.repositories.fetch(&new, &main).await.unwrap();
        assert_eq!(read(&snapshot, "app/a.yaml"), text);
        if !copy.exists() {
            return;
        }
    }
    panic!("{} is still there", copy.display());
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_says_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = pintle_source::Options::new(file.path().join("cache"));
    let error = pintle_source::Repositories::new(options).unwrap_err();
    assert!(matches!(error, SourceError::Cache { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("cannot be used: Not a directory"),
        "{error}"
    );
}
