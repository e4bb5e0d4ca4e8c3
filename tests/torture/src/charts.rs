//! Charts in the registry: what an application is whose source is no git repository.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::arena::Arena;
use crate::model::{Key, manifest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// Pushes a chart that renders these objects as Helm does: `repository` is below the registry's root.
pub(crate) fn push(
    arena: &Arena,
    repository: &str,
    version: &str,
    objects: &BTreeMap<Key, u32>,
) -> Result<()> {
    let archive = pack(arena.dir(), repository, version, objects)?;
    let repository = format!("{}/v2/{repository}", arena.servers.http());
    let config = b"{}".to_vec();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &config), "layers": [descriptor(LAYER, &archive)],
    })
    .to_string();
    arena.wait(async {
        for blob in [config, archive] {
            let begun = arena
                .http
                .post(format!("{repository}/blobs/uploads/"))
                .header("content-length", 0)
                .send()
                .await?;
            let location = begun.headers().get("location").context("a location")?;
            let location = begun.url().join(location.to_str()?)?;
            let sign = if location.query().is_some() { '&' } else { '?' };
            let url = format!("{location}{sign}digest={}", digest(&blob));
            put(arena, url, "application/octet-stream", blob).await?;
        }
        let url = format!("{repository}/manifests/{version}");
        put(arena, url, MANIFEST, manifest.into_bytes()).await
    })
}

async fn put(arena: &Arena, url: String, media: &str, body: Vec<u8>) -> Result<()> {
    let request = arena.http.put(url).header("content-type", media).body(body);
    let status = request.send().await?.status();
    ensure!(status.is_success(), "the registry answers {status}");
    Ok(())
}

fn descriptor(media: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media, "digest": digest(bytes), "size": bytes.len()})
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Packs a chart with the program that everybody packs with.
fn pack(
    dir: &Path,
    repository: &str,
    version: &str,
    objects: &BTreeMap<Key, u32>,
) -> Result<Vec<u8>> {
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let folder = dir.join("charts").join(format!("{name}-{version}"));
    let templates = folder.join(name).join("templates");
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
    };
    std::fs::create_dir_all(&templates).with_context(|| format!("make {}", folder.display()))?;
    write(
        &folder.join(name).join("Chart.yaml"),
        format!("apiVersion: v2\nname: {name}\nversion: {version}\n"),
    )?;
    for (key, object_version) in objects {
        let file = templates.join(format!("{}-{}.yaml", key.kind.plural(), key.name));
        write(&file, manifest(key, *object_version).to_string())?;
    }
    let output = Command::new("tar")
        .arg("-cz")
        .arg("-C")
        .arg(&folder)
        .arg(name)
        .output()
        .context("run tar")?;
    ensure!(output.status.success(), "tar: {}", output.status);
    std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    Ok(output.stdout)
}
