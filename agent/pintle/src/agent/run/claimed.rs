//! What a run claims. Objects that move to its application must not be deleted in the meantime.

use std::collections::BTreeSet;

use pintle_cluster::{PreparedObject, Release, ServiceAccount};
use pintle_core::{
    inventory::Inventory, machine::Outcome, names::ApplicationName, object::ObjectId,
    rendered::Rendered,
};

use super::converge::{Ready, Run};

impl Ready {
    fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.prepared.objects().iter().map(PreparedObject::id)
    }
}

impl Run {
    /// Claims the objects that were made ready. If they wait for others, they may wait for ever.
    pub(super) fn claim(&mut self, ready: &Ready, waits: bool) {
        if waits {
            // Barred before they are claimed, so that nobody finds the claims in between.
            let inventory = self.before.recorded().unwrap_or_default();
            let (name, contested) = (&ready.release.application, &self.contested);
            self.bar(
                &ready.release,
                unproven(ready.ids(), name, &inventory, contested),
            );
        }
        let (name, revision) = (&ready.release.application, &ready.revision.commit);
        self.found.has_left |= self.shared.claims.rendered(name, revision, ready.ids());
    }

    /// Gives up claims when a rollout ends before everything was written. The API server has not refused the objects that the
    /// rollout did not reach: a tenant who makes sure that no rollout ever reaches an object could otherwise keep alive for ever
    /// what another tenant deletes.
    pub(super) fn claim_no_more(&self, ready: &Ready, inventory: &Inventory, outcome: Outcome) {
        // A repair is of an earlier revision.
        if !self.is_rollout() {
            return;
        }
        let name = &ready.release.application;
        let unproven = unproven(ready.ids(), name, inventory, &self.contested);
        self.prove(ready, inventory, &unproven);
        let is_superseded = outcome == Outcome::Cancelled && !self.is_suspended();
        // The rollout that supersedes this one continues where it was.
        if is_superseded && !self.shared.claims.supersede(name) {
            return;
        }
        self.bar(&ready.release, unproven);
    }

    /// Records what the run has reached, which an earlier run may not have, or was refused.
    fn prove(&self, ready: &Ready, inventory: &Inventory, unproven: &[&ObjectId]) {
        let (claims, name) = (&self.shared.claims, &ready.release.application);
        let before = self.before.recorded().unwrap_or_default();
        let is_proven =
            |id: &&ObjectId| self.contested.contains(*id) || is_written(id, &before, inventory);
        claims.prove(name, ready.ids().filter(is_proven));
        let unproven: BTreeSet<&ObjectId> = unproven.iter().copied().collect();
        claims.reach(name, ready.ids().filter(|id| !unproven.contains(id)));
    }

    fn bar(&self, release: &Release, unproven: Vec<&ObjectId>) {
        if self.is_doubted(release) {
            let name = &release.application;
            self.shared.claims.bar(name, unproven.into_iter());
        }
    }

    /// Returns whether an application must first be seen to have the right to write what it renders into other namespaces.
    fn is_doubted(&self, release: &Release) -> bool {
        // In another cluster, only applications that reach it by the same Secret have claims.
        let is_remote = self.before.cluster.is_some();
        let (account, name) = (release.account.as_ref(), &release.application);
        !is_remote && !is_trusted(account, name, &self.shared.namespace)
    }

    /// Claims the objects of a render that cannot be made ready, for example because another application has to bring a kind
    /// first. Objects that move to this application must not be deleted in the meantime. This way nobody waits for the render in
    /// vain either, least of all the application that brings the kind.
    pub(super) async fn claim_unfit(
        &mut self,
        release: &Release,
        rendered: &Rendered,
        revision: &str,
    ) {
        // A repair is of an earlier revision.
        if !self.is_rollout() {
            return;
        }
        // Without the kinds of the cluster, the namespaces are unknown. The next run asks for them again.
        if let Ok(mut ids) = self.shared.cluster.identities(rendered, release).await {
            let (claims, name) = (&self.shared.claims, &release.application);
            if self.is_doubted(release) {
                let inventory = self.before.recorded().unwrap_or_default();
                // A claim from an earlier render could be made ready, and the API server has not refused it.
                ids.retain(|id| is_its_own(id, name, &inventory) || claims.has(name, id));
            }
            self.found.has_left |= claims.rendered(name, revision, ids.iter());
        }
    }
}

/// Returns whether an application uses an account that only the operator of the agent can give it. Such an application may claim
/// everything that it renders.
fn is_trusted(account: Option<&ServiceAccount>, name: &ApplicationName, agent: &str) -> bool {
    name.namespace == agent || account.is_some_and(|account| account.namespace != name.namespace)
}

/// Returns whether an object is an application's own, as far as that is known before the API server was asked whether the
/// application's account may write it. A render that cannot be made ready never gets as far as that, and could otherwise keep
/// alive for ever what another tenant deletes.
fn is_its_own(id: &ObjectId, name: &ApplicationName, inventory: &Inventory) -> bool {
    // An object that is only intended was listed before anybody was asked.
    let has = || inventory.get(id).is_some_and(|entry| entry.uid.is_some());
    // Only the application's own namespace counts. The one that the spec names may be anybody's.
    id.namespace.as_ref() == Some(&name.namespace) || has()
}

/// Returns whether an object was written since an inventory was recorded. A write from long ago says nothing about current
/// rights.
fn is_written(id: &ObjectId, before: &Inventory, now: &Inventory) -> bool {
    let written = |inventory: &Inventory| {
        let entry = inventory.get(id)?;
        Some((entry.uid.clone()?, entry.desired?))
    };
    let found = written(now);
    found.is_some() && found != written(before)
}

/// Returns the objects that an application has not written, and may have no right to. If some objects of a namespace were refused
/// because other applications have them, the right is there: the API server checks rights first. Such objects are tried again
/// when the others let go of them.
fn unproven<'a>(
    objects: impl Iterator<Item = &'a ObjectId>,
    name: &ApplicationName,
    inventory: &Inventory,
    contested: &BTreeSet<ObjectId>,
) -> Vec<&'a ObjectId> {
    let objects: Vec<&ObjectId> = objects.collect();
    // A hook is refused before the API server is asked.
    let refused = objects.iter().filter(|id| contested.contains(**id));
    let namespaces = refused.filter_map(|id| id.namespace.as_ref());
    let namespaces: BTreeSet<&String> = namespaces.collect();
    let is_reached = |id: &ObjectId| {
        let namespace = id.namespace.as_ref();
        contested.contains(id) || namespace.is_some_and(|one| namespaces.contains(one))
    };
    let is_unproven = |id: &ObjectId| !is_its_own(id, name, inventory) && !is_reached(id);
    let objects = objects.iter().copied();
    objects.filter(|&id| is_unproven(id)).collect()
}

#[cfg(test)]
mod tests {
    use pintle_core::{digest::Digest, inventory::Entry};

    use super::*;

    fn id(namespace: Option<&str>, name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: namespace.map(ToOwned::to_owned),
            name: name.into(),
        }
    }

    #[test]
    fn what_is_in_other_namespaces_is_claimed_by_who_has_it() {
        let name = ApplicationName::new("crew", "web");
        let mut inventory = Inventory::default();
        let is_claimed = |id: &ObjectId, inventory: &Inventory| is_its_own(id, &name, inventory);
        assert!(is_claimed(&id(Some("crew"), "a"), &inventory));
        let others = [id(Some("shop"), "a"), id(None, "a")];
        assert!(!others.iter().any(|id| is_claimed(id, &inventory)));
        for id in &others {
            inventory.insert(Entry::intended(id, "v1"));
        }
        assert!(!others.iter().any(|id| is_claimed(id, &inventory)));
        for id in &others {
            inventory.insert(Entry {
                uid: Some("u".into()),
                ..Entry::intended(id, "v1")
            });
        }
        assert!(others.iter().all(|id| is_claimed(id, &inventory)));
    }

    #[test]
    fn what_is_written_by_this_run_shows_the_right_to_it() {
        let id = id(Some("shop"), "a");
        let of = |entry: Option<Entry>| {
            let mut inventory = Inventory::default();
            if let Some(entry) = entry {
                inventory.insert(entry);
            }
            inventory
        };
        let intended = || Entry::intended(&id, "v1");
        let written = |desired: &str| Entry {
            uid: Some("u".into()),
            desired: Some(Digest::of(desired)),
            ..intended()
        };
        let is_written = |before: Option<Entry>, now: Option<Entry>| {
            let (before, now) = (of(before), of(now));
            super::is_written(&id, &before, &now)
        };
        assert!(is_written(None, Some(written("1"))));
        assert!(is_written(Some(intended()), Some(written("1"))));
        assert!(is_written(Some(written("1")), Some(written("2"))));
        // Its rights may have been taken away since.
        assert!(!is_written(Some(written("1")), Some(written("1"))));
        assert!(!is_written(None, Some(intended())));
        assert!(!is_written(Some(written("1")), None));
    }

    #[test]
    fn who_is_refused_what_another_has_may_write_in_that_namespace() {
        let name = ApplicationName::new("crew", "web");
        let objects = [
            id(Some("crew"), "a"),
            id(Some("shop"), "a"),
            id(Some("shop"), "b"),
            id(Some("bank"), "a"),
            id(None, "a"),
            id(None, "b"),
        ];
        let unproven = |contested: &[ObjectId]| {
            let contested = contested.iter().cloned().collect();
            let found = unproven(objects.iter(), &name, &Inventory::default(), &contested);
            let texts = found.into_iter().map(ToString::to_string);
            texts.collect::<Vec<_>>().join(", ")
        };
        insta::assert_snapshot!(unproven(&[]), @"ConfigMap shop/a, ConfigMap shop/b, ConfigMap bank/a, ConfigMap a, ConfigMap b");
        let refused = [id(Some("shop"), "a"), id(None, "a")];
        insta::assert_snapshot!(unproven(&refused), @"ConfigMap bank/a, ConfigMap b");
        for elsewhere in [id(Some("crew"), "a"), id(Some("shop"), "hook")] {
            assert_eq!(unproven(&[elsewhere]), unproven(&[]));
        }
    }

    #[test]
    fn who_acts_in_the_name_of_the_operator_is_trusted() {
        let of = |namespace: &str, account: &str| {
            let account = ServiceAccount::new(account, "deployer");
            let name = ApplicationName::new(namespace, "web");
            is_trusted(Some(&account), &name, "pintle-system")
        };
        assert!(!of("crew", "crew"));
        assert!(of("crew", "pintle-system"));
        assert!(of("pintle-system", "pintle-system"));
    }
}
