//! Facts about where the result of a plugin goes.

use std::rc::Rc;

use serde_json::Value;

use crate::ObjectId;

/// Facts about where the result of a plugin goes. The host records each fact that is read.
pub trait Context {
    /// Returns the name of the application or of a release.
    fn name(&self) -> String;

    /// Returns the namespace for objects that name none.
    fn namespace(&self) -> String;

    /// Returns the cluster's version: `v1.36.3`.
    fn kube_version(&self) -> String;

    /// Returns the API versions and kinds that the cluster serves, sorted: `apps/v1`, `apps/v1/Deployment`, ...
    fn api_versions(&self) -> Vec<String>;

    /// Returns the commit or the artifact's digest.
    fn revision(&self) -> String;

    /// Returns when the revision was created, in seconds since the epoch. This is the only clock that a pure plugin has.
    fn revision_time(&self) -> i64;

    /// Returns bytes derived from a secret seed of the application and from `purpose`.
    ///
    /// Returns at most 8160 bytes, even if more are requested. The bytes are the same on every call, different for each
    /// purpose, and cannot be guessed from the repository. Use them for generated passwords and keys.
    fn secret_bytes(&self, purpose: &str, length: u32) -> Vec<u8>;

    /// Returns the base to the power of the exponent, modulo the modulus.
    ///
    /// The host calculates it, many times faster than a component can, and does not record it: the result depends on
    /// nothing but the arguments.
    ///
    /// All numbers are unsigned, with the most significant byte first. The result has as many bytes as the modulus. Returns
    /// `None` if the modulus is even or below 3, or if the calculation would take long, which it does not for numbers of up
    /// to 4096 bits. The component then has to calculate the result itself.
    fn power_modulo(&self, base: &[u8], exponent: &[u8], modulus: &[u8]) -> Option<Vec<u8>>;

    /// Returns access to objects of the cluster as they are now, as far as [`Request::ClusterRead`](crate::Request) was granted.
    fn cluster(&self) -> &dyn Cluster;

    /// Returns the same facts, to be kept for as long as the call lasts.
    ///
    /// This is for closures that ask only when something needs the answer.
    fn shared(&self) -> Rc<dyn Context>;
}

/// Read access to objects of the cluster as they are now, where granted. The host records the answers.
///
/// For kinds that were not requested or not granted, the answer is the same as if no such object existed. Objects come
/// without `metadata.managedFields` and `metadata.resourceVersion`.
pub trait Cluster {
    /// Reads one object.
    fn get(&self, id: &ObjectId) -> Option<Value>;

    /// Reads all objects of a kind, in one namespace or in all, sorted by namespace and name.
    fn find(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Vec<Value>;
}
