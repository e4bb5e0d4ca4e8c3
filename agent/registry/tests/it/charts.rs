//! Charts from chart repositories and registries, honest and other ones.

use std::{io::Write as _, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use oci_client::{
    client::{Config, ImageLayer},
    manifest::OciImageManifest,
    secrets::RegistryAuth,
};
use pintle_core::{
    digest::Digest,
    tree::{Tree as _, TreePath},
};
use pintle_harness::{Servers, ServersOptions, to_stderr};
use pintle_registry::{
    Artifact, CacheOptions, ChartError, Charts, Credentials, Keychain, Logins, Options, Place,
    Registry, Wanted,
};

use crate::{
    lies::{Answer, Asked, Liar, dripping, endless, ok, redirect, status, with},
    support::{independent, independent_reference, reference, said},
};

/// What is told in place of the truth; the digest of the honest archive may be part of it.
type Tell = fn(&str) -> Answer;

pub(crate) const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const CHART_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";

/// A packed chart.
pub(crate) fn chart(name: &str, version: &str) -> Bytes {
    let content = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    let path = format!("{name}/Chart.yaml");
    builder
        .append_data(&mut header, path, content.as_bytes())
        .unwrap();
    builder.into_inner().unwrap().finish().unwrap().into()
}

pub(crate) fn index(version: &str, url: &str, digest: &str) -> String {
    format!(
        "apiVersion: v1\nentries:\n  web:\n  - version: {version}\n    digest: {digest}\n    urls: ['{url}']\n"
    )
}

fn charts() -> Charts {
    Charts::new(Registry::new(Options::default()).unwrap())
}

pub(crate) fn strict() -> Charts {
    let options = Options {
        max_archive: 100_000,
        max_index: 10_000,
        total_timeout: std::time::Duration::from_millis(500),
        ..Options::default()
    };
    Charts::new(Registry::new(options).unwrap())
}

pub(crate) fn place(repository: &str) -> Place {
    Place::Chart {
        repository: repository.to_owned(),
        name: "web".to_owned(),
    }
}

pub(crate) fn basic() -> Logins {
    Logins {
        repository: Credentials::basic("me", "hunter2"),
        ..Logins::default()
    }
}

pub(crate) async fn fetch(
    charts: &Charts,
    place: &Place,
    version: &str,
    logins: &Logins,
) -> Result<Artifact, ChartError> {
    let resolved = charts
        .resolve(place, &Wanted::version(version), logins)
        .await?;
    charts.pull(&resolved, None, logins).await
}

fn manifest_of(artifact: &Artifact) -> String {
    let path = TreePath::parse("Chart.yaml").unwrap();
    String::from_utf8(artifact.archive.files().unwrap().read(&path).unwrap()).unwrap()
}

/// A repository with one chart, whose archive is where `url` says.
pub(crate) async fn repository(url: &'static str) -> Liar {
    let bytes = chart("web", "1.2.0");
    Liar::start(move |asked: &Asked| {
        let digest = Digest::of(&bytes).hex();
        match asked.line.as_str() {
            "GET /charts/index.yaml" => with(ok(index("1.2.0", url, &digest)), "etag", "\"one\""),
            "GET /charts/web-1.2.0.tgz" => ok(bytes.clone()),
            _ => status(404),
        }
    })
    .await
}

#[tokio::test]
async fn an_archive_may_be_relative_to_its_repository() {
    for url in [
        "web-1.2.0.tgz",
        "./web-1.2.0.tgz",
        "/charts/web-1.2.0.tgz",
        "../charts/web-1.2.0.tgz",
    ] {
        let liar = repository(url).await;
        for end in ["", "/"] {
            let place = place(&format!("http://{}/charts{end}", liar.address()));
            let fetched = fetch(&charts(), &place, "^1", &basic()).await.unwrap();
            assert!(manifest_of(&fetched).contains("version: 1.2.0"), "{url}");
            assert_eq!(fetched.digest, fetched.archive.digest());
            assert_eq!(
                (fetched.version.as_str(), fetched.created),
                ("1.2.0", 1_700_000_000)
            );
        }
        let all_ours = liar
            .asked()
            .iter()
            .all(|asked| asked.line.starts_with("GET /v2/") || asked.authorization.is_some());
        assert!(all_ours, "{:?}", liar.asked());
    }
}

#[tokio::test]
async fn credentials_go_to_the_repository_alone() {
    let bytes = chart("web", "1.2.0");
    let served = bytes.clone();
    let elsewhere = Arc::new(Liar::start(move |_: &Asked| ok(served.clone())).await);
    for redirected in [false, true] {
        let other = format!("http://{}/web.tgz", elsewhere.address());
        let text = index(
            "1.2.0",
            if redirected { "web.tgz" } else { &other },
            &Digest::of(&bytes).hex(),
        );
        let liar = Liar::start(move |asked: &Asked| {
            if asked.line.ends_with("index.yaml") {
                ok(text.clone())
            } else {
                redirect(&other)
            }
        })
        .await;
        let place = place(&format!("http://{}", liar.address()));
        fetch(&charts(), &place, "1.2.0", &basic()).await.unwrap();
        assert_eq!(
            liar.asked()[0].authorization.as_deref(),
            Some("Basic bWU6aHVudGVyMg==")
        );
    }
    assert_eq!(elsewhere.asked().len(), 2);
    assert!(
        elsewhere
            .asked()
            .iter()
            .all(|asked| asked.authorization.is_none())
    );
}

#[tokio::test]
async fn what_is_known_is_not_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = chart("web", "1.2.0");
    let liar = Liar::start(move |asked: &Asked| {
        if !asked.line.ends_with("index.yaml") {
            return ok(bytes.clone());
        }
        let whole = with(
            ok(index("1.2.0", "web.tgz", &Digest::of(&bytes).hex())),
            "etag",
            "\"one\"",
        );
        if asked.known.as_deref() == Some("\"one\"") {
            status(304)
        } else {
            whole
        }
    })
    .await;
    let place = place(&format!("http://{}", liar.address()));
    let anew = || {
        let options = Options {
            cache: Some(CacheOptions::new(folder.path())),
            ..Options::default()
        };
        Charts::new(Registry::new(options).unwrap())
    };
    let first = anew();
    for charts in [first.clone(), first, anew()] {
        fetch(&charts, &place, "*", &Logins::default())
            .await
            .unwrap();
    }
    let asked = liar.asked();
    let count = |end: &str| {
        asked
            .iter()
            .filter(|asked| asked.line.ends_with(end))
            .count()
    };
    assert_eq!((count("index.yaml"), count("web.tgz")), (3, 1));
    let known: Vec<_> = asked
        .iter()
        .filter(|asked| asked.line.ends_with("yaml"))
        .map(|asked| asked.known.is_some())
        .collect();
    assert_eq!(known, [false, true, true]);
}

#[tokio::test]
async fn those_who_ask_at_once_share_a_request() {
    let liar = Arc::new(repository("web-1.2.0.tgz").await);
    let (charts, place) = (
        charts(),
        place(&format!("http://{}/charts", liar.address())),
    );
    let logins = Logins::default();
    let any = Wanted::version("*");
    let asks = (0..20).map(|_| charts.resolve(&place, &any, &logins));
    for result in futures::future::join_all(asks).await {
        result.unwrap();
    }
    assert!(
        liar.asked()
            .iter()
            .filter(|asked| asked.line.ends_with("index.yaml"))
            .count()
            <= 2
    );
}

#[tokio::test]
async fn lies_are_told_as_such() {
    let honest = chart("web", "1.2.0");
    let good = Digest::of(&honest).hex();
    let lies: [(&str, Tell); 13] = [
        ("index.yaml", |_| ok("<html>please log in</html>")),
        ("index.yaml", |_| ok(vec![b' '; 20_000])),
        ("index.yaml", |_| endless()),
        ("index.yaml", |_| status(404)),
        ("index.yaml", |_| status(401)),
        ("index.yaml", |_| status(503)),
        ("index.yaml", |_| redirect("file:///etc/passwd")),
        ("index.yaml", |_| {
            redirect("http://me:hunter2@127.0.0.1/index.yaml")
        }),
        ("index.yaml", |_| redirect("/index.yaml")),
        ("index.yaml", |_| dripping()),
        ("web.tgz", |_| ok("something else")),
        ("web.tgz", |_| endless()),
        ("index.yaml", |digest| ok(index("2.0.0", "web.tgz", digest))),
    ];
    let mut all = Vec::new();
    for (path, tell) in lies {
        let (honest, digest) = (honest.clone(), good.clone());
        let liar = Liar::start(move |asked: &Asked| {
            if asked.line.ends_with(path) {
                tell(&digest)
            } else if asked.line.ends_with("index.yaml") {
                ok(index("1.2.0", "web.tgz", &digest))
            } else {
                ok(honest.clone())
            }
        })
        .await;
        let place = place(&format!("http://{}", liar.address()));
        let error = fetch(&strict(), &place, "1.2.0", &basic())
            .await
            .unwrap_err();
        let text = said(&error, &liar.address());
        assert!(!text.contains("hunter2"), "{text}");
        all.push(text.replace(&good, "GOOD"));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the index of the chart repository http://REGISTRY/: the index cannot be understood: error: line 1 column 1: expected mapping start
    cannot read the index of the chart repository http://REGISTRY/: the index is larger than the limit of 10000 bytes (it has 20000); take old versions off it, or split the repository
    cannot read the index of the chart repository http://REGISTRY/: the index is larger than the limit of 10000 bytes; take old versions off it, or split the repository
    cannot read the index of the chart repository http://REGISTRY/: REGISTRY has no such index.yaml
    cannot read the index of the chart repository http://REGISTRY/: REGISTRY does not accept the user name and password
    cannot read the index of the chart repository http://REGISTRY/: REGISTRY answered with status 503
    cannot read the index of the chart repository http://REGISTRY/: REGISTRY sends us to file:///etc/passwd, which is not followed: it is not https
    cannot read the index of the chart repository http://REGISTRY/: REGISTRY sends us to http://127.0.0.1/index.yaml, which is not followed: it has credentials of its own
    cannot read the index of the chart repository http://REGISTRY/: REGISTRY sends us to http://REGISTRY/index.yaml, which is not followed: it is one redirect too many
    cannot read the index of the chart repository http://REGISTRY/: REGISTRY took longer than 500ms in all
    cannot read a chart from the chart repository http://REGISTRY/ (web 1.2.0): the archive is not what its digest says: expected sha256:GOOD, got sha256:f41f3fa625ff120ddca7ef456bf66371ecea23c129f4e4c32367101edb516cf8; the registry, or something between, has changed it
    cannot read a chart from the chart repository http://REGISTRY/ (web 1.2.0): the archive is larger than the limit of 100000 bytes; leave files out of it, for a chart with `.helmignore`, or split it
    no version of web in http://REGISTRY/ is `1.2.0`; there are 2.0.0
    ");
}

#[tokio::test]
async fn archives_that_are_no_charts() {
    let mut traversal = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..21].copy_from_slice(b"web/../../etc/passwd\0");
    header.set_size(1);
    header.set_cksum();
    traversal.append(&header, &b"x"[..]).unwrap();
    let traversal = traversal.into_inner().unwrap().finish().unwrap();
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let mut header = tar::Header::new_ustar();
    header.set_path("web/zeros").unwrap();
    header.set_size(200 << 20);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..200 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let mut all = Vec::new();
    for bytes in [traversal, bomb] {
        let bytes = Bytes::from(bytes);
        let liar = Liar::start(move |asked: &Asked| {
            if asked.line.ends_with("index.yaml") {
                ok(index("1.2.0", "web.tgz", ""))
            } else {
                ok(bytes.clone())
            }
        })
        .await;
        let place = place(&format!("http://{}", liar.address()));
        let error = fetch(&charts(), &place, "1.2.0", &basic())
            .await
            .unwrap_err();
        all.push(said(&error, &liar.address()));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read a chart from the chart repository http://REGISTRY/ (web 1.2.0): the archive is rejected: it holds `web/../../etc/passwd`, which is no path within it
    cannot read a chart from the chart repository http://REGISTRY/ (web 1.2.0): the archive is rejected: its files have more than 104857600 bytes together: leave files out of it, for a chart with `.helmignore`, or split it
    ");
}

#[tokio::test]
async fn the_digest_that_is_expected_counts_too() {
    let liar = repository("web-1.2.0.tgz").await;
    let (charts, place) = (
        charts(),
        place(&format!("http://{}/charts", liar.address())),
    );
    let resolved = charts
        .resolve(&place, &Wanted::version("1.2.0"), &basic())
        .await
        .unwrap();
    let wanted = Digest::of(chart("web", "1.2.0"));
    assert_eq!(
        charts
            .pull(&resolved, Some(wanted), &basic())
            .await
            .unwrap()
            .digest,
        wanted
    );
    let error = charts
        .pull(&resolved, Some(Digest::of("other")), &basic())
        .await
        .unwrap_err();
    assert!(
        said(&error, &liar.address()).contains("is not what its digest says"),
        "{error}"
    );
}

#[tokio::test]
async fn places_that_are_none() {
    let mut all = Vec::new();
    for url in [
        "charts",
        "file:///charts",
        "https://me:hunter2@charts.example.com",
        "http://charts.example.com",
    ] {
        let error = fetch(&charts(), &place(url), "1", &Logins::default())
            .await
            .unwrap_err();
        all.push(said(&error, "no address"));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    `charts` is not the URL of a chart repository: relative URL without a base
    `file:///charts` is not the URL of a chart repository: expected https://HOST/PATH
    `https://charts.example.com/` is not the URL of a chart repository: it holds credentials, which belong where nobody reads them: in the Secret, or in Helm's repositories.yaml
    cannot read the index of the chart repository http://charts.example.com/: no secure connection to charts.example.com: it speaks plain http; if that is meant, name the host with `--plain-http`
    ");
}

/// Pushes a chart as Helm does, with a client that is not ours.
pub(crate) async fn push(
    servers: &Servers,
    repository: &str,
    version: &str,
    layer: &str,
    auth: &RegistryAuth,
) -> Digest {
    let name = repository.rsplit('/').next().unwrap();
    let bytes = chart(name, version);
    let tag = reference(
        servers.registry(),
        &format!("{repository}:{}", version.replace('+', "_")),
    );
    let layers = [ImageLayer::new(bytes.clone(), layer.to_owned(), None)];
    let config = Config::new(Bytes::from_static(b"{}"), CHART_CONFIG.to_owned(), None);
    let annotations = [(
        "org.opencontainers.image.created".to_owned(),
        "2026-01-02T03:04:05Z".to_owned(),
    )];
    let manifest = OciImageManifest::build(&layers, &config, Some(annotations.into()));
    independent()
        .push(
            &independent_reference(&tag),
            &layers,
            config,
            auth,
            Some(manifest),
        )
        .await
        .unwrap();
    Digest::of(&bytes)
}

#[tokio::test]
async fn charts_from_a_registry() {
    let options = ServersOptions {
        user: Some(("me".to_owned(), "hunter2".to_owned())),
        ..ServersOptions::default()
    };
    let servers = Servers::start(&options, &to_stderr).unwrap();
    let auth = RegistryAuth::Basic("me".to_owned(), "hunter2".to_owned());
    for version in ["1.2.0", "1.10.0+b", "2.0.0-rc.1"] {
        push(&servers, "charts/web", version, CHART_LAYER, &auth).await;
    }
    let place = Place::Oci(
        format!("oci://{}/charts/web", servers.registry())
            .parse()
            .unwrap(),
    );
    let config = format!(
        r#"{{"auths":{{"{}":{{"username":"me","password":"hunter2"}}}}}}"#,
        servers.registry()
    );
    let logins = Logins {
        keychain: Keychain::new()
            .with_pull_secret("secret", config.as_bytes())
            .unwrap(),
        ..Logins::default()
    };
    let charts = charts();
    for (wanted, version) in [
        ("1.2.0", "1.2.0"),
        ("", "1.10.0+b"),
        ("1.10.0+b", "1.10.0+b"),
        (">0-0", "2.0.0-rc.1"),
    ] {
        let fetched = fetch(&charts, &place, wanted, &logins).await.unwrap();
        assert_eq!(fetched.version, version);
        assert!(manifest_of(&fetched).contains(&format!("version: {version}\n")));
        assert_eq!(fetched.created, 1_767_323_045);
        let pinned = Wanted::Digest(fetched.digest);
        let again = charts.resolve(&place, &pinned, &logins).await.unwrap();
        assert_eq!(
            charts
                .pull(&again, None, &logins)
                .await
                .unwrap()
                .archive
                .digest(),
            fetched.archive.digest()
        );
    }
    let mut all = Vec::new();
    for wanted in ["3.x", "9.9.9", "latest!"] {
        let error = fetch(&charts, &place, wanted, &logins).await.unwrap_err();
        all.push(said(&error, servers.registry()));
    }
    let error = fetch(&charts, &place, "*", &Logins::default())
        .await
        .unwrap_err();
    all.push(said(&error, servers.registry()));
    insta::assert_snapshot!(all.join("\n"), @r"
    no version of oci://REGISTRY/charts/web is `3.x`; there are 2.0.0-rc.1, 1.10.0+b, 1.2.0
    cannot find the digest of `REGISTRY/charts/web:9.9.9`: REGISTRY has no such repository or tag
    `latest!` is not a version range: `latest!` is not a version; expected one such as `1.2.3`, `1.2.x`, `^1.2`, `~1.2.3`, `>=1.2, <2` or `1.2 - 1.4`
    cannot list the tags of `REGISTRY/charts/web`: REGISTRY asks for credentials (UNAUTHORIZED: authentication required), and there are none for it; log in with `docker login`, or give a pull secret that has an entry for it
    ");
}

#[tokio::test]
async fn a_repository_may_keep_its_charts_in_a_registry() {
    let servers = Servers::start(&ServersOptions::default(), &to_stderr).unwrap();
    let digest = push(
        &servers,
        "charts/web",
        "1.2.0",
        CHART_LAYER,
        &RegistryAuth::Anonymous,
    )
    .await;
    let text = index(
        "1.2.0",
        &format!("oci://{}/charts/web:1.2.0", servers.registry()),
        &digest.hex(),
    );
    let liar = Liar::start(move |_: &Asked| ok(text.clone())).await;
    let place = place(&format!("http://{}", liar.address()));
    assert_eq!(
        fetch(&charts(), &place, "1", &basic())
            .await
            .unwrap()
            .digest,
        digest
    );
}

#[tokio::test]
async fn artifacts_that_hold_no_files() {
    let servers = Servers::start(&ServersOptions::default(), &to_stderr).unwrap();
    let mut all = Vec::new();
    for layer in [
        "application/wasm",
        "application/vnd.cncf.helm.chart.provenance.v1.prov",
    ] {
        push(
            &servers,
            "charts/web",
            "1.2.0",
            layer,
            &RegistryAuth::Anonymous,
        )
        .await;
        let place = Place::Oci(
            format!("{}/charts/web", servers.registry())
                .parse()
                .unwrap(),
        );
        let error = fetch(&charts(), &place, "1.2.0", &Logins::default())
            .await
            .unwrap_err();
        all.push(said(&error, servers.registry()));
    }
    insta::assert_snapshot!(all.join("\n"), @r"
    cannot read the manifest of `REGISTRY/charts/web:1.2.0@sha256:5fac7531de15c8f6f03c6424e183760ab92ec949839ac62cdf10ab8c23179217`: it is a Helm chart with a layer of type `application/wasm`; expected a Helm chart (one layer application/vnd.cncf.helm.chart.content.v1.tar+gzip), or another artifact whose one layer is an archive of files
    cannot read the manifest of `REGISTRY/charts/web:1.2.0@sha256:69fec59885efe3e58da462b0e30688027dd901d143967ed880a602b2b0563b02`: it is a Helm chart without an archive of files; expected a Helm chart (one layer application/vnd.cncf.helm.chart.content.v1.tar+gzip), or another artifact whose one layer is an archive of files
    ");
}

#[tokio::test]
async fn the_artifacts_of_files_that_the_page_lists_are_taken() {
    let page = include_str!("../../../../docs/reference/sources.md");
    let servers = Servers::start(&ServersOptions::default(), &to_stderr).unwrap();
    for (layer, manifest) in [
        (CHART_LAYER, "Chart.yaml"),
        (
            "application/vnd.cncf.flux.content.v1.tar+gzip",
            "files/Chart.yaml",
        ),
        (
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "files/Chart.yaml",
        ),
    ] {
        assert!(page.contains(&format!("| `{layer}` |")), "{layer}");
        let anonymous = RegistryAuth::Anonymous;
        push(&servers, "files", "1.2.0", layer, &anonymous).await;
        let place = Place::Oci(format!("{}/files", servers.registry()).parse().unwrap());
        let fetched = fetch(&charts(), &place, "1.2.0", &Logins::default())
            .await
            .unwrap();
        let files = fetched.archive.files().unwrap();
        let path = TreePath::parse(manifest).unwrap();
        assert!(files.stat(&path).unwrap().is_some(), "{layer}");
    }
}
