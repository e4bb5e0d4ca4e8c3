//! Every way to reach and open a repository, on servers written by others.

use pintle_core::application::Reference;
use pintle_harness::GitRepo;
use pintle_source::{Credentials, Login, Options, Remote, Repositories, Snapshot, SourceError};

use crate::fixture::{
    Desk, basic, branch, guarded_servers, old_ssh, only_tips, open_servers, read, small, tidy,
    token,
};

async fn with(desk: &Desk, url: &str, credentials: Credentials) -> Result<Snapshot, SourceError> {
    desk.repositories
        .fetch(
            &Remote {
                url: url.to_owned(),
                credentials,
            },
            &branch("main"),
        )
        .await
}

fn plain(error: &SourceError, repository: &GitRepo) -> String {
    let name = repository.bare().file_stem().unwrap().to_str().unwrap();
    let folder = repository.bare().parent().unwrap().to_str().unwrap();
    tidy(error).replace(folder, "/REPOS").replace(name, "REPO")
}

#[tokio::test]
async fn http_with_credentials() {
    let servers = guarded_servers();
    let repository = small(servers, "guarded");
    let url = servers.git_http(&repository);
    let desk = Desk::new();
    for credentials in [basic("hunter2"), token("open-sesame")] {
        assert_eq!(
            read(&with(&desk, &url, credentials).await.unwrap(), "app/a.yaml"),
            "a: 1\n"
        );
    }
    let refused = async |credentials| {
        plain(
            &with(&desk, &url, credentials).await.unwrap_err(),
            &repository,
        )
    };
    insta::assert_snapshot!(refused(Credentials::default()).await, @"http://HOST/git/REPO.git asks for credentials: name a Secret with them in the source");
    insta::assert_snapshot!(refused(basic("wrong")).await, @"http://HOST/git/REPO.git refused the credentials: check that they are right and have not expired");
    let key = Login::Key {
        identity: "k".into(),
        known_hosts: "h".into(),
    };
    insta::assert_snapshot!(refused(Credentials { login: key, certificate_authority: None }).await, @"the credentials do not fit http://HOST/git/REPO.git: they hold an SSH key, and this is no ssh URL: expected `username` and `password`, or `bearerToken`");
    let error = with(&desk, &url, basic("wrong")).await.unwrap_err();
    assert!(
        !error.is_retryable() && !format!("{error:?}").contains("wrong"),
        "{error:?}"
    );
}

#[tokio::test]
async fn who_has_other_credentials_gets_nothing_from_the_cache() {
    let servers = guarded_servers();
    let repository = small(servers, "tenants");
    let url = servers.git_http(&repository);
    let desk = Desk::new();
    let commit = with(&desk, &url, basic("hunter2"))
        .await
        .unwrap()
        .revision
        .commit;
    for credentials in [Credentials::default(), basic("wrong")] {
        let remote = Remote {
            url: url.clone(),
            credentials,
        };
        for reference in [branch("main"), Reference::Commit(commit.clone())] {
            let error = desk
                .repositories
                .fetch(&remote, &reference)
                .await
                .unwrap_err();
            assert!(
                matches!(error, SourceError::Unauthenticated { .. }),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn https_with_an_own_authority() {
    let servers = open_servers();
    let repository = small(servers, "https");
    let url = servers.git_https(&repository);
    let desk = Desk::new();
    let authority = |pem: String| Credentials {
        login: Login::Anonymous,
        certificate_authority: Some(pem),
    };
    let pem = std::fs::read_to_string(servers.ca()).unwrap();
    assert_eq!(
        read(
            &with(&desk, &url, authority(pem)).await.unwrap(),
            "app/a.yaml"
        ),
        "a: 1\n"
    );

    let error = with(&desk, &url, Credentials::default()).await.unwrap_err();
    assert!(!error.is_retryable());
    insta::assert_snapshot!(plain(&error, &repository), @"no trusted connection to https://HOST/git/REPO.git: invalid peer certificate: UnknownIssuer; a server with its own certificate authority needs that authority as `ca.crt` in the credentials");
    let error = with(&desk, &url, authority("no certificate".into()))
        .await
        .unwrap_err();
    insta::assert_snapshot!(plain(&error, &repository), @"the credentials do not fit https://HOST/git/REPO.git: `ca.crt` holds no certificate: expected PEM, `-----BEGIN CERTIFICATE-----`");
}

#[tokio::test]
async fn ssh_with_a_key() {
    let servers = open_servers();
    let ssh = servers.ssh().unwrap();
    let repository = small(servers, "ssh");
    let first = repository.head().unwrap();
    repository
        .push_files(&[("app/a.yaml", "a: 2\n")], "second")
        .unwrap();
    let url = servers.git_ssh(&repository).unwrap();
    let identity = std::fs::read_to_string(&ssh.key).unwrap();
    let known_hosts = std::fs::read_to_string(&ssh.known_hosts).unwrap();
    let key = |identity: &str, known_hosts: &str| Credentials {
        login: Login::Key {
            identity: identity.into(),
            known_hosts: known_hosts.into(),
        },
        certificate_authority: None,
    };
    let desk = Desk::new();
    let good = key(&identity, &known_hosts);
    assert_eq!(
        read(
            &with(&desk, &url, good.clone()).await.unwrap(),
            "app/a.yaml"
        ),
        "a: 2\n"
    );
    let remote = Remote {
        url: url.clone(),
        credentials: good.clone(),
    };
    let old = desk
        .repositories
        .fetch(&remote, &Reference::Commit(first))
        .await
        .unwrap();
    assert_eq!(read(&old, "app/a.yaml"), "a: 1\n");
    let none = Reference::Commit("0123456789012345678901234567890123456789".into());
    let error = desk.repositories.fetch(&remote, &none).await.unwrap_err();
    assert!(matches!(error, SourceError::NoCommit { .. }), "{error}");

    // The account's name and the port depend on who runs the tests.
    let refused = async |url: &str, credentials| {
        let text = plain(
            &with(&desk, url, credentials).await.unwrap_err(),
            &repository,
        );
        text.replace(&format!("{}@", ssh.user), "me@")
            .replace(&format!("]:{}", ssh.port), "]:PORT")
    };
    insta::assert_snapshot!(refused(&url, Credentials::default()).await, @"the credentials do not fit ssh://me@HOST/REPOS/REPO.git: ssh needs a key: expected `identity` and `known_hosts`: get the host's keys with `ssh-keyscan HOST`, compare their fingerprints with those that the host publishes, and put them into `known_hosts`");
    insta::assert_snapshot!(refused(&url, key(&identity, "example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFt7WFpzAOcvyMd8f8pdHhgHBSOj4CPgzPhCTv1ULbpm")).await, @"ssh://me@HOST/REPOS/REPO.git is not trusted: No ED25519 host key is known for [127.0.0.1]:PORT and you have requested strict checking; Host key verification failed: get the host's keys with `ssh-keyscan HOST`, compare their fingerprints with those that the host publishes, and put them into `known_hosts`");
    insta::assert_snapshot!(refused(&url, key("no key", &known_hosts)).await, @r#"the credentials do not fit ssh://me@HOST/REPOS/REPO.git: the key cannot be used: Load key "identity": error in libcrypto; me@HOST Permission denied (publickey); expected a private key in OpenSSH's or PEM form, without a passphrase"#);
    insta::assert_snapshot!(refused(&url.replace(".git", ".none"), good.clone()).await, @"ssh://me@HOST/REPOS/REPO.none does not exist, or may not be seen with these credentials");
    let closed = url.replace(&format!(":{}/", ssh.port), ":1/");
    insta::assert_snapshot!(refused(&closed, good).await, @"ssh://me@HOST/REPOS/REPO.git cannot be reached: ssh: connect to host 127.0.0.1 port 1: Connection refused");
    let left: Vec<_> = std::fs::read_dir(desk.dir.path().join("keys"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "keys do not stay on disk: {left:?}");
}

#[tokio::test]
async fn ssh_to_a_server_that_knows_the_first_version_only() {
    let servers = open_servers();
    let repository = small(servers, "old-ssh");
    only_tips(&repository);
    let first = repository.head().unwrap();
    repository
        .git(&["tag", "-a", "v1.0.0", "-m", "annotated"])
        .unwrap();
    let second = repository
        .push_files(&[("app/a.yaml", "a: 2\n")], "second")
        .unwrap();
    repository
        .push_files(&[("app/a.yaml", "a: 3\n")], "third")
        .unwrap();
    let remote = old_ssh(servers, &repository);
    for (reference, text) in [
        (branch("main"), "a: 3\n"),
        // No branch leads to it any more: the server sends it as the target of the tag, and not by its own id.
        (Reference::Tag("v1.0.0".into()), "a: 1\n"),
        (Reference::Semver("^1".into()), "a: 1\n"),
        (Reference::Commit(first), "a: 1\n"),
        (Reference::Commit(second), "a: 2\n"),
    ] {
        let desk = Desk::new();
        let fetched = desk.repositories.fetch(&remote, &reference).await;
        let snapshot = fetched.unwrap_or_else(|error| panic!("{reference:?}: {error}"));
        assert_eq!(read(&snapshot, "app/a.yaml"), text, "{reference:?}");
    }
}

#[tokio::test]
async fn a_local_repository_is_read_in_place() {
    let servers = open_servers();
    let repository = small(servers, "local");
    repository.tag("v1.0.0").unwrap();
    repository.write("app/a.yaml", "not committed").unwrap();
    let desk = Desk::with(|options| options.local = true);
    for url in [
        repository.url(),
        repository.bare().display().to_string(),
        repository.work().display().to_string(),
    ] {
        for reference in [
            Reference::Default,
            branch("main"),
            Reference::Tag("v1.0.0".into()),
            Reference::Semver("^1".into()),
            Reference::Commit(repository.head().unwrap()),
        ] {
            let snapshot = desk.fetch(&url, reference).await.unwrap();
            assert_eq!(read(&snapshot, "app/a.yaml"), "a: 1\n", "{url}");
        }
    }
    let cached = std::fs::read_dir(desk.dir.path().join("repositories"))
        .unwrap()
        .count();
    assert_eq!(cached, 0, "no copy is made");

    let nothing = desk.dir.path().join("nothing");
    std::fs::create_dir(&nothing).unwrap();
    let error = desk
        .refused(nothing.to_str().unwrap(), Reference::Default)
        .await;
    assert!(
        matches!(error, SourceError::NotARepository { .. }),
        "{error}"
    );
    let error = desk.refused("/no/such/place", Reference::Default).await;
    insta::assert_snapshot!(error, @"/no/such/place does not exist, or may not be seen with no credentials");
    let error = Desk::new()
        .refused(&repository.url(), Reference::Default)
        .await;
    insta::assert_snapshot!(plain(&error, &repository), @"/REPOS/REPO.git is a path on the machine that runs the agent, which it does not read: expected https, http or ssh");
}

#[tokio::test]
async fn a_sha256_repository_is_refused_with_a_clear_word() {
    let servers = open_servers();
    let repository = small(servers, "sha256");
    let bare = repository.bare().with_file_name("really-sha256.git");
    let _ = std::fs::remove_dir_all(&bare);
    repository
        .git(&[
            "init",
            "--quiet",
            "--bare",
            "--object-format=sha256",
            bare.to_str().unwrap(),
        ])
        .unwrap();
    let work = bare.with_extension("work");
    let _ = std::fs::remove_dir_all(&work);
    repository
        .git(&[
            "init",
            "--quiet",
            "--object-format=sha256",
            work.to_str().unwrap(),
        ])
        .unwrap();
    let work = work.to_str().unwrap();
    repository
        .git(&[
            "-C",
            work,
            "commit",
            "--quiet",
            "--allow-empty",
            "-m",
            "first",
        ])
        .unwrap();
    repository
        .git(&[
            "-C",
            work,
            "push",
            "--quiet",
            bare.to_str().unwrap(),
            "HEAD",
        ])
        .unwrap();
    let url = format!("{}/git/really-sha256.git", servers.http());
    let error = Desk::new().refused(&url, Reference::Default).await;
    insta::assert_snapshot!(tidy(&error), @"`http://HOST/git/really-sha256.git` is not usable as a repository: its objects are named by sha256, which is not supported: expected sha1");
}

#[tokio::test]
async fn what_is_not_there() {
    let servers = open_servers();
    let desk = Desk::new();
    let error = desk
        .refused(
            &format!("{}/git/none.git", servers.http()),
            Reference::Default,
        )
        .await;
    insta::assert_snapshot!(tidy(&error), @"http://HOST/git/none.git does not exist, or may not be seen with no credentials");
    let error = desk
        .refused("http://127.0.0.1:1/a.git", Reference::Default)
        .await;
    assert!(error.is_retryable());
    insta::assert_snapshot!(tidy(&error), @"http://HOST/a.git cannot be reached: Connection refused (os error 111)");
    let error = desk
        .refused("http://no-such-host.invalid/a.git", Reference::Default)
        .await;
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
}

/// Runs a test of this module in another process with an environment of its own. Returns `None` in that process.
fn elsewhere(test: &str, environment: &[(&str, &str)]) -> Option<()> {
    const MARK: &str = "PINTLE_TEST_ELSEWHERE";
    if std::env::var_os(MARK).is_some() {
        return None;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("servers::{test}"), "--nocapture"])
        .env(MARK, "1")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(())
}

#[tokio::test]
async fn without_ssh_it_says_so() {
    if elsewhere("without_ssh_it_says_so", &[("PATH", "/nonexistent")]).is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let repositories = Repositories::new(Options::interactive(dir.path())).unwrap();
    let remote = Remote::anonymous("git@example.com:a.git");
    let error = repositories
        .fetch(&remote, &Reference::Default)
        .await
        .unwrap_err();
    insta::assert_snapshot!(error, @"git@example.com:a.git needs the program `ssh`, which is not installed here: install OpenSSH's client, or use https");
}

#[tokio::test]
async fn a_machine_without_authorities_needs_them_only_for_https() {
    let nowhere = [
        ("SSL_CERT_FILE", "/nonexistent"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    if elsewhere(
        "a_machine_without_authorities_needs_them_only_for_https",
        &nowhere,
    )
    .is_some()
    {
        return;
    }
    let servers = open_servers();
    let repository = small(servers, "bare-machine");
    let desk = Desk::new();
    desk.fetch(&servers.git_http(&repository), branch("main"))
        .await
        .unwrap();
    let pem = std::fs::read_to_string(servers.ca()).unwrap();
    let own = Credentials {
        login: Login::Anonymous,
        certificate_authority: Some(pem),
    };
    with(&desk, &servers.git_https(&repository), own)
        .await
        .unwrap();
    let error = desk
        .refused(&servers.git_https(&repository), branch("main"))
        .await;
    assert!(matches!(error, SourceError::Tls { .. }), "{error}");
}

#[tokio::test]
async fn on_a_laptop_ssh_is_the_callers_own_and_as_strict() {
    let servers = open_servers();
    let repository = small(servers, "ambient");
    let desk = Desk::with(|options| options.ambient_ssh = true);
    let error = desk
        .refused(&servers.git_ssh(&repository).unwrap(), branch("main"))
        .await;
    assert!(matches!(error, SourceError::HostKey { .. }), "{error}");
}
