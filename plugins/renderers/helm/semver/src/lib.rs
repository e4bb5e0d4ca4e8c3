//! Versions and version constraints, as the Go library `Masterminds/semver` parses and compares them.
//!
//! Templates call it as `semver` and `semverCompare`. Helm uses it for `kubeVersion` and for the versions of dependencies. Charts
//! therefore rely on its leniency (`v1`, `1.2`, `01.2.3`), its limits, its messages and its treatment of prereleases (only a
//! constraint that names a prerelease allows one). This crate follows version 3.5 of the library, which Helm 4.3.1 uses.
//!
//! ```
//! use pintle_gosemver::{Constraint, Version};
//!
//! let constraint = Constraint::parse(b">=1.2, <2 || ~3.1")?;
//! assert!(constraint.allows(&Version::parse(b"v1.30")?));
//! assert!(!constraint.allows(&Version::parse(b"1.30.0-rc.1")?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod constraint;
mod version;

pub use constraint::{Constraint, ConstraintError};
pub use version::{ChangeError, Version, VersionError};

/// Returns whether a version satisfies a constraint, or false if either is invalid. Helm asks nothing else (`IsCompatibleRange`).
pub fn matches(constraint: &str, version: &str) -> bool {
    let constraint = Constraint::parse(constraint.as_bytes());
    let version = Version::parse(version.as_bytes());
    match (constraint, version) {
        (Ok(constraint), Ok(version)) => constraint.allows(&version),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
