//! Packed archives that are held: where they are stored, and how many can be held.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use pintle_core::digest::Digest;
use pintle_registry::{
    CacheOptions, Cause, ChartError, Charts, Logins, Options, Place, Registry, Shared,
};
use serde_json::json;

use crate::{
    charts::{CHART_LAYER, chart, fetch, index, place},
    hostile::ANONYMOUS,
    lies::{Answer, Asked, Liar, endless, ok, stalling, status, with},
    support::{reference, said},
};

/// The room for all archives, in bytes: one large chart can be held, and then another one can be downloaded, but not held.
const ROOM: u64 = 700_000;

/// Packs a large chart: about 206,000 bytes.
fn large(fill: u8) -> Bytes {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
    let content = vec![fill; 200 << 10];
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, "web/x", content.as_slice())
        .unwrap();
    builder.into_inner().unwrap().finish().unwrap().into()
}

/// Starts a repository with these charts, as the versions 1.0.0, 1.0.1 and so on.
async fn repository(charts: &[Bytes]) -> Liar {
    let listed = charts.iter().enumerate().map(|(number, bytes)| {
        let digest = Digest::of(bytes).hex();
        format!("  - version: 1.0.{number}\n    digest: {digest}\n    urls: [web-{number}.tgz]\n")
    });
    let listed: Vec<_> = listed.collect();
    let index = format!("apiVersion: v1\nentries:\n  web:\n{}", listed.concat());
    let charts = charts.to_vec();
    Liar::start(move |asked: &Asked| {
        if asked.line.ends_with("index.yaml") {
            return ok(index.clone());
        }
        let mut numbered = charts.iter().enumerate();
        let found = numbered.find(|(number, _)| asked.line.ends_with(&format!("web-{number}.tgz")));
        found.map_or_else(|| status(404), |(_, bytes)| ok(bytes.clone()))
    })
    .await
}

fn place_of(liar: &Liar) -> Place {
    place(&format!("http://{}", liar.address()))
}

/// Returns the manifest of a chart with this archive.
fn manifest(digest: Digest, size: u64) -> String {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": Digest::of("{}"), "size": 2
        },
        "layers": [{"mediaType": CHART_LAYER, "digest": digest, "size": size}],
    });
    manifest.to_string()
}

/// Returns how many requests for archives there were.
fn downloads(liar: &Liar) -> usize {
    let asked = liar.asked();
    asked.iter().filter(|one| one.line.contains(".tgz")).count()
}

/// Creates a client like that of a process that has just started, with this much room.
fn anew(folder: Option<&Path>, room: u64) -> Charts {
    with_cache(folder.map(CacheOptions::new), room)
}

/// A client with this cache and so much room.
fn with_cache(cache: Option<CacheOptions>, room: u64) -> Charts {
    let options = Options {
        cache,
        max_archive: 1 << 20,
        ..Options::default()
    };
    let shared = Arc::new(Shared::with_room_for_archives(room));
    Charts::new(Registry::sharing(options, shared).unwrap())
}

/// Lists the names of the files in a cache.
fn kept(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder.join("sha256")).unwrap();
    let name = |file: fs::DirEntry| file.file_name().into_string().unwrap();
    files.map(|file| name(file.unwrap())).collect()
}

#[tokio::test]
async fn a_large_chart_stays_with_who_has_it_when_it_leaves_the_cache() {
    let liar = repository(&[large(1)]).await;
    let (place, logins) = (place_of(&liar), Logins::default());
    let folder = tempfile::tempdir().unwrap();
    // The second client finds the chart in the cache.
    for _ in 0..2 {
        let charts = anew(Some(folder.path()), ROOM);
        let fetched = fetch(&charts, &place, "1.0.0", &logins).await;
        let artifact = fetched.unwrap();
        let files = kept(folder.path());
        assert_eq!(files.len(), 1);
        let path = folder.path().join("sha256").join(&files[0]);
        let away = folder.path().join("away");
        fs::copy(&path, &away).unwrap();
        fs::remove_file(&path).unwrap();
        for _ in 0..2 {
            artifact.archive.files().unwrap();
        }
        fs::rename(away, path).unwrap();
    }
    assert_eq!(downloads(&liar), 1);
}

#[tokio::test]
async fn a_large_chart_that_is_damaged_in_the_cache_is_fetched_again() {
    let liar = repository(&[large(1)]).await;
    let (place, logins) = (place_of(&liar), Logins::default());
    let folder = tempfile::tempdir().unwrap();
    for expected in [1, 2, 2] {
        let charts = anew(Some(folder.path()), ROOM);
        let fetched = fetch(&charts, &place, "1.0.0", &logins).await;
        drop(fetched.unwrap());
        assert_eq!(downloads(&liar), expected);
        if expected == 1 {
            let path = folder.path().join("sha256").join(&kept(folder.path())[0]);
            let size = fs::metadata(&path).unwrap().len();
            fs::write(&path, vec![0; usize::try_from(size).unwrap()]).unwrap();
        }
    }
}

#[tokio::test]
async fn a_chart_that_is_too_large_for_the_cache_can_be_held() {
    let liar = repository(&[large(1)]).await;
    let (place, logins) = (place_of(&liar), Logins::default());
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheOptions {
        max_bytes: 200_000,
        ..CacheOptions::new(folder.path())
    };
    let charts = with_cache(Some(cache), ROOM);
    for expected in [1, 2] {
        let fetched = fetch(&charts, &place, "1.0.0", &logins).await;
        fetched.unwrap().archive.files().unwrap();
        assert_eq!(downloads(&liar), expected);
        assert!(kept(folder.path()).is_empty());
    }
}

#[tokio::test]
async fn large_charts_that_are_held_have_a_bound_together() {
    let all = [large(1), large(2), chart("web", "1.0.2")];
    let liar = repository(&all).await;
    let place = place_of(&liar);
    let folder = tempfile::tempdir().unwrap();
    let logins = Logins::default();
    for version in ["1.0.0", "1.0.1", "1.0.2"] {
        let charts = anew(Some(folder.path()), 10 * ROOM);
        fetch(&charts, &place, version, &logins).await.unwrap();
    }
    // The charts come from the repository, and then from the cache.
    for cache in [None, Some(folder.path())] {
        let charts = anew(cache, ROOM);
        let one = fetch(&charts, &place, "1.0.0", &logins).await.unwrap();
        let error = fetch(&charts, &place, "1.0.1", &logins).await.unwrap_err();
        let is_retried =
            matches!(&error, ChartError::Repository { cause, .. } if cause.is_retryable());
        assert!(is_retried, "{error:?}");
        let text = said(&error, &liar.address());
        insta::allow_duplicates! {
            insta::assert_snapshot!(text, @"cannot read a chart from the chart repository http://REGISTRY/ (web 1.0.1): there is no room for the archive: those in use and those being downloaded share 700000 bytes, a quarter of which is reserved for downloads; use fewer or smaller ones, or, for an agent, set a larger `--cache-size`");
        }
        fetch(&charts, &place, "1.0.2", &logins).await.unwrap();
        drop(one);
        fetch(&charts, &place, "1.0.1", &logins).await.unwrap();
    }
    assert_eq!(downloads(&liar), 3 + 4);
}

#[tokio::test]
async fn a_chart_that_somebody_holds_already_finds_room() {
    let [first, second] = [
        repository(&[large(1)]).await,
        repository(&[large(1), large(2)]).await,
    ];
    let logins = Logins::default();
    let folder = tempfile::tempdir().unwrap();
    let charts = anew(Some(folder.path()), ROOM);
    let get =
        async |liar: &Liar, version: &str| fetch(&charts, &place_of(liar), version, &logins).await;
    let one = get(&first, "1.0.0").await.unwrap();
    let equal = get(&second, "1.0.0").await.unwrap();
    assert_eq!(downloads(&second), 1, "it is fetched all the same");
    drop(get(&second, "1.0.0").await.unwrap());
    assert_eq!(downloads(&second), 1, "it is kept for who has fetched it");
    drop(one);
    get(&second, "1.0.1").await.unwrap_err();
    equal.archive.files().unwrap();
    drop(equal);
    get(&second, "1.0.1").await.unwrap();
}

#[tokio::test]
async fn what_announces_more_than_there_is_room_for_is_not_read() {
    let size = ROOM / 2 + 1;
    let digest = Digest::of("web");
    let (index, manifest) = (
        index("1.0.0", "web.tgz", &digest.hex()),
        manifest(digest, size),
    );
    let liar = Liar::start(move |asked: &Asked| match asked.line.as_str() {
        "GET /v2/" => ok("{}"),
        line if line.ends_with("index.yaml") => ok(index.clone()),
        line if line.starts_with("GET /v2/x/manifests/") => ok(manifest.clone()),
        _ => with(stalling(b""), "content-length", &size.to_string()),
    })
    .await;
    let (charts, logins) = (anew(None, ROOM), Logins::default());
    let fetched = fetch(&charts, &place_of(&liar), "1.0.0", &logins).await;
    let text = said(&fetched.unwrap_err(), &liar.address());
    assert!(text.contains("there is no room for the archive"), "{text}");

    let shared = Arc::new(Shared::with_room_for_archives(ROOM));
    let registry = Registry::sharing(Options::default(), shared).unwrap();
    let tag = reference(&liar.address(), "x:1");
    let error = registry.pull_archive(&tag, &ANONYMOUS).await.unwrap_err();
    assert!(matches!(error.cause, Cause::NoRoom { .. }), "{error:?}");
    let asked = liar.asked();
    assert!(!asked.iter().any(|one| one.line.contains("/blobs/")));
}

#[tokio::test]
async fn what_is_not_as_its_manifest_says_leaves_no_file() {
    let honest = large(1);
    let manifest = manifest(Digest::of(&honest), honest.len() as u64);
    let lies: [fn() -> Answer; 4] = [
        || ok(large(2)),
        || ok(large(1).slice(..150_000)),
        || ok([large(1), large(1)].concat()),
        endless,
    ];
    let mut all = Vec::new();
    for lie in lies {
        let manifest = manifest.clone();
        let liar = Liar::start(move |asked: &Asked| match asked.line.as_str() {
            "GET /v2/" => ok("{}"),
            line if line.starts_with("GET /v2/x/manifests/") => ok(manifest.clone()),
            _ => lie(),
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            cache: Some(CacheOptions::new(folder.path())),
            ..Options::default()
        };
        let registry = Registry::new(options).unwrap();
        let tag = reference(&liar.address(), "x:1");
        let error = registry.pull_archive(&tag, &ANONYMOUS).await.unwrap_err();
        all.push(match error.cause {
            Cause::Digest { .. } => "another digest".to_owned(),
            Cause::Size { got, more, .. } => format!("{got} bytes, more: {more}"),
            other => panic!("{other:?}"),
        });
        assert_eq!(kept(folder.path()).len(), 1, "the manifest");
    }
    assert_eq!(all[..2], ["another digest", "150000 bytes, more: false"]);
    assert!(all[2..].iter().all(|text| text.ends_with("more: true")));
}

#[tokio::test]
async fn what_is_not_as_its_repository_says_leaves_no_file() {
    let digest = Digest::of(large(1)).hex();
    let lies: [fn() -> Answer; 2] = [|| ok(large(2)), endless];
    let mut all = Vec::new();
    for lie in lies {
        let text = index("1.0.0", "web.tgz", &digest);
        let liar = Liar::start(move |asked: &Asked| {
            if asked.line.ends_with("index.yaml") {
                ok(text.clone())
            } else {
                lie()
            }
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let charts = anew(Some(folder.path()), 10 * ROOM);
        let (place, logins) = (place_of(&liar), Logins::default());
        let fetched = fetch(&charts, &place, "1.0.0", &logins).await;
        all.push(said(&fetched.unwrap_err(), &liar.address()));
        assert!(kept(folder.path()).is_empty());
    }
    assert!(all[0].contains("is not what its digest says"), "{all:?}");
    insta::assert_snapshot!(all[1], @"cannot read a chart from the chart repository http://REGISTRY/ (web 1.0.0): the archive is larger than the limit of 1048576 bytes; leave files out of it, for a chart with `.helmignore`, or split it");
}
