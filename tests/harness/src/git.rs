//! Repositories to serve, each with a clone to work in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::files::write_file;

/// A bare repository, and a working clone of it that commits and pushes with the git command line.
///
/// The branch is `main`. No user's git configuration is read.
#[derive(Debug)]
pub struct GitRepo {
    bare: PathBuf,
    work: PathBuf,
}

impl GitRepo {
    /// Creates an empty bare repository at `bare`, which must not exist, and a clone beside it.
    pub fn create(bare: &Path) -> Result<Self> {
        let bare = std::path::absolute(bare).with_context(|| format!("find {}", bare.display()))?;
        let work = bare.with_extension("work");
        fs::create_dir_all(&work).with_context(|| format!("make {}", work.display()))?;
        let repo = Self { bare, work };
        if repo.bare.exists() {
            bail!(
                "{} exists already: choose another name",
                repo.bare.display()
            );
        }
        git(
            &repo.work,
            &[
                "init",
                "--quiet",
                "--bare",
                "--initial-branch=main",
                &repo.file(),
            ],
        )?;
        // As on the large hosts: any reachable commit can be fetched, and partial clones work.
        for setting in [
            "uploadpack.allowReachableSHA1InWant",
            "uploadpack.allowFilter",
            "http.receivepack",
        ] {
            git(&repo.bare, &["config", setting, "true"])?;
        }
        git(
            &repo.work,
            &["init", "--quiet", "--initial-branch=main", "."],
        )?;
        git(&repo.work, &["remote", "add", "origin", &repo.file()])?;
        Ok(repo)
    }

    /// Returns the bare repository's absolute path.
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    /// Returns the working clone's absolute path.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Returns the repository's URL on this machine, `file:///...`.
    pub fn url(&self) -> String {
        format!("file://{}", self.file())
    }

    fn file(&self) -> String {
        self.bare.to_string_lossy().into_owned()
    }

    /// Returns the bare repository's file name, `NAME.git`.
    pub(crate) fn file_name(&self) -> String {
        self.bare
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Writes a file in the clone, and creates the folders that contain it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        write_file(&self.work.join(path), content)
    }

    /// Removes a file from the clone.
    pub fn remove(&self, path: &str) -> Result<()> {
        let file = self.work.join(path);
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))
    }

    /// Commits all changes in the clone, even if there are none, and returns the commit's id.
    pub fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message])?;
        self.head()
    }

    /// Pushes the current branch and all tags, by force: a test may rewrite history.
    pub fn push(&self) -> Result<()> {
        self.git(&["push", "--quiet", "--force", "origin", "HEAD"])?;
        self.git(&["push", "--quiet", "--force", "--tags", "origin"])
            .map(drop)
    }

    /// Writes files, commits and pushes them, and returns the commit's id.
    pub fn push_files(&self, files: &[(&str, &str)], message: &str) -> Result<String> {
        for (path, content) in files {
            self.write(path, content)?;
        }
        let id = self.commit(message)?;
        self.push()?;
        Ok(id)
    }

    /// Tags the current commit and pushes the tag.
    pub fn tag(&self, name: &str) -> Result<()> {
        self.git(&["tag", "--force", name])?;
        self.push()
    }

    /// Deletes a tag or branch on the server.
    pub fn delete_remote(&self, name: &str) -> Result<()> {
        self.git(&["push", "--quiet", "origin", "--delete", name])
            .map(drop)
    }

    /// Switches to a branch, which is created from the current commit if it does not exist.
    pub fn branch(&self, name: &str) -> Result<()> {
        let exists = self
            .git(&[
                "rev-parse",
                "--quiet",
                "--verify",
                &format!("refs/heads/{name}"),
            ])
            .is_ok();
        let args: &[&str] = if exists {
            &["switch", "--quiet", name]
        } else {
            &["switch", "--quiet", "--create", name]
        };
        self.git(args).map(drop)
    }

    /// Returns the current commit's id.
    pub fn head(&self) -> Result<String> {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in the clone and returns its output, without surrounding white space.
    pub fn git(&self, args: &[&str]) -> Result<String> {
        git(&self.work, args)
    }
}

fn git(dir: &Path, args: &[&str]) -> Result<String> {
    let output = command(dir)
        .args(args)
        .output()
        .context("run `git`: install git")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "git {} in {}: {}: {}",
            args.join(" "),
            dir.display(),
            output.status,
            said.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "Test")
            .env(format!("GIT_{role}_EMAIL"), "test@example.com");
    }
    // These come from a git hook, or from the user, and would point git to another repository or certificate authority.
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_SSL_CAINFO",
    ] {
        command.env_remove(name);
    }
    command
}
