//! What a command works on: a revision's folder, from a path or a URL.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use pintle_core::{
    application::Reference,
    revision::Revision,
    tree::{Tree, TreePath},
};
use pintle_registry::{Archive, Artifact, ChartError, Layout, Place, Wanted};
use pintle_source::{
    Credentials, Limits, Login, Options, Remote, Repositories, SourceError, WorkTree,
};
use tempfile::TempDir;

use crate::{
    cli::{args::InputArgs, cache::cache_dir, exit::Usage, output},
    pipeline::{
        disk::Disk,
        inputs::{self, Surroundings},
        remotes::Remotes,
        snapshot::Snapshot,
    },
};

/// The maximum size of a packed chart that is read, in bytes.
const MAX_ARCHIVE: u64 = 32 << 20;

/// A revision's folder.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) revision: Revision,
    pub(super) tree: Arc<dyn Tree>,
    /// A name derived from its origin, in case none is given.
    pub(super) name: String,
    /// Access to other folders of the revision.
    pub(super) surroundings: Surroundings,
}

/// Where a command's input comes from. With `--follow`, it is looked at repeatedly.
pub(super) enum Origin {
    /// The working tree.
    Files(Disk),
    /// The commit that HEAD of a local repository names. Where there is none, the files as they are.
    Local(Disk),
    /// A packed chart.
    Archive(PathBuf),
    /// A chart or an artifact in a repository or registry.
    Artifact {
        remotes: Arc<Remotes>,
        place: Place,
        wanted: Wanted,
    },
    /// A remote repository.
    Remote {
        repositories: Repositories,
        remote: Box<Remote>,
        reference: Reference,
        path: TreePath,
        /// A folder for repositories until the command ends, if they cannot be kept for longer.
        _scratch: Option<TempDir>,
    },
}

impl Origin {
    /// Parses the arguments.
    pub(super) fn of(args: &InputArgs, remotes: &Arc<Remotes>) -> anyhow::Result<Self> {
        if let Some((place, wanted)) = artifact(args)? {
            refuse_git_arguments(args, "a chart has a --version")?;
            return Ok(Self::Artifact {
                remotes: Arc::clone(remotes),
                place,
                wanted,
            });
        }
        let path = Path::new(&args.source);
        let url = if path.exists() {
            let path = path
                .canonicalize()
                .with_context(|| format!("{} cannot be found", path.display()))?;
            match bare(&path) {
                // A bare repository has no files other than those of its commits.
                Some(url) => url,
                None => return Self::on_disk(args, path),
            }
        } else {
            args.source.clone()
        };
        if !url.contains(':') {
            return Err(Usage(format!(
                "{} does not exist: expected a folder, a packed chart, the URL of a git repository, an artifact \
                 (oci://HOST/REPOSITORY:TAG), or --repo with the name of a chart",
                args.source
            ))
            .into());
        }
        if args.dev {
            return Err(Usage(
                "--dev takes files as they are now: it needs a folder, not a URL or a bare repository"
                    .to_owned(),
            )
            .into());
        }
        let path = TreePath::parse(&args.path)
            .ok_or_else(|| Usage(format!("--path {} leaves the repository", args.path)))?;
        let remote = Box::new(Remote {
            url,
            credentials: credentials(args)?,
        });
        let (repositories, scratch) = repositories()?;
        Ok(Self::Remote {
            repositories,
            remote,
            reference: reference(args),
            path,
            _scratch: scratch,
        })
    }

    /// Returns the origin for a path on this machine.
    fn on_disk(args: &InputArgs, path: PathBuf) -> anyhow::Result<Self> {
        refuse_git_arguments(args, "a local folder is taken at its HEAD")?;
        Ok(if path.is_file() {
            Self::Archive(path)
        } else if args.dev {
            Self::Files(Disk::new(path))
        } else {
            Self::Local(Disk::new(path))
        })
    }

    /// Reads the newest revision.
    pub(super) async fn open(&self) -> anyhow::Result<Input> {
        match self {
            Self::Files(disk) => files(disk).await,
            Self::Local(disk) => local(disk).await,
            Self::Archive(path) => archive(path).await,
            Self::Artifact {
                remotes,
                place,
                wanted,
            } => {
                let (charts, logins) = remotes.charts().await?;
                let place = match place {
                    Place::Chart { repository, name } => Place::Chart {
                        repository: match repository.strip_prefix('@') {
                            Some(alias) => logins.helm.url(alias).map_err(Usage::of)?.to_owned(),
                            None => repository.clone(),
                        },
                        name: name.clone(),
                    },
                    Place::Oci(_) => place.clone(),
                };
                let resolved = charts
                    .resolve(&place, wanted, &logins)
                    .await
                    .map_err(of_chart)?;
                // The files are held until they are used, so that they are not unpacked twice.
                let (artifact, _files) = charts.pull_files(&resolved, None, &logins).await?;
                let name = match &artifact.place {
                    Place::Oci(repository) => repository.name(),
                    Place::Chart { name, .. } => name,
                };
                let name = name_of(Path::new(name));
                Input::of(Snapshot::of(&artifact), TreePath::root(), name).await
            }
            Self::Remote {
                repositories,
                remote,
                reference,
                path,
                ..
            } => {
                let snapshot = repositories
                    .fetch(remote, reference)
                    .await
                    .map_err(of_git)?;
                let last = path.parts().last().map(ToOwned::to_owned);
                let name = last.unwrap_or_else(|| {
                    name_of(Path::new(
                        remote.url.trim_end_matches('/').trim_end_matches(".git"),
                    ))
                });
                Input::of(Snapshot::git(snapshot), path.clone(), name).await
            }
        }
    }

    /// Returns the folder whose changes `--follow` waits for, or `None` if the origin has to be asked instead.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Files(disk) | Self::Local(disk) => Some(disk.folder()),
            Self::Archive(path) => Some(path),
            Self::Remote { .. } | Self::Artifact { .. } => None,
        }
    }

    /// Returns the files that may be read on this machine as they are.
    pub(super) fn disk(&self) -> Option<&Disk> {
        match self {
            Self::Files(disk) | Self::Local(disk) => Some(disk),
            Self::Archive(_) | Self::Remote { .. } | Self::Artifact { .. } => None,
        }
    }
}

impl Input {
    async fn of(snapshot: Snapshot, path: TreePath, name: String) -> anyhow::Result<Self> {
        Ok(Self {
            revision: snapshot.revision().clone(),
            tree: snapshot.tree(&path).await?,
            name,
            surroundings: Surroundings::Revision { snapshot, path },
        })
    }
}

async fn files(disk: &Disk) -> anyhow::Result<Input> {
    let scanned = disk.clone();
    let files = tokio::task::spawn_blocking(move || scanned.scan()).await??;
    let tree = files.tree();
    Ok(Input {
        revision: files.revision,
        tree,
        name: name_of(disk.folder()),
        surroundings: Surroundings::Files(disk.clone()),
    })
}

async fn local(disk: &Disk) -> anyhow::Result<Input> {
    let path = disk.folder();
    let open = path.to_owned();
    let read = move || {
        let local = pintle_source::local(&open, Limits::default())?;
        local.snapshot.tree(&local.path)?;
        // This only serves as a hint.
        let differs = WorkTree::differs(&open, &local, Limits::default());
        Ok((local, matches!(differs, Ok(Some(true)))))
    };
    let error = match tokio::task::spawn_blocking(read).await? {
        Ok((local, differs)) => {
            if differs {
                output::warning(&format!(
                    "{} has changes that are not committed, and they are left out: `--dev` takes the files as they are",
                    path.display()
                ));
            }
            let snapshot = Snapshot::git(local.snapshot);
            return Input::of(snapshot, local.path, name_of(path)).await;
        }
        Err(error) => error,
    };
    match error {
        // Without a repository, there is no commit that could be meant.
        SourceError::NotARepository { .. } => {}
        SourceError::Empty { .. } | SourceError::NoFolder { .. } => {
            output::warning(&format!(
                "{} is in no commit yet, so its files are taken as they are",
                path.display()
            ));
        }
        error => {
            return Err(anyhow::Error::new(error).context(format!(
                "{} cannot be taken from git; `--dev` takes the files as they are now",
                path.display()
            )));
        }
    }
    files(disk).await
}

async fn archive(path: &Path) -> anyhow::Result<Input> {
    let read = path.to_owned();
    let bytes = tokio::task::spawn_blocking(move || {
        if std::fs::metadata(&read)?.len() > MAX_ARCHIVE {
            return Err(std::io::Error::other(format!(
                "it has more than {MAX_ARCHIVE} bytes"
            )));
        }
        std::fs::read(&read)
    })
    .await?
    .with_context(|| format!("{} cannot be read", path.display()))?;
    let archive = Archive::new(bytes.into(), Layout::Chart);
    // Held until they are used, so that they are not unpacked twice.
    let files = archive.unpack().await;
    let files = files.with_context(|| format!("{} is no packed chart", path.display()))?;
    let artifact = Artifact {
        place: Place::Chart {
            repository: "this machine".to_owned(),
            name: path.display().to_string(),
        },
        version: String::new(),
        digest: archive.digest(),
        created: files.modified(),
        archive,
    };
    let stem = path
        .file_stem()
        .map_or_else(Default::default, std::ffi::OsStr::to_owned);
    Input::of(
        Snapshot::of(&artifact),
        TreePath::root(),
        name_of(Path::new(&stem)),
    )
    .await
}

/// Creates the place for fetched repositories: among the caches or, if there can be none, in a folder that is deleted with the
/// command. A cache saves time, and nothing else.
fn repositories() -> anyhow::Result<(Repositories, Option<TempDir>)> {
    // A missing folder for caches was reported already.
    if let Ok(cache) = cache_dir() {
        match Repositories::new(Options::interactive(cache.join("git"))) {
            Ok(repositories) => return Ok((repositories, None)),
            Err(error) => output::warning(&format!("repositories are fetched anew: {error}")),
        }
    }
    let scratch =
        tempfile::tempdir().context("there is no place for what is fetched: set PINTLE_CACHE")?;
    let repositories = Repositories::new(Options::interactive(scratch.path()))?;
    Ok((repositories, Some(scratch)))
}

/// Distinguishes mistakes in what was typed from problems with a server's content or answer.
fn of_git(error: SourceError) -> anyhow::Error {
    match error {
        SourceError::Url { .. }
        | SourceError::Credentials { .. }
        | SourceError::Range { .. }
        | SourceError::CommitId { .. } => Usage::of(error).into(),
        error => error.into(),
    }
}

/// Does the same for charts.
fn of_chart(error: ChartError) -> anyhow::Error {
    match error {
        ChartError::Url { .. } | ChartError::Reference(_) | ChartError::Range(_) => {
            Usage::of(error).into()
        }
        error => error.into(),
    }
}

/// Returns the URL of a bare repository on this machine.
fn bare(path: &Path) -> Option<String> {
    if !pintle_source::is_bare(path) {
        return None;
    }
    url::Url::from_file_path(path).ok().map(String::from)
}

/// Returns which chart or artifact is meant, if one is.
fn artifact(args: &InputArgs) -> anyhow::Result<Option<(Place, Wanted)>> {
    let version = args.version.as_deref().unwrap_or_default();
    if let Some(repository) = &args.repo {
        let place = Place::Chart {
            repository: repository.clone(),
            name: args.source.clone(),
        };
        return Ok(Some((place, Wanted::version(version))));
    }
    if !args.source.starts_with("oci://") {
        if args.version.is_some() {
            let text = "--version is for charts: with --repo URL NAME, or oci://HOST/REPOSITORY";
            return Err(Usage(text.to_owned()).into());
        }
        return Ok(None);
    }
    if let Ok(repository) = args.source.parse() {
        return Ok(Some((Place::Oci(repository), Wanted::version(version))));
    }
    if args.version.is_some() {
        let text = format!(
            "{} names a version already, so --version is one too many",
            args.source
        );
        return Err(Usage(text).into());
    }
    let found = inputs::oci(&args.source, None);
    found
        .map(Some)
        .map_err(|error| Usage(error.to_string()).into())
}

fn refuse_git_arguments(args: &InputArgs, instead: &str) -> anyhow::Result<()> {
    let refs = [&args.branch, &args.tag, &args.semver, &args.commit];
    if refs.iter().any(|reference| reference.is_some()) || !args.path.is_empty() {
        let text = format!(
            "--branch, --tag, --semver, --commit and --path are for URLs of git repositories; {instead}"
        );
        return Err(Usage(text).into());
    }
    Ok(())
}

/// Derives an object name from the last part of a path.
pub(super) fn name_of(path: &Path) -> String {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("pintle")
        .to_lowercase();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let name = name.trim_matches('-');
    let name = if name.is_empty() { "pintle" } else { name };
    // `pintle-inventory.` and the name form the name of a ConfigMap, which may have 253 characters.
    name[..name.len().min(200)].trim_end_matches('-').to_owned()
}

fn reference(args: &InputArgs) -> Reference {
    let InputArgs {
        branch,
        tag,
        semver,
        commit,
        ..
    } = args;
    match (branch, tag, semver, commit) {
        (Some(branch), ..) => Reference::Branch(branch.clone()),
        (_, Some(tag), ..) => Reference::Tag(tag.clone()),
        (_, _, Some(range), _) => Reference::Semver(range.clone()),
        (.., Some(commit)) => Reference::Commit(commit.clone()),
        _ => Reference::Default,
    }
}

fn credentials(args: &InputArgs) -> anyhow::Result<Credentials> {
    let read = |path: &Option<PathBuf>| -> anyhow::Result<Option<String>> {
        let Some(path) = path else { return Ok(None) };
        let text = std::fs::read_to_string(path)
            .map_err(|error| Usage(format!("{} cannot be read: {error}", path.display())))?;
        Ok(Some(text))
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let login = match (
        &args.git_username,
        variable("PINTLE_GIT_TOKEN"),
        read(&args.git_identity)?,
    ) {
        (Some(username), ..) => {
            let password = variable("PINTLE_GIT_PASSWORD").ok_or_else(|| {
                Usage("--git-username needs the password in the environment variable PINTLE_GIT_PASSWORD".to_owned())
            })?;
            Login::Basic {
                username: username.clone(),
                password,
            }
        }
        (None, Some(token), _) => Login::Bearer(token),
        (None, None, Some(identity)) => {
            let known_hosts = read(&args.git_known_hosts)?
                .ok_or_else(|| Usage("--git-identity needs --git-known-hosts".to_owned()))?;
            Login::Key {
                identity,
                known_hosts,
            }
        }
        (None, None, None) => Login::Anonymous,
    };
    Ok(Credentials {
        login,
        certificate_authority: read(&args.git_ca)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_wrongly_is_told_from_what_is_not_there() {
        let url = || "ftp://example.com/a".to_owned();
        let refused = SourceError::Url {
            url: url(),
            reason: "`ftp` is not supported".to_owned(),
        };
        let range = SourceError::Range {
            range: "garbage".to_owned(),
            reason: "it is no version".to_owned(),
        };
        let commit = SourceError::CommitId {
            commit: "abc".to_owned(),
        };
        let credentials = SourceError::Credentials {
            url: url(),
            reason: "a key is for ssh".to_owned(),
        };
        for error in [refused, range, commit, credentials] {
            assert!(of_git(error.clone()).is::<Usage>(), "{error}");
        }
        let missing = SourceError::NotFound {
            url: url(),
            given: false,
        };
        assert!(!of_git(missing).is::<Usage>());
        let refused = ChartError::Url {
            url: "foo".to_owned(),
            reason: "relative URL without a base".to_owned(),
        };
        assert!(of_chart(refused).is::<Usage>());
        let missing = ChartError::NoChart {
            place: url(),
            known: Vec::new(),
        };
        assert!(!of_chart(missing).is::<Usage>());
    }

    #[test]
    fn names_are_what_kubernetes_takes() {
        for (path, name) in [
            ("/a/My_App", "my-app"),
            ("/", "pintle"),
            ("/a/-x-", "x"),
            ("/é", "pintle"),
        ] {
            assert_eq!(name_of(Path::new(path)), name);
        }
    }
}
