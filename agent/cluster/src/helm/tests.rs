use super::*;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use serde_json::json;
use std::io::Write as _;

fn secret(release: &[u8]) -> Value {
    let once = STANDARD.encode(release);
    json!({"data": {"release": STANDARD.encode(once)}})
}

fn packed(release: &Value) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(release.to_string().as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_record_is_opened_packed_or_not() {
    let release =
        json!({"manifest": "---\n", "chart": {"metadata": {"name": "web", "version": "1.2.3"}}});
    for bytes in [packed(&release), release.to_string().into_bytes()] {
        let stored = decode(&secret(&bytes), true).ok().unwrap();
        assert_eq!(stored.manifest, "---\n");
        assert_eq!(stored.chart.metadata.to_string(), "web-1.2.3");
    }
    let map = json!({"data": {"release": STANDARD.encode(packed(&release))}});
    assert!(decode(&map, false).is_ok());
}

#[test]
fn what_is_no_record_is_refused() {
    let refused = |object: &Value| decode(object, true).err().unwrap();
    assert_eq!(refused(&json!({})), "its key `release` is missing");
    assert!(refused(&json!({"data": {"release": "%"}})).starts_with("no base64: "));
    assert!(refused(&secret(b"{")).starts_with("no JSON as Helm writes it: "));
    let mut cut = packed(&json!({"manifest": "a"}));
    cut.truncate(12);
    assert!(refused(&secret(&cut)).starts_with("not compressed as Helm does: "));
}

#[test]
fn releases_that_cannot_be_taken_over_say_why() {
    let unknown = |known: &[&str]| HelmError::Unknown {
        name: "wob".into(),
        namespace: "shop".into(),
        known: known.iter().map(ToString::to_string).collect(),
    };
    insta::assert_snapshot!(unknown(&["api", "web"]), @"Helm knows no release wob in namespace shop: it knows api, web");
    insta::assert_snapshot!(unknown(&[]), @"Helm knows no release wob in namespace shop: it knows none there");
}

#[test]
fn what_is_rendered_is_compared_with_what_was_applied() {
    let release = HelmRelease {
        name: "web".into(),
        namespace: "shop".into(),
        revision: 7,
        status: "deployed".into(),
        chart: "web-1.2.3".into(),
        manifest: "---\n# Source: web/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: '1'}\n\
                   ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: shop}\n---\n"
            .into(),
        has_failed_since: false,
    };
    let map = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    let seed = Seed::from_text("s");
    let rendered = |objects: &[Value]| {
        let objects = objects.iter().map(|value| RenderedObject {
            object: Object::new(value.clone()).unwrap(),
            source: None,
            hook: None,
            keep: false,
        });
        Rendered::new(objects.collect(), None, Vec::new(), &seed).unwrap()
    };
    let b = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "as.example.com"}});
    let same = rendered(&[map("a", json!({"k": "1"})), b.clone(), definition]);
    let takeover = release.compare(&same, &seed).unwrap();
    assert!(takeover.is_same);
    assert_eq!(
        (
            takeover.record.number,
            takeover.record.rendered,
            takeover.record.completed
        ),
        (7, same.digest(), true)
    );
    let other = rendered(&[map("a", json!({"k": "2"})), b]);
    let takeover = release.compare(&other, &seed).unwrap();
    assert!(!takeover.is_same && takeover.left.is_empty());
    assert_ne!(takeover.record.rendered, other.digest());
    let takeover = release
        .compare(&rendered(&[map("a", json!({"k": "1"}))]), &seed)
        .unwrap();
    let left: Vec<String> = takeover.left.iter().map(ToString::to_string).collect();
    assert_eq!(left, ["ConfigMap shop/b"]);
    let broken = HelmRelease {
        manifest: "a: [".into(),
        ..release
    };
    let error = broken.compare(&same, &seed).unwrap_err().to_string();
    assert!(
        error.starts_with("Secret shop/sh.helm.release.v1.web.v7 holds no release of Helm: "),
        "{error}"
    );
}

proptest! {
    #[test]
    fn no_content_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), is_secret in any::<bool>()) {
        let mut zipped = GZIP.to_vec();
        zipped.extend(&bytes);
        for bytes in [bytes, zipped] {
            let _ = decode(&secret(&bytes), is_secret);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let _ = decode(&json!({"data": {"release": text}}), is_secret);
        }
    }
}
