//! The part of source-controller that the benchmark plays: serving archives of a repository over http.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use pintle_harness::GitRepo;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

/// How many lines the head of a request may have before it is cut off.
const LONGEST_HEAD: usize = 64;

type Archives = Arc<Mutex<BTreeMap<String, Arc<[u8]>>>>;

/// A server of archives that runs until its runtime ends.
#[derive(Debug)]
pub(super) struct ArtifactServer {
    address: SocketAddr,
    archives: Archives,
}

/// A served archive, with the fields of a `GitRepository`'s status.
#[derive(Debug)]
pub(super) struct Artifact {
    pub(super) url: String,
    pub(super) path: String,
    pub(super) digest: String,
    pub(super) size: usize,
}

impl ArtifactServer {
    pub(super) fn start(runtime: &Handle) -> Result<Self> {
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .context("serve artifacts on loopback")?;
        let address = listener.local_addr().context("serve artifacts")?;
        let archives = Archives::default();
        let shared = Arc::clone(&archives);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let archives = Arc::clone(&shared);
                // A client that hangs up early has what it wanted.
                tokio::spawn(async move { answer(stream, &archives).await.ok() });
            }
        });
        Ok(Self { address, archives })
    }

    /// Packs the current commit as source-controller does, and serves it from now on.
    pub(super) fn publish(&self, repository: &GitRepo, commit: &str) -> Result<Artifact> {
        // The tree is archived, because the archive of a commit begins with an entry that names the commit.
        let packed = Command::new("git")
            .current_dir(repository.bare())
            .args(["archive", "--format=tar.gz", &format!("{commit}^{{tree}}")])
            .output()
            .context("run git archive")?;
        ensure!(
            packed.status.success(),
            "git archive: {}: {}",
            packed.status,
            String::from_utf8_lossy(&packed.stderr).trim()
        );
        let path = format!("{commit}.tar.gz");
        let artifact = Artifact {
            url: format!("http://{}/{path}", self.address),
            digest: format!("sha256:{}", hex::encode(Sha256::digest(&packed.stdout))),
            size: packed.stdout.len(),
            path: path.clone(),
        };
        let mut archives = self.archives.lock().unwrap_or_else(PoisonError::into_inner);
        archives.insert(path, packed.stdout.into());
        Ok(artifact)
    }
}

async fn answer(stream: TcpStream, archives: &Archives) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    let mut line = String::from("-");
    for _ in 0..LONGEST_HEAD {
        if line.trim().is_empty() {
            break;
        }
        line.clear();
        stream.read_line(&mut line).await?;
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let found = {
        let archives = archives.lock().unwrap_or_else(PoisonError::into_inner);
        archives.get(path.trim_start_matches('/')).cloned()
    };
    let (status, body) = match found {
        Some(archive) => ("200 OK", archive),
        None => ("404 Not Found", Arc::default()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn get(url: &str) -> String {
        let (address, path) = url
            .trim_start_matches("http://")
            .split_once('/')
            .expect("it has a path");
        let mut stream = std::net::TcpStream::connect(address).expect("it listens");
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn a_published_commit_is_served_with_its_digest_and_nothing_else_is() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let repository = GitRepo::create(&dir.path().join("a.git")).unwrap();
        let commit = repository
            .push_files(&[("a.yaml", "a: 1\n")], "one")
            .unwrap();
        let server = ArtifactServer::start(runtime.handle()).unwrap();
        let artifact = server.publish(&repository, &commit).unwrap();
        let answer = get(&artifact.url);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains(&format!("Content-Length: {}\r\n", artifact.size)),
            "{answer}"
        );
        assert_eq!(artifact.digest.len(), "sha256:".len() + 64);
        let other = artifact.url.replace(&commit, "other");
        assert!(get(&other).starts_with("HTTP/1.1 404"));
    }
}
