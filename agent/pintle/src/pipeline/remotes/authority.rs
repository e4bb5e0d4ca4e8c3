//! The authorities that `--registry-ca` makes trusted at the moment.

use std::{io, path::PathBuf};

use pintle_core::causes::chain;
use pintle_registry::check_authorities;
use tokio::sync::Mutex;

use super::RemotesError;

/// A file of certificate authorities, in PEM. A mounted file is replaced while an agent runs, so it is read whenever it is
/// needed.
pub(super) struct Authority {
    path: PathBuf,
    known: Mutex<Known>,
}

/// Earlier content of the file.
#[derive(Default)]
struct Known {
    /// Its last content that could be used.
    trusted: Option<Vec<u8>>,
    /// Why its present content cannot be used, as it was logged.
    told: Option<String>,
}

impl Authority {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            known: Mutex::default(),
        }
    }

    /// Reads the file. While it cannot be used, its earlier content stays trusted.
    pub(super) async fn read(&self) -> Result<Vec<u8>, RemotesError> {
        // Only one caller reads at a time: a caller that has read outdated content must not be the last to record it.
        let mut known = self.known.lock().await;
        let found = self.usable(tokio::fs::read(&self.path).await, &known);
        match found {
            Ok(found) => {
                self.accept(&mut known, &found);
                Ok(found)
            }
            Err(error) => self.refuse(&mut known, error),
        }
    }

    /// Checks what was read, if it differs from what is known.
    fn usable(&self, read: io::Result<Vec<u8>>, known: &Known) -> Result<Vec<u8>, RemotesError> {
        let found = read.map_err(|source| RemotesError::Authority {
            path: self.path.clone(),
            source,
        })?;
        if known.trusted.as_ref() != Some(&found) {
            check_authorities(&found)?;
        }
        Ok(found)
    }

    fn accept(&self, known: &mut Known, found: &[u8]) {
        known.told = None;
        match &known.trusted {
            Some(trusted) if trusted == found => return,
            Some(_) => {
                tracing::info!(file = %self.path.display(), "the certificate authorities of registries were read again");
            }
            None => {}
        }
        known.trusted = Some(found.to_vec());
    }

    /// Reports once why the file cannot be used.
    fn refuse(&self, known: &mut Known, error: RemotesError) -> Result<Vec<u8>, RemotesError> {
        let Some(trusted) = known.trusted.clone() else {
            return Err(error);
        };
        let reason = chain(&error);
        if known.told.as_ref() != Some(&reason) {
            tracing::warn!(
                file = %self.path.display(),
                reason,
                "the certificate authorities of registries cannot be read again; the earlier ones stay trusted"
            );
            known.told = Some(reason);
        }
        Ok(trusted)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBMjCB5aADAgECAhRiJZ42jalRT1lnGldaXXtFOc2olTAFBgMrZXAwDjEMMAoG
A1UEAwwDb25lMCAXDTI2MTEyMzExMjAxNloYDzIxMjYxMDMwMTEyMDE2WjAOMQww
CgYDVQQDDANvbmUwKjAFBgMrZXADIQB3krDKCgejmTU+XJeawyGVxISOdXIgnD8C
KRBVAL9FbaNTMFEwHQYDVR0OBBYEFNmG44eRlaOGRy0rISu38cNaBUfjMB8GA1Ud
IwQYMBaAFNmG44eRlaOGRy0rISu38cNaBUfjMA8GA1UdEwEB/wQFMAMBAf8wBQYD
K2VwA0EA+SUfyQhfXY2dMKcckNIqtufctEwhidBnX4WAa9SyBBfcNi5xwYFGyUQ/
oVKHi4oKOjJOlCU00NPUd9vN+JisDg==
-----END CERTIFICATE-----
";

    #[tokio::test]
    async fn what_the_file_holds_now_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        fs::write(&path, AUTHORITY).unwrap();
        let authority = Authority::new(path.clone());
        assert_eq!(authority.read().await.unwrap(), AUTHORITY.as_bytes());
        let renewed = AUTHORITY.repeat(2);
        fs::write(&path, &renewed).unwrap();
        assert_eq!(authority.read().await.unwrap(), renewed.as_bytes());
    }

    #[tokio::test]
    async fn a_file_that_is_broken_changes_nothing_and_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        let authority = Authority::new(path.clone());
        let told = async || authority.known.lock().await.told.clone();
        let error = authority.read().await.unwrap_err();
        assert!(matches!(error, RemotesError::Authority { .. }), "{error}");
        fs::write(&path, "none").unwrap();
        let error = authority.read().await.unwrap_err();
        assert!(matches!(error, RemotesError::Setup(_)), "{error}");

        fs::write(&path, AUTHORITY).unwrap();
        authority.read().await.unwrap();
        assert_eq!(told().await, None);
        fs::write(&path, "none").unwrap();
        assert_eq!(authority.read().await.unwrap(), AUTHORITY.as_bytes());
        let first = told().await;
        assert!(first.is_some());
        assert_eq!(authority.read().await.unwrap(), AUTHORITY.as_bytes());
        assert_eq!(told().await, first);
        fs::remove_file(&path).unwrap();
        assert_eq!(authority.read().await.unwrap(), AUTHORITY.as_bytes());
        assert_ne!(told().await, first);
        fs::write(&path, AUTHORITY).unwrap();
        authority.read().await.unwrap();
        assert_eq!(told().await, None);
    }
}
