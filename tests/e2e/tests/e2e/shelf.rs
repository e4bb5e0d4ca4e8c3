//! Where charts are published: a chart repository with an index, and a registry, both behind a password.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Result;
use pintle_harness::{Servers, ServersOptions, pack_chart, to_stderr, write_file};
use sha2::{Digest as _, Sha256};

use crate::world::world;

const USER: &str = "reader";
const PASSWORD: &str = "hunter2";

/// The servers of one test.
pub(crate) struct Shelf {
    pub(crate) servers: Servers,
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
            entries: Mutex::default(),
        })
    }

    /// Returns the registry address below which charts are pushed.
    pub(crate) fn registry(&self) -> String {
        format!("oci://{}/charts", self.servers.registry())
    }

    /// Publishes a chart in the repository, and returns the digest of its archive.
    pub(crate) fn publish(
        &self,
        chart: &str,
        version: &str,
        files: &[(&str, &str)],
    ) -> Result<String> {
        let archive = pack_chart(chart, version, files)?;
        let served = self.servers.charts().join(format!("{chart}-{version}.tgz"));
        std::fs::write(served, &archive)?;
        let digest = hex::encode(Sha256::digest(&archive));
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

    /// Pushes a chart to the registry as Helm does, and returns the digest of its manifest.
    pub(crate) fn push(
        &self,
        chart: &str,
        version: &str,
        files: &[(&str, &str)],
    ) -> Result<String> {
        let archive = pack_chart(chart, version, files)?;
        let repository = format!("charts/{chart}");
        world().wait(self.servers.push_chart(&repository, version, archive))
    }

    /// Writes into a home folder what `helm repo add`, `helm registry login` and `docker login` would.
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

    /// Returns a Secret with the password and the CA certificate.
    pub(crate) fn secret(&self, name: &str, namespace: &str) -> Result<String> {
        let authority = std::fs::read_to_string(self.servers.ca())?;
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": namespace },
            "stringData": { "username": USER, "password": PASSWORD, "ca.crt": authority },
        });
        Ok(format!("{secret}\n---\n"))
    }
}

/// Writes files, and creates the folders that contain them.
pub(crate) fn write(root: &Path, files: &[(&str, &str)]) -> Result<()> {
    for (path, content) in files {
        write_file(&root.join(path), content)?;
    }
    Ok(())
}
