//! What other applications want.

use std::{collections::BTreeMap, fmt};

use futures::future::BoxFuture;
use pintle_core::object::ObjectId;

/// What the owner of an object wants with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Nothing is known of the owner.
    Unknown,
    /// The owner is there, or may be, and has not said it yet. It may never do so, as while it is suspended.
    Unanswered,
    /// The owner is about to say it: it may render something for the first time at any moment.
    Beginning,
    /// Its newest render has the object.
    Wanted,
    /// Its newest render does not have the object.
    Left,
}

/// It is not known what others want.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "objects have left the source, and it is not known whether they have moved to another application: {reason}. Nothing \
     was deleted"
)]
pub struct UnknownClaims {
    /// Who has not said it.
    pub reason: String,
}

/// What applications other than one want, as whoever looks after all of them knows it.
///
/// Nothing is asked of it but about objects that are about to be deleted, and objects that carry another application's label;
/// it is only told of those that have left their application and stay.
pub trait Claims: fmt::Debug + Send + Sync {
    /// Returns those objects that the newest render of another application has, each with the label of one that has it.
    /// Waits until the others have rendered what there is to render.
    fn claimants<'a>(
        &'a self,
        ids: &'a [ObjectId],
    ) -> BoxFuture<'a, Result<BTreeMap<ObjectId, String>, UnknownClaims>>;

    /// Takes note of objects that have left the application and are not deleted: whoever was refused them may have them now.
    /// Does not wait for anybody.
    fn left(&self, ids: &[ObjectId]);

    /// Says what the application with a label wants with an object, as far as it is known now.
    fn claim<'a>(&'a self, owner: &'a str, id: &'a ObjectId) -> BoxFuture<'a, Claim>;
}
