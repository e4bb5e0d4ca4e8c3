//! Revisions from git: fetched once, read from the object database.
//!
//! [`Repositories`] turn a repository's address, [`Credentials`] and a [`Reference`](pintle_core::application::Reference) into
//! a [`Snapshot`]: a [`Revision`](pintle_core::revision::Revision) whose folders are [`Tree`](pintle_core::tree::Tree)s.
//! [`local()`] does the same for the repository around a path, and [`WorkTree`] for files that are not committed.
//! `docs/reference/sources.md` explains what users need to know.
//!
//! This crate never checks files out, runs a repository's hooks, filters or configuration, asks a person for a password, trusts
//! an unknown host, follows a link out of a repository, or sends credentials to any server other than the one they are for.
//! Everything that a server sends is bounded by [`Limits`].

mod bring;
mod cache;
mod credentials;
mod error;
mod limits;
mod local;
mod location;
mod names;
mod pack;
mod refs;
mod repositories;
mod session;
mod snapshot;
mod store;
mod transport;
mod tree;
mod turns;
mod work_tree;

pub use self::{
    credentials::{Credentials, CredentialsError, Login},
    error::{Excess, SourceError},
    limits::{Limits, Options},
    local::{Local, git_folder, is_bare, local},
    repositories::{Remote, Repositories},
    snapshot::Snapshot,
    work_tree::WorkTree,
};
