//! What other applications want.

use std::{collections::BTreeMap, fmt};

use futures::future::BoxFuture;
use pintle_core::object::ObjectId;

/// What the owner of an object wants with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Nothing is known about the owner.
    Unknown,
    /// The owner exists, or may exist, and has not said yet. It may never do so, for example while it is suspended.
    Unanswered,
    /// The owner is about to say: it may render something for the first time at any moment.
    Beginning,
    /// The owner's newest render has the object.
    Wanted,
    /// The owner's newest render does not have the object.
    Left,
}

/// An error: it is not known what other applications want.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "objects have left the source, and it is not known whether they have moved to another application: {reason}. Nothing \
     was deleted"
)]
pub struct UnknownClaims {
    /// Which applications have not answered, and why.
    pub reason: String,
}

/// What other applications want, as known to the component that looks after all of them.
///
/// It is asked only about objects that are about to be deleted and objects that carry another application's label. About objects
/// that have left their application and stay, it is only told.
pub trait Claims: fmt::Debug + Send + Sync {
    /// Returns the objects that the newest render of another application has, each with the label of one such application. Waits
    /// until the others have rendered what there is to render.
    fn claimants<'a>(
        &'a self,
        ids: &'a [ObjectId],
    ) -> BoxFuture<'a, Result<BTreeMap<ObjectId, String>, UnknownClaims>>;

    /// Records objects that have left the application and are not deleted: applications that were refused them may have them now.
    /// Does not wait for anyone.
    fn left(&self, ids: &[ObjectId]);

    /// Returns what the application with the label `owner` wants with an object, as far as it is known now.
    fn claim<'a>(&'a self, owner: &'a str, id: &'a ObjectId) -> BoxFuture<'a, Claim>;
}
