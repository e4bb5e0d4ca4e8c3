//! A cache that tenants share: knowing a digest does not give the right to read the content.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use oci_client::secrets::RegistryAuth;
use pintle_core::digest::Digest;
use pintle_harness::{Servers, ServersOptions, to_stderr};
use pintle_registry::{
    CacheOptions, Cause, ChartError, Charts, Credentials, Keychain, Logins, Options, Registry,
};
use serde_json::json;

use crate::{
    charts::{CHART_LAYER, basic, chart, fetch, index, place, push},
    lies::{Asked, Liar, ok, status},
    support::reference,
};

/// Starts a registry that only one user may use, with a chart.
async fn private() -> Servers {
    let options = ServersOptions {
        user: Some(("me".to_owned(), "hunter2".to_owned())),
        ..ServersOptions::default()
    };
    let servers = Servers::start(&options, &to_stderr).unwrap();
    let auth = RegistryAuth::Basic("me".to_owned(), "hunter2".to_owned());
    push(&servers, "charts/web", "1.2.0", CHART_LAYER, &auth).await;
    servers
}

/// Creates a client like that of an agent that has just started.
fn anew(folder: &Path) -> Registry {
    let options = Options {
        cache: Some(CacheOptions::new(folder)),
        ..Options::default()
    };
    Registry::new(options).unwrap()
}

#[tokio::test]
async fn what_a_registry_gave_for_credentials_is_for_them_alone() {
    let mut servers = private().await;
    let folder = tempfile::tempdir().unwrap();
    let right = Credentials::basic("me", "hunter2");
    let tag = reference(servers.registry(), "charts/web:1.2.0");
    let pulled = anew(folder.path())
        .pull_archive(&tag, &right)
        .await
        .unwrap();
    let pinned = &pulled.reference;

    for others in [
        Credentials::Anonymous,
        Credentials::basic("me", "a guess"),
        Credentials::basic("you", "hunter2"),
    ] {
        let error = anew(folder.path())
            .pull_archive(pinned, &others)
            .await
            .unwrap_err();
        assert!(
            matches!(error.cause, Cause::Unauthorized { .. }),
            "{error:?}"
        );
    }
    let elsewhere = reference(servers.registry(), "charts/api:1").at(pulled.manifest_digest);
    let error = anew(folder.path())
        .pull_archive(&elsewhere, &right)
        .await
        .unwrap_err();
    assert!(matches!(error.cause, Cause::NotFound { .. }), "{error:?}");

    servers.kill().unwrap();
    let again = anew(folder.path())
        .pull_archive(pinned, &right)
        .await
        .unwrap();
    assert_eq!(again.archive.digest(), pulled.archive.digest());
}

#[tokio::test]
async fn who_names_the_layer_of_another_has_to_have_it() {
    let layer = chart("web", "1.2.0");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": Digest::of("{}"), "size": 2
        },
        "layers": [{"mediaType": CHART_LAYER, "digest": Digest::of(&layer), "size": layer.len()}],
    })
    .to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut pulls = Vec::new();
    for has_layer in [true, false] {
        let (manifest, layer) = (manifest.clone(), layer.clone());
        let liar = Liar::start(move |asked: &Asked| match asked.line.as_str() {
            "GET /v2/" => ok("{}"),
            line if line.starts_with("GET /v2/x/manifests/") => ok(manifest.clone()),
            _ if has_layer => ok(layer.clone()),
            _ => status(404),
        })
        .await;
        let tag = reference(&liar.address(), "x:1");
        let anonymous = Credentials::Anonymous;
        pulls.push(anew(folder.path()).pull_archive(&tag, &anonymous).await);
    }
    let [owner, other] = <[_; 2]>::try_from(pulls).unwrap();
    assert_eq!(owner.unwrap().archive.digest(), Digest::of(&layer));
    let error = other.unwrap_err();
    assert!(matches!(error.cause, Cause::NotFound { .. }), "{error:?}");
}

/// Returns the reason why a chart repository did not provide a chart.
fn cause(error: ChartError) -> Cause {
    match error {
        ChartError::Repository { cause, .. } => *cause,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_chart_repository_gave_for_credentials_is_for_them_alone() {
    let bytes = chart("web", "1.2.0");
    let digest = Digest::of(&bytes);
    let text = index("1.2.0", "web.tgz", &digest.hex());
    let is_gone = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_gone);
    let listing = text.clone();
    // Anybody may read the index, but the archives require credentials.
    let owner = Liar::start(move |asked: &Asked| {
        if asked.line.ends_with("index.yaml") {
            ok(listing.clone())
        } else if told.load(Ordering::Relaxed) {
            status(503)
        } else if asked.authorization.is_some() {
            ok(bytes.clone())
        } else {
            status(401)
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let charts = || Charts::new(anew(folder.path()));
    let private = place(&format!("http://{}", owner.address()));
    let fetched = fetch(&charts(), &private, "1.2.0", &basic()).await.unwrap();
    assert_eq!(fetched.digest, digest);

    let anonymous = Logins::default();
    let error = fetch(&charts(), &private, "1.2.0", &anonymous)
        .await
        .unwrap_err();
    let refused = cause(error);
    assert!(matches!(refused, Cause::Unauthorized { .. }), "{refused:?}");
    // The index of a tenant's own repository can name any digest.
    let thief = Liar::start(move |asked: &Asked| {
        if asked.line.ends_with("index.yaml") {
            ok(text.clone())
        } else {
            status(404)
        }
    })
    .await;
    let own = place(&format!("http://{}", thief.address()));
    for logins in [&anonymous, &basic()] {
        let error = fetch(&charts(), &own, "1.2.0", logins).await.unwrap_err();
        let missing = cause(error);
        assert!(matches!(missing, Cause::NotFound { .. }), "{missing:?}");
    }

    is_gone.store(true, Ordering::Relaxed);
    let again = fetch(&charts(), &private, "1.2.0", &basic()).await.unwrap();
    assert_eq!(again.digest, digest);
}

#[tokio::test]
async fn a_repository_that_keeps_its_charts_in_a_registry_opens_none_of_it() {
    let mut servers = private().await;
    let digest = Digest::of(chart("web", "1.2.0"));
    let url = format!("oci://{}/charts/web:1.2.0", servers.registry());
    let text = index("1.2.0", &url, &digest.hex());
    let liar = Liar::start(move |_: &Asked| ok(text.clone())).await;
    let place = place(&format!("http://{}", liar.address()));
    let config = json!({
        "auths": { (servers.registry()): { "username": "me", "password": "hunter2" } },
    });
    let keychain = Keychain::new()
        .with_pull_secret("secret", config.to_string().as_bytes())
        .unwrap();
    let logins = Logins {
        keychain,
        ..Logins::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let charts = || Charts::new(anew(folder.path()));
    let fetched = fetch(&charts(), &place, "1.2.0", &logins).await.unwrap();
    assert_eq!(fetched.digest, digest);

    let error = fetch(&charts(), &place, "1.2.0", &Logins::default())
        .await
        .unwrap_err();
    match error {
        ChartError::Registry(error) => assert!(
            matches!(error.cause, Cause::Unauthorized { .. }),
            "{error:?}"
        ),
        other => panic!("{other:?}"),
    }

    servers.kill().unwrap();
    let again = fetch(&charts(), &place, "1.2.0", &logins).await.unwrap();
    assert_eq!(again.digest, digest);
}
