//! What a run claims whose render does not fit the cluster.

use pintle_cluster::{Release, ServiceAccount};
use pintle_core::{
    inventory::Inventory, names::ApplicationName, object::ObjectId, rendered::Rendered,
};

use super::converge::Run;

impl Run {
    /// Claims what a render has that cannot be made ready, because another application brings a kind first for example: what
    /// moves to it must not be deleted meanwhile. And nobody waits for it in vain, least of all who brings that kind.
    pub(super) async fn claim_unfit(
        &mut self,
        release: &Release,
        rendered: &Rendered,
        revision: &str,
    ) {
        // What is put right is of an earlier revision.
        if !self.is_rollout() {
            return;
        }
        // Without the kinds of the cluster nothing is known of namespaces; they are asked for by the next run again.
        if let Ok(mut ids) = self.shared.cluster.identities(rendered, release).await {
            let (claims, name) = (&self.shared.claims, &release.application);
            // In another cluster only those claim who reach it by the same Secret.
            let is_remote = self.before.cluster.is_some();
            if !is_remote && !is_trusted(release.account.as_ref(), name, &self.shared.namespace) {
                let inventory = self.before.recorded().unwrap_or_default();
                // What an earlier render claimed fitted, and the API server has not refused it.
                ids.retain(|id| is_its_own(id, name, &inventory) || claims.has(name, id));
            }
            self.found.has_left |= claims.rendered(name, revision, ids.iter());
        }
    }
}

/// Says whether an application acts in a name that only whoever runs the agent gives: it may claim all that it renders.
fn is_trusted(account: Option<&ServiceAccount>, name: &ApplicationName, agent: &str) -> bool {
    name.namespace == agent || account.is_some_and(|account| account.namespace != name.namespace)
}

/// Says whether an object is an application's, as far as that is known before the API server was asked whether its account may
/// write it: a render that does not fit never gets as far as that, and would keep alive for ever what another tenant deletes.
fn is_its_own(id: &ObjectId, name: &ApplicationName, inventory: &Inventory) -> bool {
    // Not the namespace that the spec names, which may be anybody's.
    id.namespace.as_ref() == Some(&name.namespace) || inventory.get(id).is_some()
}

#[cfg(test)]
mod tests {
    use pintle_core::inventory::Entry;

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
        assert!(others.iter().all(|id| is_claimed(id, &inventory)));
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
