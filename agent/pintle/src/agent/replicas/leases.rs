//! The Leases by which replicas know of each other, and the one that records which replica holds which shards.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta, PostParams, Preconditions},
    runtime::watcher,
};
use pintle_cluster::Connection;
use pintle_core::{
    digest::Digest,
    names::AGENT_MANAGER,
    sharding::{
        ReplicaId, Table, TableError,
        replica::{Event, Stored},
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::versions;
use crate::agent::claims::{Answer, Question};

/// The annotation on the shared Lease that records which replica holds which shard.
const SHARDS: &str = "pintle.dev/shards";
/// The annotation on a replica's Lease with the name of the shared one.
const REPLICA_OF: &str = "pintle.dev/replica-of";
/// The annotation on a replica's Lease that identifies the process which renews it.
const PROCESS: &str = "pintle.dev/process";
/// The annotation on a replica's Lease with the pushes that its webhooks received.
const PUSHES: &str = "pintle.dev/pushes";
/// The annotation on a replica's Lease with its questions to the others.
const QUESTIONS: &str = "pintle.dev/questions";
/// The annotation on a replica's Lease with its answers to the others.
const ANSWERS: &str = "pintle.dev/answers";

/// Why a Lease cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseError {
    #[error(
        "the Lease {lease} is held by {holder}: it is this replica's own, so another took its place, and this one stops"
    )]
    Stolen { lease: String, holder: String },
    #[error("the Lease {lease} cannot be used")]
    Table {
        lease: String,
        #[source]
        error: TableError,
    },
    #[error(
        "the API server gave the Lease {lease} the resource version `{version}`: expected a number"
    )]
    Version { lease: String, version: String },
    #[error(
        "the API server wrote the Lease {lease} as version {written} after version {before}, as if its state was restored from a \
         backup: what this replica knows is of no use, and it stops to begin anew"
    )]
    Restored {
        lease: String,
        before: u64,
        written: u64,
    },
    #[error("cannot {verb} the Lease {lease}")]
    Request {
        verb: &'static str,
        lease: String,
        #[source]
        error: kube::Error,
    },
    #[error("the API server did not answer within {0:?}")]
    Timeout(Duration),
}

impl LeaseError {
    /// Returns whether there is no point in continuing.
    pub(super) const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Stolen { .. } | Self::Table { .. } | Self::Version { .. } | Self::Restored { .. }
        )
    }

    /// Returns whether the API server rejects what it was asked for. A conflict with another writer, or too many requests, is not
    /// a rejection.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Request { error, .. } => code(error).is_some_and(is_refused),
            _ => false,
        }
    }
}

/// Returns whether the API server does not let the Leases be watched.
pub(super) fn is_refused_watch(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => code(error),
        watcher::Error::NoResourceVersion => None,
    };
    code.is_some_and(is_refused)
}

/// Pushes to repositories, with numbers for those who watch the Lease.
pub(super) type Pushes = VecDeque<(u64, Digest)>;

/// Numbered questions to all other replicas.
pub(super) type Questions = Vec<(u64, Question)>;

/// Answers, each with the replica that asked and the number of the question.
pub(super) type Answers = Vec<(ReplicaId, u64, Answer)>;

/// What a replica's Lease says to the others.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    pub(super) pushes: Pushes,
    pub(super) questions: Questions,
    pub(super) answers: Answers,
}

impl Notes {
    fn of(lease: &Lease) -> Self {
        Self {
            pushes: read(lease, PUSHES),
            questions: read(lease, QUESTIONS),
            answers: read(lease, ANSWERS),
        }
    }

    /// Returns the annotations for the Lease. Those that would be empty are left out.
    pub(super) fn annotations(&self) -> impl Iterator<Item = (&'static str, String)> {
        let pushes = (!self.pushes.is_empty()).then(|| (PUSHES, text(&self.pushes)));
        let questions = (!self.questions.is_empty()).then(|| (QUESTIONS, text(&self.questions)));
        let answers = (!self.answers.is_empty()).then(|| (ANSWERS, text(&self.answers)));
        [pushes, questions, answers].into_iter().flatten()
    }
}

/// The contents of a Lease.
#[derive(Debug)]
pub(super) enum Seen {
    /// Which replica holds which shards, and the event for an agent from before there were shards that holds the shared Lease as
    /// a whole.
    Table(Stored, Option<Event>),
    /// A replica is alive.
    Member {
        event: Event,
        replica: ReplicaId,
        version: String,
        notes: Notes,
    },
}

/// The Leases of one fleet of replicas.
#[derive(Clone)]
pub(super) struct Leases {
    api: Api<Lease>,
    fleet: String,
    me: ReplicaId,
    process: String,
    duration: Duration,
}

impl Leases {
    pub(super) fn new(
        connection: &Connection,
        namespace: &str,
        fleet: &str,
        me: ReplicaId,
        duration: Duration,
    ) -> Self {
        Self {
            api: Api::namespaced(connection.client().clone(), namespace),
            fleet: fleet.to_owned(),
            me,
            process: format!("{:016x}", rand::random::<u64>()),
            duration,
        }
    }

    /// Returns the name of this replica.
    pub(super) const fn name(&self) -> &ReplicaId {
        &self.me
    }

    pub(super) const fn api(&self) -> &Api<Lease> {
        &self.api
    }

    fn member(&self, replica: &ReplicaId) -> String {
        format!("{}.{replica}", self.fleet)
    }

    /// Renews the own Lease, or creates it. `known` is the result of the last renewal.
    pub(super) async fn renew(
        &self,
        known: Option<Lease>,
        notes: &Notes,
    ) -> Result<Lease, LeaseError> {
        let before = known.as_ref().map(versions::of).transpose()?;
        let renewed = self.write_own(known, notes).await?;
        versions::check_written(&renewed, before)?;
        Ok(renewed)
    }

    async fn write_own(&self, known: Option<Lease>, notes: &Notes) -> Result<Lease, LeaseError> {
        let name = self.member(&self.me);
        let known = match known {
            Some(known) => Some(known),
            None => self.get(&name).await?,
        };
        let Some(known) = known else {
            return self.create(&self.own(&name, None, notes)).await;
        };
        match self.replace(&self.own(&name, Some(&known), notes)).await {
            Err(LeaseError::Request { error, .. }) if code(&error) == Some(404) => {
                self.create(&self.own(&name, None, notes)).await
            }
            Err(LeaseError::Request { error, .. }) if code(&error) == Some(409) => {
                let Some(found) = self.get(&name).await? else {
                    return self.create(&self.own(&name, None, notes)).await;
                };
                self.check_own(&name, &found)?;
                // This was our own write, whose answer was lost.
                self.replace(&self.own(&name, Some(&found), notes)).await
            }
            result => result,
        }
    }

    fn check_own(&self, name: &str, found: &Lease) -> Result<(), LeaseError> {
        let holder = holder(found).unwrap_or_default();
        let is_own =
            holder == self.me.as_str() && annotation(found, PROCESS) == Some(self.process.as_str());
        if is_own {
            return Ok(());
        }
        Err(LeaseError::Stolen {
            lease: name.to_owned(),
            holder: match annotation(found, PROCESS) {
                Some(process) if holder == self.me.as_str() => {
                    format!("another process, {process}, of the same name")
                }
                _ => format!("`{holder}`"),
            },
        })
    }

    fn own(&self, name: &str, known: Option<&Lease>, notes: &Notes) -> Lease {
        let now = MicroTime(Timestamp::now());
        let acquired = known.and_then(|known| known.spec.as_ref()?.acquire_time.clone());
        let annotations = [
            (REPLICA_OF, self.fleet.clone()),
            (PROCESS, self.process.clone()),
        ];
        Lease {
            metadata: Self::metadata(
                name,
                known.and_then(|known| known.metadata.resource_version.clone()),
                annotations.into_iter().chain(notes.annotations()),
            ),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.me.to_string()),
                lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
                acquire_time: acquired.or_else(|| Some(now.clone())),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }

    fn metadata<'a>(
        name: &str,
        version: Option<String>,
        annotations: impl IntoIterator<Item = (&'a str, String)>,
    ) -> ObjectMeta {
        let labels = [
            ("app.kubernetes.io/name", "pintle"),
            ("app.kubernetes.io/component", "agent"),
            ("app.kubernetes.io/part-of", "pintle"),
        ];
        ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: version,
            labels: Some(
                labels
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
            ),
            annotations: Some(
                annotations
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            ),
            ..ObjectMeta::default()
        }
    }

    /// Reads which replica holds which shards.
    pub(super) async fn read_table(&self) -> Result<(Stored, Option<Event>), LeaseError> {
        match self.get(&self.fleet).await? {
            Some(lease) => self.table(&lease),
            None => Ok((nothing(0), None)),
        }
    }

    /// Reads the Leases of replicas that seem to be dead, and returns what differs from their last known state. That state is
    /// `None` for a Lease that is gone.
    pub(super) async fn news(
        &self,
        seem_dead: &BTreeMap<ReplicaId, Option<String>>,
    ) -> Result<Vec<Event>, LeaseError> {
        let mut news = Vec::new();
        for (replica, known) in seem_dead {
            let event = match self.get(&self.member(replica)).await? {
                Some(lease) => renewal(&lease, replica.clone()),
                None => Event::MemberGone(replica.clone()),
            };
            let found = match &event {
                Event::Member { renewal, .. } => Some(renewal),
                _ => None,
            };
            if found != known.as_ref() {
                news.push(event);
            }
        }
        Ok(news)
    }

    /// Writes which replica holds which shards, if that has not changed in the meantime.
    pub(super) async fn write_table(
        &self,
        table: &Table,
        replaces: Option<u64>,
    ) -> Result<Stored, LeaseError> {
        let version = replaces.map(|version| version.to_string());
        let lease = Lease {
            metadata: Self::metadata(&self.fleet, version, [(SHARDS, table.text())]),
            // An update that changes nothing keeps the resource version, by which others notice that there was one.
            spec: Some(LeaseSpec {
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            }),
        };
        let written = match replaces {
            Some(_) => self.replace(&lease).await?,
            None => self.create(&lease).await?,
        };
        Ok(self.table(&written)?.0)
    }

    /// Deletes the Lease of a replica that has been dead for long, if it is still as it was seen.
    pub(super) async fn forget(
        &self,
        replica: &ReplicaId,
        version: String,
    ) -> Result<(), LeaseError> {
        let seen = Preconditions {
            resource_version: Some(version),
            uid: None,
        };
        self.delete(&self.member(replica), seen).await
    }

    /// Deletes the own Lease.
    pub(super) async fn leave(&self, known: &Lease) -> Result<(), LeaseError> {
        let own = Preconditions {
            resource_version: None,
            uid: known.metadata.uid.clone(),
        };
        self.delete(&self.member(&self.me), own).await
    }

    /// Parses a Lease. Returns `None` if it does not belong to the fleet.
    pub(super) fn read(&self, lease: &Lease) -> Result<Option<Seen>, LeaseError> {
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        if name == self.fleet {
            let (stored, legacy) = self.table(lease)?;
            return Ok(Some(Seen::Table(stored, legacy)));
        }
        let Some(replica) = self.replica(lease) else {
            return Ok(None);
        };
        let event = renewal(lease, replica.clone());
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        Ok(Some(Seen::Member {
            event,
            replica,
            version,
            notes: Notes::of(lease),
        }))
    }

    /// Returns the replica that a Lease belongs to.
    pub(super) fn replica(&self, lease: &Lease) -> Option<ReplicaId> {
        let name = lease.metadata.name.as_deref()?;
        let replica = name.strip_prefix(&self.fleet)?.strip_prefix('.')?;
        let is_of_fleet = annotation(lease, REPLICA_OF) == Some(self.fleet.as_str());
        is_of_fleet.then(|| ReplicaId::new(replica))
    }

    /// Returns the state of the shared Lease after its deletion.
    pub(super) fn deleted_table(&self, lease: &Lease) -> Result<Option<Stored>, LeaseError> {
        if lease.metadata.name.as_deref() != Some(self.fleet.as_str()) {
            return Ok(None);
        }
        Ok(Some(nothing(versions::of(lease)?)))
    }

    fn table(&self, lease: &Lease) -> Result<(Stored, Option<Event>), LeaseError> {
        let version = versions::of(lease)?;
        // An agent from before there were shards holds the Lease itself, and with it everything.
        if let Some(holder) = holder(lease) {
            let replica = ReplicaId::new(holder);
            let stored = Stored {
                table: Table::all_held_by(replica.clone()),
                version,
                exists: true,
            };
            return Ok((stored, Some(renewal(lease, replica))));
        }
        let table = match annotation(lease, SHARDS) {
            Some(text) => Table::parse(text).map_err(|error| LeaseError::Table {
                lease: self.fleet.clone(),
                error,
            })?,
            None => Table::default(),
        };
        let stored = Stored {
            table,
            version,
            exists: true,
        };
        Ok((stored, None))
    }

    async fn get(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        self.ask("read", name, self.api.get_opt(name)).await
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        let params = params();
        self.ask("make", name, self.api.create(&params, lease))
            .await
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        let params = params();
        self.ask("write", name, self.api.replace(name, &params, lease))
            .await
    }

    async fn delete(&self, name: &str, preconditions: Preconditions) -> Result<(), LeaseError> {
        let params = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        match self
            .ask("delete", name, self.api.delete(name, &params))
            .await
        {
            Ok(_) => Ok(()),
            // It is gone, or belongs to somebody else by now.
            Err(LeaseError::Request { error, .. }) if matches!(code(&error), Some(404 | 409)) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Limits a request's time: one that takes longer than a third of the lease comes too late.
    async fn ask<T>(
        &self,
        verb: &'static str,
        name: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, LeaseError> {
        let limit = self.duration / 3;
        match tokio::time::timeout(limit, request).await {
            Ok(result) => result.map_err(|error| LeaseError::Request {
                verb,
                lease: name.to_owned(),
                error,
            }),
            Err(_) => Err(LeaseError::Timeout(limit)),
        }
    }
}

fn nothing(version: u64) -> Stored {
    Stored {
        table: Table::default(),
        version,
        exists: false,
    }
}

fn renewal(lease: &Lease, replica: ReplicaId) -> Event {
    let spec = lease.spec.as_ref();
    let renewed = spec.and_then(|spec| spec.renew_time.as_ref());
    let duration = spec.and_then(|spec| spec.lease_duration_seconds);
    Event::Member {
        replica,
        renewal: format!("{renewed:?}"),
        duration: u64::try_from(duration.unwrap_or_default()).unwrap_or_default() * 1000,
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref();
    holder.filter(|holder| !holder.is_empty())
}

fn annotation<'a>(lease: &'a Lease, name: &str) -> Option<&'a str> {
    let annotations = lease.metadata.annotations.as_ref()?;
    annotations.get(name).map(String::as_str)
}

/// Parses an annotation. Returns the default if it is not there, or was written by an agent of another version.
fn read<T: DeserializeOwned + Default>(lease: &Lease, name: &str) -> T {
    annotation(lease, name)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

pub(super) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and digests are plain data")
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(AGENT_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// If a watch's resource version is too old, the watch is restarted.
fn is_refused(code: u16) -> bool {
    matches!(code, 400..500) && !matches!(code, 404 | 408..=410 | 429)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_watch_is_refused_by_what_no_other_try_mends() {
        let status = |code| Status::failure("no", "").with_code(code).boxed();
        for (code, expected) in [
            (401, true),
            (403, true),
            (410, false),
            (429, false),
            (500, false),
        ] {
            let started = watcher::Error::WatchStartFailed(kube::Error::Api(status(code)));
            assert_eq!(is_refused_watch(&started), expected, "{code}");
            let during = watcher::Error::WatchError(status(code));
            assert_eq!(is_refused_watch(&during), expected, "{code}");
        }
        assert!(!is_refused_watch(&watcher::Error::NoResourceVersion));
    }
}
