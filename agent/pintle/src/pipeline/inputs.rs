//! What a renderer asks for from elsewhere: charts, artifacts, and other folders of the revision.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::{StreamExt as _, TryStreamExt as _};
use pintle_core::{
    digest::{Digest, Digester, ParseDigestError},
    tree::{Tree, TreeError, TreePath},
};
use pintle_host::{Input, Source};
use pintle_registry::{
    ChartError, Charts, Download, HelmConfigError, Logins, ParseReferenceError, Place, Reference,
    Repository, Target, Wanted, shown_url,
};
use pintle_source::SourceError;

use super::{
    disk::Disk,
    snapshot::{Snapshot, SnapshotError},
};

/// How many fetches of one render are in flight at once.
const AT_ONCE: usize = 8;
/// The maximum number of sources that one render may ask for.
const MAX_SOURCES: usize = 256;
/// The maximum size of all archives that one render asks for, unpacked, in bytes: they are held until it ends.
const MAX_UNPACKED: u64 = 200 << 20;

/// Why an input is not available.
#[derive(Debug, thiserror::Error)]
#[error("the renderer asks for {source_text}")]
pub(crate) struct InputError {
    /// The source that was requested.
    source_text: String,
    #[source]
    pub(crate) cause: InputCause,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum InputCause {
    #[error(transparent)]
    Chart(Box<ChartError>),
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
    #[error(transparent)]
    Helm(#[from] HelmConfigError),
    #[error("repositories by name are known to the command line only: write the repository's URL")]
    Alias,
    #[error("it leads out of the revision: expected a folder within it")]
    Outside,
    #[error(
        "an archive has no folders beside itself: a chart that is packed has its dependencies in it"
    )]
    NoSurroundings,
    #[error(transparent)]
    Snapshot(Box<SnapshotError>),
    #[error(transparent)]
    Files(Box<SourceError>),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("a rendering may ask for {MAX_SOURCES} sources at most")]
    TooMany,
    #[error(
        "all archives that a rendering asks for may have {limit} bytes together when they are unpacked: leave files out of them, for charts with `.helmignore`, or deploy some of them as applications of their own"
    )]
    TooLarge {
        limit: u64,
        /// Whether everything that was requested stays the same for ever.
        is_fixed: bool,
    },
}

impl From<ChartError> for InputCause {
    fn from(error: ChartError) -> Self {
        Self::Chart(Box::new(error))
    }
}

impl From<SnapshotError> for InputCause {
    fn from(error: SnapshotError) -> Self {
        Self::Snapshot(Box::new(error))
    }
}

impl From<SourceError> for InputCause {
    fn from(error: SourceError) -> Self {
        Self::Files(Box::new(error))
    }
}

impl InputError {
    fn of(source: &Source, cause: InputCause) -> Self {
        Self {
            source_text: shown(source),
            cause,
        }
    }

    /// Returns whether the same may succeed later without a change to the revision. What is elsewhere may be published, and the
    /// right to read it granted, without anybody notifying the application.
    pub(crate) fn is_retryable(&self) -> bool {
        match &self.cause {
            InputCause::Chart(error) => error.is_retryable(),
            InputCause::Helm(_) => true,
            // What is published next may be smaller.
            InputCause::TooLarge { is_fixed, .. } => !is_fixed,
            InputCause::Snapshot(_) | InputCause::Tree(_) => self.copy_is_broken(),
            // A mistake in the text, or something that the revision lacks, needs another revision.
            InputCause::Reference(_)
            | InputCause::Digest(_)
            | InputCause::Alias
            | InputCause::Outside
            | InputCause::NoSurroundings
            | InputCause::Files(_)
            | InputCause::TooMany => false,
        }
    }

    /// Returns whether this machine's copy of the revision cannot be read: it is damaged or gone, and a fetch repairs it.
    pub(crate) fn copy_is_broken(&self) -> bool {
        match &self.cause {
            InputCause::Snapshot(error) => error.is_broken(),
            InputCause::Tree(error) => error.is_broken(),
            _ => false,
        }
    }
}

/// The surroundings of the folder that is rendered.
#[derive(Debug, Clone)]
pub(crate) enum Surroundings {
    /// A revision, and the path of the folder in it.
    Revision { snapshot: Snapshot, path: TreePath },
    /// The file system of this machine.
    Files(Disk),
}

impl Surroundings {
    /// Returns another folder.
    pub(crate) fn folder(&self, path: &str) -> Result<Arc<dyn Tree>, InputCause> {
        match self {
            Self::Revision {
                snapshot: Snapshot::Archive(_),
                ..
            } => Err(InputCause::NoSurroundings),
            Self::Revision {
                snapshot: Snapshot::Git(snapshot),
                path: own,
            } => {
                let path = beside(own, path).ok_or(InputCause::Outside)?;
                let tree = snapshot.tree(&path);
                Ok(tree.map_err(SnapshotError::from)?)
            }
            // The person who runs the command may read these files. The same limits apply to them as to everything else.
            Self::Files(own) => Ok(own.scan_beside(path)?.tree()),
        }
    }

    /// Returns a digest that identifies the content of another folder.
    pub(crate) fn content(&self, path: &str) -> Option<Digest> {
        content(&*self.folder(path).ok()?).ok()
    }
}

/// Resolves a path against a folder of the revision. Returns `None` if it leads outside.
fn beside(own: &TreePath, path: &str) -> Option<TreePath> {
    let mut parts: Vec<&str> = if path.starts_with('/') {
        Vec::new()
    } else {
        own.parts().collect()
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    TreePath::parse(&parts.join("/"))
}

fn content(tree: &dyn Tree) -> Result<Digest, InputCause> {
    Ok(Digester::new("folder").part(tree.content()?).finish())
}

/// Limits the unpacked size of one render's archives. An archive that is too large when packed is no smaller when unpacked.
struct Room {
    limit: u64,
    /// See [`InputCause::TooLarge`].
    is_fixed: bool,
    size: AtomicU64,
}

impl Room {
    fn new(is_fixed: bool) -> Self {
        Self {
            limit: MAX_UNPACKED,
            is_fixed,
            size: AtomicU64::new(0),
        }
    }

    /// Counts an archive, which is dropped with the error if there is no room for it.
    fn add(&self, size: u64) -> Result<(), InputCause> {
        let before = self.size.fetch_add(size, Ordering::Relaxed);
        if before + size > self.limit {
            return Err(InputCause::TooLarge {
                limit: self.limit,
                is_fixed: self.is_fixed,
            });
        }
        Ok(())
    }
}

/// What was fetched for one render. Archives are still packed, so that waiting with them takes little memory.
pub(crate) struct Fetched {
    /// See [`InputCause::TooLarge`].
    is_fixed: bool,
    all: Vec<(Source, Content)>,
}

enum Content {
    Folder(Arc<dyn Tree>, Digest),
    Archive(Box<Download>),
}

impl Fetched {
    /// Unpacks the archives, in turn with those of others.
    pub(crate) async fn unpack(self) -> Result<Vec<Input>, InputError> {
        let room = Room::new(self.is_fixed);
        let inputs = self.all.into_iter().map(async |(source, content)| {
            let unpacked = content.unpack(&room).await;
            match unpacked {
                Ok((tree, digest)) => Ok(Input {
                    source,
                    tree,
                    digest,
                }),
                Err(cause) => Err(InputError::of(&source, cause)),
            }
        });
        futures::stream::iter(inputs)
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }
}

impl Content {
    async fn unpack(self, room: &Room) -> Result<(Arc<dyn Tree>, Digest), InputCause> {
        match self {
            Self::Folder(tree, digest) => Ok((tree, digest)),
            Self::Archive(download) => {
                let (_, files) = download.unpack().await?;
                room.add(files.size())?;
                let digest = files.archive();
                Ok((files, digest))
            }
        }
    }
}

/// Fetches for one render.
pub(crate) struct Inputs {
    pub(crate) charts: Charts,
    pub(crate) logins: Logins,
    pub(crate) surroundings: Surroundings,
    /// Whether `@NAME` stands for a repository that a person has added to Helm.
    pub(crate) knows_aliases: bool,
}

impl Inputs {
    /// Fetches everything, in the order in which it was requested.
    pub(crate) async fn fetch(&self, sources: Vec<Source>) -> Result<Fetched, InputError> {
        if let Some(source) = sources.get(MAX_SOURCES) {
            return Err(InputError::of(source, InputCause::TooMany));
        }
        let is_fixed = sources.iter().all(is_fixed);
        let room = Room::new(is_fixed);
        let fetches = sources.into_iter().map(async |source| {
            let fetched = self.one(&source, &room).await;
            match fetched {
                Ok(content) => Ok((source, content)),
                Err(cause) => Err(InputError::of(&source, cause)),
            }
        });
        let all: Vec<_> = futures::stream::iter(fetches)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Fetched { is_fixed, all })
    }

    async fn one(&self, source: &Source, room: &Room) -> Result<Content, InputCause> {
        match source {
            Source::Folder(path) => {
                let (surroundings, path) = (self.surroundings.clone(), path.clone());
                blocking(move || {
                    let tree = surroundings.folder(&path)?;
                    let digest = content(&*tree)?;
                    Ok::<_, InputCause>(Content::Folder(tree, digest))
                })
                .await
            }
            Source::Oci { reference, digest } => {
                let digest = digest.as_deref().map(str::parse::<Digest>).transpose()?;
                let (place, wanted) = oci(reference, digest)?;
                self.chart(&place, &wanted, None, room).await
            }
            Source::Chart {
                repository,
                name,
                version,
                digest,
            } => {
                let digest = digest.as_deref().map(str::parse::<Digest>).transpose()?;
                let place = self.place(repository, name)?;
                let wanted = Wanted::Exact(version.clone());
                self.chart(&place, &wanted, digest, room).await
            }
        }
    }

    async fn chart(
        &self,
        place: &Place,
        wanted: &Wanted,
        digest: Option<Digest>,
        room: &Room,
    ) -> Result<Content, InputCause> {
        let resolved = self.charts.resolve(place, wanted, &self.logins).await?;
        let download = self.charts.download(&resolved, digest, &self.logins);
        let download = download.await?;
        room.add(download.size())?;
        Ok(Content::Archive(Box::new(download)))
    }

    /// Returns a chart's place. Helm's charts may also name a registry as their repository.
    fn place(&self, repository: &str, name: &str) -> Result<Place, InputCause> {
        if let Some(registry) = repository.strip_prefix("oci://") {
            let text = format!("{}/{name}", registry.trim_end_matches('/'));
            return Ok(Place::Oci(text.parse()?));
        }
        let alias = repository
            .strip_prefix('@')
            .or_else(|| repository.strip_prefix("alias:"));
        let repository = match alias {
            Some(_) if !self.knows_aliases => return Err(InputCause::Alias),
            Some(alias) => self.logins.helm.url(alias)?,
            None => repository,
        };
        Ok(Place::Chart {
            repository: repository.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// Returns whether a source stays the same for as long as the revision does.
fn is_fixed(source: &Source) -> bool {
    source.is_pinned() || matches!(source, Source::Folder(_))
}

/// Returns the text of a source without possible secrets in a URL. Read sets use the source's full text.
fn shown(source: &Source) -> String {
    let mut source = source.clone();
    if let Source::Chart { repository, .. } = &mut source {
        *repository = shown_url(repository);
    }
    source.to_string()
}

/// Parses `oci://HOST/REPOSITORY[:TAG]`. If there is a digest, it decides.
pub(crate) fn oci(text: &str, digest: Option<Digest>) -> Result<(Place, Wanted), InputCause> {
    if let Some(digest) = digest {
        let repository = match text.parse::<Reference>() {
            Ok(reference) => Repository::from(&reference),
            Err(_) => text.parse()?,
        };
        return Ok((Place::Oci(repository), Wanted::Digest(digest)));
    }
    let reference: Reference = text.parse()?;
    let wanted = match reference.target() {
        Target::Digest(digest) => Wanted::Digest(digest),
        Target::Tag(tag) => Wanted::Exact(tag.to_owned()),
    };
    Ok((Place::Oci(Repository::from(&reference)), wanted))
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use pintle_registry::{Cause, RegistryError, RepositoryStage, Shown, Stage};
    use pintle_source::Limits;

    use super::*;

    #[test]
    fn archives_of_one_rendering_have_a_bound_together() {
        let room = Room {
            limit: 600,
            ..Room::new(false)
        };
        room.add(300).unwrap();
        room.add(300).unwrap();
        let error = room.add(1).unwrap_err();
        insta::assert_snapshot!(error, @"all archives that a rendering asks for may have 600 bytes together when they are unpacked: leave files out of them, for charts with `.helmignore`, or deploy some of them as applications of their own");
    }

    #[test]
    fn a_folder_beside_is_another_one_when_what_its_links_lead_to_changes() {
        let dir = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(dir.path()).args(args);
            for setting in ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"] {
                git.env(setting, "/dev/null");
            }
            for name in ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"] {
                git.env(name, "t");
            }
            for email in ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
                git.env(email, "t@example.com");
            }
            assert!(git.status().unwrap().success(), "git {args:?}");
        };
        git(&["init", "--quiet"]);
        for folder in ["web", "common", "base"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        symlink("../base/a.yaml", dir.path().join("common/a.yaml")).unwrap();
        let content_with = |file: &str, text: &str| {
            fs::write(dir.path().join(file), text).unwrap();
            git(&["add", "--all"]);
            git(&["commit", "--quiet", "--message", file]);
            let here = pintle_source::local(dir.path(), Limits::default()).unwrap();
            let surroundings = Surroundings::Revision {
                snapshot: Snapshot::git(here.snapshot),
                path: TreePath::parse("web").unwrap(),
            };
            surroundings.content("../common").unwrap()
        };
        let first = content_with("base/a.yaml", "1");
        assert_eq!(content_with("base/b.yaml", "1"), first);
        assert_ne!(content_with("base/a.yaml", "2"), first);
    }

    #[test]
    fn folders_beside_stay_within_the_revision() {
        let own = TreePath::parse("apps/web").unwrap();
        let at = |path: &str| beside(&own, path).map(|path| path.to_string());
        assert_eq!(at("../common").as_deref(), Some("apps/common"));
        assert_eq!(at("../../base/./x").as_deref(), Some("base/x"));
        assert_eq!(at("/base").as_deref(), Some("base"));
        assert_eq!(at("charts/a").as_deref(), Some("apps/web/charts/a"));
        assert_eq!(at("../../.."), None);
        assert_eq!(at("/.."), None);
        assert_eq!(at("..\\x"), None);
    }

    #[test]
    fn what_may_be_published_or_allowed_later_is_tried_again() {
        let no_version = ChartError::NoVersion {
            place: "web".to_owned(),
            wanted: "1.2.3".to_owned(),
            known: Vec::new(),
        };
        let no_chart = ChartError::NoChart {
            place: "web".to_owned(),
            known: Vec::new(),
        };
        let not_found = || Cause::NotFound {
            host: "registry.example.com".to_owned(),
            part: "repository or tag",
            message: None,
        };
        let unauthorized = Cause::Unauthorized {
            host: "registry.example.com".to_owned(),
            shown: Shown::Password,
            message: None,
        };
        let of_registry = |cause| {
            ChartError::from(RegistryError {
                reference: "registry.example.com/web:1".parse().unwrap(),
                stage: Stage::Resolve,
                cause,
            })
        };
        let index = ChartError::Repository {
            repository: "https://charts.example.com".to_owned(),
            stage: RepositoryStage::Index,
            cause: Box::new(not_found()),
        };
        let url = ChartError::Url {
            url: "charts".to_owned(),
            reason: "it is none".to_owned(),
        };
        let reference = "::".parse::<Reference>().unwrap_err();
        let is_retried = |cause: InputCause| {
            let source_text = String::new();
            InputError { source_text, cause }.is_retryable()
        };
        for later in [
            no_version,
            no_chart,
            of_registry(not_found()),
            of_registry(unauthorized),
            index,
        ] {
            let text = later.to_string();
            assert!(is_retried(later.into()), "{text}");
        }
        let too_large = |is_fixed| InputCause::TooLarge { limit: 1, is_fixed };
        assert!(is_retried(too_large(false)));
        let never = [
            InputCause::from(url),
            InputCause::from(reference),
            InputCause::Outside,
            too_large(true),
        ];
        for never in never {
            let text = format!("{never:?}");
            assert!(!is_retried(never), "{text}");
        }
    }

    #[test]
    fn what_a_digest_names_or_the_revision_has_is_the_same_at_the_next_try() {
        let chart = |digest: Option<String>| Source::Chart {
            repository: "https://charts.example.com".to_owned(),
            name: "web".to_owned(),
            version: "1.2.3".to_owned(),
            digest,
        };
        assert!(is_fixed(&chart(Some(Digest::of("x").to_string()))));
        assert!(is_fixed(&Source::Folder("../common".to_owned())));
        assert!(!is_fixed(&chart(None)));
    }

    #[test]
    fn what_is_asked_for_is_shown_without_secrets() {
        let chart = |repository: &str| {
            shown(&Source::Chart {
                repository: repository.to_owned(),
                name: "web".to_owned(),
                version: "1.2.3".to_owned(),
                digest: None,
            })
        };
        assert_eq!(
            chart("https://charts.example.com/a?token=x"),
            "chart https://charts.example.com/a?... web 1.2.3"
        );
        assert_eq!(chart("@shelf"), "chart @shelf web 1.2.3");
        assert_eq!(
            chart("oci://registry.example.com/charts"),
            "chart oci://registry.example.com/charts web 1.2.3"
        );
    }

    #[test]
    fn a_digest_decides_over_a_tag() {
        let digest = Digest::of("x");
        let place = Place::Oci("registry.example.com/web".parse().unwrap());
        for text in [
            "oci://registry.example.com/web",
            "oci://registry.example.com/web:1",
        ] {
            assert_eq!(
                oci(text, Some(digest)).unwrap(),
                (place.clone(), Wanted::Digest(digest))
            );
        }
        assert_eq!(
            oci("oci://registry.example.com/web:1", None).unwrap(),
            (place, Wanted::Exact("1".into()))
        );
        assert!(oci("oci://registry.example.com/web", None).is_err());
    }
}
