//! What Helm stores about a release in the cluster: read to take over what Helm installed, and deleted on request.
//!
//! Each revision is a Secret (or a `ConfigMap`, if Helm was configured so) whose labels describe it. Its content is compressed
//! JSON in base64. The format is defined in `helm.sh/helm/v4/pkg/storage/driver` and has not changed since Helm 3.0.

mod manifest;

use std::{collections::BTreeMap, fmt, io::Read as _, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use pintle_core::{
    canonical,
    object::{Object, ObjectId},
    release::ReleaseRecord,
    rendered::{Rendered, RenderedObject},
    seed::Seed,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{
    connection::Connection,
    discovery::ResourceType,
    objects::{METADATA_LIST, Preconditions, items},
    prepare::is_definition,
    request::{Call, RequestError},
};

/// The most bytes that an unpacked release may have: more than a Secret can hold of any that people write.
const LIMIT: u64 = 16 << 20;
/// The most bytes that the record of a release may have: what an API server stores, and as much again.
const PACKED: usize = 4 << 20;
/// The longest value that a label can have.
const LABEL_LIMIT: usize = 63;
/// The first bytes of compressed data (RFC 1952). The first releases of Helm 2 were not compressed.
const GZIP: [u8; 3] = [0x1f, 0x8b, 0x08];

/// One revision of a release, as Helm stores it, without its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelmRelease {
    /// The name of the release.
    pub name: String,
    /// The namespace of the release, which is also that of its record.
    pub namespace: String,
    /// The revision number, counted from 1.
    pub revision: u64,
    /// The status, such as `deployed`.
    pub status: String,
    /// The name and version of the chart: `web-1.2.3`.
    pub chart: String,
    /// Whether a later attempt to upgrade it failed.
    pub has_failed_since: bool,
}

/// Why a Helm release cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelmError {
    /// There is no release of that name.
    #[error("Helm knows no release {name} in namespace {namespace}: {}", listed(.known))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The namespace.
        namespace: String,
        /// The releases that exist there.
        known: Vec<String>,
    },
    /// Helm is working on it, or was interrupted.
    #[error(
        "Helm has begun a change of the release {name} that has not ended ({status}, revision {revision}): wait for it, or end it \
         with `helm rollback`"
    )]
    Underway {
        /// The name of the release.
        name: String,
        /// The status, such as `pending-upgrade`.
        status: String,
        /// The revision number.
        revision: u64,
    },
    /// None of its revisions is what the cluster holds.
    #[error(
        "no revision of the release {name} is deployed (the newest is {status}): install it with Helm, or without it"
    )]
    NotDeployed {
        /// The name of the release.
        name: String,
        /// The status, such as `failed`.
        status: String,
    },
    /// Its record is not what Helm writes.
    #[error("{id} holds no release of Helm: {detail}")]
    Malformed {
        /// The Secret or the `ConfigMap`.
        id: ObjectId,
        /// What is wrong with it.
        detail: String,
    },
    /// The server refused or did not answer.
    #[error(transparent)]
    Request(#[from] RequestError),
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "it knows none there".to_owned()
    } else {
        format!("it knows {}", names.join(", "))
    }
}

/// The objects that Helm has applied, without hooks.
#[derive(Clone, PartialEq)]
pub struct HelmManifest {
    release: String,
    namespace: String,
    objects: BTreeMap<ObjectId, Object>,
}

impl fmt::Debug for HelmManifest {
    /// Leaves out the objects, because there may be Secrets among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "HelmManifest({}, {} objects)",
            self.release,
            self.objects.len()
        )
    }
}

impl HelmManifest {
    /// Returns an object as Helm has applied it, with what Helm adds to the metadata of each.
    ///
    /// `helm.sh/helm/v4/pkg/action/validate.go`
    pub(crate) fn applied(&self, id: &ObjectId) -> Option<Value> {
        let mut id = id.clone();
        id.namespace.get_or_insert_with(|| self.namespace.clone());
        let mut value = self.objects.get(&id)?.value().clone();
        let added = [
            ("labels", "app.kubernetes.io/managed-by", "Helm"),
            (
                "annotations",
                "meta.helm.sh/release-name",
                self.release.as_str(),
            ),
            (
                "annotations",
                "meta.helm.sh/release-namespace",
                self.namespace.as_str(),
            ),
        ];
        for (field, name, text) in added {
            let texts = &mut value["metadata"][field];
            if texts.is_null() {
                *texts = Value::Object(serde_json::Map::new());
            }
            if let Some(texts) = texts.as_object_mut() {
                texts.insert(name.to_owned(), Value::from(text));
            }
        }
        Some(value)
    }
}

/// A Helm release, compared with what is rendered in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Takeover {
    /// What Helm has applied.
    pub applied: Arc<HelmManifest>,
    /// The record with which the inventory begins: no hooks run if nothing differs, and upgrade hooks run if something does.
    pub record: ReleaseRecord,
    /// The objects of the release that are not rendered, as the release names them. They stay as they are and remain Helm's.
    pub left: Vec<ObjectId>,
    /// Whether every object is rendered as Helm has applied it. Definitions do not count: Helm keeps no record of those in a
    /// chart's `crds/`.
    pub is_same: bool,
}

/// Where Helm stores a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    id: ObjectId,
    resource: ResourceType,
    release: String,
    revision: u64,
    status: String,
}

impl HelmRelease {
    /// Reads the deployed revision of a release, and compares what Helm has applied with what is rendered to take its place.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no release of that name, none of its revisions is deployed, Helm is working on it, or it
    /// cannot be read.
    pub async fn compared(
        connection: &Connection,
        namespace: &str,
        name: &str,
        rendered: &Rendered,
        seed: &Seed,
    ) -> Result<(Self, Takeover), HelmError> {
        let (record, has_failed_since) = deployed(connection, namespace, name).await?;
        let id = record.id.clone();
        let malformed = move |detail: String| HelmError::Malformed {
            id: id.clone(),
            detail,
        };
        let call = Call::get(record.resource.path_of(&record.id)).at_most(PACKED);
        let found = connection.call(&call).await.map_err(|error| match error {
            error if error.is_absent() => malformed("it was deleted meanwhile".to_owned()),
            RequestError::TooLarge { most, .. } => {
                malformed(format!("it has more than {} MiB", most >> 20))
            }
            error => error.into(),
        })?;
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let (rendered, seed) = (rendered.clone(), seed.clone());
        alone(move || -> Result<(Self, Takeover), HelmError> {
            let is_secret = record.resource.kind == "Secret";
            let stored = decode(&found, is_secret).map_err(malformed)?;
            drop(found);
            let release = Self {
                name,
                namespace,
                revision: record.revision,
                status: record.status,
                chart: stored.chart.metadata.to_string(),
                has_failed_since,
            };
            let takeover = release.compare(&stored.manifest, &rendered, &seed)?;
            Ok((release, takeover))
        })
        .await
    }

    /// Compares what Helm has applied with what is rendered to take its place.
    fn compare(
        &self,
        manifest: &str,
        rendered: &Rendered,
        seed: &Seed,
    ) -> Result<Takeover, HelmError> {
        let manifest = HelmManifest {
            release: self.name.clone(),
            namespace: self.namespace.clone(),
            objects: self.objects(manifest)?,
        };
        let theirs = &manifest.objects;
        let ours: BTreeMap<ObjectId, &Object> = rendered
            .objects()
            .iter()
            .map(|rendered| (self.placed(&rendered.object), &rendered.object))
            .collect();
        // Without the namespace that was filled in here: the object may have none.
        let left: Vec<ObjectId> = theirs
            .iter()
            .filter(|(id, _)| !ours.contains_key(id))
            .map(|(_, object)| object.id().clone())
            .collect();
        let is_as_applied = |(id, object): (&ObjectId, &&Object)| {
            let applied = theirs.get(id);
            applied.map_or(is_definition(id), |applied| {
                content(applied) == content(object)
            })
        };
        let is_same = left.is_empty() && ours.iter().all(is_as_applied);
        let applied = if is_same {
            rendered.digest()
        } else {
            let objects = theirs.values().map(|object| RenderedObject {
                object: object.clone(),
                source: None,
                hook: None,
                keep: false,
            });
            let applied = Rendered::new(objects.collect(), None, Vec::new(), seed);
            applied
                .map_err(|duplicate| self.malformed(duplicate.to_string()))?
                .digest()
        };
        Ok(Takeover {
            applied: Arc::new(manifest),
            record: ReleaseRecord::taken_over(self.revision, applied),
            left,
            is_same,
        })
    }

    /// Reads the manifest: the objects without hooks, as one YAML stream.
    fn objects(&self, manifest: &str) -> Result<BTreeMap<ObjectId, Object>, HelmError> {
        let documents = manifest::read(manifest).map_err(|detail| self.malformed(detail))?;
        let objects = documents.into_iter().filter(|value| !value.is_null());
        objects
            .map(|value| {
                let object =
                    Object::new(value).map_err(|error| self.malformed(error.to_string()))?;
                Ok((self.placed(&object), object))
            })
            .collect()
    }

    /// Returns an object's identity, with the release's namespace if it has none: a render may or may not name it.
    fn placed(&self, object: &Object) -> ObjectId {
        let mut id = object.id().clone();
        id.namespace.get_or_insert_with(|| self.namespace.clone());
        id
    }

    fn malformed(&self, detail: String) -> HelmError {
        HelmError::Malformed {
            id: ResourceType::secrets().id(
                &self.namespace,
                format!("sh.helm.release.v1.{}.v{}", self.name, self.revision),
            ),
            detail,
        }
    }

    /// Deletes Helm's records of all revisions of a release. Its objects stay, and Helm no longer knows them.
    ///
    /// Returns how many revisions there were.
    pub async fn forget(
        connection: &Connection,
        namespace: &str,
        name: &str,
    ) -> Result<usize, RequestError> {
        let records = records(connection, namespace, Some(name)).await?;
        for record in &records {
            connection
                .delete_object(&record.resource, &record.id, &Preconditions::default())
                .await?;
        }
        Ok(records.len())
    }
}

/// Runs work that takes memory and time for one release at a time, across all takeovers.
async fn alone<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    static ROOM: Semaphore = Semaphore::const_new(1);
    let room = ROOM.acquire().await.expect("it is never closed");
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(room);
        done
    });
    match done.await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Finds the deployed revision of a release. Also returns whether a later attempt to upgrade it failed.
async fn deployed(
    connection: &Connection,
    namespace: &str,
    name: &str,
) -> Result<(Record, bool), HelmError> {
    let mut records = records(connection, namespace, Some(name)).await?;
    let Some(newest) = records.last() else {
        let mut known: Vec<String> = records_of_all(connection, namespace).await?;
        known.dedup();
        return Err(HelmError::Unknown {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            known,
        });
    };
    if newest.status.starts_with("pending-") || newest.status == "uninstalling" {
        return Err(HelmError::Underway {
            name: name.to_owned(),
            status: newest.status.clone(),
            revision: newest.revision,
        });
    }
    let (newest, status) = (newest.revision, newest.status.clone());
    let deployed = records
        .iter()
        .rposition(|record| record.status == "deployed");
    let Some(place) = deployed else {
        return Err(HelmError::NotDeployed {
            name: name.to_owned(),
            status,
        });
    };
    let record = records.swap_remove(place);
    let has_failed_since = newest > record.revision;
    Ok((record, has_failed_since))
}

/// Returns the content of an object apart from its identity.
fn content(object: &Object) -> String {
    let mut value = object.value().clone();
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    canonical::to_string(&value)
}

/// Returns the names of all releases of a namespace, in order.
async fn records_of_all(
    connection: &Connection,
    namespace: &str,
) -> Result<Vec<String>, RequestError> {
    let records = records(connection, namespace, None).await?;
    let mut names: Vec<String> = records.into_iter().map(|record| record.release).collect();
    names.sort();
    Ok(names)
}

/// Finds the revisions of a release, or of all releases, the newest last. Asks only for metadata.
async fn records(
    connection: &Connection,
    namespace: &str,
    name: Option<&str>,
) -> Result<Vec<Record>, RequestError> {
    let labels = match name {
        // No label can have this value, so no release has this name.
        Some(name) if !is_label_value(name) => return Ok(Vec::new()),
        Some(name) => format!("owner=helm,name={name}"),
        None => "owner=helm".to_owned(),
    };
    let mut all = Vec::new();
    for resource in [
        storage("Secret", "secrets"),
        storage("ConfigMap", "configmaps"),
    ] {
        let call = Call::get(resource.path(Some(namespace), None))
            .query("labelSelector", &labels)
            .accept(METADATA_LIST);
        let list = match connection.call(&call).await {
            Ok(list) => list,
            // Someone who has found the release among the Secrets need not be allowed to look further.
            Err(error) if error.is_forbidden() && !all.is_empty() => break,
            Err(error) => return Err(error),
        };
        let items = items(list);
        all.extend(items.iter().filter_map(|item| record(item, &resource)));
    }
    all.sort_by_key(|record: &Record| record.revision);
    Ok(all)
}

/// See <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>.
fn is_label_value(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= LABEL_LIMIT
        && bytes.iter().all(|byte| is_inner(*byte))
        && ends
            .into_iter()
            .all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
}

fn record(item: &Value, resource: &ResourceType) -> Option<Record> {
    let metadata = &item["metadata"];
    let label = |name: &str| metadata["labels"][name].as_str();
    Some(Record {
        id: ObjectId {
            group: String::new(),
            kind: resource.kind.clone(),
            namespace: metadata["namespace"].as_str().map(ToOwned::to_owned),
            name: metadata["name"].as_str()?.to_owned(),
        },
        resource: resource.clone(),
        release: label("name")?.to_owned(),
        revision: label("version")?.parse().ok()?,
        status: label("status")?.to_owned(),
    })
}

fn storage(kind: &str, plural: &str) -> ResourceType {
    ResourceType {
        group: String::new(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: true,
        watchable: true,
    }
}

/// The parts of Helm's record that are used here.
#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    manifest: String,
    #[serde(default)]
    chart: StoredChart,
}

#[derive(Default, Deserialize)]
struct StoredChart {
    #[serde(default)]
    metadata: ChartMetadata,
}

#[derive(Default, Deserialize)]
struct ChartMetadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
}

impl fmt::Display for ChartMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.name, self.version)
    }
}

/// Decodes Helm's record. In a Secret it is base64-encoded twice: once by Helm, once by Kubernetes.
fn decode(object: &Value, is_secret: bool) -> Result<Stored, String> {
    let text = object["data"]["release"]
        .as_str()
        .ok_or("its key `release` is missing")?;
    let base64 = |bytes: &[u8]| {
        let bytes = bytes.trim_ascii();
        STANDARD
            .decode(bytes)
            .map_err(|error| format!("no base64: {error}"))
    };
    let mut bytes = base64(text.as_bytes())?;
    if is_secret {
        bytes = base64(&bytes)?;
    }
    if bytes.starts_with(&GZIP) {
        let mut plain = Vec::new();
        GzDecoder::new(bytes.as_slice())
            .take(LIMIT + 1)
            .read_to_end(&mut plain)
            .map_err(|error| format!("not compressed as Helm does: {error}"))?;
        if plain.len() as u64 > LIMIT {
            return Err(format!("it unpacks to more than {} MiB", LIMIT >> 20));
        }
        bytes = plain;
    }
    // Without the content, which may be secret.
    serde_json::from_slice(&bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("no JSON as Helm writes it at line {line}, column {column}")
    })
}

#[cfg(test)]
mod tests;
