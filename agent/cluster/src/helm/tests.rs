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
    assert!(refused(&secret(b"{")).starts_with("no JSON as Helm writes it at line 1"));
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

fn release() -> HelmRelease {
    HelmRelease {
        name: "web".into(),
        namespace: "shop".into(),
        revision: 7,
        status: "deployed".into(),
        chart: "web-1.2.3".into(),
        has_failed_since: false,
    }
}

fn rendered(objects: &[Value], seed: &Seed) -> Rendered {
    let objects = objects.iter().map(|value| RenderedObject {
        object: Object::new(value.clone()).unwrap(),
        source: None,
        hook: None,
        keep: false,
    });
    Rendered::new(objects.collect(), None, Vec::new(), seed).unwrap()
}

#[test]
fn what_is_rendered_is_compared_with_what_was_applied() {
    let manifest = "---\n# Source: web/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: '1'}\n\
                    ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: shop}\n---\n";
    let map = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    let seed = Seed::from_text("s");
    let compared = |objects: &[Value]| {
        let rendered = rendered(objects, &seed);
        let takeover = release().compare(manifest, &rendered, &seed).unwrap();
        (rendered.digest(), takeover)
    };
    let b = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "as.example.com"}});
    let (same, takeover) = compared(&[map("a", json!({"k": "1"})), b.clone(), definition]);
    assert!(takeover.is_same);
    assert_eq!(
        (
            takeover.record.number,
            takeover.record.rendered,
            takeover.record.completed
        ),
        (7, same, true)
    );
    let (other, takeover) = compared(&[map("a", json!({"k": "2"})), b]);
    assert!(!takeover.is_same && takeover.left.is_empty());
    assert_ne!(takeover.record.rendered, other);
    let (_, takeover) = compared(&[map("a", json!({"k": "1"}))]);
    let left: Vec<String> = takeover.left.iter().map(ToString::to_string).collect();
    assert_eq!(left, ["ConfigMap shop/b"]);
}

#[test]
fn what_is_left_is_named_as_the_release_names_it() {
    let manifest =
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: web}\n";
    let seed = Seed::from_text("s");
    let takeover = release().compare(manifest, &rendered(&[], &seed), &seed);
    let left: Vec<String> = takeover
        .unwrap()
        .left
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(left, ["ClusterRole.rbac.authorization.k8s.io web"]);
}

#[test]
fn what_is_secret_is_in_no_error() {
    let seed = Seed::from_text("s");
    let refused = |manifest: &str| {
        let rendered = rendered(&[], &seed);
        let error = release().compare(manifest, &rendered, &seed);
        error.unwrap_err().to_string()
    };
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData:\n  password: hunter2\n";
    let broken = refused(&format!("{secret}  other: [hunter2\n  last: hunter2\n"));
    let known = "Secret shop/sh.helm.release.v1.web.v7 holds no release of Helm: its manifest cannot be read";
    assert!(broken.starts_with(known), "{broken}");
    assert!(!broken.contains("hunter2"), "{broken}");
    let stored = json!({"manifest": "", "chart": "hunter2"}).to_string();
    let said = decode(&self::secret(stored.as_bytes()), true)
        .err()
        .unwrap();
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_release_may_be_of_many_objects() {
    let object =
        |number| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{number}}}\n");
    let manifest: String = (0..3000).map(object).collect();
    let seed = Seed::from_text("s");
    let takeover = release().compare(&manifest, &rendered(&[], &seed), &seed);
    assert_eq!(takeover.unwrap().left.len(), 3000);
}

#[test]
fn what_aliases_repeat_is_bounded() {
    let long = "x".repeat(10_000);
    let repeated = "- *a\n".repeat(1000);
    let anchors = "- &b y\n".repeat(1000);
    let manifest = format!("all:\n- &a {long}\n{anchors}{repeated}");
    assert!(manifest::read(&manifest).is_err());
    let few = format!("all:\n- &a {long}\n- *a\n");
    assert_eq!(manifest::read(&few).unwrap()[0]["all"][1], long);
}

#[test]
fn what_is_no_value_of_a_label_is_no_release() {
    for name in ["web", "w", "web-1.2", "A_b"] {
        assert!(is_label_value(name), "{name}");
    }
    let long = "a".repeat(64);
    for name in ["", "My Release", "-web", "web.", "web,version=1", &long] {
        assert!(!is_label_value(name), "{name}");
    }
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
