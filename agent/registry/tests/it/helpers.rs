//! Credential helpers, which are programs.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use pintle_registry::{Credentials, CredentialsError, Keychain, Locations, Secret};

use crate::support::{reference, said};

/// A home with a Docker config and one helper that runs a shell script.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str, script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".docker")).unwrap();
        fs::write(dir.path().join(".docker/config.json"), config).unwrap();
        let program = dir.path().join("docker-credential-test");
        fs::write(&program, format!("#!/bin/sh\nread -r key\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    async fn find(&self, wanted: &str) -> Result<Credentials, CredentialsError> {
        let locations = Locations {
            home: Some(self.path().to_owned()),
            helm_registry: Some(self.path().join("helm.json")),
            search_path: Some(format!("{}:/usr/bin:/bin", self.path().display()).into()),
            ..Locations::default()
        };
        let (registry, rest) = wanted.split_once('/').unwrap();
        Keychain::of_user(&locations)
            .await?
            .find(&reference(registry, rest))
            .await
    }

    async fn error(&self, wanted: &str) -> String {
        let error = self.find(wanted).await.unwrap_err();
        said(&error, &self.path().display().to_string()).replace("REGISTRY", "HOME")
    }
}

const ECHO: &str = r#"test "$1" = get && printf '{"ServerURL":"%s","Username":"user","Secret":"for %s"}' "$key" "$key""#;

#[tokio::test]
async fn a_helper_is_asked_for_its_registry_and_a_store_for_all() {
    let one = Home::new(r#"{"credHelpers": {"ghcr.io": "test"}}"#, ECHO);
    let for_ghcr = Credentials::basic("user", "for ghcr.io");
    assert_eq!(one.find("ghcr.io/x:1").await.unwrap(), for_ghcr);
    assert_eq!(
        one.find("quay.io/x:1").await.unwrap(),
        Credentials::Anonymous
    );

    let all = Home::new(
        r#"{"credsStore": "test", "auths": {"quay.io": {}, "own.example.com": {"auth": "dTpw"}}}"#,
        ECHO,
    );
    assert_eq!(
        all.find("quay.io/x:1").await.unwrap(),
        Credentials::basic("user", "for quay.io")
    );
    assert_eq!(
        all.find("docker.io/org/x:1").await.unwrap(),
        Credentials::basic("user", "for https://index.docker.io/v1/")
    );
    assert_eq!(
        all.find("own.example.com/x:1").await.unwrap(),
        Credentials::basic("u", "p")
    );
}

#[tokio::test]
async fn a_helper_may_give_an_identity_token_or_nothing() {
    let config = r#"{"credsStore": "test"}"#;
    let identity = Home::new(
        config,
        r#"printf '{"Username":"<token>","Secret":"refresh"}'"#,
    );
    assert_eq!(
        identity.find("ghcr.io/x:1").await.unwrap(),
        Credentials::Identity(Secret::new("refresh"))
    );
    let nothing = Home::new(
        config,
        "echo credentials not found in native keychain; exit 1",
    );
    assert_eq!(
        nothing.find("ghcr.io/x:1").await.unwrap(),
        Credentials::Anonymous
    );
}

#[tokio::test]
async fn a_helper_that_does_not_work_is_named() {
    let config = r#"{"credsStore": "test"}"#;
    let said = [
        Home::new(r#"{"credsStore": "missing"}"#, "")
            .error("ghcr.io/x:1")
            .await,
        Home::new(r#"{"credsStore": "../../bin/sh"}"#, "")
            .error("ghcr.io/x:1")
            .await,
        Home::new(config, "echo the key ring is locked; exit 1")
            .error("ghcr.io/x:1")
            .await,
        Home::new(config, "echo hunter2").error("ghcr.io/x:1").await,
        Home::new("{", "").error("ghcr.io/x:1").await,
    ];
    insta::assert_snapshot!(said.join("\n"), @r"
    no credentials for ghcr.io, which HOME/.docker/config.json says are with a credential helper: `docker-credential-missing` cannot be run: No such file or directory (os error 2); install it, or remove it from the Docker config
    no credentials for ghcr.io, which HOME/.docker/config.json says are with a credential helper: `../../bin/sh` is not the name of a credential helper: expected letters, digits, `.`, `_` and `-`
    no credentials for ghcr.io, which HOME/.docker/config.json says are with a credential helper: `docker-credential-test` failed: the key ring is locked
    no credentials for ghcr.io, which HOME/.docker/config.json says are with a credential helper: `docker-credential-test` answered something that is not JSON with `Username` and `Secret`
    registry credentials in HOME/.docker/config.json cannot be understood: it is not a Docker config: Eof error at line 1 column 1
    ");
}

#[tokio::test]
async fn the_file_of_helm_is_passed_over_only_where_there_is_none() {
    let home = Home::new("{}", "");
    let file = home.path().join("helm.json");
    let found = home.find("ghcr.io/x:1").await.unwrap();
    assert_eq!(found, Credentials::Anonymous);

    fs::create_dir(&file).unwrap();
    insta::assert_snapshot!(home.error("ghcr.io/x:1").await, @"registry credentials cannot be read from HOME/helm.json: Is a directory (os error 21)");

    fs::remove_dir(&file).unwrap();
    fs::write(&file, r#"{"auths": {"ghcr.io": {"auth": "dTpw"}}}"#).unwrap();
    let found = home.find("ghcr.io/x:1").await.unwrap();
    assert_eq!(found, Credentials::basic("u", "p"));
}

#[tokio::test]
async fn a_home_without_files_is_anonymous() {
    let dir = tempfile::tempdir().unwrap();
    let locations = Locations {
        home: Some(dir.path().to_owned()),
        ..Locations::default()
    };
    let keychain = Keychain::of_user(&locations).await.unwrap();
    assert_eq!(
        keychain.find(&reference("ghcr.io", "x:1")).await.unwrap(),
        Credentials::Anonymous
    );
}
