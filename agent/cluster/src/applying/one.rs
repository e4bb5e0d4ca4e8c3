//! Writes or deletes a single object.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use pintle_core::{
    fields,
    inventory::Entry,
    names::{ADOPT_ANNOTATION, DESIRED_ANNOTATION},
    object::ObjectId,
    plan::{Action, Change},
    prune::{ProtectedKind, Wish},
};
use serde_json::Value;
use tokio::time::Instant;

use super::{Applier, Done, Step};
use crate::{
    awaiting,
    departure::Departure,
    discovery::ResourceType,
    fieldset::FieldSet,
    helm::HelmManifest,
    objects::{Mode, Preconditions, condition},
    ownership::{is_ours, may_force, other_owner},
    payload::Payload,
    planning::is_used,
    prepare::is_definition,
    rejection::WriteError,
    removal_hooks,
    request::{Refusal, RequestError},
};

/// The pause between two attempts at a request for an object whose definition was established a moment ago: the API server starts
/// to serve a kind shortly after it says so.
const SERVING_PAUSE: Duration = Duration::from_millis(100);
/// How long after a definition has changed the API server may still judge its resources by the previous schema.
const OLD_SCHEMA: Duration = Duration::from_secs(10);
/// How often something is retried because the object changed in the meantime.
const TRIES: usize = 5;

impl Applier<'_> {
    /// Writes an object.
    pub(super) async fn write<'c>(&self, change: &'c Change, entry: Option<&Entry>) -> Done<'c> {
        let mut done = Done {
            change,
            entry: None,
            result: None,
        };
        if self.cancel.is_cancelled() {
            return done;
        }
        let live = match self.send(change, entry).await {
            Ok(live) => live,
            Err(error) => {
                done.result = Some(Err(error));
                return done;
            }
        };
        done.entry = self.entry(change, &live);
        if let Some(tracker) = &self.tracker {
            tracker.feed(&self.release.application, &live);
        }
        self.progress.step(Step::Written {
            id: &change.id,
            action: change.action,
            live: &live,
        });
        done.result = Some(self.usable(change, live).await);
        done
    }

    /// Returns the inventory entry for an object that was just written.
    fn entry(&self, change: &Change, live: &Value) -> Option<Entry> {
        let desired = change.desired.as_ref()?;
        let ignored = self.release.drift.ignored(&change.id);
        Some(Entry {
            uid: live["metadata"]["uid"].as_str().map(ToOwned::to_owned),
            desired: Some(desired.digest(&self.release.seed)),
            stored: fields::stored_digest(live, &self.manager, &self.release.seed, &ignored),
            keep: self.prepared.keeps(&change.id),
            ..Entry::intended(&change.id, &change.version)
        })
    }

    async fn send(&self, change: &Change, entry: Option<&Entry>) -> Result<Value, WriteError> {
        let resource = self.resource(change)?;
        if change.action == Action::Replace {
            self.make_room(change, resource).await?;
        }
        let adopts = change
            .desired
            .as_ref()
            .is_some_and(|desired| desired.allows(ADOPT_ANNOTATION));
        let known = change
            .live
            .as_ref()
            .filter(|_| change.action == Action::Update);
        let force = match known {
            Some(live) => may_force(live, self.release, &change.id, adopts, entry)
                .await
                .is_ok(),
            None => false,
        };
        let mut known = match known.cloned() {
            Some(live) if force => self.take_over(change, resource, live).await?,
            known => known,
        };
        if let Some(live) = known.as_ref().filter(|_| force)
            && let Some(helm) = &self.release.from_helm
        {
            self.hand_over(helm, change, live, resource)
                .await
                .map_err(|error| self.error(error, change))?;
            if !self.release.drift.ignored(&change.id).is_nothing() {
                // The ownership of the ignored fields has changed.
                known = self.read(change, resource).await?;
            }
        }
        self.put(change, resource, (known, force), (adopts, entry))
            .await
    }

    /// Applies an object on top of what is known about it. A conflict means that something is not known yet: someone owns a
    /// field, which may be taken over if the object turns out to be the application's; or the object has changed since it was
    /// read.
    async fn put(
        &self,
        change: &Change,
        resource: &ResourceType,
        (mut known, mut force): (Option<Value>, bool),
        (adopts, entry): (bool, Option<&Entry>),
    ) -> Result<Value, WriteError> {
        let mut tries = 1;
        loop {
            let payload = self.payload(change, known.as_ref());
            let sent = if tries < TRIES {
                payload.bound()
            } else {
                // It keeps changing.
                payload.unbound().clone()
            };
            let mode = Mode {
                force,
                dry_run: false,
            };
            let put = self.put_payload(&change.id, resource, &sent, mode).await;
            let conflict = match put {
                Err(error)
                    if error.is_conflict() && tries < TRIES && (!force || payload.is_bound()) =>
                {
                    error
                }
                Err(error) if error.is_unsure() && known.is_none() => {
                    return self.made_after_all(change, resource, &sent, error).await;
                }
                result => return result.map_err(|error| self.error(error, change)),
            };
            known = self.read(change, resource).await?;
            if let Some(live) = &known {
                let allowed = may_force(live, self.release, &change.id, adopts, entry).await;
                allowed
                    .map_err(|refused| refused.unwrap_or_else(|| self.error(conflict, change)))?;
            }
            force = known.is_some();
            tries += 1;
            if let Some(live) = known.take() {
                known = self.take_over(change, resource, live).await?;
            }
        }
    }

    /// Checks whether an object was created by an attempt whose response was lost, although the next attempt was refused.
    ///
    /// If that cannot be determined, the error is not a clear refusal, so that the inventory keeps listing the object.
    async fn made_after_all(
        &self,
        change: &Change,
        resource: &ResourceType,
        sent: &Value,
        refused: RequestError,
    ) -> Result<Value, WriteError> {
        let desired =
            |object: &Value| object["metadata"]["annotations"][DESIRED_ANNOTATION].clone();
        match self.connection.read(resource, &change.id).await {
            Ok(Some(live))
                if desired(&live) == desired(sent)
                    && fields::owned_by(&live, &self.manager).is_some() =>
            {
                Ok(live)
            }
            Ok(_) => Err(self.error(refused, change)),
            Err(_) => Err(WriteError::Request(refused)),
        }
    }

    /// Makes the fields that another application has applied the release's own, so that none of them is left behind.
    async fn take_over(
        &self,
        change: &Change,
        resource: &ResourceType,
        live: Value,
    ) -> Result<Option<Value>, WriteError> {
        if other_owner(&live, self.release).is_none() {
            return Ok(Some(live));
        }
        let is_other = |other: &str| other.starts_with("pintle/") && other != self.manager;
        let Some(fields) = fields::handed_over(&live, is_other, &self.manager, Value::clone) else {
            return Ok(Some(live));
        };
        let handed = self
            .connection
            .set_managed_fields(resource, &change.id, &live, &fields, &self.manager)
            .await;
        match handed {
            // The object changed in the meantime, or is gone: what is left behind is dealt with next time.
            Err(error) if error.is_conflict() || error.is_not_found() => {}
            result => result.map_err(|error| self.error(error, change))?,
        }
        self.read(change, resource).await
    }

    fn payload(&self, change: &Change, live: Option<&Value>) -> Payload {
        let desired = change
            .desired
            .as_ref()
            .expect("whatever is written has a desired object");
        let digest = desired.digest(&self.release.seed);
        match live {
            Some(live) => Payload::onto(desired, digest, live, self.release),
            None => Payload::new(desired, digest),
        }
    }

    async fn read(
        &self,
        change: &Change,
        resource: &ResourceType,
    ) -> Result<Option<Value>, WriteError> {
        let live = self.connection.read(resource, &change.id).await;
        live.map_err(|error| self.error(error, change))
    }

    /// Makes the fields that Helm has applied the application's own. Whatever else Helm owns are defaults of the server: from
    /// then on these have no owner and stay as they are.
    async fn hand_over(
        &self,
        helm: &HelmManifest,
        change: &Change,
        live: &Value,
        resource: &ResourceType,
    ) -> Result<(), RequestError> {
        let mut now = live.clone();
        let mut tries = 0;
        let applied = helm.applied(&change.id).unwrap_or_default();
        loop {
            let named = FieldSet::of_desired(&applied, &FieldSet::of_all_managers(&now));
            let taken = |theirs: &Value| named.restrict(theirs);
            let Some(fields) = fields::handed_over(&now, fields::is_helm, &self.manager, taken)
            else {
                return Ok(());
            };
            let handed = self
                .connection
                .set_managed_fields(resource, &change.id, &now, &fields, &self.manager)
                .await;
            tries += 1;
            match handed {
                // A controller has written it in the meantime.
                Err(error) if error.is_conflict() && tries < TRIES => {
                    match self.connection.read(resource, &change.id).await? {
                        Some(newer) => now = newer,
                        None => return Ok(()),
                    }
                }
                result => return result,
            }
        }
    }

    /// Applies a payload, and waits for a kind that is about to be served.
    pub(super) async fn put_payload(
        &self,
        id: &ObjectId,
        resource: &ResourceType,
        payload: &Value,
        mode: Mode,
    ) -> Result<Value, RequestError> {
        let send = || {
            self.connection
                .apply_object(resource, id, payload, &self.manager, mode)
        };
        let applied = self.when_served(resource, send).await?;
        Ok(applied.live)
    }

    /// Sends a request, and waits for a kind that is about to be served or whose schema is about to change.
    async fn when_served<T, F>(
        &self,
        resource: &ResourceType,
        send: impl Fn() -> F,
    ) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let started = Instant::now();
        loop {
            let error = match send().await {
                Err(error) if !self.cancel.is_cancelled() => error,
                result => return result,
            };
            let established = self.established_at(&resource.group, &resource.kind);
            let is_passing = established.is_some_and(|established| {
                if error.is_unserved() {
                    started.elapsed() <= self.release.timeout.get()
                } else {
                    // A definition that existed before stays established throughout.
                    established.elapsed() <= OLD_SCHEMA
                        && error.refusal().is_some_and(Refusal::is_against_schema)
                }
            });
            if !is_passing {
                return Err(error);
            }
            tokio::time::sleep(SERVING_PAUSE).await;
        }
    }

    /// Returns whether the kind of an object came or changed with this plan.
    pub(super) fn is_of_new_kind(&self, id: &ObjectId) -> bool {
        self.established_at(&id.group, &id.kind).is_some()
    }

    /// Returns when the definition of a kind was established, if this plan has written it.
    fn established_at(&self, group: &str, kind: &str) -> Option<Instant> {
        let kind = (group.to_owned(), kind.to_owned());
        self.established().get(&kind).copied()
    }

    fn established(&self) -> MutexGuard<'_, BTreeMap<(String, String), Instant>> {
        // No code panics while it holds the lock.
        self.established
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes the object that is to be made again, and waits until it is gone.
    async fn make_room(&self, change: &Change, resource: &ResourceType) -> Result<(), WriteError> {
        let Some(live) = &change.live else {
            return Ok(());
        };
        let preconditions = Preconditions::of_any_state(live);
        let (connection, id) = (self.connection, &change.id);
        let deleted = if makes_pods(id) {
            // No part of it may run alongside its successor.
            connection
                .delete_with_dependents(resource, id, &preconditions)
                .await
        } else {
            connection.delete_object(resource, id, &preconditions).await
        };
        if !deleted.map_err(|error| self.error(error, change))? {
            return Ok(());
        }
        let (departure, uid) = (Departure::Renewal, preconditions.uid.as_deref());
        self.gone(departure, resource, id, uid).await
    }

    /// Waits until an object that was deleted is gone.
    pub(super) async fn gone(
        &self,
        departure: Departure,
        resource: &ResourceType,
        id: &ObjectId,
        uid: Option<&str>,
    ) -> Result<(), WriteError> {
        self.progress.step(Step::Waiting {
            id,
            what: "to be gone",
        });
        let limit = match departure {
            // This wait is stopped when something newer comes.
            Departure::Removal => self.release.hook_timeout,
            Departure::Renewal | Departure::AfterHook => self.release.timeout,
        };
        let limit = limit.get();
        let gone = awaiting::gone(self.own, self.discovery, resource, id, limit, uid).await;
        gone.map_err(|held| WriteError::NotGone {
            departure,
            finalizers: held.finalizers,
            problem: held.problem,
        })
    }

    /// Waits until an object is usable by what needs it.
    async fn usable(&self, change: &Change, live: Value) -> Result<(), WriteError> {
        if change.id.is("", "Namespace") && !live["metadata"]["deletionTimestamp"].is_null() {
            return Err(WriteError::NamespaceTerminating(change.id.name.clone()));
        }
        if is_definition(&change.id) {
            let resource = self.resource(change)?;
            return self.establish(&change.id, resource, live).await;
        }
        Ok(())
    }

    /// Waits until a definition is established, and makes its kinds known.
    /// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>
    pub(super) async fn establish(
        &self,
        id: &ObjectId,
        resource: &ResourceType,
        live: Value,
    ) -> Result<(), WriteError> {
        let established = if condition(&live, "Established").is_some_and(|c| c["status"] == "True")
        {
            live
        } else {
            self.progress.step(Step::Waiting {
                id,
                what: "to be established",
            });
            let mut reason = "the API server has not answered yet".to_owned();
            let limit = self.release.timeout.get();
            let found = awaiting::until(self.own, self.discovery, resource, id, limit, |live| {
                let live = live?;
                if condition(live, "Established").is_some_and(|c| c["status"] == "True") {
                    return Some(live.clone());
                }
                let why =
                    condition(live, "NamesAccepted").or_else(|| condition(live, "Established"));
                if let Some(message) = why.and_then(|condition| condition["message"].as_str()) {
                    message.clone_into(&mut reason);
                }
                None
            });
            found.await.ok_or(WriteError::NotEstablished(reason))?
        };
        self.discovery.learn(&established);
        if let (Some(group), Some(kind)) = (
            established["spec"]["group"].as_str(),
            established["spec"]["names"]["kind"].as_str(),
        ) {
            let new = (group.to_owned(), kind.to_owned());
            self.established().insert(new, Instant::now());
            // For this application or another one that had objects of the kind before.
            if let Some(tracker) = &self.tracker {
                tracker.note_served(group, kind);
            }
        }
        Ok(())
    }

    /// Deletes an object that left the source, if it still belongs to the application.
    pub(super) async fn delete<'c>(
        &self,
        change: &'c Change,
        entry: Option<&Entry>,
        going: &BTreeMap<&ObjectId, &Change>,
    ) -> Done<'c> {
        let result = if self.cancel.is_cancelled() {
            None
        } else {
            Some(self.remove(change, entry, going).await)
        };
        if let Some(Ok(())) = &result {
            self.progress.step(Step::Deleted { id: &change.id });
        }
        Done {
            change,
            entry: None,
            result,
        }
    }

    async fn remove(
        &self,
        change: &Change,
        entry: Option<&Entry>,
        going: &BTreeMap<&ObjectId, &Change>,
    ) -> Result<(), WriteError> {
        // Planning found no object: only the intention is removed.
        let Some(live) = &change.live else {
            return Ok(());
        };
        let resource = self.resource_to_delete(change)?;
        if is_definition(&change.id) {
            self.check_unused(change, live, going).await?;
        }
        let uid = entry.and_then(|entry| entry.uid.as_deref());
        let mut preconditions = Preconditions::of(live);
        for _ in 0..TRIES {
            let send = || {
                self.connection
                    .delete_object(&resource, &change.id, &preconditions)
            };
            match self.when_served(&resource, send).await {
                Ok(_) => return Ok(()),
                // It changed since it was examined: it may now belong to someone else, or be another object.
                Err(error) if error.is_conflict() => {
                    let now = self.connection.read(&resource, &change.id).await;
                    match now.map_err(|error| self.error(error, change))? {
                        Some(now) if is_ours(&now, self.release, uid) => {
                            if is_definition(&change.id) {
                                // The version that was examined may have been a different one.
                                self.check_unused(change, &now, going).await?;
                            }
                            preconditions = Preconditions::of(&now);
                        }
                        _ => return Ok(()),
                    }
                }
                Err(error) => return Err(self.error(error, change)),
            }
        }
        // It keeps changing; it has to be enough that it is the same object.
        preconditions.resource_version = None;
        let deleted = self
            .connection
            .delete_object(&resource, &change.id, &preconditions)
            .await;
        deleted
            .map(|_| ())
            .map_err(|error| self.error(error, change))
    }

    /// Checks once more whether a definition has objects: some may have appeared since it was planned.
    async fn check_unused(
        &self,
        change: &Change,
        live: &Value,
        going: &BTreeMap<&ObjectId, &Change>,
    ) -> Result<(), WriteError> {
        let allowed = self
            .release
            .prune
            .allow_kinds
            .contains(&ProtectedKind::CustomResourceDefinition);
        if allowed || Wish::of(live) == Wish::Allow {
            return Ok(());
        }
        let goes = |id: &ObjectId| {
            going.contains_key(id) || removal_hooks::goes_last(self.release, self.prepared, id)
        };
        let is_used = is_used(self.connection, live, &goes).await;
        if is_used.map_err(|error| self.error(error, change))? {
            return Err(WriteError::StillUsed);
        }
        Ok(())
    }

    /// Returns the resource type with which an object is written.
    fn resource(&self, change: &Change) -> Result<&ResourceType, WriteError> {
        let (group, kind) = (&change.id.group, &change.id.kind);
        Ok(self.kinds.find(group, &change.version, kind)?)
    }

    /// Returns the resource type with which an object is deleted. Planning may have found it at a version other than the one it
    /// was applied at, and writes since then may have changed the versions at which its kind is served.
    pub(super) fn resource_to_delete(&self, change: &Change) -> Result<ResourceType, WriteError> {
        let (group, kind) = (&change.id.group, &change.id.kind);
        let known = self.discovery.known();
        Ok(known.find_at_any(group, &change.version, kind)?.clone())
    }

    fn error(&self, error: RequestError, change: &Change) -> WriteError {
        self.understood(error, &change.id, &change.version)
    }

    /// Interprets the error of a request for an object.
    pub(super) fn understood(
        &self,
        error: RequestError,
        id: &ObjectId,
        version: &str,
    ) -> WriteError {
        let refusal = error.refusal();
        let is_early = refusal.is_some_and(Refusal::is_against_schema) && self.is_of_new_kind(id);
        let error = WriteError::of(error, id, version, self.release.account.as_ref());
        if is_early {
            WriteError::Early(Box::new(error))
        } else {
            error
        }
    }
}

/// Returns whether an object is of a built-in kind that has pods, which the server collects when the object is deleted.
fn makes_pods(id: &ObjectId) -> bool {
    matches!(id.group.as_str(), "apps" | "batch") || id.is("", "ReplicationController")
}
