//! Versions and constraints on them, as the Go library `Masterminds/semver` reads and compares them.
//!
//! It is what templates call as `semver` and `semverCompare`, and what Helm asks about `kubeVersion` and the versions of
//! dependencies. So its leniency (`v1`, `1.2`, `01.2.3`), its limits, its words and its treatment of prereleases (only a
//! constraint that names one allows one) are all part of what charts rely on. It is version 3.5 of the library, which
//! Helm 4.3.1 uses.
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

/// Whether a version satisfies a constraint, and false if either is none: all that Helm asks (`IsCompatibleRange`).
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
