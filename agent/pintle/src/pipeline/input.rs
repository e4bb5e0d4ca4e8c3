//! What a command works on: a revision's folder, from a path or a URL.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use pintle_core::{
    application::Reference,
    revision::Revision,
    tree::{Tree, TreePath},
};
use pintle_source::{Credentials, Limits, Login, Options, Remote, Repositories, WorkTree};

use crate::cli::{args::InputArgs, exit::Usage};

/// A revision's folder.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) revision: Revision,
    pub(crate) tree: Arc<dyn Tree>,
    /// A name for what is in it, for who gives none.
    pub(crate) name: String,
}

/// Where a command's input comes from: looked at again with `--follow`.
pub(crate) enum Origin {
    /// The working tree.
    Files(std::path::PathBuf),
    /// The commit that HEAD of a local repository names.
    Local(std::path::PathBuf),
    /// A remote repository.
    Remote {
        repositories: Repositories,
        remote: Box<Remote>,
        reference: Reference,
        path: TreePath,
    },
}

impl Origin {
    /// Reads the arguments.
    pub(crate) fn of(args: &InputArgs) -> anyhow::Result<Self> {
        let path = Path::new(&args.source);
        if path.exists() {
            let refs = [&args.branch, &args.tag, &args.semver, &args.commit];
            if refs.iter().any(|reference| reference.is_some()) || !args.path.is_empty() {
                let text = "--branch, --tag, --semver, --commit and --path are for URLs; a local folder is taken at its HEAD";
                return Err(Usage(text.to_owned()).into());
            }
            let path = path
                .canonicalize()
                .with_context(|| format!("{} cannot be found", path.display()))?;
            return Ok(if args.dev {
                Self::Files(path)
            } else {
                Self::Local(path)
            });
        }
        if !args.source.contains(':') {
            return Err(Usage(format!(
                "{} does not exist: expected a folder, or the URL of a git repository",
                args.source
            ))
            .into());
        }
        if args.dev {
            return Err(Usage(
                "--dev takes files as they are now: it needs a folder, not a URL".to_owned(),
            )
            .into());
        }
        let path = TreePath::parse(&args.path)
            .ok_or_else(|| Usage(format!("--path {} leaves the repository", args.path)))?;
        let remote = Box::new(Remote {
            url: args.source.clone(),
            credentials: credentials(args)?,
        });
        let repositories = Repositories::new(Options::interactive(cache_dir()?.join("git")))?;
        Ok(Self::Remote {
            repositories,
            remote,
            reference: reference(args),
            path,
        })
    }

    /// Reads the newest revision.
    pub(crate) async fn open(&self) -> anyhow::Result<Input> {
        match self {
            Self::Files(path) => {
                let scan = path.clone();
                let files =
                    tokio::task::spawn_blocking(move || WorkTree::scan(&scan, Limits::default()))
                        .await??;
                let tree = files.tree();
                Ok(Input {
                    revision: files.revision,
                    tree,
                    name: name_of(path),
                })
            }
            Self::Local(path) => {
                let open = path.clone();
                let local = tokio::task::spawn_blocking(move || {
                    pintle_source::local(&open, Limits::default())
                })
                .await?;
                let local = local.with_context(|| {
                    format!(
                        "{} cannot be taken from git; `--dev` takes the files as they are now",
                        path.display()
                    )
                })?;
                let tree = local.snapshot.tree(&local.path)?;
                Ok(Input {
                    revision: local.snapshot.revision,
                    tree,
                    name: name_of(path),
                })
            }
            Self::Remote {
                repositories,
                remote,
                reference,
                path,
            } => {
                let snapshot = repositories.fetch(remote, reference).await?;
                let tree = snapshot.tree(path)?;
                let last = path.parts().last().map(ToOwned::to_owned);
                let name = last.unwrap_or_else(|| {
                    name_of(Path::new(
                        remote.url.trim_end_matches('/').trim_end_matches(".git"),
                    ))
                });
                Ok(Input {
                    revision: snapshot.revision.clone(),
                    tree,
                    name,
                })
            }
        }
    }

    /// Returns the folder whose changes `--follow` waits for; nothing if the origin is to be asked instead.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Files(path) | Self::Local(path) => Some(path),
            Self::Remote { .. } => None,
        }
    }
}

/// Makes an object name of a path's last part.
pub(crate) fn name_of(path: &Path) -> String {
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
    // `pintle-inventory.` and the name make the name of a ConfigMap, which ends at 253 characters.
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
    let read = |path: &Option<std::path::PathBuf>| -> anyhow::Result<Option<String>> {
        let Some(path) = path else { return Ok(None) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
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

/// Returns the folder for caches of the command line.
pub(crate) fn cache_dir() -> anyhow::Result<std::path::PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(std::path::PathBuf::from)
    };
    variable("PINTLE_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|base| base.join("pintle")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/pintle")))
        .context("there is no folder for caches: set PINTLE_CACHE or HOME")
}

#[cfg(test)]
mod tests {
    use super::*;

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
