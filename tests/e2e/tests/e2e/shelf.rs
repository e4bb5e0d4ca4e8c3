//! Where charts are kept: a chart repository with an index and a registry, both behind a password.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};
use pintle_harness::{Servers, ServersOptions, to_stderr};
use sha2::{Digest as _, Sha256};

use crate::world::world;

const USER: &str = "reader";
const PASSWORD: &str = "hunter2";
const LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";

/// Servers of one test, and a folder in which charts are packed.
pub(crate) struct Shelf {
    pub(crate) servers: Servers,
    bench: tempfile::TempDir,
    /// The index's entries, in the order in which they were published.
    entries: Mutex<Vec<(String, String)>>,
}

impl Shelf {
    pub(crate) fn new() -> Result<Self> {
        let options = ServersOptions {
            user: Some((USER.to_owned(), PASSWORD.to_owned())),
            ..ServersOptions::default()
        };
        Ok(Self {
            servers: Servers::start(&options, &to_stderr)?,
            bench: tempfile::tempdir()?,
            entries: Mutex::default(),
        })
    }

    /// Is the registry's address below which charts are pushed.
    pub(crate) fn registry(&self) -> String {
        format!("oci://{}/charts", self.servers.registry())
    }

    /// Publishes a chart in the repository, and gives the digest of its archive.
    pub(crate) fn publish(
        &self,
        chart: &str,
        version: &str,
        files: &[(&str, &str)],
    ) -> Result<String> {
        let archive = self.pack(chart, version, files)?;
        let served = self.servers.charts().join(format!("{chart}-{version}.tgz"));
        std::fs::copy(&archive, served)?;
        let digest = digest_of(&archive)?;
        let mut entries = self.entries.lock().expect("no test panics with it");
        entries.push((
            chart.to_owned(),
            format!(
                "  - {{name: {chart}, version: {version}, digest: {digest}, urls: [{chart}-{version}.tgz]}}\n"
            ),
        ));
        let mut index = "apiVersion: v1\nentries:\n".to_owned();
        let mut names: Vec<_> = entries.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        for name in names {
            let _ = writeln!(index, "  {name}:");
            index.extend(
                entries
                    .iter()
                    .filter(|(of, _)| of == name)
                    .map(|(_, entry)| entry.as_str()),
            );
        }
        std::fs::write(self.servers.charts().join("index.yaml"), index)?;
        Ok(format!("sha256:{digest}"))
    }

    /// Pushes a chart into the registry as Helm does, and gives the digest of its manifest.
    pub(crate) fn push(
        &self,
        chart: &str,
        version: &str,
        files: &[(&str, &str)],
    ) -> Result<String> {
        let archive = std::fs::read(self.pack(chart, version, files)?)?;
        let repository = format!("{}/v2/charts/{chart}", self.servers.http());
        let descriptor = |media: &str, bytes: &[u8]| {
            let digest = hex::encode(Sha256::digest(bytes));
            serde_json::json!({ "mediaType": media, "digest": format!("sha256:{digest}"), "size": bytes.len() })
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor(CONFIG, b"{}"),
            "layers": [descriptor(LAYER, &archive)],
        })
        .to_string();
        let client = reqwest::Client::new();
        let put = async |url: String, media: &str, body: Vec<u8>| -> Result<()> {
            let answer = client
                .put(url)
                .basic_auth(USER, Some(PASSWORD))
                .header("content-type", media)
                .body(body)
                .send()
                .await?;
            if !answer.status().is_success() {
                bail!("the registry answers {}", answer.status());
            }
            Ok(())
        };
        let digest = hex::encode(Sha256::digest(manifest.as_bytes()));
        world().wait(async {
            for blob in [b"{}".to_vec(), archive] {
                let begun = client
                    .post(format!("{repository}/blobs/uploads/"))
                    .basic_auth(USER, Some(PASSWORD))
                    .header("content-length", 0)
                    .send()
                    .await?;
                let location = begun.headers().get("location").context("a location")?;
                let location = begun.url().join(location.to_str()?)?;
                let sign = if location.query().is_some() { '&' } else { '?' };
                let digest = hex::encode(Sha256::digest(&blob));
                let url = format!("{location}{sign}digest=sha256:{digest}");
                put(url, "application/octet-stream", blob).await?;
            }
            let url = format!("{repository}/manifests/{version}");
            let media = "application/vnd.oci.image.manifest.v1+json";
            put(url, media, manifest.into_bytes()).await
        })?;
        Ok(format!("sha256:{digest}"))
    }

    /// Packs a chart with the program that everybody packs with.
    fn pack(&self, chart: &str, version: &str, files: &[(&str, &str)]) -> Result<PathBuf> {
        let folder = self.bench.path().join(format!("{chart}-{version}"));
        let root = folder.join(chart);
        let metadata = format!("apiVersion: v2\nname: {chart}\nversion: {version}\n");
        write(&root, &[("Chart.yaml", &metadata)])?;
        write(&root, files)?;
        let archive = self.bench.path().join(format!("{chart}-{version}.tgz"));
        let status = Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(&folder)
            .arg(chart)
            .status()
            .context("start tar")?;
        if !status.success() {
            bail!("tar: {status}");
        }
        Ok(archive)
    }

    /// Writes what `helm repo add`, `helm registry login` and `docker login` would, into a home folder.
    pub(crate) fn log_in(&self, home: &Path) -> Result<()> {
        let repositories = serde_json::json!({
            "apiVersion": "",
            "repositories": [{
                "name": "shelf", "url": self.servers.charts_https(), "username": USER, "password": PASSWORD,
                "caFile": self.servers.ca(),
            }],
        });
        let logins = serde_json::json!({
            "auths": { (self.servers.registry()): { "username": USER, "password": PASSWORD } },
        });
        write(
            &home.join(".config/helm"),
            &[
                ("repositories.yaml", &repositories.to_string()),
                ("registry/config.json", &logins.to_string()),
            ],
        )
    }

    /// Is a Secret with the password, and with the authority of the certificate.
    pub(crate) fn secret(&self, name: &str, namespace: &str) -> Result<String> {
        let authority = std::fs::read_to_string(self.servers.ca())?;
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": namespace },
            "stringData": { "username": USER, "password": PASSWORD, "ca.crt": authority },
        });
        Ok(format!("{secret}\n---\n"))
    }
}

fn digest_of(path: &Path) -> Result<String> {
    Ok(hex::encode(Sha256::digest(std::fs::read(path)?)))
}

/// Writes files, with the folders in which they are.
pub(crate) fn write(root: &Path, files: &[(&str, &str)]) -> Result<()> {
    for (path, content) in files {
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
