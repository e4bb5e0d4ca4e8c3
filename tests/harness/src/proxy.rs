//! A reverse proxy that injects faults.

mod fault;
mod passing;
mod serve;
mod tls;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::account::{read_token_kubeconfig, write_token_kubeconfig};
use crate::control_plane::ControlPlane;

pub use fault::Fault;

/// Says what happens to a request, by its method and its path and query.
type Decide = Box<dyn FnMut(&str, &str) -> Option<Fault> + Send>;

/// An HTTP server on loopback that passes requests on to a real server, records them, and does to
/// some of them what a [`Fault`] says.
///
/// Answers are passed on as they come, watches included. It has its own thread and runtime.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    ca: Option<PathBuf>,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One request that a [`Proxy`] saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub uri: String,
    /// When it came.
    pub arrived: Instant,
    /// What the client got, or would have if it had stayed: the HTTP status, or 0 if the connection was cut before one.
    pub status: u16,
    /// Whether the request, whole, was sent to the real server.
    pub passed_on: bool,
    /// What the real server said to it, also where the client never heard of it.
    pub answered: Option<Answered>,
    /// The request's body, if it was passed on.
    pub body: Bytes,
}

/// What a real server said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// When the answer began.
    pub at: Instant,
}

/// What the proxy's thread and its owner both use.
struct Shared {
    faults: Mutex<Vec<Fault>>,
    decide: Mutex<Option<Decide>>,
    seen: Mutex<Vec<Proxied>>,
    /// How many requests have come and are not yet in that list.
    under_way: AtomicUsize,
    /// Each send ends all answers that are under way.
    end: watch::Sender<Option<End>>,
    upstream: String,
}

/// How answers that are under way end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The connection is cut.
    Cut,
    /// Watches are told that their position is too old.
    Expired,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("faults", &self.faults)
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// No code panics while it holds one of these, and a list is whole at every moment.
    fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
        list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what to do to a request from the first fault that matches it.
    fn fault_for(&self, method: &str, uri: &str) -> Option<Fault> {
        let decided = Self::lock(&self.decide)
            .as_mut()
            .and_then(|decide| decide(method, uri));
        if decided.is_some() {
            return decided;
        }
        Self::lock(&self.faults)
            .iter_mut()
            .find_map(|fault| fault.strike(method, uri))
    }
}

impl Proxy {
    /// Starts a proxy with plain http before the server at `upstream`, such as
    /// `http://127.0.0.1:5000`; `ca` is the PEM file of its authority when it has https.
    pub fn start(upstream: &str, ca: Option<&Path>) -> Result<Self> {
        Self::launch(upstream, ca, None)
    }

    /// Starts a proxy before the API server. Its certificate is the API server's own.
    ///
    /// Credentials must be tokens, see [`Proxy::kubeconfig`]: a client certificate ends here.
    pub fn before_api_server(control_plane: &ControlPlane) -> Result<Self> {
        let file = |name: &str| control_plane.dir().join(name);
        let acceptor = tls::acceptor(&file("apiserver.crt"), &file("apiserver.key"))?;
        let mut proxy = Self::launch(
            &control_plane.server()?,
            Some(&file("ca.crt")),
            Some(acceptor),
        )?;
        proxy.ca = Some(file("ca.crt"));
        Ok(proxy)
    }

    fn launch(
        upstream: &str,
        ca: Option<&Path>,
        acceptor: Option<tokio_rustls::TlsAcceptor>,
    ) -> Result<Self> {
        let client = tls::upstream_client(ca)?;
        let shared = Arc::new(Shared {
            faults: Mutex::default(),
            decide: Mutex::default(),
            seen: Mutex::default(),
            under_way: AtomicUsize::new(0),
            end: watch::Sender::new(None),
            upstream: upstream.trim_end_matches('/').to_owned(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("make a runtime")?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("listen")?;
        listener.set_nonblocking(true).context("listen")?;
        let address = listener.local_addr().context("listen")?;
        let (stop, stopped) = oneshot::channel();
        let serving = serve::Serving {
            shared: Arc::clone(&shared),
            client,
            acceptor,
        };
        let thread = std::thread::spawn(move || {
            runtime.block_on(serving.run(listener, stopped));
            // Without waiting: open watches end with their tasks.
            runtime.shutdown_background();
        });
        Ok(Self {
            address,
            ca: None,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Is the proxy's address, `http://127.0.0.1:PORT` or, before an API server, https.
    pub fn url(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Is `127.0.0.1:PORT`, as in an image reference.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Gives a copy of a kubeconfig of [`ControlPlane::service_account_kubeconfig`] that leads
    /// through the proxy.
    pub fn kubeconfig(&self, account: &Path) -> Result<PathBuf> {
        let ca = self
            .ca
            .as_deref()
            .ok_or_else(|| anyhow!("this proxy is not before an API server"))?;
        let (token, namespace) = read_token_kubeconfig(account)?;
        let path = account.with_extension(format!("{}.kubeconfig", self.address.port()));
        write_token_kubeconfig(&path, &self.url(), ca, &namespace, &token)?;
        Ok(path)
    }

    /// Adds a fault. The oldest one that matches a request and is not used up strikes.
    pub fn inject(&self, fault: Fault) {
        Shared::lock(&self.shared.faults).push(fault);
    }

    /// Asks `decide` what happens to each request, by its method and its path and query; where it says nothing, the
    /// injected faults decide.
    ///
    /// It is called on the proxy's thread, in the order in which requests come, and must not panic.
    pub fn decide_by(&self, decide: impl FnMut(&str, &str) -> Option<Fault> + Send + 'static) {
        *Shared::lock(&self.shared.decide) = Some(Box::new(decide));
    }

    /// Removes all faults, and who decides on them.
    pub fn heal(&self) {
        Shared::lock(&self.shared.faults).clear();
        *Shared::lock(&self.shared.decide) = None;
    }

    /// Cuts the connections of all answers that are under way: every watch breaks off.
    pub fn cut_answers(&self) {
        self.shared.end.send_replace(Some(End::Cut));
    }

    /// Ends all watches that are under way with the error event 410 `Expired`.
    pub fn expire_watches(&self) {
        self.shared.end.send_replace(Some(End::Expired));
    }

    /// Gives the requests seen so far, in the order in which their answers began.
    pub fn seen(&self) -> Vec<Proxied> {
        Shared::lock(&self.shared.seen).clone()
    }

    /// Says how many requests have come whose answers have not begun: those of clients that are gone, too.
    pub fn under_way(&self) -> usize {
        self.shared.under_way.load(Ordering::Relaxed)
    }

    /// Forgets the requests seen so far.
    pub fn forget(&self) {
        Shared::lock(&self.shared.seen).clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only if the thread has ended.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(ca) = self.ca.as_deref().and_then(Path::parent) {
            remove_kubeconfigs(ca, self.address.port());
        }
    }
}

/// The port may be another proxy's soon.
fn remove_kubeconfigs(dir: &Path, port: u16) {
    let ending = format!(".{port}.kubeconfig");
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(&ending) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
