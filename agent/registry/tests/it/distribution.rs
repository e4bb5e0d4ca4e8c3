//! Roundtrips through the registry that most others descend from, Debian's `docker-registry` (distribution 2.8).

use std::{fs, process::Command, time::Duration};

use pintle_harness::{Process, RunDir, until};
use pintle_registry::{Cause, Credentials, Metadata};
use serde_json::json;

use crate::support::{component, failed_pull, large_component, reference, registry};

/// `user` and `correct horse`, with the least rounds of bcrypt.
const HTPASSWD: &str = "user:$2b$04$sVlFrSktc2W1hlurqD12PO3cffo5t/vK42yUBxIYyL7Lnbyv1LU2S\n";

struct Distribution {
    address: String,
    _process: Process,
    _dir: RunDir,
}

fn start(with_password: bool) -> Distribution {
    let dir = RunDir::new("distribution").unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut config = json!({
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": at("data")}},
        "http": {"addr": "127.0.0.1:0"},
    });
    if with_password {
        fs::write(at("htpasswd"), HTPASSWD).unwrap();
        config["auth"] = json!({"htpasswd": {"realm": "test", "path": at("htpasswd")}});
    }
    // What is JSON is YAML too.
    fs::write(at("config.yml"), config.to_string()).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(at("config.yml"));
    let process = Process::spawn("docker-registry", command, &at("log"))
        .expect("Debian's docker-registry is installed (`cargo xtask setup`)");
    let address = until("docker-registry listens", Duration::from_mins(1), || {
        let log = fs::read_to_string(at("log"))?;
        let found = log
            .split("listening on ")
            .nth(1)
            .and_then(|rest| rest.split(['"', '\n', ' ']).next());
        Ok(found.map(str::to_owned).ok_or(log))
    })
    .unwrap();
    Distribution {
        address,
        _process: process,
        _dir: dir,
    }
}

#[tokio::test]
async fn roundtrip() {
    let server = start(false);
    let (registry, anonymous) = (registry(), Credentials::Anonymous);
    for bytes in [component(), large_component(20 << 20)] {
        let tag = reference(&server.address, "a/b/c:1");
        let pushed = registry
            .push(&tag, bytes.clone(), &Metadata::default(), &anonymous)
            .await
            .unwrap();
        let again = registry
            .push(&tag, bytes.clone(), &Metadata::default(), &anonymous)
            .await
            .unwrap();
        assert_eq!(again, pushed);
        let resolved = registry.resolve(&tag, &anonymous).await.unwrap();
        assert_eq!(resolved.manifest_digest, pushed.manifest_digest);
        assert_eq!(
            registry
                .pull(&pushed.reference, &anonymous)
                .await
                .unwrap()
                .bytes,
            bytes
        );
    }
}

#[tokio::test]
async fn with_a_password() {
    let server = start(true);
    let (registry, tag) = (registry(), reference(&server.address, "x:1"));
    let right = Credentials::basic("user", "correct horse");
    registry
        .push(&tag, component(), &Metadata::default(), &right)
        .await
        .unwrap();
    assert_eq!(
        registry.pull(&tag, &right).await.unwrap().bytes,
        component()
    );
    let error = registry
        .pull(&tag, &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert!(
        matches!(error.cause, Cause::Unauthorized { .. }),
        "{error:?}"
    );
    let wrong = Credentials::basic("user", "battery staple");
    insta::assert_snapshot!(failed_pull(&registry, &tag, &wrong).await, @"cannot read the manifest of `REGISTRY/x:1`: REGISTRY does not accept the user name and password (UNAUTHORIZED: authentication required)");
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let server = start(false);
    let tag = reference(&server.address, "x:1");
    insta::assert_snapshot!(failed_pull(&registry(), &tag, &Credentials::Anonymous).await, @"cannot read the manifest of `REGISTRY/x:1`: REGISTRY has no such repository or tag (MANIFEST_UNKNOWN: manifest unknown)");
}
