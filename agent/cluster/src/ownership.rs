//! Who owns an object.

use pintle_core::{fields, inventory::Entry, names::APPLICATION_LABEL, object::ObjectId};
use serde_json::Value;

use crate::{claims::Claim, prepare::PreparedObject, rejection::WriteError, release::Release};

/// The annotation by which Helm, and anything else that renders charts, recognises a hook.
/// <https://helm.sh/docs/topics/charts_hooks/>
const HELM_HOOK: &str = "helm.sh/hook";

/// Checks whether fields that others own may be taken over in an existing object.
///
/// They may be if the object is the application's own: it was applied before, or is adopted. Otherwise the error says who owns
/// the object, or is `None`, which leaves the answer to the server.
pub(crate) async fn may_force(
    live: &Value,
    release: &Release,
    id: &ObjectId,
    adopts: bool,
    entry: Option<&Entry>,
) -> Result<(), Option<WriteError>> {
    let other = other_owner(live, release);
    let claim = match other {
        Some(owner) => Some(claim(release, owner, id).await),
        None => None,
    };
    if claim == Some(Claim::Wanted) {
        // Two applications that take it from each other would never stop.
        return Err(Some(WriteError::Contested {
            owner: other.unwrap_or_default().to_owned(),
            application: release.application.label_value(),
        }));
    }
    // Nor is an object adopted if its owner may turn out to want it a moment later.
    let may_adopt = (adopts || release.adopt) && claim != Some(Claim::Beginning);
    if may_adopt || claim == Some(Claim::Left) {
        return Ok(());
    }
    if let Some(owner) = other {
        let (owner, application) = (owner.to_owned(), release.application.label_value());
        let is_asked_again = matches!(claim, Some(Claim::Unanswered | Claim::Beginning));
        return Err(Some(if is_asked_again {
            WriteError::Unanswered { owner, application }
        } else {
            WriteError::Foreign { owner, application }
        }));
    }
    let recorded = entry.and_then(|entry| entry.uid.as_deref());
    let is_recorded = recorded.is_some() && recorded == live["metadata"]["uid"].as_str();
    let is_ours = fields::owned_by(live, &release.manager()).is_some();
    if is_recorded || is_ours {
        Ok(())
    } else {
        Err(None)
    }
}

/// Returns the label of another application that an object carries.
pub(crate) fn other_owner<'a>(live: &'a Value, release: &Release) -> Option<&'a str> {
    let owner = live["metadata"]["labels"][APPLICATION_LABEL].as_str();
    owner.filter(|owner| *owner != release.application.label_value())
}

async fn claim(release: &Release, owner: &str, id: &ObjectId) -> Claim {
    match &release.claims {
        Some(claims) => claims.claim(owner, id).await,
        None => Claim::Unknown,
    }
}

/// Checks whether a hook may take the place of an existing object: one that this application made, or one left by a hook that
/// another tool ran.
pub(crate) async fn may_run_hook(
    live: &Value,
    release: &Release,
    object: &PreparedObject,
    entry: Option<&Entry>,
) -> Result<(), WriteError> {
    let owner = live["metadata"]["labels"][APPLICATION_LABEL].as_str();
    let was_hook = owner.is_none() && live["metadata"]["annotations"][HELM_HOOK].is_string();
    if was_hook || owner == Some(&release.application.label_value()) {
        return Ok(());
    }
    may_force(
        live,
        release,
        object.id(),
        object.asks_for_adoption(),
        entry,
    )
    .await
    .map_err(|refused| refused.unwrap_or(WriteError::NotOurHook))
}

/// Returns whether an object that the inventory lists is still the application's, so that it may be deleted.
///
/// A label that names another application hands the object over. Without a label, it must be the very object that was applied and
/// still have fields owned by the application.
pub(crate) fn is_ours(live: &Value, release: &Release, uid: Option<&str>) -> bool {
    if let Some(owner) = live["metadata"]["labels"][APPLICATION_LABEL].as_str() {
        return owner == release.application.label_value();
    }
    let is_same = uid.is_some() && uid == live["metadata"]["uid"].as_str();
    is_same && fields::owned_by(live, &release.manager()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, sync::Arc};

    use futures::{FutureExt as _, future::BoxFuture};
    use pintle_core::{machine::Retry, names::ApplicationName, seed::Seed};
    use serde_json::json;

    use crate::claims::{Claims, UnknownClaims};

    fn release() -> Release {
        Release::new(ApplicationName::new("shop", "web"), Seed::from_text("s"))
    }

    fn live(manager: &str, label: Option<&str>) -> Value {
        json!({"metadata": {
            "uid": "u", "labels": {APPLICATION_LABEL: label},
            "managedFields": [{"manager": manager, "operation": "Apply", "fieldsV1": {}}]
        }})
    }

    fn id() -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: None,
            name: "a".into(),
        }
    }

    fn recorded() -> Entry {
        Entry {
            uid: Some("u".into()),
            ..Entry::intended(&id(), "v1")
        }
    }

    /// Gives a fixed answer about what `shop.api` wants.
    #[derive(Debug)]
    struct Known(Claim);

    impl Claims for Known {
        fn claimants<'a>(
            &'a self,
            _: &'a [ObjectId],
        ) -> BoxFuture<'a, Result<BTreeMap<ObjectId, String>, UnknownClaims>> {
            async { Ok(BTreeMap::new()) }.boxed()
        }

        fn left(&self, _: &[ObjectId]) {}

        fn claim<'a>(&'a self, owner: &'a str, _: &'a ObjectId) -> BoxFuture<'a, Claim> {
            let claim = if owner == "shop.api" {
                self.0
            } else {
                Claim::Unknown
            };
            async move { claim }.boxed()
        }
    }

    fn force(
        live: &Value,
        release: &Release,
        adopts: bool,
        entry: Option<&Entry>,
    ) -> Result<(), Option<WriteError>> {
        let allowed = may_force(live, release, &id(), adopts, entry).now_or_never();
        allowed.expect("nobody is asked")
    }

    #[test]
    fn what_another_application_has_left_is_taken_and_what_it_wants_never() {
        let theirs = live("pintle/shop/api", Some("shop.api"));
        let force = |claim, adopts| {
            let mut release = release();
            release.claims = Some(Arc::new(Known(claim)));
            force(&theirs, &release, adopts, None)
        };
        assert_eq!(force(Claim::Left, false), Ok(()));
        assert_eq!(force(Claim::Unknown, true), Ok(()));
        assert!(force(Claim::Unknown, false).is_err());
        let error = force(Claim::Wanted, true).unwrap_err().unwrap();
        insta::assert_snapshot!(error, @"the applications shop.api and shop.web both render it, and it is shop.api's: remove it from one of them");
    }

    #[test]
    fn an_owner_that_has_not_said_what_it_wants_is_asked_again() {
        let theirs = live("pintle/shop/api", Some("shop.api"));
        let force = |claim, adopts| {
            let mut release = release();
            release.claims = Some(Arc::new(Known(claim)));
            force(&theirs, &release, adopts, None)
        };
        assert_eq!(force(Claim::Unanswered, true), Ok(()));
        let error = force(Claim::Unanswered, false).unwrap_err().unwrap();
        insta::assert_snapshot!(error, @"it belongs to the application shop.api, and shop.web renders it too: shop.api has not said yet whether it still does; it is asked again. While shop.api is suspended or does not render it cannot say so: resume or mend it, or move the object with the annotation pintle.dev/adopt=allowed");
        assert_eq!(error.retry(), Retry::Backoff);
        for adopts in [false, true] {
            let beginning = force(Claim::Beginning, adopts).unwrap_err().unwrap();
            assert_eq!(beginning, error, "{adopts}");
        }
        let foreign = force(Claim::Unknown, false).unwrap_err().unwrap();
        assert_eq!(foreign.retry(), Retry::OnChange);
    }

    #[test]
    fn fields_are_taken_over_only_in_ones_own_objects_or_when_adopted() {
        let foreign = live("kubectl", None);
        assert_eq!(force(&foreign, &release(), false, None), Err(None));
        assert_eq!(force(&foreign, &release(), true, None), Ok(()));
        assert_eq!(
            force(&foreign, &release(), false, Some(&recorded())),
            Ok(())
        );
        assert_eq!(
            force(&live("pintle/shop/web", None), &release(), false, None),
            Ok(())
        );
        let error = force(
            &live("pintle/shop/api", Some("shop.api")),
            &release(),
            false,
            Some(&recorded()),
        );
        insta::assert_snapshot!(error.unwrap_err().unwrap(), @"it belongs to the application shop.api, and shop.web renders it too: remove it from one of them, or move it with the annotation pintle.dev/adopt=allowed");
    }

    #[test]
    fn only_ones_own_objects_are_deleted() {
        let ours = |live: &Value, uid| is_ours(live, &release(), uid);
        assert!(ours(&live("pintle/shop/web", Some("shop.web")), Some("u")));
        assert!(ours(
            &live("anyone", Some("shop.web")),
            Some("restored from a backup")
        ));
        assert!(!ours(&live("pintle/shop/web", Some("shop.api")), Some("u")));
        assert!(ours(&live("pintle/shop/web", None), Some("u")));
        assert!(!ours(&live("kubectl", None), Some("u")));
        assert!(!ours(&live("pintle/shop/web", None), Some("another")));
        assert!(!ours(&live("pintle/shop/web", None), None));
    }
}
