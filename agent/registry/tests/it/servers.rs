//! Round trips through the project's test registry, in each way that it can ask for credentials.

use std::fs;

use pintle_core::{digest::Digest, plugin::Kind};
use pintle_harness::{Servers, ServersOptions, to_stderr};
use pintle_registry::{
    CacheOptions, Cause, Credentials, Keychain, Metadata, Options, Registry, Secret, Stage,
    TlsProblem,
};

use crate::support::{
    component, failed_pull, independent, independent_reference, large_component, reference,
    registry, said,
};

fn servers(user: Option<(&str, &str)>, token: Option<&str>) -> Servers {
    let options = ServersOptions {
        user: user.map(|(name, password)| (name.to_owned(), password.to_owned())),
        token: token.map(str::to_owned),
        ..ServersOptions::default()
    };
    Servers::start(&options, &to_stderr).unwrap()
}

fn metadata() -> Metadata {
    Metadata {
        title: Some("manifests".into()),
        version: Some("1.0.0".into()),
        source: Some("https://example.com/source".into()),
        ..Metadata::default()
    }
}

const ANONYMOUS: Credentials = Credentials::Anonymous;

#[tokio::test]
async fn what_is_pushed_is_resolved_pulled_and_inspected() {
    let servers = servers(None, None);
    let (registry, tag) = (
        registry(),
        reference(servers.registry(), "plugins/manifests:1.0.0"),
    );
    let bytes = component();

    let pushed = registry
        .push(&tag, bytes.clone(), &metadata(), &ANONYMOUS)
        .await
        .unwrap();
    assert_eq!(pushed.component_digest, Digest::of(&bytes));
    assert_eq!(pushed.reference, tag.at(pushed.manifest_digest));

    let resolved = registry.resolve(&tag, &ANONYMOUS).await.unwrap();
    assert_eq!(resolved.manifest_digest, pushed.manifest_digest);
    for reference in [&tag, &resolved.reference] {
        let pulled = registry.pull(reference, &ANONYMOUS).await.unwrap();
        assert_eq!(pulled.bytes, bytes);
        assert_eq!(pulled.manifest_digest, pushed.manifest_digest);
        assert_eq!(pulled.component_digest, pushed.component_digest);
    }

    let inspected = registry.inspect(&tag, &ANONYMOUS).await.unwrap();
    let kinds: Vec<_> = inspected
        .interface
        .plugins()
        .into_iter()
        .map(|p| p.kind)
        .collect();
    assert_eq!(kinds, [Kind::Renderer]);
    let text = serde_json::to_string_pretty(&inspected).unwrap();
    insta::assert_snapshot!(text.replace(servers.registry(), "REGISTRY"), @r#"
    {
      "reference": "REGISTRY/plugins/manifests:1.0.0@sha256:4abea84f9641862b8fde2058dd7439c2c229d17d759b0043234cb6064d051dee",
      "manifestDigest": "sha256:4abea84f9641862b8fde2058dd7439c2c229d17d759b0043234cb6064d051dee",
      "componentDigest": "sha256:00f7b305d02db388d24990b11ffb5411072ced758f3fb8cb625a503f77815d41",
      "size": 158,
      "config": {
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [
          "sha256:00f7b305d02db388d24990b11ffb5411072ced758f3fb8cb625a503f77815d41"
        ],
        "component": {
          "exports": [
            "pintle:types/plugin@1.0.0",
            "pintle:renderer/renderer@1.0.0"
          ],
          "imports": [
            "pintle:types/log@1.0.0"
          ]
        }
      },
      "annotations": {
        "org.opencontainers.image.source": "https://example.com/source",
        "org.opencontainers.image.title": "manifests",
        "org.opencontainers.image.version": "1.0.0"
      },
      "interface": {
        "imports": [
          "pintle:types/log@1.0.0"
        ],
        "exports": [
          "pintle:types/plugin@1.0.0",
          "pintle:renderer/renderer@1.0.0"
        ]
      },
      "wit": "package root:component;\n\nworld root {\n  import pintle:types/log@1.0.0;\n\n  export pintle:types/plugin@1.0.0;\n  export pintle:renderer/renderer@1.0.0;\n}\npackage pintle:types@1.0.0 {\n  interface log {\n    log: func(text: string);\n  }\n  interface plugin {\n  }\n}\n\n\npackage pintle:renderer@1.0.0 {\n  interface renderer {\n  }\n}\n"
    }
    "#);
}

#[tokio::test]
async fn pushing_again_gives_the_same_digest() {
    let servers = servers(None, None);
    let (registry, bytes) = (registry(), component());
    let mut digests = Vec::new();
    for name in ["a:1", "a:1", "a:2", "b/c:1"] {
        let reference = reference(servers.registry(), name);
        let pushed = registry
            .push(&reference, bytes.clone(), &metadata(), &ANONYMOUS)
            .await
            .unwrap();
        digests.push(pushed.manifest_digest);
    }
    digests.dedup();
    assert_eq!(digests.len(), 1);

    let pinned = reference(servers.registry(), "a:3").at(digests[0]);
    registry
        .push(&pinned, bytes.clone(), &metadata(), &ANONYMOUS)
        .await
        .unwrap();
    let error = registry
        .push(&pinned, bytes, &Metadata::default(), &ANONYMOUS)
        .await
        .unwrap_err();
    assert_eq!(error.stage, Stage::Check);
    insta::assert_snapshot!(said(&error, servers.registry()), @"cannot push `REGISTRY/a:3@sha256:4abea84f9641862b8fde2058dd7439c2c229d17d759b0043234cb6064d051dee`: the reference asks for sha256:4abea84f9641862b8fde2058dd7439c2c229d17d759b0043234cb6064d051dee, but what is pushed is sha256:09f4b2e92588ec25193a64cab287bea81053982d61b55307c04094956ea607d4; push to a tag, or correct the digest");
}

#[tokio::test]
async fn an_independent_client_reads_what_is_pushed_and_writes_what_is_pulled() {
    let servers = servers(None, None);
    let (registry, bytes) = (registry(), large_component(9 << 20));
    let ours = reference(servers.registry(), "x/ours:1");
    let pushed = registry
        .push(&ours, bytes.clone(), &metadata(), &ANONYMOUS)
        .await
        .unwrap();
    let anonymous = oci_client::secrets::RegistryAuth::Anonymous;
    let image = independent()
        .pull(
            &independent_reference(&ours),
            &anonymous,
            vec!["application/wasm"],
        )
        .await
        .unwrap();
    assert_eq!(image.layers[0].data, bytes);
    assert_eq!(image.digest, Some(pushed.manifest_digest.to_string()));
    assert_eq!(
        image.config.media_type,
        "application/vnd.wasm.config.v0+json"
    );

    for (config, layer) in [
        ("application/vnd.wasm.config.v0+json", "application/wasm"),
        ("application/vnd.wasm.config.v1+json", "application/wasm"),
        (
            "application/vnd.wasm.config.v1+json",
            "application/vnd.wasm.content.layer.v1+wasm",
        ),
    ] {
        let theirs = reference(servers.registry(), "x/theirs:1");
        push_other(&theirs, config, &[(layer, &bytes)]).await;
        assert_eq!(
            registry.pull(&theirs, &ANONYMOUS).await.unwrap().bytes,
            bytes
        );
    }
}

async fn push_other(
    reference: &pintle_registry::Reference,
    config: &str,
    layers: &[(&str, &[u8])],
) {
    use oci_client::client::{Config, ImageLayer};
    let layers: Vec<_> = layers
        .iter()
        .map(|(kind, bytes)| ImageLayer::new(bytes.to_vec(), (*kind).to_owned(), None))
        .collect();
    independent()
        .push(
            &independent_reference(reference),
            &layers,
            Config::new(&b"{}"[..], config.to_owned(), None),
            &oci_client::secrets::RegistryAuth::Anonymous,
            None,
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn other_artifacts_are_told_what_they_are() {
    let servers = servers(None, None);
    let registry = registry();
    let tar = ("application/vnd.oci.image.layer.v1.tar+gzip", &b"tar"[..]);
    let module = wat::parse_str("(module)").unwrap();
    let mut all = Vec::new();
    for (config, layer) in [
        ("application/vnd.oci.image.config.v1+json", tar),
        ("application/vnd.cncf.helm.config.v1+json", tar),
        ("application/vnd.wasm.config.v0+json", tar),
        (
            "application/vnd.wasm.config.v0+json",
            ("application/wasm", &module),
        ),
    ] {
        let reference = reference(servers.registry(), "other:1");
        push_other(&reference, config, &[layer]).await;
        all.push(failed_pull(&registry, &reference, &ANONYMOUS).await);
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the manifest of `REGISTRY/other:1`: it is a container image; expected a Wasm component (config application/vnd.wasm.config.v0+json, one layer application/wasm)
    cannot read the manifest of `REGISTRY/other:1`: it is a Helm chart; expected a Wasm component (config application/vnd.wasm.config.v0+json, one layer application/wasm)
    cannot read the manifest of `REGISTRY/other:1`: it is a Wasm artifact whose layer is of type `application/vnd.oci.image.layer.v1.tar+gzip`; expected a Wasm component (config application/vnd.wasm.config.v0+json, one layer application/wasm)
    cannot read the component of `REGISTRY/other:1`: it is a core module, not a component; build it for `wasm32-wasip2`, or make a component of it with `wasm-tools component new`
    ");
}

#[tokio::test]
async fn what_is_no_component_is_not_pushed() {
    let servers = servers(None, None);
    let tag = reference(servers.registry(), "x:1");
    let registry = Registry::new(Options {
        max_component: 1000,
        ..Options::default()
    })
    .unwrap();
    let mut all = Vec::new();
    for bytes in [
        wat::parse_str("(module)").unwrap().into(),
        (&b"apiVersion: v1"[..]).into(),
        large_component(1000),
    ] {
        let error = registry
            .push(&tag, bytes, &metadata(), &ANONYMOUS)
            .await
            .unwrap_err();
        assert!(!error.is_retryable());
        all.push(said(&error, servers.registry()));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot push `REGISTRY/x:1`: it is a core module, not a component; build it for `wasm32-wasip2`, or make a component of it with `wasm-tools component new`
    cannot push `REGISTRY/x:1`: it is not WebAssembly: expected a binary that starts with `\0asm`, this starts with `61 70 69 56`
    cannot push `REGISTRY/x:1`: the component is larger than the limit of 1000 bytes (it has 1166); build it without debug information, or split it
    ");
    let error = registry.resolve(&tag, &ANONYMOUS).await.unwrap_err();
    assert!(
        matches!(error.cause, Cause::NotFound { .. }),
        "nothing was pushed: {error:?}"
    );
}

#[tokio::test]
async fn a_private_authority_must_be_given() {
    let servers = servers(None, None);
    let tag = reference(servers.registry_tls(), "x:1");
    let given = Registry::new(Options {
        certificate_authorities: vec![fs::read(servers.ca()).unwrap()],
        ..Options::default()
    })
    .unwrap();
    given
        .push(&tag, component(), &metadata(), &ANONYMOUS)
        .await
        .unwrap();
    assert_eq!(
        given.pull(&tag, &ANONYMOUS).await.unwrap().bytes,
        component()
    );

    let error = registry().pull(&tag, &ANONYMOUS).await.unwrap_err();
    assert!(matches!(
        error.cause,
        Cause::Tls {
            problem: TlsProblem::UnknownAuthority,
            ..
        }
    ));
    insta::assert_snapshot!(said(&error, servers.registry_tls()), @"cannot read the manifest of `REGISTRY/x:1`: no secure connection to REGISTRY: its certificate is signed by an authority that is not trusted here; if it is your own, give the authority's certificate (PEM) with `--registry-ca`, or as `ca.crt` of the pull secret");
}

#[test]
fn an_authority_that_is_none_is_refused() {
    let said: Vec<_> = [
        &b""[..],
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ]
    .into_iter()
    .map(|pem| {
        let options = Options {
            certificate_authorities: vec![pem.to_vec()],
            ..Options::default()
        };
        Registry::new(options).unwrap_err().to_string()
    })
    .collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    registry CA number 1 holds no PEM certificate: expected `-----BEGIN CERTIFICATE-----`
    registry CA number 1 cannot be read: invalid peer certificate: BadEncoding
    ");
}

#[tokio::test]
async fn user_and_password_are_asked_for_by_the_registry() {
    let servers = servers(Some(("user", "secret")), None);
    let said = asks_for_user_and_password(&servers).await;
    insta::assert_snapshot!(said, @r"
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY asks for credentials (UNAUTHORIZED: authentication required), and there are none for it; log in with `docker login`, or give a pull secret that has an entry for it
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY does not accept the user name and password (UNAUTHORIZED: authentication required)
    ");
}

#[tokio::test]
async fn user_and_password_are_asked_for_by_its_token_service() {
    let servers = servers(Some(("user", "secret")), Some("the-token"));
    let said = asks_for_user_and_password(&servers).await;
    insta::assert_snapshot!(said, @r"
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY asks for credentials (UNAUTHORIZED), and there are none for it; log in with `docker login`, or give a pull secret that has an entry for it
    cannot read the manifest of `REGISTRY/x:1`: REGISTRY does not accept the user name and password (UNAUTHORIZED)
    ");

    let registry = registry();
    let tag = reference(servers.registry(), "x:1");
    let bearer = Credentials::Bearer(Secret::new("the-token"));
    assert_eq!(
        registry.pull(&tag, &bearer).await.unwrap().bytes,
        component()
    );
    let wrong = Credentials::Bearer(Secret::new("another"));
    insta::assert_snapshot!(failed_pull(&registry, &tag, &wrong).await, @"cannot read the manifest of `REGISTRY/x:1`: REGISTRY does not accept the token (UNAUTHORIZED: authentication required)");
}

/// Returns the errors without credentials and with wrong ones.
async fn asks_for_user_and_password(servers: &Servers) -> String {
    let (registry, tag) = (registry(), reference(servers.registry(), "x:1"));
    let right = Credentials::basic("user", "secret");
    registry
        .push(&tag, component(), &metadata(), &right)
        .await
        .unwrap();
    assert_eq!(
        registry.pull(&tag, &right).await.unwrap().bytes,
        component()
    );
    // The credentials of one caller are not used for another.
    let without = failed_pull(&registry, &tag, &ANONYMOUS).await;
    let wrong = failed_pull(&registry, &tag, &Credentials::basic("user", "wrong")).await;
    let error = registry
        .push(&tag, component(), &metadata(), &ANONYMOUS)
        .await
        .unwrap_err();
    assert!(
        matches!(error.cause, Cause::Unauthorized { .. }),
        "{error:?}"
    );
    format!("{without}\n{wrong}")
}

#[tokio::test]
async fn a_token_service_may_serve_anyone() {
    let servers = servers(None, Some("the-token"));
    let (registry, tag) = (registry(), reference(servers.registry(), "x:1"));
    registry
        .push(&tag, component(), &metadata(), &ANONYMOUS)
        .await
        .unwrap();
    assert_eq!(
        registry.pull(&tag, &ANONYMOUS).await.unwrap().bytes,
        component()
    );
}

#[tokio::test]
async fn a_pull_secret_gives_credentials_to_its_registry_only() {
    let servers = servers(Some(("user", "secret")), None);
    let (registry, tag) = (registry(), reference(servers.registry(), "team/x:1"));
    let keychain = |key: String| {
        let secret =
            serde_json::json!({"auths": {key: {"username": "user", "password": "secret"}}});
        Keychain::new()
            .with_pull_secret("secret a/b", secret.to_string().as_bytes())
            .unwrap()
    };
    let found = keychain(format!("{}/team", servers.registry()))
        .find(&tag)
        .await
        .unwrap();
    registry
        .push(&tag, component(), &metadata(), &found)
        .await
        .unwrap();
    registry.pull(&tag, &found).await.unwrap();
    let other = keychain("registry.example.com".into())
        .find(&tag)
        .await
        .unwrap();
    assert_eq!(other, ANONYMOUS);
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let mut servers = servers(None, None);
    let registry = registry();
    let tag = reference(servers.registry(), "plugins/x:1");
    let mut all = vec![failed_pull(&registry, &tag, &ANONYMOUS).await];
    registry
        .push(&tag, component(), &metadata(), &ANONYMOUS)
        .await
        .unwrap();
    let unknown_tag = reference(servers.registry(), "plugins/x:2");
    let unknown_digest = tag.at(Digest::of("nothing"));
    all.push(failed_pull(&registry, &unknown_tag, &ANONYMOUS).await);
    all.push(failed_pull(&registry, &unknown_digest, &ANONYMOUS).await);
    let error = registry
        .resolve(&unknown_tag, &ANONYMOUS)
        .await
        .unwrap_err();
    all.push(said(&error, servers.registry()));
    servers.kill().unwrap();
    let error = registry.resolve(&tag, &ANONYMOUS).await.unwrap_err();
    assert!(error.is_retryable());
    all.push(said(&error, servers.registry()));
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the manifest of `REGISTRY/plugins/x:1`: REGISTRY has no such repository or tag (NAME_UNKNOWN: repository name not known to registry)
    cannot read the manifest of `REGISTRY/plugins/x:2`: REGISTRY has no such repository or tag (MANIFEST_UNKNOWN: manifest unknown to registry)
    cannot read the manifest of `REGISTRY/plugins/x:1@sha256:1785cfc3bc6ac7738e8b38cdccd1af12563c2b9070e07af336a1bf8c0f772b6a`: REGISTRY has no such repository, or no manifest with this digest in it (MANIFEST_UNKNOWN: manifest unknown to registry)
    cannot find the digest of `REGISTRY/plugins/x:2`: REGISTRY has no such repository or tag
    cannot find the digest of `REGISTRY/plugins/x:1`: REGISTRY cannot be reached: Connection refused (os error 111)
    ");
}

#[tokio::test]
async fn what_is_cached_needs_no_registry() {
    let mut servers = servers(None, None);
    let dir = tempfile::tempdir().unwrap();
    let cached = || {
        Registry::new(Options {
            cache: Some(CacheOptions::new(dir.path())),
            ..Options::default()
        })
        .unwrap()
    };
    let tag = reference(servers.registry(), "x:1");
    registry()
        .push(&tag, component(), &metadata(), &ANONYMOUS)
        .await
        .unwrap();
    let pulled = cached().pull(&tag, &ANONYMOUS).await.unwrap();
    servers.kill().unwrap();

    let again = cached().pull(&pulled.reference, &ANONYMOUS).await.unwrap();
    assert_eq!(again.bytes, component());
    assert_eq!(again.config, pulled.config);
    assert_eq!(again.annotations, pulled.annotations);
    let error = cached().pull(&tag, &ANONYMOUS).await.unwrap_err();
    assert!(
        matches!(error.cause, Cause::Unreachable { .. }),
        "what a tag stands for now is not in the cache: {error:?}"
    );
    for entry in fs::read_dir(dir.path().join("sha256")).unwrap() {
        fs::write(entry.unwrap().path(), "damaged").unwrap();
    }
    let error = cached()
        .pull(&pulled.reference, &ANONYMOUS)
        .await
        .unwrap_err();
    assert!(
        matches!(error.cause, Cause::Unreachable { .. }),
        "{error:?}"
    );
}
