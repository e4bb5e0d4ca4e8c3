//! Converges a cluster: server-side apply, inventory, ordering, pruning and watching.
//!
//! A [`Connection`] reaches one API server, either under its own identity or as a service account. A [`Cluster`] offers the
//! pipeline stages that need it, each built from the one before:
//!
//! 1. [`Cluster::prepare`]: gives rendered objects their namespace and label → [`Prepared`];
//! 2. [`Cluster::plan`]: works out what would be done → [`Planned`], a core `Plan` with the inventory as it should be;
//! 3. `Checked` and `Approved` of `pintle-core`: policies and gates;
//! 4. [`Cluster::apply`]: server-side apply in waves, then deletions → [`Applied`];
//! 5. [`Tracker::wait`]: waits until all objects are healthy.
//!
//! A [`Tracker`] watches what was applied, so that drift is seen at once and an application that is as it should be costs no
//! requests. The inventory is kept in an [`InventoryStore`]: the status of an Application ([`StatusStore`]) or a `ConfigMap`
//! ([`ConfigMapStore`]).
//!
//! # What it costs
//!
//! With a tracker, the first convergence of an application of n new objects takes one write of the intention, n applies, and one
//! write of the result with the inventory. A changed object costs one read and one apply. While nothing changes, no other
//! requests are made; watches are renewed every five minutes.
//!
//! # What survives what
//!
//! Before an object is first written, the inventory lists it. On the object itself, the annotation
//! [`DESIRED_ANNOTATION`](pintle_core::names::DESIRED_ANNOTATION) names what was applied. A run that is killed at any point
//! therefore leaves nothing that the next run does not know about, and nothing is applied twice. Every request has the same
//! effect however often it is sent, and requests are retried when the server is busy or the connection breaks. Two agents that
//! work on one application by mistake cannot overwrite each other's inventory.
#![deny(missing_docs)]

mod applying;
mod awaiting;
mod claims;
mod clock;
mod cluster;
mod connection;
pub mod crd;
mod departure;
mod discovery;
mod events;
mod explaining;
mod facts;
mod fence;
mod fieldset;
mod finding;
mod helm;
mod identities;
mod objects;
mod ownership;
mod payload;
mod planning;
mod prepare;
mod pressure;
mod reader;
mod rejection;
mod release;
mod remote;
mod removal_hooks;
mod request;
mod resources;
mod retry;
mod seeds;
mod store;
mod tracker;
mod waits;
mod watching;

pub use applying::{Applied, ApplyError, Progress, Silent, Step};
pub use claims::{Claim, Claims, UnknownClaims};
pub use cluster::{Applying, Cluster, ClusterError};
pub use connection::{ConnectError, Connection, Options, ServerVersion, ServiceAccount};
pub use departure::Departure;
pub use discovery::{Discovery, KindHint, Kinds, ResourceType, UnknownKind};
pub use events::{About, Events, Weight};
pub use explaining::{Explainer, Patience};
pub use facts::{Fact, Facts, NoFacts};
pub use fence::{Fence, Moment};
pub use helm::{HelmError, HelmManifest, HelmRelease, Takeover};
pub use planning::{Kept, PlanError, Planned};
pub use prepare::{
    Clash, Disorder, Misplaced, NotText, PrepareError, Prepared, PreparedObject, UnservedObject,
};
pub use reader::{Changes, Reader, sharing::SharedChanges};
pub use rejection::{FieldProblem, ObjectFailure, WriteError};
pub use release::{Leave, Purpose, Release};
pub use remote::RemoteError;
pub use removal_hooks::RemovalHooks;
pub use request::{Cause, Refusal, RequestError};
pub use resources::{
    Application, Applications, CustomResource, Plugin, Plugins, ResourceEvent, Resources,
    StatusError, Unreadable,
};
pub use seeds::{SeedError, Seeds};
pub use store::{ConfigMapStore, InventoryStore, StatusStore, StoreError, Urgency};
pub use tracker::{
    Drift, Judge, Observed, TrackEvent, Tracker, TrackerOptions, Unseen, Unsettled, Waited,
};
pub use waits::Waits;
