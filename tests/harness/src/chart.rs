//! Charts, packed and pushed as Helm does it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::files::write_file;
use crate::servers::Servers;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// How long the registry, on this machine, may take for one request.
const LIMIT: Duration = Duration::from_secs(5);

/// Packs a chart with `tar`, the usual program. The paths in `files` are below the chart's folder, which also gets a `Chart.yaml`
/// with this name and version.
pub fn pack_chart(name: &str, version: &str, files: &[(&str, &str)]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("make a folder for a chart")?;
    let root = folder.path().join(name);
    let metadata = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    write_file(&root.join("Chart.yaml"), &metadata)?;
    for (path, content) in files {
        write_file(&root.join(path), content)?;
    }
    let output = Command::new("tar")
        .arg("-cz")
        .arg("-C")
        .arg(folder.path())
        .arg(name)
        .output()
        .context("run tar")?;
    ensure!(output.status.success(), "tar: {}", output.status);
    Ok(output.stdout)
}

impl Servers {
    /// Pushes a packed chart to the registry, and returns the digest of its manifest, `sha256:` and hexadecimal digits.
    /// `repository` is below the registry's root.
    pub async fn push_chart(
        &self,
        repository: &str,
        version: &str,
        archive: Vec<u8>,
    ) -> Result<String> {
        let client = Client::builder()
            .no_proxy()
            .timeout(LIMIT)
            .build()
            .context("make an HTTP client")?;
        let repository = format!("{}/v2/{repository}", self.http());
        let config = b"{}".to_vec();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config), "layers": [descriptor(LAYER, &archive)],
        })
        .to_string();
        for blob in [config, archive] {
            let request = client
                .post(format!("{repository}/blobs/uploads/"))
                .header("content-length", 0);
            let begun = self.signed(request).send().await?;
            let location = begun.headers().get("location").context("a location")?;
            let location = begun.url().join(location.to_str()?)?;
            let sign = if location.query().is_some() { '&' } else { '?' };
            let url = format!("{location}{sign}digest={}", digest(&blob));
            self.put(client.put(url), "application/octet-stream", blob)
                .await?;
        }
        let digest = digest(manifest.as_bytes());
        let tag = client.put(format!("{repository}/manifests/{version}"));
        self.put(tag, MANIFEST, manifest.into_bytes()).await?;
        Ok(digest)
    }

    async fn put(&self, request: RequestBuilder, media: &str, body: Vec<u8>) -> Result<()> {
        let request = request.header("content-type", media).body(body);
        let status = self.signed(request).send().await?.status();
        ensure!(status.is_success(), "the registry answers {status}");
        Ok(())
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match self.user() {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}

fn descriptor(media: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media, "digest": digest(bytes), "size": bytes.len()})
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
