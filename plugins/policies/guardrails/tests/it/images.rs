//! Images: how they are pinned and where they come from.

use pintle_sdk::testing::MemoryPlan;
use serde_json::{Value, json};

use crate::{image, judged, object, short};

#[test]
fn images_are_pinned() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let all =
        |reference: &str, with: Value| judged(&MemoryPlan::new().create(image(reference)), &with);
    insta::assert_snapshot!(all("nginx", json!({})), @"deny image-tag-missing [v1 Pod shop/web] /spec/containers/0/image: the container `app` uses the image `nginx` without a tag, which means `latest` (name the version: `:1.2.3`, or a digest)");
    insta::assert_snapshot!(all("nginx:latest", json!({})), @"deny image-tag-latest [v1 Pod shop/web] /spec/containers/0/image: the container `app` uses the image `nginx:latest`, whose tag moves (name the version: `:1.2.3`, or a digest)");
    insta::assert_snapshot!(all("nginx:${TAG}", json!({})), @"deny image-invalid [v1 Pod shop/web] /spec/containers/0/image: the container `app` has an image `nginx:${TAG}`, which is no reference (write `registry/repository:tag`, lowercase, without blanks)");
    insta::assert_snapshot!(all("nginx:1.27", json!({"rules": {"image-digest-missing": "warn"}})), @"warn image-digest-missing [v1 Pod shop/web] /spec/containers/0/image: the container `app` uses the image `nginx:1.27` without a digest (add the digest: `@sha256:…`)");
    insta::assert_snapshot!(all("nginx:dev-12", json!({"images": {"mutableTags": ["dev-*", "main"]}})), @"deny image-tag-latest [v1 Pod shop/web] /spec/containers/0/image: the container `app` uses the image `nginx:dev-12`, whose tag moves (name the version: `:1.2.3`, or a digest)");
    assert_eq!(
        all("nginx:latest", json!({"images": {"mutableTags": []}})),
        ""
    );
    for pinned in [format!("nginx@{digest}"), format!("nginx:latest@{digest}")] {
        assert_eq!(
            all(&pinned, json!({"rules": {"image-digest-missing": "deny"}})),
            ""
        );
    }
}

#[test]
fn an_image_that_istio_puts_in_its_place_is_not_judged() {
    let with = json!({"images": {"registries": ["ghcr.io"]}});
    let broken = |metadata: &Value, container: &str, image: &str| {
        let containers = json!([{"name": container, "image": image}]);
        let mut gateway = object("apps/v1", "Deployment", "gateway");
        gateway["spec"] =
            json!({"template": {"metadata": metadata, "spec": {"containers": containers}}});
        short(&MemoryPlan::new().create(gateway), &with)
    };
    let injected = json!({"labels": {"sidecar.istio.io/inject": "true"}});
    let templates = json!({"inject.istio.io/templates": "gateway"});
    for asks in [&injected, &json!({"annotations": templates})] {
        let found = broken(asks, "istio-proxy", "auto");
        assert!(found.is_empty(), "{found:?}");
    }
    let declines =
        json!({"labels": {"sidecar.istio.io/inject": "false"}, "annotations": templates});
    for (metadata, container, image) in [
        (&json!({}), "istio-proxy", "auto"),
        (&declines, "istio-proxy", "auto"),
        (&injected, "app", "auto"),
        (&injected, "istio-proxy", "automatic"),
    ] {
        assert_eq!(
            broken(metadata, container, image),
            ["deny image-tag-missing", "deny registry-not-allowed"],
            "{metadata} {container} {image}"
        );
    }
}

#[test]
fn registries_are_allowed_by_pattern() {
    let patterns = [
        "ghcr.io/acme/**",
        "docker.io/library/*",
        "registry.k8s.io",
        "*.example.com",
    ];
    let with = json!({"images": {"registries": patterns}});
    let allowed = |reference: &str| judged(&MemoryPlan::new().create(image(reference)), &with);
    for yes in [
        "ghcr.io/acme/web:1",
        "ghcr.io/acme/team/web:1",
        "nginx:1",
        "docker.io/nginx:1",
        "registry.k8s.io/a/b/c:1",
        "eu.example.com/x:1",
    ] {
        assert_eq!(allowed(yes), "", "{yes}");
    }
    insta::assert_snapshot!(allowed("acme/web:1"), @"deny registry-not-allowed [v1 Pod shop/web] /spec/containers/0/image: the container `app` uses an image of `docker.io/acme/web`, which is not allowed (use an image of `ghcr.io/acme/**`, `docker.io/library/*`, `registry.k8s.io`, `*.example.com`)");
    for no in [
        "ghcr.io/acme:1",
        "ghcr.io/acmeevil/web:1",
        "example.com/x:1",
        "registry.k8s.io.evil.com/x:1",
    ] {
        assert!(allowed(no).starts_with("deny registry-not-allowed"), "{no}");
    }
}
