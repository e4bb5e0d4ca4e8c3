//! What Helm keeps of a release in the cluster: read to take over what it installed, and forgotten when somebody asks.
//!
//! Each revision is a Secret (or a `ConfigMap`, where Helm was told so) that says of itself by labels what it is. Its content
//! is JSON, compressed, in base64: `helm.sh/helm/v4/pkg/storage/driver`, which has been so since Helm 3.0.

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

use crate::{
    connection::Connection,
    discovery::ResourceType,
    objects::Preconditions,
    prepare::is_definition,
    request::{Call, RequestError},
};

/// The most that a release may be when it is unpacked: far more than a Secret can hold of anything but zeros.
const LIMIT: u64 = 64 << 20;
/// The first bytes of what is compressed (RFC 1952). The first releases of Helm 2 were not.
const GZIP: [u8; 3] = [0x1f, 0x8b, 0x08];

/// One revision of a release, as Helm keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct HelmRelease {
    /// Name.
    pub name: String,
    /// Namespace of the release, which is also that of its record.
    pub namespace: String,
    /// Counted from 1.
    pub revision: u64,
    /// `deployed`.
    pub status: String,
    /// Name and version of the chart: `web-1.2.3`.
    pub chart: String,
    /// The objects without hooks, as one stream of YAML. May hold what is secret.
    pub manifest: String,
    /// Whether an attempt to upgrade it came later, and failed.
    pub has_failed_since: bool,
}

impl fmt::Debug for HelmRelease {
    /// Without the manifest: it may hold Secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HelmRelease({}.v{})", self.name, self.revision)
    }
}

/// Why a release of Helm cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelmError {
    /// There is none of that name.
    #[error("Helm knows no release {name} in namespace {namespace}: {}", listed(.known))]
    Unknown {
        /// Which.
        name: String,
        /// Where.
        namespace: String,
        /// The releases that are there.
        known: Vec<String>,
    },
    /// Helm is at work on it, or was interrupted.
    #[error(
        "Helm has begun a change of the release {name} that has not ended ({status}, revision {revision}): wait for it, or end it \
         with `helm rollback`"
    )]
    Underway {
        /// Which.
        name: String,
        /// `pending-upgrade`.
        status: String,
        /// Its number.
        revision: u64,
    },
    /// None of its revisions is what the cluster holds.
    #[error(
        "no revision of the release {name} is deployed (the newest is {status}): install it with Helm, or without it"
    )]
    NotDeployed {
        /// Which.
        name: String,
        /// `failed`.
        status: String,
    },
    /// What is kept of it is not what Helm writes.
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
    /// Without the objects: there may be Secrets.
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
    /// Returns an object as Helm has applied it: with what it adds to the metadata of each.
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

/// A release of Helm beside what is rendered in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Takeover {
    /// What Helm has applied.
    pub applied: Arc<HelmManifest>,
    /// What the inventory is to begin with: of what is the same no hook is run, of what differs those of an upgrade.
    pub record: ReleaseRecord,
    /// Objects of the release that are not rendered. They stay as they are, and Helm's.
    pub left: Vec<ObjectId>,
    /// Whether every object is rendered as Helm has applied it. Definitions do not count: Helm keeps no record of those in
    /// a chart's `crds/`.
    pub is_same: bool,
}

/// Where Helm keeps a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    id: ObjectId,
    resource: ResourceType,
    release: String,
    revision: u64,
    status: String,
}

impl HelmRelease {
    /// Reads the revision of a release that is deployed.
    ///
    /// # Errors
    ///
    /// There is none of that name, none of its revisions is deployed, Helm is at work on it, or it cannot be read.
    pub async fn read(
        connection: &Connection,
        namespace: &str,
        name: &str,
    ) -> Result<Self, HelmError> {
        let records = records(connection, namespace, Some(name)).await?;
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
        let deployed = records
            .iter()
            .rev()
            .find(|record| record.status == "deployed");
        let Some(record) = deployed else {
            return Err(HelmError::NotDeployed {
                name: name.to_owned(),
                status: newest.status.clone(),
            });
        };
        let malformed = |detail: String| HelmError::Malformed {
            id: record.id.clone(),
            detail,
        };
        let found = connection.read(&record.resource, &record.id).await?;
        let found = found.ok_or_else(|| malformed("it was deleted meanwhile".to_owned()))?;
        let stored = decode(&found, record.resource.kind == "Secret").map_err(malformed)?;
        Ok(Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            revision: record.revision,
            status: record.status.clone(),
            chart: stored.chart.metadata.to_string(),
            manifest: stored.manifest,
            has_failed_since: newest.revision > record.revision,
        })
    }

    /// Compares what Helm has applied with what is rendered to take its place.
    ///
    /// # Errors
    ///
    /// What Helm keeps are no objects.
    pub fn compare(&self, rendered: &Rendered, seed: &Seed) -> Result<Takeover, HelmError> {
        let manifest = HelmManifest {
            release: self.name.clone(),
            namespace: self.namespace.clone(),
            objects: self.objects()?,
        };
        let theirs = &manifest.objects;
        let ours: BTreeMap<ObjectId, &Object> = rendered
            .objects()
            .iter()
            .map(|rendered| (self.placed(&rendered.object), &rendered.object))
            .collect();
        let left: Vec<ObjectId> = theirs
            .keys()
            .filter(|id| !ours.contains_key(id))
            .cloned()
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

    /// Reads the manifest.
    fn objects(&self) -> Result<BTreeMap<ObjectId, Object>, HelmError> {
        let mut options = serde_saphyr::Options::default();
        options.legacy_octal_numbers = true;
        options.duplicate_keys = serde_saphyr::DuplicateKeyPolicy::LastWins;
        let documents: Vec<Value> =
            serde_saphyr::from_multiple_with_options(&self.manifest, options)
                .map_err(|error| self.malformed(error.to_string()))?;
        let objects = documents.into_iter().filter(|value| !value.is_null());
        objects
            .map(|value| {
                let object =
                    Object::new(value).map_err(|error| self.malformed(error.to_string()))?;
                Ok((self.placed(&object), object))
            })
            .collect()
    }

    /// Returns an identity, with the release's namespace where there is none: what is rendered may name it, or not.
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

    /// Deletes what Helm keeps of all revisions of a release. Its objects stay, and Helm does not know them any more.
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

/// What an object is beside its identity.
fn content(object: &Object) -> String {
    let mut value = object.value().clone();
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    canonical::to_string(&value)
}

/// The names of all releases of a namespace, in order.
async fn records_of_all(
    connection: &Connection,
    namespace: &str,
) -> Result<Vec<String>, RequestError> {
    let records = records(connection, namespace, None).await?;
    let mut names: Vec<String> = records.into_iter().map(|record| record.release).collect();
    names.sort();
    Ok(names)
}

/// Finds the revisions of a release, or of all, the newest last. Only metadata is asked for.
async fn records(
    connection: &Connection,
    namespace: &str,
    name: Option<&str>,
) -> Result<Vec<Record>, RequestError> {
    let labels = match name {
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
            .accept("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
        let list = match connection.call(&call).await {
            Ok(list) => list,
            // Whoever has found it among the Secrets need not be allowed to look further.
            Err(error) if error.is_forbidden() && !all.is_empty() => break,
            Err(error) => return Err(error),
        };
        let items = list["items"].as_array();
        all.extend(
            items
                .into_iter()
                .flatten()
                .filter_map(|item| record(item, &resource)),
        );
    }
    all.sort_by_key(|record: &Record| record.revision);
    Ok(all)
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

/// The parts of Helm's record that are of use here.
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

/// Opens Helm's record. In a Secret it is in base64 twice: once by Helm, once by Kubernetes.
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
    serde_json::from_slice(&bytes).map_err(|error| format!("no JSON as Helm writes it: {error}"))
}

#[cfg(test)]
mod tests;
