//! Resource versions of Leases. They only grow, as long as the API server's state is not restored from a backup.

use k8s_openapi::api::coordination::v1::Lease;

use super::leases::LeaseError;

/// Parses the resource version of a Lease.
pub(super) fn of(lease: &Lease) -> Result<u64, LeaseError> {
    let version = lease.metadata.resource_version.as_deref();
    let version = version.unwrap_or_default();
    version.parse().map_err(|_| LeaseError::Version {
        lease: lease.metadata.name.clone().unwrap_or_default(),
        version: version.to_owned(),
    })
}

/// Rejects a write whose version is smaller than an earlier one. All known state would then count as newer than anything that the
/// API server reports from now on: the table would never be written again, and no change to an Application would be noticed.
pub(super) fn check_written(lease: &Lease, after: Option<u64>) -> Result<(), LeaseError> {
    let written = of(lease)?;
    match after {
        Some(after) if written < after => Err(LeaseError::Restored {
            lease: lease.metadata.name.clone().unwrap_or_default(),
            before: after,
            written,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use kube::api::ObjectMeta;

    use super::*;

    fn lease(version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some("pintle-agent.one".to_owned()),
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            },
            ..Lease::default()
        }
    }

    #[test]
    fn a_write_that_goes_back_in_time_ends_the_replica() {
        for (after, written) in [(None, "7"), (Some(7), "8"), (Some(7), "12")] {
            assert!(check_written(&lease(written), after).is_ok());
        }
        let error = check_written(&lease("7"), Some(12)).unwrap_err();
        assert!(error.is_final());
        insta::assert_snapshot!(error, @"the API server wrote the Lease pintle-agent.one as version 7 after version 12, as if its state was restored from a backup: what this replica knows is of no use, and it stops to begin anew");
        let error = check_written(&lease("new"), Some(12)).unwrap_err();
        assert!(error.is_final(), "{error}");
    }
}
