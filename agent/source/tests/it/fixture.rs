//! One set of servers for all tests of this binary, and short names for what every test does.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pintle_core::{
    application::Reference,
    tree::{Tree, TreePath},
};
use pintle_harness::{GitRepo, Servers, ServersOptions, to_stderr};
use pintle_source::{
    Credentials, Limits, Login, Options, Remote, Repositories, Snapshot, SourceError,
};
use tempfile::TempDir;

/// Starts the servers that ask for no password over http; ssh always wants its key.
pub(crate) fn open_servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        Servers::start(
            &ServersOptions {
                ssh: true,
                ..Default::default()
            },
            &to_stderr,
        )
        .unwrap()
    })
}

/// Starts the servers that want `me` and `hunter2`, or the bearer token `open-sesame`.
pub(crate) fn guarded_servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let user = Some(("me".to_owned(), "hunter2".to_owned()));
        let options = ServersOptions {
            user,
            token: Some("open-sesame".to_owned()),
            ..Default::default()
        };
        Servers::start(&options, &to_stderr).unwrap()
    })
}

/// Creates an empty repository with a name of its own.
pub(crate) fn repository(servers: &Servers, name: &str) -> GitRepo {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    servers
        .repository(&format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
        .unwrap()
}

/// Creates a repository with one commit.
pub(crate) fn small(servers: &Servers, name: &str) -> GitRepo {
    let repository = repository(servers, name);
    repository
        .push_files(
            &[("app/a.yaml", "a: 1\n"), ("other/b.yaml", "b: 1\n")],
            "first\n\nbody",
        )
        .unwrap();
    repository
}

/// Makes a repository refuse commits that are not tips before version 2 of the protocol, which is how git ships.
pub(crate) fn only_tips(repository: &GitRepo) {
    let bare = repository.bare().to_str().unwrap();
    let setting = "uploadpack.allowReachableSHA1InWant";
    repository
        .git(&["-C", bare, "config", setting, "false"])
        .unwrap();
}

/// Returns the address of a repository on the server that speaks ssh, and only the first version of git's protocol.
pub(crate) fn old_ssh(servers: &Servers, repository: &GitRepo) -> Remote {
    let ssh = servers.ssh().unwrap();
    let login = Login::Key {
        identity: std::fs::read_to_string(&ssh.old_key).unwrap(),
        known_hosts: std::fs::read_to_string(&ssh.known_hosts).unwrap(),
    };
    Remote {
        url: servers.git_ssh(repository).unwrap(),
        credentials: Credentials {
            login,
            certificate_authority: None,
        },
    }
}

/// A cache folder, and repositories that use it.
pub(crate) struct Desk {
    pub(crate) dir: TempDir,
    pub(crate) repositories: Repositories,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path());
        change(&mut options);
        let repositories = Repositories::new(options).unwrap();
        Self { dir, repositories }
    }

    pub(crate) fn limited(change: impl FnOnce(&mut Limits)) -> Self {
        Self::with(|options| change(&mut options.limits))
    }

    /// Creates another user of the same cache folder, as another process would be.
    pub(crate) fn again(&self) -> Repositories {
        self.again_with(|_| {})
    }

    pub(crate) fn again_with(&self, change: impl FnOnce(&mut Options)) -> Repositories {
        let mut options = Options::new(self.dir.path());
        change(&mut options);
        Repositories::new(options).unwrap()
    }

    pub(crate) async fn fetch(
        &self,
        url: &str,
        reference: Reference,
    ) -> Result<Snapshot, SourceError> {
        self.repositories
            .fetch(&Remote::anonymous(url), &reference)
            .await
    }

    pub(crate) async fn refused(&self, url: &str, reference: Reference) -> SourceError {
        self.fetch(url, reference).await.unwrap_err()
    }
}

/// Removes from a message what differs between runs.
pub(crate) fn tidy(error: &SourceError) -> String {
    let text = error.to_string();
    let mut tidy = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("127.0.0.1:") {
        let after = &rest[at + "127.0.0.1:".len()..];
        let end = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        tidy.push_str(&rest[..at]);
        tidy.push_str("HOST");
        rest = &after[end..];
    }
    tidy + rest
}

pub(crate) fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

pub(crate) fn branch(name: &str) -> Reference {
    Reference::Branch(name.to_owned())
}

pub(crate) fn tree(snapshot: &Snapshot, folder: &str) -> Arc<dyn Tree> {
    snapshot.tree(&path(folder)).unwrap()
}

pub(crate) fn read(snapshot: &Snapshot, file: &str) -> String {
    String::from_utf8(tree(snapshot, "").read(&path(file)).unwrap()).unwrap()
}

pub(crate) fn names(tree: &dyn Tree, folder: &str) -> Vec<String> {
    tree.entries(&path(folder))
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect()
}

pub(crate) fn basic(password: &str) -> Credentials {
    let login = Login::Basic {
        username: "me".into(),
        password: password.into(),
    };
    Credentials {
        login,
        certificate_authority: None,
    }
}

pub(crate) fn token(token: &str) -> Credentials {
    Credentials {
        login: Login::Bearer(token.into()),
        certificate_authority: None,
    }
}

/// Returns text that hardly compresses, so that sizes show what was sent.
pub(crate) fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from(state >> 58).unwrap())
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Runs git in the working clone with the given standard input.
pub(crate) fn git_with(repository: &GitRepo, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .current_dir(repository.work())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {args:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Commits a tree made of `mode type id<TAB>name` lines, each ended by NUL, and pushes it to main.
pub(crate) fn push_tree(repository: &GitRepo, entries: &[u8]) -> String {
    let tree = git_with(repository, &["mktree", "--missing", "-z"], entries);
    push_tree_id(repository, &tree)
}

/// Commits a tree by its id and pushes it to main.
pub(crate) fn push_tree_id(repository: &GitRepo, tree: &str) -> String {
    let commit = repository
        .git(&["commit-tree", tree, "-m", "made by hand"])
        .unwrap();
    repository
        .git(&[
            "push",
            "--quiet",
            "--force",
            "origin",
            &format!("{commit}:refs/heads/main"),
        ])
        .unwrap();
    commit
}

/// Writes a blob and returns its id.
pub(crate) fn blob(repository: &GitRepo, bytes: &[u8]) -> String {
    git_with(repository, &["hash-object", "-w", "--stdin"], bytes)
}

/// Returns one line for [`push_tree`].
pub(crate) fn line(mode: &str, id: &str, name: &[u8]) -> Vec<u8> {
    let kind = match mode {
        "040000" => "tree",
        "160000" => "commit",
        _ => "blob",
    };
    let mut line = format!("{mode} {kind} {id}\t").into_bytes();
    line.extend_from_slice(name);
    line.push(0);
    line
}

/// A request as [`Scripted`] received it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// Returns whether its body contains a text.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.body
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }
}

/// An HTTP server that sends what a test wants it to send, which no real server would.
pub(crate) struct Scripted {
    pub(crate) url: String,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    /// Starts the server. What `answer` returns is written as it is, and the connection is closed.
    pub(crate) fn start(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::with_socket(move |seen, socket| {
            let _ = socket.write_all(&answer(seen));
        })
    }

    /// Starts the server with a function that writes to the socket itself.
    pub(crate) fn with_socket(
        answer: impl Fn(&Seen, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut socket = socket;
                    if let Some(request) = receive(&mut socket) {
                        log.lock().unwrap().push(request.clone());
                        answer(&request, &mut socket);
                    }
                });
            }
        });
        Self { url, seen }
    }

    /// Starts a git server from before 2018, which knows only the first version of the protocol.
    pub(crate) fn old_git(bare: &Path) -> Self {
        Self::old_git_but(bare, |_| None)
    }

    /// Starts such a server. What `meddle` returns is sent instead of git's answer.
    pub(crate) fn old_git_but(
        bare: &Path,
        meddle: impl Fn(&Seen) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self::speaking("", bare, meddle)
    }

    /// Starts a current git server. What `meddle` returns is sent instead of git's answer.
    pub(crate) fn git(
        bare: &Path,
        meddle: impl Fn(&Seen) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self::speaking("version=2", bare, meddle)
    }

    fn speaking(
        protocol: &'static str,
        bare: &Path,
        meddle: impl Fn(&Seen) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let bare = bare.to_owned();
        Self::start(move |seen| meddle(seen).unwrap_or_else(|| upload_pack(&bare, seen, protocol)))
    }

    pub(crate) fn url_of(&self, repository: &str) -> String {
        format!("{}/{repository}", self.url)
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Counts requests for commits.
    pub(crate) fn fetches(&self) -> usize {
        let requests = self.requests();
        requests.iter().filter(|seen| seen.says("want ")).count()
    }
}

/// Answers a request the way git does.
pub(crate) fn upload_pack(bare: &Path, seen: &Seen, protocol: &str) -> Vec<u8> {
    let first = seen.head.starts_with("GET");
    let mut command = Command::new("git");
    command
        .arg("upload-pack")
        .arg("--stateless-rpc")
        .env("GIT_PROTOCOL", protocol);
    if first {
        command.arg("--advertise-refs");
    }
    let mut child = command
        .arg(bare)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&seen.body).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    if first {
        let mut body = b"001e# service=git-upload-pack\n0000".to_vec();
        body.extend(output);
        advertisement(&body)
    } else {
        result(&output)
    }
}

fn receive(socket: &mut TcpStream) -> Option<Seen> {
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match socket.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut seen = Seen {
        head,
        body: bytes.split_off(end),
    };
    let length: usize = seen
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    while seen.body.len() < length {
        match socket.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => seen.body.extend_from_slice(&buffer[..count]),
        }
    }
    Some(seen)
}

/// Returns an HTTP response.
pub(crate) fn response(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Returns the same response as a server sends it that keeps the connection.
pub(crate) fn kept(mut answer: Vec<u8>) -> Vec<u8> {
    let close: &[u8] = b"connection: close\r\n";
    let mut windows = answer.windows(close.len());
    let at = windows.position(|window| window == close).unwrap();
    answer.drain(at..at + close.len());
    answer
}

/// Returns the response to git's first request.
pub(crate) fn advertisement(body: &[u8]) -> Vec<u8> {
    response(
        "200 OK",
        "application/x-git-upload-pack-advertisement",
        body,
    )
}

/// Returns the response to git's other requests.
pub(crate) fn result(body: &[u8]) -> Vec<u8> {
    response("200 OK", "application/x-git-upload-pack-result", body)
}

/// Returns the response of a server that does not have the commit that it was asked for.
pub(crate) fn not_ours(commit: &str) -> Vec<u8> {
    let refusal = format!("ERR upload-pack: not our ref {commit}\n");
    result(&lines(&[&refusal]))
}

/// Formats lines of git's protocol: gitprotocol-common(5).
pub(crate) fn lines(lines: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        match *line {
            "0000" | "0001" => bytes.extend_from_slice(line.as_bytes()),
            line => bytes.extend(format!("{:04x}{line}", line.len() + 4).into_bytes()),
        }
    }
    bytes
}

/// Returns the first response of a server that speaks version 2.
pub(crate) fn version_2() -> Vec<u8> {
    advertisement(&lines(&[
        "# service=git-upload-pack\n",
        "0000",
        "version 2\n",
        "agent=test\n",
        "ls-refs\n",
        "fetch=shallow\n",
        "object-format=sha1\n",
        "0000",
    ]))
}
