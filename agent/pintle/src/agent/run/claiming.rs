//! What a run claims whose render does not fit the cluster.

use pintle_cluster::Release;
use pintle_core::rendered::Rendered;

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
        if let Ok(ids) = self.shared.cluster.identities(rendered, release).await {
            let (claims, name) = (&self.shared.claims, &release.application);
            self.has_left |= claims.rendered(name, revision, ids.iter());
        }
    }
}
