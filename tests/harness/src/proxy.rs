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

/// Decides what happens to a request, given its method and its path and query.
type Decide = Box<dyn FnMut(&str, &str) -> Option<Fault> + Send>;

/// An HTTP server on loopback that forwards requests to a real server, records them, and applies a [`Fault`] to some of them.
///
/// Answers are forwarded as they arrive, watches included. The proxy has its own thread and runtime.
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
    /// The HTTP method.
    pub method: String,
    /// The path and the query.
    pub uri: String,
    /// When the request arrived.
    pub arrived: Instant,
    /// The HTTP status that the client got, or would have got if it had stayed. 0 if the connection was cut before a status.
    pub status: u16,
    /// Whether the complete request was sent to the real server.
    pub passed_on: bool,
    /// The real server's answer, even if the client never received it.
    pub answered: Option<Answered>,
    /// The request's body, if the request was forwarded.
    pub body: Bytes,
}

/// A real server's answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// When the answer began.
    pub at: Instant,
}

/// The state that the proxy's thread and its owner share.
struct Shared {
    faults: Mutex<Vec<Fault>>,
    decide: Mutex<Option<Decide>>,
    seen: Mutex<Vec<Proxied>>,
    /// The number of requests that have arrived and are not yet in `seen`.
    under_way: AtomicUsize,
    /// Each send ends all answers that are in flight.
    end: watch::Sender<Option<End>>,
    upstream: String,
}

/// How answers in flight end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The connection is cut.
    Cut,
    /// Watches receive an error that says that their position is too old.
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
    /// Locks a value. No code panics while it holds such a lock, and a list is consistent at every moment.
    fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
        list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what to do to a request, from the first fault that matches it.
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
    /// Starts a plain http proxy in front of the server at `upstream`, such as `http://127.0.0.1:5000`. `ca` is the PEM file of
    /// the server's certificate authority if it uses https.
    pub fn start(upstream: &str, ca: Option<&Path>) -> Result<Self> {
        Self::launch(upstream, ca, None)
    }

    /// Starts a proxy in front of the API server. Its certificate is the API server's own.
    ///
    /// Credentials must be tokens, see [`Proxy::kubeconfig`]: a client certificate is not forwarded.
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
            // This does not wait: open watches end with their tasks.
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

    /// Returns the proxy's address, `http://127.0.0.1:PORT`, or https in front of an API server.
    pub fn url(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Returns `127.0.0.1:PORT`, as in an image reference.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Writes a copy of a kubeconfig from [`ControlPlane::service_account_kubeconfig`] that goes through the proxy.
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

    /// Adds a fault. For each request, the oldest fault that matches it and is not used up applies.
    pub fn inject(&self, fault: Fault) {
        Shared::lock(&self.shared.faults).push(fault);
    }

    /// Lets `decide` choose what happens to each request, given its method and its path and query. If it returns `None`, the
    /// injected faults decide.
    ///
    /// It is called on the proxy's thread, in the order in which requests arrive, and must not panic.
    pub fn decide_by(&self, decide: impl FnMut(&str, &str) -> Option<Fault> + Send + 'static) {
        *Shared::lock(&self.shared.decide) = Some(Box::new(decide));
    }

    /// Removes all faults, and the function that decides on them.
    pub fn heal(&self) {
        Shared::lock(&self.shared.faults).clear();
        *Shared::lock(&self.shared.decide) = None;
    }

    /// Cuts the connections of all answers in flight: every watch breaks off.
    pub fn cut_answers(&self) {
        self.shared.end.send_replace(Some(End::Cut));
    }

    /// Ends all watches in flight with the error event 410 `Expired`.
    pub fn expire_watches(&self) {
        self.shared.end.send_replace(Some(End::Expired));
    }

    /// Returns the requests seen so far, in the order in which their answers began.
    pub fn seen(&self) -> Vec<Proxied> {
        Shared::lock(&self.shared.seen).clone()
    }

    /// Returns the number of requests that have arrived and whose answers have not begun, including those whose clients are gone.
    pub fn under_way(&self) -> usize {
        self.shared.under_way.load(Ordering::Relaxed)
    }

    /// Clears the requests seen so far.
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

/// Removes the proxy's kubeconfigs, because another proxy may soon have its port.
fn remove_kubeconfigs(dir: &Path, port: u16) {
    let ending = format!(".{port}.kubeconfig");
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(&ending) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
