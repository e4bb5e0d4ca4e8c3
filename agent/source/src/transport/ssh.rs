//! git's protocol through OpenSSH's client.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gix::protocol::transport::{
    Protocol,
    client::git::{ConnectMode, blocking_io::Connection as GitConnection},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use super::{Connection, Conversation};
use crate::{
    credentials::{Credentials, KNOWN_HOSTS_HINT, Login},
    error::{SourceError, one_line},
    location::SshAddress,
};

/// The most bytes that are kept of what `ssh` says.
const SAID: u64 = 8 << 10;
/// The age below which a folder with keys may have just been created, and not be locked yet.
const YOUNG: Duration = Duration::from_mins(1);

/// Starts `ssh` with nothing but the contents of the credentials, in files that only this user can read.
///
/// Without a key, the caller's own configuration and agent are used, if that is allowed at all. In no case is a person asked
/// for anything, or a host trusted that was not known before.
pub(crate) fn connect(
    address: &SshAddress,
    credentials: &Credentials,
    ambient: bool,
    keys_dir: &Path,
    conversation: &Arc<Conversation>,
    version: Protocol,
) -> Result<Connection, SourceError> {
    let url = conversation.url();
    let files = match &credentials.login {
        Login::Key {
            identity,
            known_hosts,
        } => Some(KeyFiles::write(keys_dir, identity, known_hosts)?),
        Login::Anonymous if ambient => None,
        _ => {
            return Err(SourceError::Credentials {
                url,
                reason: format!(
                    "ssh needs a key: expected `identity` and `known_hosts`{KNOWN_HOSTS_HINT}"
                ),
            });
        }
    };
    let mut command = command(address, files.as_ref(), conversation);
    // The child is registered with the runtime, so it must be started within it.
    let spawned = conversation.wait("did not start", conversation.limits().connect, async {
        command.spawn()
    });
    let mut child = match spawned {
        Ok(Ok(child)) => child,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SourceError::NoSsh { url });
        }
        Ok(Err(error)) => {
            return Err(SourceError::Unreachable {
                url,
                reason: format!("`ssh` could not be started: {error}"),
            });
        }
        Err(_) => {
            return Err(conversation
                .failure()
                .unwrap_or(SourceError::Stopped { url }));
        }
    };
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(SourceError::Unreachable {
            url,
            reason: "`ssh` has no pipes".to_owned(),
        });
    };
    let process = Arc::new(Process {
        state: Mutex::new((child, stderr)),
        conversation: Arc::clone(conversation),
        files,
    });
    let reader = Reader {
        stdout,
        conversation: Arc::clone(conversation),
        process: Arc::clone(&process),
    };
    let writer = Writer {
        stdin,
        conversation: Arc::clone(conversation),
        process,
    };
    let connection = GitConnection::new(
        reader,
        writer,
        version,
        address.path.clone(),
        None::<(String, Option<u16>)>,
        ConnectMode::Process,
        false,
    )
    .custom_url(Some(url.into()));
    Ok(Box::new(connection))
}

fn command(address: &SshAddress, files: Option<&KeyFiles>, conversation: &Conversation) -> Command {
    let mut command = Command::new("ssh");
    let mut option = |text: String| {
        command.arg("-o").arg(text);
    };
    for fixed in [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "ForwardAgent=no",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "SendEnv=GIT_PROTOCOL",
        "LogLevel=ERROR",
    ] {
        option(fixed.to_owned());
    }
    option(format!(
        "ConnectTimeout={}",
        conversation.limits().connect.as_secs().max(1)
    ));
    option(format!(
        "ServerAliveInterval={}",
        (conversation.limits().idle.as_secs() / 2).max(1)
    ));
    if let Some(files) = files {
        for fixed in [
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "PreferredAuthentications=publickey",
            "GlobalKnownHostsFile=none",
            "ControlMaster=no",
            "ControlPath=none",
        ] {
            option(fixed.to_owned());
        }
        option(format!("UserKnownHostsFile={}", quoted(&files.known_hosts)));
        option(format!("IdentityFile={}", quoted(&files.identity)));
        command.args(["-F", "none"]);
    }
    command.arg("-T").arg("-a").arg("-x");
    if let Some(port) = address.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(user) = &address.user {
        command.arg("-l").arg(user);
    }
    command.arg("--").arg(&address.host);
    // The server's shell reads this. Within single quotes it takes everything but a single quote literally.
    let path = address.path.replace('\'', "'\\''");
    let path = match path.strip_prefix('~').and_then(|rest| rest.split_once('/')) {
        // The shell looks up the home, so its name cannot be quoted; a user name needs no quotes either.
        Some((user, rest))
            if user
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) =>
        {
            format!("~{user}/'{rest}'")
        }
        _ => format!("'{path}'"),
    };
    command.arg(format!("git-upload-pack {path}"));
    command
        .env("GIT_PROTOCOL", "version=2")
        .env("LC_ALL", "C")
        .env_remove("SSH_ASKPASS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Formats a path for `ssh_config(5)`: in quotes, and with `%` doubled, because it begins a token there.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

/// A key and the hosts that it is for, in a private folder that is removed when this is dropped.
#[derive(Debug)]
struct KeyFiles {
    folder: PathBuf,
    identity: PathBuf,
    known_hosts: PathBuf,
    /// Held while the folder is in use, so that what a killed process left can be told from what is in use.
    _lock: fs::File,
}

/// The name of the lock in the folder.
const LOCK: &str = "lock";

impl KeyFiles {
    fn write(keys_dir: &Path, identity: &str, known_hosts: &str) -> Result<Self, SourceError> {
        let folder = keys_dir.join(hex_name());
        let failed = |error: io::Error| SourceError::cache(&folder, &error);
        sweep_keys(keys_dir);
        private_dir(keys_dir).map_err(failed)?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(failed)?;
        let lock = private_file(&folder.join(LOCK)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let files = Self {
            identity: folder.join("identity"),
            known_hosts: folder.join("known_hosts"),
            folder,
            _lock: lock,
        };
        // From here on, dropping this removes the folder. OpenSSH wants a line end after the key's last line, and no others.
        let key = format!("{}\n", identity.trim().replace('\r', ""));
        let hosts = format!("{}\n", known_hosts.trim().replace('\r', ""));
        for (path, text) in [(&files.identity, key), (&files.known_hosts, hosts)] {
            private_file(path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|error| SourceError::cache(path, &error))?;
        }
        Ok(files)
    }
}

impl Drop for KeyFiles {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next sweep.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes the keys that killed processes left behind.
pub(crate) fn sweep_keys(keys_dir: &Path) {
    for entry in fs::read_dir(keys_dir).into_iter().flatten().flatten() {
        let is_old = entry
            .metadata()
            .and_then(|facts| facts.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > YOUNG));
        // Between creating its folder and locking it, a process looks like one that was killed. Only the age tells them apart.
        if is_old && is_abandoned(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_abandoned(folder: &Path) -> bool {
    match fs::File::open(folder.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        // Half removed.
        Err(_) => true,
    }
}

fn hex_name() -> String {
    format!("{:032x}", rand::random::<u128>())
}

pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn private_file(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// The running `ssh`. It is killed when the connection is gone.
#[derive(Debug)]
struct Process {
    state: Mutex<(Child, ChildStderr)>,
    conversation: Arc<Conversation>,
    files: Option<KeyFiles>,
}

impl Process {
    /// Records in the conversation why `ssh` ended, if it ended without doing its work.
    fn explain(&self) {
        let (child, stderr) = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut said = Vec::new();
        let limit = self.conversation.limits().connect;
        let ended = self.conversation.wait("did not end", limit, async {
            let _ = stderr.take(SAID).read_to_end(&mut said).await;
            child.wait().await
        });
        if let Ok(Ok(status)) = ended
            && !status.success()
        {
            let mut said = String::from_utf8_lossy(&said).into_owned();
            if let Some(files) = &self.files {
                said = said.replace(&format!("{}/", files.folder.display()), "");
            }
            self.conversation
                .fail(classify(self.conversation.url(), &said, status.code()));
        }
    }
}

/// Returns the error for a failure of `ssh`. Its exit status only shows whether it failed itself (255); the rest is in its
/// messages.
fn classify(url: String, said: &str, code: Option<i32>) -> SourceError {
    let lower = said.to_ascii_lowercase();
    let has = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    let lines: Vec<&str> = said
        .lines()
        .map(|line| line.trim().trim_end_matches('.'))
        .filter(|line| !line.is_empty() && !line.starts_with('@'))
        .collect();
    let reason = match lines.last() {
        Some(_) => one_line(&lines[lines.len().saturating_sub(3)..].join("; ")),
        None => format!(
            "`ssh` ended with {}",
            code.map_or("a signal".to_owned(), |code| format!("status {code}"))
        ),
    };
    if has(&["no matching host key type"]) {
        // `ssh-keyscan` would return only the keys that are refused.
        let reason = format!(
            "its host keys are only of outdated types, which `ssh` refuses{}; give its server one of a current type, such as \
             ssh-ed25519, and put that into `known_hosts`",
            offer(said)
        );
        return SourceError::HostKey { url, reason };
    }
    if has(&[
        "host key verification failed",
        "remote host identification has changed",
    ]) {
        let reason = format!("{reason}{KNOWN_HOSTS_HINT}");
        return SourceError::HostKey { url, reason };
    }
    if has(&[
        "invalid format",
        "error in libcrypto",
        "incorrect passphrase",
        "load key",
    ]) {
        let reason = format!(
            "the key cannot be used: {reason}; expected a private key in OpenSSH's or PEM form, without a passphrase"
        );
        return SourceError::Credentials { url, reason };
    }
    if has(&["permission denied (", "too many authentication failures"]) {
        return SourceError::Unauthenticated { url, given: true };
    }
    if has(&[
        "does not appear to be a git repository",
        "repository not found",
        "does not exist",
        "could not be found",
        "not found.",
    ]) {
        return SourceError::NotFound { url, given: true };
    }
    if has(&["access denied", "not allowed", "may not access"]) {
        return SourceError::Forbidden { url, reason };
    }
    if code == Some(255) || code.is_none() {
        return SourceError::Unreachable { url, reason };
    }
    SourceError::Protocol { url, reason }
}

/// Returns what a server offers if `ssh` accepts none of it, with punctuation before it.
fn offer(said: &str) -> String {
    let offer = said.split_once("Their offer: ");
    let offer = offer.and_then(|(_, rest)| rest.lines().next());
    offer
        .map(|offer| format!(": {}", one_line(offer)))
        .unwrap_or_default()
}

struct Reader {
    stdout: ChildStdout,
    conversation: Arc<Conversation>,
    process: Arc<Process>,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limits = self.conversation.limits();
        let limit = limits.connect + limits.idle;
        let read = self
            .conversation
            .wait("sent nothing", limit, self.stdout.read(buffer))??;
        if read == 0 && !buffer.is_empty() {
            self.process.explain();
        }
        self.conversation.receive(read)?;
        Ok(read)
    }
}

struct Writer {
    stdin: ChildStdin,
    conversation: Arc<Conversation>,
    process: Arc<Process>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let limit = self.conversation.limits().idle;
        let written = self
            .conversation
            .wait("took nothing", limit, self.stdin.write(bytes))?;
        written.inspect_err(|_| self.process.explain())
    }

    fn flush(&mut self) -> io::Result<()> {
        let limit = self.conversation.limits().idle;
        self.conversation
            .wait("took nothing", limit, self.stdin.flush())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn what_ssh_says_is_understood() {
        let told = |said: &str| classify("URL".into(), said, Some(255)).to_string();
        insta::assert_snapshot!(told("No ED25519 host key is known for h and you have requested strict checking.\r\nHost key verification failed.\r\n"), @"URL is not trusted: No ED25519 host key is known for h and you have requested strict checking; Host key verification failed: get the host's keys with `ssh-keyscan HOST`, compare their fingerprints with those that the host publishes, and put them into `known_hosts`");
        insta::assert_snapshot!(told("Unable to negotiate with 192.0.2.1 port 22: no matching host key type found. Their offer: ssh-rsa,ssh-dss\r\n"), @"URL is not trusted: its host keys are only of outdated types, which `ssh` refuses: ssh-rsa,ssh-dss; give its server one of a current type, such as ssh-ed25519, and put that into `known_hosts`");
        insta::assert_snapshot!(told("No matching host key type found.\n"), @"URL is not trusted: its host keys are only of outdated types, which `ssh` refuses; give its server one of a current type, such as ssh-ed25519, and put that into `known_hosts`");
        insta::assert_snapshot!(told("git@h: Permission denied (publickey).\n"), @"URL refused the credentials: check that they are right and have not expired");
        insta::assert_snapshot!(told("Load key \"/x/identity\": error in libcrypto\ngit@h: Permission denied (publickey).\n"), @r#"the credentials do not fit URL: the key cannot be used: Load key "/x/identity": error in libcrypto; git@h: Permission denied (publickey); expected a private key in OpenSSH's or PEM form, without a passphrase"#);
        insta::assert_snapshot!(told("ssh: Could not resolve hostname h: Name or service not known\n"), @"URL cannot be reached: ssh: Could not resolve hostname h: Name or service not known");
        insta::assert_snapshot!(classify("URL".into(), "fatal: '/x' does not appear to be a git repository\n", Some(128)), @"URL does not exist, or may not be seen with these credentials");
        insta::assert_snapshot!(classify("URL".into(), "", Some(127)), @"URL does not answer as a git server: `ssh` ended with status 127");
    }

    #[test]
    fn keys_are_private_and_do_not_stay() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::write(dir.path(), "key\r\n", "host\n").unwrap();
        assert_eq!(fs::read(&files.identity).unwrap(), b"key\n");
        for path in [&files.identity, &files.known_hosts] {
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        assert_eq!(
            fs::metadata(&files.folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let second = KeyFiles::write(dir.path(), "k", "h").unwrap();
        assert!(files.identity.exists(), "in use, so not swept");
        drop((files, second));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_once_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        // Nobody holds the lock of the first one, and the second one has none.
        let folders = ["killed", "half removed"].map(|name| dir.path().join(name));
        for folder in &folders {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("identity"), "key").unwrap();
        }
        fs::write(folders[0].join(LOCK), "").unwrap();
        drop(KeyFiles::write(dir.path(), "k", "h").unwrap());
        for folder in &folders {
            assert!(folder.exists(), "another process may just be making it");
            let old = SystemTime::now() - 2 * YOUNG;
            fs::File::open(folder).unwrap().set_modified(old).unwrap();
        }
        drop(KeyFiles::write(dir.path(), "k", "h").unwrap());
        for folder in &folders {
            assert!(!folder.exists());
        }
    }
}
