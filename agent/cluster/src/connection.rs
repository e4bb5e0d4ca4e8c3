//! The connection to one API server, under its own identity or as a service account.

mod bounded;

use std::{ffi::OsStr, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use kube::{
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use pintle_core::causes::chain;
use tokio::sync::{Semaphore, SemaphorePermit};
use tower::timeout::TimeoutLayer;

use self::bounded::Bound;
pub(crate) use self::bounded::TooMuch;
use crate::{
    clock::ServerClock,
    fence::Fence,
    pressure::Pressure,
    request::{Call, RequestError},
};

/// How long a connection may be silent while a response is pending. A watch may be silent for its whole lifetime, which is
/// shorter: the server ends each watch after 290 s.
const SILENCE: Duration = Duration::from_mins(5);

/// How to reach an API server.
#[derive(Debug, Clone)]
pub struct Options {
    /// A kubeconfig file. Without one, `$KUBECONFIG` or `~/.kube/config` is used, and in a pod its service account.
    pub kubeconfig: Option<PathBuf>,
    /// A context in the kubeconfig. Without one, the current context is used.
    pub context: Option<String>,
    /// The limit on requests in flight. It applies once to requests under the connection's own identity, and once to those made
    /// as service accounts. Watches do not count.
    pub concurrency: usize,
    /// The timeout of one attempt at a request; for a watch, the time until it begins. Admission webhooks may take 30 s.
    pub request_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            concurrency: 32,
            request_timeout: Duration::from_secs(35),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("cannot use the kubeconfig{}: {detail}", at(.path.as_ref()))]
    Kubeconfig {
        /// The file, if one was named.
        path: Option<PathBuf>,
        /// What is wrong.
        detail: String,
    },
    /// There is neither a kubeconfig nor a pod's service account.
    #[error(
        "no cluster is configured: set KUBECONFIG or pass --kubeconfig ({detail}), or run in a pod with a service account"
    )]
    NotConfigured {
        /// Why the kubeconfig was not found.
        detail: String,
    },
    /// The client cannot be made from the configuration, for example because of a certificate.
    #[error("cannot connect to the API server as configured: {detail}")]
    Client {
        /// What is wrong.
        detail: String,
    },
    /// The kubeconfig already impersonates someone, and Kubernetes does not support impersonation on top of impersonation.
    #[error(
        "cannot act as {wanted}: the kubeconfig's context already impersonates {present}, and Kubernetes does not chain \
         impersonation; use a context without `as`"
    )]
    AlreadyImpersonating {
        /// The account that should have been impersonated.
        wanted: String,
        /// The user that is already impersonated.
        present: String,
    },
}

fn at(path: Option<&PathBuf>) -> String {
    path.map(|path| format!(" {}", path.display()))
        .unwrap_or_default()
}

/// A service account that requests are made as.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceAccount {
    /// Names a service account.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// `system:serviceaccount:shop:deployer`: the user name of the account in Kubernetes.
impl std::fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

/// A connection to one API server under one identity. Cloning it and acting under another identity cost nothing: all clones share
/// one connection pool and the limits on requests in flight.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    identity: Option<ServiceAccount>,
    headers: Arc<HeaderMap>,
    fence: Option<Fence>,
}

struct Shared {
    client: kube::Client,
    permits: Permits,
    pressure: Pressure,
    clock: ServerClock,
    request_timeout: Duration,
    impersonating: Option<String>,
    server: String,
}

/// The limits on requests in flight. An apply made as an account may wait for an admission webhook that hangs. Reads and writes
/// under the connection's own identity, such as a status, do not queue behind it.
struct Permits {
    own: Semaphore,
    acting: Semaphore,
}

impl Permits {
    fn new(concurrency: usize) -> Self {
        let permits = || Semaphore::new(concurrency.max(1));
        Self {
            own: permits(),
            acting: permits(),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("server", &self.shared.server)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// What the API server says about itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    /// The major version number.
    pub major: u32,
    /// The minor version number.
    pub minor: u32,
    /// The whole version, such as `v1.36.3`.
    pub text: String,
}

impl Connection {
    /// Connects. No request is sent yet.
    ///
    /// Must be called within a tokio runtime, and the connection works only within that runtime.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        let config = configuration(&options).await?;
        Self::configured(config, &options)
    }

    pub(crate) fn configured(
        mut config: kube::Config,
        options: &Options,
    ) -> Result<Self, ConnectError> {
        // Retries are done by `request`, which knows that all requests are idempotent and obeys Retry-After.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(10));
        config.read_timeout = Some(SILENCE);
        // Idle time between two requests does not count.
        config.reset_reader_on_write = true;
        config.headers.push((
            http::header::USER_AGENT,
            HeaderValue::from_static(concat!("pintle/", env!("CARGO_PKG_VERSION"))),
        ));
        let impersonating = config.auth_info.impersonate.clone();
        let server = config.cluster_url.to_string();
        let client =
            ClientBuilder::try_from(config).map_err(|error: kube::Error| ConnectError::Client {
                detail: chain(&error),
            })?;
        // Applies to every request, whoever sends it, until the response head arrives. A watch has its own time limit.
        let client = client
            .with_layer(&Bound)
            .with_layer(&TimeoutLayer::new(options.request_timeout));
        Ok(Self::with_client(
            client.build(),
            options,
            impersonating,
            server,
        ))
    }

    pub(crate) fn with_client(
        client: kube::Client,
        options: &Options,
        impersonating: Option<String>,
        server: String,
    ) -> Self {
        let shared = Shared {
            client,
            permits: Permits::new(options.concurrency),
            pressure: Pressure::default(),
            clock: ServerClock::default(),
            request_timeout: options.request_timeout,
            impersonating,
            server,
        };
        Self {
            shared: Arc::new(shared),
            identity: None,
            headers: Arc::default(),
            fence: None,
        }
    }

    /// Returns a connection whose writes are sent only while a fence is open. Leases, which open the fence, and events are not
    /// written through it.
    #[must_use]
    pub fn with_fence(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }

    /// Returns a connection without the fence, for writes with which no replica can harm another.
    pub(crate) fn without_fence(mut self) -> Self {
        self.fence = None;
        self
    }

    /// Returns a connection that makes every request as a service account.
    ///
    /// The API server adds the groups of a service account by itself.
    /// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>
    pub fn acting_as(&self, account: &ServiceAccount) -> Result<Self, ConnectError> {
        if let Some(present) = &self.shared.impersonating {
            return Err(ConnectError::AlreadyImpersonating {
                wanted: account.to_string(),
                present: present.clone(),
            });
        }
        let user = HeaderValue::from_str(&account.to_string()).map_err(|_| ConnectError::Client {
            detail: format!("`{account}` is not a service account: expected names of letters, digits, `-` and `.`"),
        })?;
        let headers = [(HeaderName::from_static("impersonate-user"), user)]
            .into_iter()
            .collect();
        Ok(Self {
            shared: Arc::clone(&self.shared),
            identity: Some(account.clone()),
            headers: Arc::new(headers),
            fence: self.fence.clone(),
        })
    }

    /// Returns the service account that requests are made as, or `None` under the connection's own identity.
    pub fn identity(&self) -> Option<&ServiceAccount> {
        self.identity.as_ref()
    }

    /// Returns the underlying client, for code that needs one of its own, such as leases. It acts under the connection's own
    /// identity.
    pub fn client(&self) -> &kube::Client {
        &self.shared.client
    }

    /// Returns the address of the API server.
    pub fn server(&self) -> &str {
        &self.shared.server
    }

    /// Returns the namespace of the kubeconfig's context, or of the pod.
    pub fn default_namespace(&self) -> &str {
        self.shared.client.default_namespace()
    }

    /// Asks the API server for its version.
    pub async fn version(&self) -> Result<ServerVersion, RequestError> {
        let info = self.call(&Call::get("/version")).await?;
        let number = |field: &str| {
            let text = info[field].as_str().unwrap_or_default();
            // Some providers write `33+`.
            text.trim_end_matches('+').parse().unwrap_or_default()
        };
        Ok(ServerVersion {
            major: number("major"),
            minor: number("minor"),
            text: info["gitVersion"].as_str().unwrap_or_default().to_owned(),
        })
    }

    pub(crate) fn identity_headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn fence(&self) -> Option<&Fence> {
        self.fence.as_ref()
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.shared.request_timeout
    }

    pub(crate) fn pressure(&self) -> &Pressure {
        &self.shared.pressure
    }

    pub(crate) fn clock(&self) -> &ServerClock {
        &self.shared.clock
    }

    pub(crate) async fn permit(&self) -> SemaphorePermit<'_> {
        let permits = &self.shared.permits;
        let permits = match self.identity {
            None => &permits.own,
            Some(_) => &permits.acting,
        };
        let permit = permits.acquire().await;
        permit.expect("the semaphore is never closed")
    }
}

async fn configuration(options: &Options) -> Result<kube::Config, ConnectError> {
    let of_context = KubeConfigOptions {
        context: options.context.clone(),
        ..KubeConfigOptions::default()
    };
    if let Some(path) = &options.kubeconfig {
        let of_file = |failure: KubeconfigError| unusable(Some(path.clone()), &failure);
        let kubeconfig = Kubeconfig::read_from(path).map_err(of_file)?;
        return kube::Config::from_custom_kubeconfig(kubeconfig, &of_context)
            .await
            .map_err(of_file);
    }
    let failure = match kube::Config::from_kubeconfig(&of_context).await {
        Ok(config) => return Ok(config),
        Err(failure) => failure,
    };
    let set = std::env::var_os(KUBECONFIG).unwrap_or_default();
    let error = || {
        let files = files(&set, std::env::home_dir());
        unusable(culprit(&files, &failure), &failure)
    };
    // A context that was asked for is never replaced by another cluster.
    if options.context.is_some() {
        return Err(error());
    }
    kube::Config::incluster().map_err(|_| {
        if set.is_empty() && is_absent(&failure) {
            let detail = chain(&failure);
            return ConnectError::NotConfigured { detail };
        }
        error()
    })
}

/// The variable that names kubeconfig files, separated as folders are in `PATH`.
const KUBECONFIG: &str = "KUBECONFIG";

/// Lists the files that are read if no file is asked for.
fn files(set: &OsStr, home: Option<PathBuf>) -> Vec<PathBuf> {
    let named: Vec<PathBuf> = std::env::split_paths(set)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    if !named.is_empty() {
        return named;
    }
    home.map(|home| home.join(".kube/config"))
        .into_iter()
        .collect()
}

/// Finds the file that causes the failure: most errors do not name theirs.
fn culprit(files: &[PathBuf], failure: &KubeconfigError) -> Option<PathBuf> {
    if let KubeconfigError::ReadConfig(_, path) = failure {
        return Some(path.clone());
    }
    let is_broken = |path: &&PathBuf| Kubeconfig::read_from(path).is_err();
    match files {
        [one] => Some(one.clone()),
        several => several.iter().find(is_broken).cloned(),
    }
}

fn unusable(path: Option<PathBuf>, failure: &KubeconfigError) -> ConnectError {
    let detail = match failure {
        // The message names the file before this.
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        KubeconfigError::LoadContext(name) => format!("it has no context `{name}`"),
        failure => chain(failure),
    };
    ConnectError::Kubeconfig { path, detail }
}

/// Returns whether there is no kubeconfig in the default places.
fn is_absent(failure: &KubeconfigError) -> bool {
    matches!(
        failure,
        KubeconfigError::FindPath | KubeconfigError::ReadConfig(..)
    )
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use bytes::Bytes;
    use futures::FutureExt as _;
    use http::{Request, Response};
    use http_body_util::Full;
    use kube::client::Body;
    use tower::BoxError;

    use super::*;

    #[tokio::test]
    async fn what_hangs_in_the_name_of_an_account_takes_no_place_of_ones_own() {
        let server = tower::service_fn(|request: Request<Body>| {
            let hangs = request.headers().contains_key("impersonate-user");
            async move {
                if hangs {
                    pending::<()>().await;
                }
                let answer = Full::new(Bytes::from_static(b"{}"));
                Ok::<_, BoxError>(Response::new(answer))
            }
        });
        let client = kube::Client::new(server, "default");
        let options = Options {
            concurrency: 1,
            ..Options::default()
        };
        let own = Connection::with_client(client, &options, None, String::new());
        let account = ServiceAccount::new("shop", "deployer");
        let (acting, call) = (own.acting_as(&account).unwrap(), Call::get("/version"));
        let mut hanging = Box::pin(acting.call(&call));
        assert!(hanging.as_mut().now_or_never().is_none());
        let answered = tokio::time::timeout(Duration::from_mins(1), own.call(&call));
        answered.await.expect("there is a place for it").unwrap();
    }

    #[tokio::test]
    async fn a_missing_kubeconfig_and_context_are_named() {
        let missing = Options {
            kubeconfig: Some("/nonexistent/kubeconfig".into()),
            ..Options::default()
        };
        let error = Connection::connect(missing).await.unwrap_err().to_string();
        assert!(
            error.starts_with("cannot use the kubeconfig /nonexistent/kubeconfig: "),
            "{error}"
        );
    }

    #[test]
    fn the_file_that_cannot_be_used_is_named() {
        let home = || Some(PathBuf::from("/home/me"));
        let by_default = files(OsStr::new(""), home());
        assert_eq!(by_default, [PathBuf::from("/home/me/.kube/config")]);
        let several = files(OsStr::new(":/nonexistent/a::/nonexistent/b"), home());
        let named = ["/nonexistent/a", "/nonexistent/b"].map(PathBuf::from);
        assert_eq!(several, named);

        let told = |files: &[PathBuf], failure: KubeconfigError| {
            unusable(culprit(files, &failure), &failure).to_string()
        };
        let context = || KubeconfigError::LoadContext("prod".to_owned());
        insta::assert_snapshot!(told(&by_default, context()), @"cannot use the kubeconfig /home/me/.kube/config: it has no context `prod`");
        insta::assert_snapshot!(told(&several, context()), @"cannot use the kubeconfig /nonexistent/a: it has no context `prod`");
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let denied = KubeconfigError::ReadConfig(denied, "/etc/kube".into());
        insta::assert_snapshot!(told(&[], denied), @"cannot use the kubeconfig /etc/kube: permission denied");
    }

    #[test]
    fn a_service_account_is_named_as_kubernetes_names_it() {
        assert_eq!(
            ServiceAccount::new("shop", "deployer").to_string(),
            "system:serviceaccount:shop:deployer"
        );
    }
}
