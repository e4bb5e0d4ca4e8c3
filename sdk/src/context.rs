//! Facts about where the result goes.

use std::rc::Rc;

use serde_json::Value;

use crate::ObjectId;

/// Facts about where the result goes. The host records each one that is read.
pub trait Context {
    /// The application's name, or a release's.
    fn name(&self) -> String;

    /// The namespace for objects that name none.
    fn namespace(&self) -> String;

    /// The cluster's version: `v1.36.3`.
    fn kube_version(&self) -> String;

    /// What the cluster serves: `apps/v1`, `apps/v1/Deployment`, ..., sorted.
    fn api_versions(&self) -> Vec<String>;

    /// The commit, or the artifact's digest.
    fn revision(&self) -> String;

    /// Seconds since the epoch at which the revision was made: the only clock that a pure plugin has.
    fn revision_time(&self) -> i64;

    /// Bytes derived from a secret seed of the application and from `purpose`; at most 8160, longer requests are cut there.
    ///
    /// The same on every call, different for each purpose, and not to be guessed from the repository: for generated
    /// passwords and keys.
    fn secret_bytes(&self, purpose: &str, length: u32) -> Vec<u8>;

    /// The base to the power of the exponent, modulo the modulus; calculated by the host, many times faster than a
    /// component can. The host does not record it: it depends on nothing but the arguments.
    ///
    /// All are unsigned numbers, the most significant byte first, and the result has as many bytes as the modulus. None
    /// if the modulus is even or below 3, and if it would take long, which numbers of up to 4096 bits do not: then the
    /// component has to calculate itself.
    fn power_modulo(&self, base: &[u8], exponent: &[u8], modulus: &[u8]) -> Option<Vec<u8>>;

    /// Objects of the cluster as they are now, as far as [`Request::ClusterRead`](crate::Request) was granted.
    fn cluster(&self) -> &dyn Cluster;

    /// The same facts, to keep for as long as the call lasts: for closures that ask only when something needs the answer.
    fn shared(&self) -> Rc<dyn Context>;
}

/// Objects of the cluster as they are now, where granted. The host records the answers.
///
/// Kinds that were not requested or not granted are answered as if there were no such object. Objects come without
/// `metadata.managedFields` and `metadata.resourceVersion`.
pub trait Cluster {
    /// Reads one object.
    fn get(&self, id: &ObjectId) -> Option<Value>;

    /// Reads all objects of a kind, in one namespace or in all, sorted by namespace and name.
    fn find(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Vec<Value>;
}
