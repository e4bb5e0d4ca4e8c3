//! A registry, git servers and a sink for notifications.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pintle_programs::{Program, Progress};
use serde::Deserialize;

use crate::files::write_file;
use crate::git::GitRepo;
use crate::process::Process;
use crate::run_dir::RunDir;
use crate::sink::{self, Delivery};

const START_LIMIT: Duration = Duration::from_mins(1);

/// Options for starting [`Servers`]. By default no credentials are required, and there is no ssh.
#[derive(Clone, Debug, Default)]
pub struct ServersOptions {
    /// The user name and password that the registry, git and charts require.
    pub user: Option<(String, String)>,
    /// A bearer token that git and charts accept. The registry issues it to `user`, or to anyone if there is no user, at the
    /// token endpoint of its challenge.
    pub token: Option<String>,
    /// Whether git is also served over ssh, which needs openssh-server.
    pub ssh: bool,
    /// A persistent folder for repositories and logs. If unset, they are in a [`RunDir`].
    pub dir: Option<PathBuf>,
    /// Whether they keep running after this process has ended, and after the drop.
    pub detached: bool,
}

/// An OCI registry in memory, git over http, https, ssh and files, a chart repository, and a sink
/// that records every request: one child process on loopback. Dropping it stops it.
#[derive(Debug)]
pub struct Servers {
    addresses: Addresses,
    user: Option<(String, String)>,
    process: Process,
    // Dropped after the process, which writes into it.
    _dir: Option<RunDir>,
}

/// The connection details of the ssh server.
#[derive(Clone, Debug, Deserialize)]
pub struct Ssh {
    /// The user to log in as.
    pub user: String,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The private key file of the only client that may log in. It has no passphrase.
    pub key: PathBuf,
    /// Another private key file, for which the server speaks version 0 of git's protocol.
    pub old_key: PathBuf,
    /// The server's host key, as a file in the `known_hosts` format.
    pub known_hosts: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Addresses {
    http: String,
    https: String,
    ca: PathBuf,
    repos: PathBuf,
    charts: PathBuf,
    sink: PathBuf,
    user: PathBuf,
    ssh: Option<Ssh>,
}

impl Servers {
    /// Builds the program if needed, starts it, and waits until all of its servers answer.
    pub fn start(options: &ServersOptions, progress: Progress<'_>) -> Result<Self> {
        let executable = Program::Servers.build(progress)?;
        let (mut fresh, dir) = if let Some(dir) = &options.dir {
            (None, dir.clone())
        } else {
            let fresh = RunDir::new("servers")?;
            let dir = fresh.path().to_owned();
            (Some(fresh), dir)
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        match launch(&executable, options, &dir) {
            Ok((process, addresses)) => Ok(Self {
                addresses,
                user: options.user.clone(),
                process,
                _dir: fresh,
            }),
            Err(error) => {
                if let Some(dir) = &mut fresh {
                    dir.keep();
                }
                Err(error)
            }
        }
    }

    /// Returns the required user name and password, if there are any.
    pub(crate) fn user(&self) -> Option<&(String, String)> {
        self.user.as_ref()
    }

    /// Requires another user and password from now on, if a user is required at all.
    pub fn change_user(&mut self, user: &str, password: &str) -> Result<()> {
        let path = &self.addresses.user;
        // The program reads the file on each request, and must not read half of it.
        let draft = path.with_extension("new");
        write_file(&draft, format!("{user}:{password}"))?;
        std::fs::rename(&draft, path).with_context(|| format!("write {}", path.display()))?;
        self.user = Some((user.to_owned(), password.to_owned()));
        Ok(())
    }

    /// Returns `http://127.0.0.1:PORT`, without a path.
    pub fn http(&self) -> &str {
        &self.addresses.http
    }

    /// Returns `https://127.0.0.1:PORT`, without a path. Its certificate is issued by [`Servers::ca`].
    pub fn https(&self) -> &str {
        &self.addresses.https
    }

    /// Returns the PEM file of the certificate authority that signed the https certificate.
    pub fn ca(&self) -> &Path {
        &self.addresses.ca
    }

    /// Returns the registry's `127.0.0.1:PORT` over plain http, as in an image reference.
    pub fn registry(&self) -> &str {
        self.http().trim_start_matches("http://")
    }

    /// Returns the registry's `127.0.0.1:PORT` over https.
    pub fn registry_tls(&self) -> &str {
        self.https().trim_start_matches("https://")
    }

    /// Returns the connection details of the ssh server, if ssh was requested.
    pub fn ssh(&self) -> Option<&Ssh> {
        self.addresses.ssh.as_ref()
    }

    /// Creates an empty repository `NAME.git` that is served at once.
    pub fn repository(&self, name: &str) -> Result<GitRepo> {
        GitRepo::create(&self.addresses.repos.join(format!("{name}.git")))
    }

    /// Returns a repository's URL over plain http.
    pub fn git_http(&self, repository: &GitRepo) -> String {
        format!("{}/git/{}", self.http(), repository.file_name())
    }

    /// Returns a repository's URL over https.
    pub fn git_https(&self, repository: &GitRepo) -> String {
        format!("{}/git/{}", self.https(), repository.file_name())
    }

    /// Returns a repository's URL over ssh, if ssh was requested.
    pub fn git_ssh(&self, repository: &GitRepo) -> Option<String> {
        let Ssh { user, port, .. } = self.ssh()?;
        Some(format!(
            "ssh://{user}@127.0.0.1:{port}{}",
            repository.bare().display()
        ))
    }

    /// Returns the folder whose files are served below `/charts/`: with an `index.yaml`, it is a chart repository.
    pub fn charts(&self) -> &Path {
        &self.addresses.charts
    }

    /// Returns the URL of the chart repository over plain http.
    pub fn charts_http(&self) -> String {
        format!("{}/charts", self.http())
    }

    /// Returns the URL of the chart repository over https.
    pub fn charts_https(&self) -> String {
        format!("{}/charts", self.https())
    }

    /// Returns the URL of a sink over plain http. A query changes its answers: `?fail=2` refuses the first two requests with 503,
    /// `?status=500` refuses all of them, and `?fail=2&status=429&retry-after=1` refuses the first two with that status and
    /// header.
    pub fn sink(&self, name: &str) -> String {
        format!("{}/sink/{name}", self.http())
    }

    /// Returns what was sent to a sink so far, in order.
    pub fn deliveries(&self, name: &str) -> Result<Vec<Delivery>> {
        let path = format!("/sink/{name}");
        let mut all = sink::read(&self.addresses.sink)?;
        all.retain(|delivery| delivery.path == path);
        Ok(all)
    }

    /// Returns the process that runs all of the servers.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Ends all servers with SIGKILL. From then on they are unreachable.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

fn launch(executable: &Path, options: &ServersOptions, dir: &Path) -> Result<(Process, Addresses)> {
    let mut command = Command::new(executable);
    command.arg("-dir").arg(dir);
    if let Some((user, password)) = &options.user {
        command.arg("-user").arg(format!("{user}:{password}"));
    }
    if let Some(token) = &options.token {
        command.arg("-token").arg(token);
    }
    if options.ssh {
        command.arg("-ssh");
    }
    let log = dir.join("servers.log");
    let mut process = if options.detached {
        Process::spawn_detached("the servers", command, &log)?
    } else {
        command.arg("-exit-with-parent");
        Process::spawn("the servers", command, &log)?
    };
    let line = process.line(START_LIMIT)?;
    let addresses = serde_json::from_str(&line)
        .with_context(|| format!("parse the servers' addresses {line}"))?;
    Ok((process, addresses))
}
