//! Where credentials, and what is pushed, go when a registry points elsewhere: never where they could be read.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use axum::http::StatusCode;
use pintle_core::digest::Digest;
use pintle_registry::{Credentials, Metadata, Repository, Secret};

use crate::{
    hostile::{ANONYMOUS, strict},
    lies::{Answer, Artifact, Asked, Liar, endless, ok, redirect, status, with},
    support::{component, failed_pull, reference, said},
};

#[tokio::test]
async fn a_redirect_to_another_host_carries_no_credentials() {
    let artifact = Artifact::new(component());
    let there = artifact.clone();
    let elsewhere = Liar::start(move |asked: &Asked| there.answer(asked)).await;
    let target = elsewhere.address();
    let registry = Liar::start(move |asked: &Asked| match &asked.authorization {
        None => with(status(401), "www-authenticate", "Basic realm=\"x\""),
        Some(_) if asked.line.contains("/blobs/") => {
            let path = asked.line.trim_start_matches("GET ");
            redirect(&format!("http://{target}{path}"))
        }
        Some(_) => artifact.answer(asked),
    })
    .await;
    let tag = reference(&registry.address(), "x:1");
    let pulled = strict()
        .pull(&tag, &Credentials::basic("user", "secret"))
        .await
        .unwrap();
    assert_eq!(pulled.bytes, component());
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked.iter().all(|asked| asked.authorization.is_none()),
        "{asked:?}"
    );
    assert!(
        registry
            .asked()
            .iter()
            .any(|asked| asked.authorization.is_some())
    );
}

#[tokio::test]
async fn token_services_that_cannot_be_trusted() {
    let mut all = Vec::new();
    for realm in [
        "http://token.example.com/token",
        "https://u:p@token.example.com/",
        "nowhere",
        "file:///etc/passwd",
    ] {
        let liar = Liar::start(move |_: &Asked| {
            with(
                status(401),
                "www-authenticate",
                &format!("Bearer realm=\"{realm}\",service=\"s\""),
            )
        })
        .await;
        let tag = reference(&liar.address(), "x:1");
        let error = failed_pull(&strict(), &tag, &Credentials::basic("user", "secret")).await;
        all.push(error);
        assert!(
            !liar
                .asked()
                .iter()
                .any(|asked| asked.authorization.is_some())
        );
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY sends us to http://token.example.com/token, which is not followed: it is not https
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY sends us to https://token.example.com/, which is not followed: it has credentials of its own
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY does not follow the OCI distribution specification: its token service has no URL: relative URL without a base
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY sends us to file:///etc/passwd, which is not followed: it is not https
    ");
}

/// A registry, and the address of a token service that lives as long and answers with `token`.
async fn with_token_service(
    token: impl Fn(&Asked) -> Answer + Clone + Send + Sync + 'static,
) -> (Liar, String) {
    let services = Arc::new(Liar::start(token).await);
    let address = services.address();
    let challenge = format!("Bearer realm=\"http://{address}/token\",service=\"s\"");
    let artifact = Artifact::new(component());
    let registry = Liar::start(move |asked: &Asked| {
        let _alive = &services;
        if asked.authorization.as_deref() == Some("Bearer good") {
            artifact.answer(asked)
        } else {
            with(status(401), "www-authenticate", &challenge)
        }
    })
    .await;
    (registry, address)
}

#[tokio::test]
async fn token_services_that_answer_nonsense() {
    let mut all = Vec::new();
    let tells: [fn() -> Answer; 6] = [
        || ok("hunter2"),
        || ok("{}"),
        || ok(r#"{"token":"a\r\nX-Evil: 1"}"#),
        || ok(r#"{"token":"bad"}"#),
        || redirect("https://elsewhere.example.com/"),
        endless,
    ];
    for tell in tells {
        let (liar, services) = with_token_service(move |_: &Asked| tell()).await;
        let tag = reference(&liar.address(), "x:1");
        let error = strict()
            .pull(&tag, &Credentials::basic("user", "secret"))
            .await
            .unwrap_err();
        all.push(said(&error, &liar.address()).replace(&services, "TOKENS"));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the manifest of `REGISTRY/x:1`: the token cannot be understood: it is not in JSON with `token`
    cannot read the manifest of `REGISTRY/x:1`: the token cannot be understood: there is neither `token` nor `access_token`
    cannot read the manifest of `REGISTRY/x:1`: the token cannot be understood: it has characters that a header cannot have
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY denies it: the credentials give no right to pull from `x`, or there is no such repository; ask for the right, and check that they are the credentials that you mean
    cannot read the manifest of `REGISTRY/x:1`: TOKENS refuses the request with status 307
    cannot read the manifest of `REGISTRY/x:1`: the token is larger than the limit of 262144 bytes
    ");
}

#[tokio::test]
async fn credentials_that_lack_a_right_are_not_called_wrong() {
    let services = Liar::start(|_: &Asked| ok(r#"{"token":"narrow"}"#)).await;
    let realm = format!("http://{}/token", services.address());
    let liar = Liar::start(move |asked: &Asked| {
        let mut answer = ok(r#"{"errors":[{"code":"UNAUTHORIZED","message":"not authorized"}]}"#);
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
        let error = match asked.authorization {
            Some(_) => ",error=\"insufficient_scope\"",
            None => "",
        };
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"{error}");
        with(answer, "www-authenticate", &challenge)
    })
    .await;
    let tag = reference(&liar.address(), "team/x:1");
    let basic = Credentials::basic("user", "secret");
    let mut all = Vec::new();
    for credentials in [
        &basic,
        &Credentials::Identity(Secret::new("refresh me")),
        &Credentials::Bearer(Secret::new("as it is")),
        &ANONYMOUS,
    ] {
        all.push(failed_pull(&strict(), &tag, credentials).await);
    }
    let repository: Repository = format!("{}/team/x", liar.address()).parse().unwrap();
    let error = strict().tags(&repository, &basic).await.unwrap_err();
    all.push(said(&error, &liar.address()));
    let error = strict()
        .push(&tag, component(), &Metadata::default(), &basic)
        .await
        .unwrap_err();
    all.push(said(&error, &liar.address()));
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the manifest of `REGISTRY/team/x:1`: REGISTRY denies it (UNAUTHORIZED: not authorized): the credentials give no right to pull from `team/x`, or there is no such repository; ask for the right, and check that they are the credentials that you mean
    cannot read the manifest of `REGISTRY/team/x:1`: REGISTRY denies it (UNAUTHORIZED: not authorized): the credentials give no right to pull from `team/x`, or there is no such repository; ask for the right, and check that they are the credentials that you mean
    cannot read the manifest of `REGISTRY/team/x:1`: REGISTRY denies it (UNAUTHORIZED: not authorized): the credentials give no right to pull from `team/x`, or there is no such repository; ask for the right, and check that they are the credentials that you mean
    cannot read the manifest of `REGISTRY/team/x:1`: REGISTRY asks for credentials (UNAUTHORIZED: not authorized), and there are none for it; log in with `docker login`, or give a pull secret that has an entry for it
    cannot list the tags of `REGISTRY/team/x`: REGISTRY denies it (UNAUTHORIZED: not authorized): the credentials give no right to list the tags of `team/x`, or there is no such repository; ask for the right, and check that they are the credentials that you mean
    cannot upload the component of `REGISTRY/team/x:1`: REGISTRY denies it (UNAUTHORIZED: not authorized): the credentials give no right to push to `team/x`, or there is no such repository; ask for the right, and check that they are the credentials that you mean
    ");
}

/// A registry, and its token service, whose tokens say what they were asked for. Lists of tags want a right of their own.
async fn with_a_right_for_tags() -> (Liar, Arc<Liar>) {
    let services = Liar::start(|asked: &Asked| {
        let mut parts = asked.line.split(['?', '&']);
        let scope = parts.find_map(|part| part.strip_prefix("scope="));
        let token = scope.unwrap_or_default();
        ok(format!(r#"{{"token":"{token}","expires_in":3600}}"#))
    })
    .await;
    let services = Arc::new(services);
    let realm = format!("http://{}/token", services.address());
    let artifact = Artifact::new(component());
    let registry = Liar::start(move |asked: &Asked| {
        let (action, answer) = if asked.line.starts_with("GET /v2/x/tags/list") {
            ("metadata_read", ok(r#"{"name":"x","tags":["1.0.0"]}"#))
        } else {
            ("pull", artifact.answer(asked))
        };
        let shown = asked.authorization.as_deref().unwrap_or_default();
        if shown.contains(action) {
            return answer;
        }
        let challenge =
            format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:x:{action}\"");
        with(status(401), "www-authenticate", &challenge)
    })
    .await;
    (registry, services)
}

#[tokio::test]
async fn a_registry_may_ask_for_a_right_of_its_own() {
    let (liar, services) = with_a_right_for_tags().await;
    let registry = strict();
    let tag = reference(&liar.address(), "x:1");
    let repository: Repository = format!("{}/x", liar.address()).parse().unwrap();
    let credentials = Credentials::basic("user", "secret");
    for _ in 0..2 {
        let pulled = registry.pull(&tag, &credentials).await.unwrap();
        assert_eq!(pulled.bytes, component());
        let tags = registry.tags(&repository, &credentials).await.unwrap();
        assert_eq!(tags, ["1.0.0"]);
    }
    // The second token is good for all, so neither takes the place of the other again and again.
    let asked = services.asked();
    let asked: Vec<_> = asked.iter().map(|asked| asked.line.as_str()).collect();
    insta::assert_snapshot!(asked.join("\n"), @r"
    GET /token?scope=repository%3Ax%3Apull&service=s&account=user
    GET /token?scope=repository%3Ax%3Apull%2Cmetadata_read&service=s&account=user
    ");
}

#[tokio::test]
async fn an_identity_token_is_changed_into_a_short_lived_one() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let (liar, _) = with_token_service(move |asked: &Asked| {
        log.lock().unwrap().push(asked.clone());
        ok(r#"{"access_token":"good","expires_in":3600}"#)
    })
    .await;
    let registry = strict();
    let tag = reference(&liar.address(), "x:1");
    let identity = Credentials::Identity(Secret::new("refresh me"));
    for _ in 0..3 {
        assert_eq!(
            registry.pull(&tag, &identity).await.unwrap().bytes,
            component()
        );
    }
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1, "the token is kept: {asked:?}");
    assert_eq!(asked[0].line, "POST /token");
    assert_eq!(asked[0].authorization, None);
    assert_eq!(
        String::from_utf8_lossy(&asked[0].body),
        "scope=repository%3Ax%3Apull&service=s&grant_type=refresh_token&refresh_token=refresh+me&client_id=pintle"
    );
}

#[tokio::test]
async fn a_token_that_ended_is_asked_for_again() {
    let good = Arc::new(AtomicU32::new(0));
    let issued = good.clone();
    let services = Liar::start(move |_: &Asked| {
        let number = issued.load(Ordering::Relaxed);
        ok(format!(r#"{{"token":"{number}","expires_in":3600}}"#))
    })
    .await;
    let realm = format!("http://{}/token", services.address());
    let (artifact, accepted) = (Artifact::new(component()), good.clone());
    let liar = Liar::start(move |asked: &Asked| {
        let number = accepted.load(Ordering::Relaxed);
        if asked.authorization == Some(format!("Bearer {number}")) {
            artifact.answer(asked)
        } else {
            with(
                status(401),
                "www-authenticate",
                &format!("Bearer realm=\"{realm}\""),
            )
        }
    })
    .await;
    let registry = strict();
    let tag = reference(&liar.address(), "x:1");
    for pulls in 1..4 {
        for _ in 0..2 {
            let pulled = registry.pull(&tag, &ANONYMOUS).await.unwrap();
            assert_eq!(pulled.bytes, component());
        }
        assert_eq!(services.asked().len(), pulls);
        // What was good until now is not any more, whatever was said of its life.
        good.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn an_upload_elsewhere_carries_no_credentials() {
    let elsewhere = Liar::start(|_: &Asked| status(201)).await;
    let target = elsewhere.address();
    let liar = Liar::start(move |asked: &Asked| {
        if asked.authorization.is_none() {
            with(status(401), "www-authenticate", "Basic realm=\"x\"")
        } else if asked.line.starts_with("POST ") {
            with(
                status(202),
                "location",
                &format!("http://{target}/upload?state=1"),
            )
        } else if asked.line.starts_with("PUT ") {
            status(201)
        } else {
            status(404)
        }
    })
    .await;
    let tag = reference(&liar.address(), "x:1");
    let credentials = Credentials::basic("user", "secret");
    strict()
        .push(&tag, component(), &Metadata::default(), &credentials)
        .await
        .unwrap();
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 2, "component and config: {asked:?}");
    assert!(
        asked.iter().all(|asked| asked.authorization.is_none()),
        "{asked:?}"
    );
    assert_eq!(asked[0].body, component());
    assert_eq!(
        asked[0].line,
        format!(
            "PUT /upload?state=1&digest={}",
            Digest::of(component()).to_string().replace(':', "%3A")
        )
    );
}
