//! Finds and fetches charts from registries and chart repositories.

use std::sync::Arc;

use jiff::Timestamp;
use pintle_core::{
    digest::Digest,
    version::{ParseRangeError, VersionRange, loose},
};
use url::Url;

use super::{
    archive::Layout,
    files::Files,
    helm::HelmConfig,
    index::{Index, Listed},
    packed::Archive,
    place::{Place, Wanted, shown_url},
    repository::{ChartRepository, RepositoryStage},
};
use crate::{
    cache::Readers,
    credentials::{Credentials, CredentialsError, Keychain},
    error::{Cause, Part, RegistryError},
    reference::{ParseReferenceError, Reference, Repository},
    registry::{self, Registry},
    transport::host_of,
};

/// The maximum number of names that an error lists.
const SHOWN: usize = 5;

/// The credentials for one fetch.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    /// The credentials for the chart repository that is asked, whichever it is.
    pub repository: Credentials,
    /// The repositories that the user has added to Helm.
    pub helm: HelmConfig,
    /// The credentials for registries, and for chart repositories by host and path.
    pub keychain: Keychain,
}

impl Logins {
    /// Returns the credentials from the first source that has any: those that were given, then Helm's, then the keychain's.
    async fn for_repository(&self, url: &Url) -> Result<Credentials, CredentialsError> {
        if self.repository != Credentials::Anonymous {
            return Ok(self.repository.clone());
        }
        match self.helm.credentials(url.as_str()) {
            Credentials::Anonymous => self.keychain.find_at(&host_of(url), url.path()).await,
            known => Ok(known),
        }
    }
}

/// A version that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Where it was found.
    pub place: Place,
    /// The tag or version. Empty for an artifact that was named by its digest.
    pub version: String,
    /// The digest of the manifest, or of the archive in a chart repository. An index may not list one.
    pub digest: Option<Digest>,
    /// When it was created, in seconds since the epoch, if the repository says so.
    created: Option<i64>,
    location: Location,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Location {
    Manifest(Reference),
    /// The URL of an archive: absolute, or relative to the repository.
    Url(String),
}

/// A fetched artifact. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Where it came from.
    pub place: Place,
    /// The tag or version. Empty for an artifact that was named by its digest.
    pub version: String,
    /// The digest that identifies it: that of the manifest, or of the archive where there is no manifest.
    pub digest: Digest,
    /// When it was created, in seconds since the epoch. 0 if nothing says when.
    pub created: i64,
    /// Its files.
    pub archive: Archive,
}

/// A fetched and verified artifact that is not unpacked yet.
#[derive(Debug)]
pub struct Download {
    resolved: Resolved,
    digest: Digest,
    created: Option<i64>,
    archive: Archive,
}

impl Download {
    /// Returns the size of the packed archive, in bytes.
    pub fn size(&self) -> u64 {
        self.archive.size()
    }

    /// Unpacks it. An archive that cannot be unpacked is reported as a failed fetch that names where it came from.
    pub async fn unpack(self) -> Result<(Artifact, Arc<Files>), ChartError> {
        let resolved = self.resolved;
        let files = self.archive.unpack().await;
        let files = files.map_err(|error| Charts::failed(&resolved, error.into()))?;
        let created = self.created.or(resolved.created);
        let artifact = Artifact {
            place: resolved.place,
            version: resolved.version,
            digest: self.digest,
            created: created.unwrap_or_else(|| files.modified()),
            archive: self.archive,
        };
        Ok((artifact, files))
    }
}

/// The reason why a chart cannot be found or fetched.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// A registry did not provide it.
    #[error(transparent)]
    Registry(Box<RegistryError>),
    /// The credentials for a registry cannot be determined.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A chart repository did not provide it.
    #[error("cannot {stage} the chart repository {repository}")]
    Repository {
        /// The repository's URL.
        repository: String,
        /// What was being done.
        stage: RepositoryStage,
        /// Why it failed.
        #[source]
        cause: Box<Cause>,
    },
    /// The URL is not one of a chart repository.
    #[error("`{url}` is not the URL of a chart repository: {reason}")]
    Url {
        /// The text that was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The tag or the location in a registry is not valid.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// The version range is not valid.
    #[error(transparent)]
    Range(#[from] ParseRangeError),
    /// The repository has no such chart.
    #[error("there is no chart {place}{}", list(.known))]
    NoChart {
        /// Where it was looked for.
        place: String,
        /// Charts with similar names.
        known: Vec<String>,
    },
    /// No version is in the range.
    #[error("no version of {place} is `{wanted}`{}", list(.known))]
    NoVersion {
        /// Where it was looked for.
        place: String,
        /// The version or range.
        wanted: String,
        /// The highest versions that exist.
        known: Vec<String>,
    },
}

impl From<RegistryError> for ChartError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

fn list(known: &[String]) -> String {
    if known.is_empty() {
        return String::new();
    }
    format!("; there are {}", known.join(", "))
}

impl ChartError {
    /// Returns whether the same call may succeed later: a version may be published, or permission to read it may be granted.
    /// Only an invalid URL, reference or range stays invalid until the user corrects it.
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::Url { .. } | Self::Reference(_) | Self::Range(_))
    }

    /// Returns how long the server that answered asked the caller to wait before it tries again.
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Registry(error) => error.retry_after(),
            Self::Repository { cause, .. } => cause.retry_after(),
            _ => None,
        }
    }
}

/// Finds and fetches charts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Charts {
    registry: Registry,
}

impl Charts {
    /// Creates a value that uses a registry's connections, limits and cache, and what the registry shares with others.
    pub const fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Returns the same charts for a caller that cannot wait. See [`Registry::urgent`].
    #[must_use]
    pub fn urgent(&self) -> Self {
        Self::new(self.registry.urgent())
    }

    /// Finds the wanted version with small requests. The only thing that it downloads is the index of a chart repository, if the
    /// index has changed.
    pub async fn resolve(
        &self,
        place: &Place,
        wanted: &Wanted,
        logins: &Logins,
    ) -> Result<Resolved, ChartError> {
        match place {
            Place::Oci(repository) => self.resolve_oci(repository, wanted, logins).await,
            Place::Chart { repository, name } => {
                let index = self.index(repository, logins).await?;
                let listed = choose(&index, place, name, wanted)?;
                let digest = listed.digest(name);
                Ok(Resolved {
                    place: place.clone(),
                    version: listed.version.to_string(),
                    digest: digest.map_err(|cause| unusable(repository, cause))?,
                    created: listed.created,
                    location: Location::Url(listed.url.to_string()),
                })
            }
        }
    }

    /// Fetches the resolved version, or takes it from the cache, and verifies it against the digest that the repository states.
    /// If `expected` is given, the digest of the archive must match that, too.
    pub async fn pull(
        &self,
        resolved: &Resolved,
        expected: Option<Digest>,
        logins: &Logins,
    ) -> Result<Artifact, ChartError> {
        let (artifact, _) = self.pull_files(resolved, expected, logins).await?;
        Ok(artifact)
    }

    /// Like [`Charts::pull`], but also returns the files.
    pub async fn pull_files(
        &self,
        resolved: &Resolved,
        expected: Option<Digest>,
        logins: &Logins,
    ) -> Result<(Artifact, Arc<Files>), ChartError> {
        let download = self.download(resolved, expected, logins).await?;
        download.unpack().await
    }

    /// Like [`Charts::pull`], but does not unpack the archive. The caller can hold the result while it waits, at little cost.
    pub async fn download(
        &self,
        resolved: &Resolved,
        expected: Option<Digest>,
        logins: &Logins,
    ) -> Result<Download, ChartError> {
        let (archive, digest, created) = match (&resolved.location, &resolved.place) {
            (Location::Manifest(reference), _) => self.pull_oci(reference, logins).await?,
            (Location::Url(url), Place::Chart { repository, .. }) => {
                let archive = self.pull_listed(repository, url, resolved, expected, logins);
                let archive = archive.await?;
                let digest = archive.digest();
                (archive, digest, None)
            }
            (Location::Url(_), Place::Oci(_)) => {
                unreachable!("only chart repositories say where their charts are")
            }
        };
        Self::check(resolved, expected, archive.digest())?;
        Ok(Download {
            resolved: resolved.clone(),
            digest,
            created,
            archive,
        })
    }

    fn failed(resolved: &Resolved, cause: Cause) -> ChartError {
        match (&resolved.location, &resolved.place) {
            (Location::Manifest(reference), _) => RegistryError {
                reference: reference.clone(),
                stage: crate::error::Stage::Files,
                cause,
            }
            .into(),
            (Location::Url(_), place) => ChartError::Repository {
                repository: match place {
                    Place::Chart { repository, name } => {
                        format!("{} ({name} {})", shown_url(repository), resolved.version)
                    }
                    Place::Oci(repository) => repository.to_string(),
                },
                stage: RepositoryStage::Chart,
                cause: Box::new(cause),
            },
        }
    }

    async fn resolve_oci(
        &self,
        repository: &Repository,
        wanted: &Wanted,
        logins: &Logins,
    ) -> Result<Resolved, ChartError> {
        let credentials = logins.keychain.find_for(repository).await?;
        let (reference, version) = match wanted {
            Wanted::Digest(digest) => (repository.at(*digest), String::new()),
            Wanted::Exact(tag) => (repository.tag(&to_tag(tag))?, tag.clone()),
            Wanted::Range(range) => {
                let range: VersionRange = range.parse()?;
                let tags = self.registry.tags(repository, &credentials).await?;
                let versions: Vec<String> = tags.iter().map(|tag| to_version(tag)).collect();
                let found = range.highest(versions.iter().map(String::as_str));
                let Some(version) = found.map(str::to_owned) else {
                    return Err(ChartError::NoVersion {
                        place: Place::Oci(repository.clone()).to_string(),
                        wanted: range.text().to_owned(),
                        known: highest(versions),
                    });
                };
                (repository.tag(&to_tag(&version))?, version)
            }
        };
        let resolved = self.registry.resolve(&reference, &credentials).await?;
        Ok(Resolved {
            place: Place::Oci(repository.clone()),
            version,
            digest: Some(resolved.manifest_digest),
            created: None,
            location: Location::Manifest(resolved.reference),
        })
    }

    async fn pull_oci(
        &self,
        reference: &Reference,
        logins: &Logins,
    ) -> Result<(Archive, Digest, Option<i64>), ChartError> {
        let credentials = logins.keychain.find(reference).await?;
        let pulled = self.registry.pull_archive(reference, &credentials).await?;
        let created = pulled
            .annotations
            .get("org.opencontainers.image.created")
            .and_then(|text| text.parse::<Timestamp>().ok())
            .map(Timestamp::as_second);
        Ok((pulled.archive, pulled.manifest_digest, created))
    }

    /// Fetches a chart from the location that a repository's index gives, which may be a registry. An index can name any digest,
    /// so the cache is used only for what was fetched from that location before, with the same credentials.
    async fn pull_listed(
        &self,
        repository: &str,
        url: &str,
        resolved: &Resolved,
        expected: Option<Digest>,
        logins: &Logins,
    ) -> Result<Archive, ChartError> {
        if url.starts_with("oci://") {
            return self.pull_listed_oci(url, resolved, expected, logins).await;
        }
        let digest = resolved.digest.or(expected);
        let failed = |cause| Self::failed(resolved, cause);
        let repository = self.repository(repository, logins).await?;
        let readers = Readers::of(repository.url.as_str(), &repository.credentials);
        if let Some(known) = self.known(readers, digest, resolved).await? {
            return Ok(known);
        }
        let fetched = repository.archive(url).await;
        let digested = fetched.map_err(failed)?.digest().await;
        let (incoming, got) = digested.map_err(failed)?;
        Self::check(resolved, resolved.digest, got)?;
        let registry = &self.registry;
        let kept = registry.keep_archive(readers, incoming, got, Layout::Chart);
        kept.await.map_err(failed)
    }

    /// Fetches a chart from a registry that a repository's index points to.
    async fn pull_listed_oci(
        &self,
        url: &str,
        resolved: &Resolved,
        expected: Option<Digest>,
        logins: &Logins,
    ) -> Result<Archive, ChartError> {
        let reference: Reference = url.parse()?;
        let credentials = logins.keychain.find(&reference).await?;
        let readers = registry::readers(&reference, &credentials);
        let digest = resolved.digest.or(expected);
        if let Some(known) = self.known(readers, digest, resolved).await? {
            return Ok(known);
        }
        let (archive, ..) = self.pull_oci(&reference, logins).await?;
        Self::check(resolved, resolved.digest, archive.digest())?;
        Ok(archive)
    }

    /// Returns the archive with this digest if it was fetched for the same readers before.
    async fn known(
        &self,
        readers: Readers,
        digest: Option<Digest>,
        resolved: &Resolved,
    ) -> Result<Option<Archive>, ChartError> {
        let Some(digest) = digest else {
            return Ok(None);
        };
        let kept = self.registry.kept_archive(readers, digest, Layout::Chart);
        kept.await.map_err(|cause| Self::failed(resolved, cause))
    }

    /// Fails if the digest of an archive differs from the known one.
    fn check(resolved: &Resolved, known: Option<Digest>, got: Digest) -> Result<(), ChartError> {
        let Some(expected) = known.filter(|known| *known != got) else {
            return Ok(());
        };
        let cause = Cause::Digest {
            part: Part::Archive,
            expected,
            got,
        };
        Err(Self::failed(resolved, cause))
    }

    async fn index(&self, url: &str, logins: &Logins) -> Result<Arc<Index>, ChartError> {
        let repository = self.repository(url, logins).await?;
        let index = repository.index().await;
        index.map_err(|cause| unusable(url, cause))
    }

    async fn repository(
        &self,
        url: &str,
        logins: &Logins,
    ) -> Result<ChartRepository<'_>, ChartError> {
        let malformed = |reason: &str| ChartError::Url {
            url: shown_url(url),
            reason: reason.to_owned(),
        };
        let parsed = Url::parse(url).map_err(|error| malformed(&error.to_string()))?;
        if !matches!(parsed.scheme(), "https" | "http") {
            return Err(malformed("expected https://HOST/PATH"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(malformed(
                "it holds credentials, which belong where nobody reads them: in the Secret, or in Helm's repositories.yaml",
            ));
        }
        Ok(ChartRepository {
            registry: &self.registry,
            credentials: logins.for_repository(&parsed).await?,
            url: parsed,
        })
    }
}

/// Creates the error for a repository whose index cannot be used.
fn unusable(url: &str, cause: Cause) -> ChartError {
    ChartError::Repository {
        repository: shown_url(url),
        stage: RepositoryStage::Index,
        cause: Box::new(cause),
    }
}

/// Chooses a version as Helm does: one whose text matches exactly if there is one, else the highest in the range.
fn choose<'a>(
    index: &'a Index,
    place: &Place,
    name: &str,
    wanted: &Wanted,
) -> Result<&'a Listed, ChartError> {
    let Some(versions) = index.charts.get(name) else {
        let is_near = |other: &&str| other.contains(name) || name.contains(*other);
        let known = index.charts.keys().map(|other| &**other).filter(is_near);
        return Err(ChartError::NoChart {
            place: place.to_string(),
            known: known.take(SHOWN).map(str::to_owned).collect(),
        });
    };
    let none = |wanted: &str| ChartError::NoVersion {
        place: place.to_string(),
        wanted: wanted.to_owned(),
        known: highest(versions.iter().map(|one| one.version.to_string()).collect()),
    };
    let text = match wanted {
        Wanted::Exact(text) | Wanted::Range(text) => text,
        Wanted::Digest(digest) => return Err(none(&digest.to_string())),
    };
    let exactly = |text: &str| versions.iter().find(|one| *one.version == *text);
    if let Some(found) = exactly(text) {
        return Ok(found);
    }
    let range: VersionRange = text.parse()?;
    let highest = range.highest(versions.iter().map(|one| &*one.version));
    highest.and_then(exactly).ok_or_else(|| none(text))
}

/// Returns the highest of the versions, in descending order. Texts that are not versions are left out.
fn highest(versions: Vec<String>) -> Vec<String> {
    let mut parsed: Vec<_> = versions
        .into_iter()
        .filter_map(|text| Some((loose(&text)?, text)))
        .collect();
    parsed.sort_by(|(a, _), (b, _)| b.cmp(a));
    parsed
        .into_iter()
        .take(SHOWN)
        .map(|(_, text)| text)
        .collect()
}

/// Returns the tag for a version. A tag cannot contain `+`, so Helm writes `_` instead. <https://helm.sh/docs/topics/registries/#oci-feature-deprecation-and-behavior-changes-with-v380>
fn to_tag(version: &str) -> String {
    version.replace('+', "_")
}

fn to_version(tag: &str) -> String {
    tag.replace('_', "+")
}

#[cfg(test)]
mod tests {
    use super::{super::index::ListedDigest, *};

    fn listed(version: &str) -> Listed {
        Listed {
            version: version.into(),
            url: format!("web-{version}.tgz").into(),
            digest: ListedDigest::Absent,
            created: None,
        }
    }

    fn chosen(wanted: &Wanted) -> Result<String, String> {
        let versions = ["1.10.0", "1.9.0", "2.0.0-rc.1", "1.2", "1.2.3+b"].map(listed);
        let charts = [("web", versions.to_vec()), ("web-gateway", Vec::new())];
        let index = Index {
            charts: charts
                .map(|(name, versions)| (Box::<str>::from(name), versions.into_boxed_slice()))
                .into(),
        };
        let name = if *wanted == Wanted::Exact("gone".into()) {
            "we"
        } else {
            "web"
        };
        let place = Place::Chart {
            repository: "https://charts.example.com".to_owned(),
            name: name.to_owned(),
        };
        choose(&index, &place, name, wanted)
            .map(|listed| listed.version.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_exact_text_comes_before_a_range() {
        assert_eq!(chosen(&Wanted::version("1.2")), Ok("1.2".into()));
        assert_eq!(chosen(&Wanted::version("")), Ok("1.10.0".into()));
        assert_eq!(chosen(&Wanted::version("1.2.x")), Ok("1.2.3+b".into()));
        assert_eq!(
            chosen(&Wanted::version(">0.0.0-0")),
            Ok("2.0.0-rc.1".into())
        );
        assert_eq!(chosen(&Wanted::version("v1.9.0")), Ok("1.9.0".into()));
        insta::assert_snapshot!(chosen(&Wanted::version("3")).unwrap_err(), @"no version of web in https://charts.example.com/ is `3`; there are 2.0.0-rc.1, 1.10.0, 1.9.0, 1.2.3+b, 1.2");
        insta::assert_snapshot!(chosen(&Wanted::Exact("gone".into())).unwrap_err(), @"there is no chart we in https://charts.example.com/; there are web, web-gateway");
    }
}
