//! Chart repositories over HTTP: an index, and the archives that it lists.

use std::{fmt, fs, io, path::PathBuf, sync::Arc, time::Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pintle_core::digest::{Digest, Digester};
use reqwest::{
    Method, Response, StatusCode,
    header::{ETAG, HeaderValue, LOCATION},
};
use serde::{Deserialize, Serialize};
use tokio::time;
use url::Url;

use super::{
    incoming::{Incoming, Spool},
    index::Index,
    indexes::Held,
};
use crate::{
    auth,
    cache::{Folder, touch},
    credentials::Credentials,
    error::{Cause, Part},
    registry::{Registry, blocking},
    session::explain,
    transport::{Outgoing, host_of, join},
    turns::{self, Asking},
};

/// The maximum number of redirects for one request. Repositories that keep archives elsewhere need one or two.
const MAX_REDIRECTS: usize = 5;
/// The format of the files in which indexes are kept.
const FORMAT: &str = "chart-index/v2";

/// The operation that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RepositoryStage {
    /// Reading the index.
    Index,
    /// Reading a chart.
    Chart,
}

impl fmt::Display for RepositoryStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Index => "read the index of",
            Self::Chart => "read a chart from",
        })
    }
}

/// One repository, accessed with certain credentials.
pub(super) struct ChartRepository<'a> {
    pub(super) registry: &'a Registry,
    pub(super) url: Url,
    pub(super) credentials: Credentials,
}

impl ChartRepository<'_> {
    /// Returns the current index. If the repository says that it has not changed, it comes from memory or disk. Callers that ask
    /// at the same time share one request, even if it fails.
    pub(super) async fn index(&self) -> Result<Arc<Index>, Cause> {
        let asked = Instant::now();
        let key = Digester::new(FORMAT)
            .part(self.url.as_str())
            .part(self.credentials.fingerprint().as_bytes())
            .part(self.registry.transport.trust.as_bytes())
            .finish();
        let slot = self.registry.shared.indexes.slot(key);
        let mut known = slot.lock().await;
        if let Some(answer) = known.answer(asked) {
            return answer;
        }
        // The failure of this check is not kept for other callers: they may not have to wait.
        let asking = self.asking(&self.url);
        self.registry.transport.turns.check(&asking)?;
        let read = self.read_index(key, known.held()).await;
        known.keep(read)
    }

    async fn read_index(&self, key: Digest, held: Option<Held>) -> Result<Held, Cause> {
        let file = self.kept_file(key);
        let known = match (held, file.clone()) {
            (Some(held), _) => Some(held),
            (None, Some(file)) => self.recall(file).await,
            (None, None) => None,
        };
        let mut url = self.url.clone();
        url.set_path(&format!(
            "{}/index.yaml",
            self.url.path().trim_end_matches('/')
        ));
        let tag = known
            .as_ref()
            .and_then(|held| HeaderValue::from_str(held.tag.as_deref()?).ok());
        let work = async {
            // The read begins only here: a caller that waited for the requests of others, or for the disk, has not asked for
            // anything yet.
            let started = Instant::now();
            let response = self.get(url.clone(), tag).await?;
            if response.status() == StatusCode::NOT_MODIFIED && known.is_some() {
                return Ok((started, None));
            }
            let response = self.good(response, "index.yaml").await?;
            let tag = response.headers().get(ETAG);
            let tag = tag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
            let text = self.take_index(response).await?;
            Ok((started, Some((tag, text))))
        };
        let ((started, fresh), at_host) = self.exchange(&url, work).await?;
        let (tag, mut text) = match (fresh, known) {
            (Some(fresh), _) => fresh,
            (None, Some(held)) => {
                if let Some(file) = file {
                    blocking(move || file.touch()).await;
                }
                return Ok(held.confirmed(started));
            }
            (None, None) => unreachable!("only what is known can be unchanged"),
        };
        // The turn to read comes after the exchange: a host that sends slowly does not occupy one, unless no disk accepts what it
        // sends. The turn with the host ends only once there is a turn to read: otherwise, a host that sends faster than texts
        // are read would fill the room for the texts that wait.
        let turn = match text.turn() {
            Some(turn) => Some(turn),
            None => self.registry.shared.indexes.turn(text.size()).await,
        };
        drop(at_host);
        blocking(move || {
            let bytes = text.read()?;
            let index = Index::read(&bytes)?;
            let index = match (file, &tag) {
                (Some(file), Some(tag)) => {
                    let kept = Kept {
                        tag: tag.clone(),
                        index,
                    };
                    file.write(&kept);
                    kept.index
                }
                _ => index,
            };
            let held = Held::new(started, tag, index);
            // The turn ends here, even if the caller is gone.
            drop((bytes, turn));
            Ok(held)
        })
        .await
    }

    /// Reads the index that is kept on disk.
    async fn recall(&self, file: KeptFile) -> Option<Held> {
        let limit = self.registry.transport.options.max_index;
        let measured = file.clone();
        let size = blocking(move || measured.size()).await?;
        let turn = self.registry.shared.indexes.turn(size).await;
        blocking(move || {
            let kept = file.read(limit)?;
            let held = Held::new(Instant::now(), Some(kept.tag), kept.index);
            drop(turn);
            Some(held)
        })
        .await
    }

    /// Downloads the text of an index.
    async fn take_index(&self, response: Response) -> Result<Incoming, Cause> {
        let transport = &self.registry.transport;
        let limit = transport.options.max_index;
        let size = response.content_length();
        let (text, has_ended) = Incoming::take(transport, response, limit, self.spool()).await?;
        if !has_ended {
            let part = Part::Index;
            return Err(Cause::TooLarge { part, limit, size });
        }
        Ok(text)
    }

    /// Downloads an archive from a place that is absolute or relative to the repository. Nothing is verified.
    pub(super) async fn archive(&self, place: &str) -> Result<Incoming, Cause> {
        let url = self.resolve(place)?;
        let work = async {
            let response = self.get(url.clone(), None).await?;
            let response = self.good(response, "archive").await?;
            let limit = self.registry.transport.options.max_archive;
            let size = response.content_length();
            let taken = self.registry.take_archive(response, limit).await;
            let (incoming, has_ended) = taken?;
            if !has_ended {
                let part = Part::Archive;
                return Err(Cause::TooLarge { part, limit, size });
            }
            Ok(incoming)
        };
        let (incoming, _) = self.exchange(&url, work).await?;
        Ok(incoming)
    }

    /// Waits for a turn with a host and carries out an exchange with it: a request and everything that follows from it, within
    /// one time limit. Also returns the turn, for a caller that needs it for longer.
    async fn exchange<T>(
        &self,
        url: &Url,
        work: impl Future<Output = Result<T, Cause>>,
    ) -> Result<(T, turns::Turn), Cause> {
        let host = host_of(url);
        let limit = self.registry.transport.options.total_timeout;
        let asking = self.asking(url);
        let turn = self.registry.transport.turns.take(asking, limit).await?;
        let total = true;
        let result = time::timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(Cause::Timeout { host, total, limit }));
        turn.tell(&result);
        result.map(|value| (value, turn))
    }

    /// Returns how this repository asks a host. If the host demands a pause, the pause is for this repository only: the host may
    /// serve other repositories, of other people, and the answer of one must not keep anybody from the others.
    fn asking(&self, url: &Url) -> Asking {
        let together = Digester::new("chart-repository/v1")
            .part(self.url.as_str())
            .part(self.credentials.fingerprint().as_bytes())
            .finish();
        Asking::new(host_of(url), together, self.registry.is_urgent)
    }

    /// Returns the URL of an archive. Places that are not absolute get the query of the repository's URL, as in Helm, but here
    /// only those on the repository's own origin: the query may be a token, and such a place may name another host.
    fn resolve(&self, place: &str) -> Result<Url, Cause> {
        if let Ok(absolute) = Url::parse(place) {
            return Ok(absolute);
        }
        let mut base = self.url.clone();
        base.set_path(&format!("{}/", self.url.path().trim_end_matches('/')));
        let mut url = join(&host_of(&self.url), &base, place)?;
        let is_own = url.origin() == self.url.origin();
        if is_own && url.query().is_none() {
            url.set_query(self.url.query());
        }
        Ok(url)
    }

    /// Sends a request and follows redirects. Credentials go to the repository itself and to nobody else.
    async fn get(&self, url: Url, known: Option<HeaderValue>) -> Result<Response, Cause> {
        let header = self.authorization();
        self.check(&url)?;
        let mut outgoing = Outgoing {
            known,
            ..Outgoing::new(Method::GET, url)
        };
        for _ in 0..=MAX_REDIRECTS {
            let ours = outgoing.url.origin() == self.url.origin();
            let header = header.as_ref().filter(|_| ours);
            let response = self.registry.transport.send(&outgoing, header).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let host = host_of(response.url());
            let target = match response.headers().get(LOCATION).map(HeaderValue::to_str) {
                Some(Ok(target)) => join(&host, response.url(), target)?,
                _ => {
                    return Err(Cause::Protocol {
                        host,
                        reason: "it redirects without saying where to".to_owned(),
                    });
                }
            };
            self.check(&target)?;
            outgoing.url = target;
        }
        Err(self.refused(&outgoing.url, "it is one redirect too many"))
    }

    /// Refuses URLs where the response could be read or changed in transit.
    fn check(&self, url: &Url) -> Result<(), Cause> {
        let is_own = url.origin() == self.url.origin();
        let plain = self.url.scheme() == "http"
            && self
                .registry
                .transport
                .options
                .allows_plain_http(&host_of(url));
        if !url.username().is_empty() || url.password().is_some() {
            return Err(self.refused(url, "it has credentials of its own"));
        }
        match url.scheme() {
            "https" => Ok(()),
            "http" if plain => Ok(()),
            "http" if is_own => Err(Cause::Tls {
                host: host_of(url),
                problem: crate::error::TlsProblem::PlainHttp,
            }),
            _ => Err(self.refused(url, "it is not https")),
        }
    }

    fn refused(&self, to: &Url, reason: &'static str) -> Cause {
        let path: String = to.path().chars().take(100).collect();
        Cause::Redirect {
            host: host_of(&self.url),
            to: format!("{}://{}{path}", to.scheme(), host_of(to)),
            reason,
        }
    }

    fn authorization(&self) -> Option<HeaderValue> {
        match &self.credentials {
            Credentials::Anonymous | Credentials::Identity(_) => None,
            Credentials::Bearer(token) => auth::bearer(token.expose()),
            Credentials::Basic { username, password } => {
                let encoded = STANDARD.encode(format!("{username}:{}", password.expose()));
                let mut header = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
                header.set_sensitive(true);
                Some(header)
            }
        }
    }

    async fn good(&self, response: Response, what: &'static str) -> Result<Response, Cause> {
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let ours = response.url().origin() == self.url.origin();
        let shown = if ours {
            self.credentials.shown()
        } else {
            Credentials::Anonymous.shown()
        };
        match explain(&self.registry.transport, response, shown, what).await {
            // The target of a redirect was not sent any credentials, and its message is shown to nobody.
            Cause::Unauthorized { host, .. } if !ours => Err(Cause::Denied {
                host,
                message: None,
            }),
            cause => Err(cause),
        }
    }

    /// Returns the spool for a large index, which goes to the cache's folder if there is one that accepts it.
    fn spool(&self) -> Spool {
        let indexes = &self.registry.shared.indexes;
        let temporary = std::env::temp_dir();
        match &self.registry.transport.options.cache {
            Some(cache) => indexes.spool(cache.dir.clone(), Some(temporary)),
            None => indexes.spool(temporary, None),
        }
    }

    fn kept_file(&self, key: Digest) -> Option<KeptFile> {
        let cache = self.registry.transport.options.cache.as_ref()?;
        Some(KeptFile {
            folder: Folder::new(cache.dir.join("indexes"), cache.max_index_bytes),
            name: key.hex(),
        })
    }
}

/// An index with the entity tag that the repository gave it.
#[derive(Serialize, Deserialize)]
struct Kept {
    tag: String,
    index: Index,
}

/// The file in which an index is kept. Its name depends on the credentials: when a token is replaced, the file of the old one
/// remains although nobody asks for it any more. The size of the folder is therefore limited.
#[derive(Debug, Clone)]
struct KeptFile {
    folder: Folder,
    name: String,
}

impl KeptFile {
    fn path(&self) -> PathBuf {
        self.folder.path(&self.name)
    }

    fn size(&self) -> Option<u64> {
        Some(fs::metadata(self.path()).ok()?.len())
    }

    fn read(&self, limit: u64) -> Option<Kept> {
        if self.size()? > limit {
            return None;
        }
        serde_json::from_slice(&fs::read(self.path()).ok()?).ok()
    }

    /// Writes an index. A failure is only logged: it costs nothing but time.
    fn write(&self, kept: &Kept) {
        let bytes = serde_json::to_vec(kept).map_err(io::Error::from);
        if let Err(error) = bytes.and_then(|bytes| self.folder.write(&self.name, &bytes)) {
            tracing::warn!(path = %self.path().display(), %error, "an index cannot be cached");
        }
    }

    /// Records that the repository has confirmed the index.
    fn touch(&self) {
        if let Ok(file) = fs::File::open(self.path()) {
            touch(&file);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::options::Options;

    fn repository<'a>(registry: &'a Registry, url: &str) -> ChartRepository<'a> {
        ChartRepository {
            registry,
            url: Url::parse(url).unwrap(),
            credentials: Credentials::Anonymous,
        }
    }

    #[test]
    fn the_query_of_a_repository_goes_to_nobody_else() {
        let registry = Registry::new(Options::default()).unwrap();
        let repository = repository(&registry, "https://charts.example.com/a?token=x");
        for (place, expected) in [
            ("web.tgz", "https://charts.example.com/a/web.tgz?token=x"),
            ("/web.tgz", "https://charts.example.com/web.tgz?token=x"),
            ("web.tgz?v=1", "https://charts.example.com/a/web.tgz?v=1"),
            (
                "//charts.example.com/web.tgz",
                "https://charts.example.com/web.tgz?token=x",
            ),
            (
                "//charts.example.com:8443/web.tgz",
                "https://charts.example.com:8443/web.tgz",
            ),
            (
                "//other.example.com/x.tgz",
                "https://other.example.com/x.tgz",
            ),
            ("https://other.example.com/x", "https://other.example.com/x"),
        ] {
            let found = repository.resolve(place).unwrap();
            assert_eq!(found.as_str(), expected, "{place}");
        }
    }

    #[test]
    fn indexes_that_nobody_asks_for_go_and_so_does_what_a_crash_left() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept {
            tag: "1".to_owned(),
            index: Index::default(),
        };
        let size = serde_json::to_vec(&kept).unwrap().len() as u64;
        let folder = Folder::new(dir.path().to_owned(), 2 * size);
        let file = |name: &str| KeptFile {
            folder: folder.clone(),
            name: name.to_owned(),
        };
        let [old, used, new, half] = ["old", "used", "new", ".new-half"].map(file);
        for file in [&old, &used] {
            file.write(&kept);
        }
        fs::write(half.path(), "half").unwrap();
        for file in [&old, &used, &half] {
            let file = fs::File::open(file.path()).unwrap();
            let before = SystemTime::now() - Duration::from_hours(2);
            file.set_modified(before).unwrap();
        }
        used.touch();
        new.write(&kept);
        assert!(old.read(size).is_none() && !half.path().exists());
        for file in [&used, &new] {
            let found = file.read(size).map(|kept| kept.tag);
            assert_eq!(found.as_deref(), Some("1"), "{}", file.name);
        }
    }
}
