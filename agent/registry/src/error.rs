//! The reasons why a pull or a push fails, or a client cannot be set up.

use std::{fmt, path::PathBuf, time::Duration};

use pintle_core::digest::Digest;

use crate::{
    chart::{ARCHIVE_ADVICE, ArchiveError},
    component::ComponentError,
    reference::Reference,
};

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Finding the digest that a tag stands for.
    Resolve,
    /// Reading the manifest.
    Manifest,
    /// Reading the config.
    Config,
    /// Reading the component.
    Component,
    /// Listing the tags of a repository.
    Tags,
    /// Reading an archive of files.
    Files,
    /// Checking the content to push.
    Check,
    /// Uploading the component.
    UploadComponent,
    /// Uploading the config.
    UploadConfig,
    /// Uploading the manifest, which makes the artifact visible.
    UploadManifest,
}

impl Stage {
    /// Returns the name for metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Component => "component",
            Self::Tags => "tags",
            Self::Files => "files",
            Self::Check => "check",
            Self::UploadComponent => "upload-component",
            Self::UploadConfig => "upload-config",
            Self::UploadManifest => "upload-manifest",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "find the digest of",
            Self::Manifest => "read the manifest of",
            Self::Config => "read the config of",
            Self::Component => "read the component of",
            Self::Tags => "list the tags of",
            Self::Files => "read the files of",
            Self::Check => "push",
            Self::UploadComponent => "upload the component of",
            Self::UploadConfig => "upload the config of",
            Self::UploadManifest => "upload the manifest of",
        })
    }
}

/// A failed pull, push, resolve or inspect: which reference, at what stage, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {stage} `{reference}`")]
pub struct RegistryError {
    /// The reference to the artifact.
    pub reference: Reference,
    /// What was being done.
    pub stage: Stage,
    /// The reason why it failed.
    #[source]
    pub cause: Cause,
}

impl RegistryError {
    /// Returns whether the same call may succeed later without any change on this side.
    pub const fn is_retryable(&self) -> bool {
        self.cause.is_retryable()
    }

    /// Returns how long the host that answered wants callers to wait before they ask it again, if it said so.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.cause.retry_after()
    }
}

/// The content that an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The manifest.
    Manifest,
    /// The config.
    Config,
    /// The component.
    Component,
    /// A response of a token service.
    Token,
    /// An archive of files, such as a chart.
    Archive,
    /// The index of a chart repository.
    Index,
    /// A list of tags.
    Tags,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Component => "component",
            Self::Token => "token",
            Self::Archive => "archive",
            Self::Index => "index",
            Self::Tags => "list of tags",
        })
    }
}

/// What went wrong with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsProblem {
    /// The certificate is not signed by an authority that is trusted here.
    UnknownAuthority,
    /// The certificate is for other names.
    WrongName,
    /// The certificate has expired.
    Expired,
    /// The server does not speak TLS.
    PlainHttp,
    /// Something else, in the words of the TLS library.
    Other(String),
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAuthority => {
                "its certificate is signed by an authority that is not trusted here; if it is your own, \
                 give the authority's certificate (PEM) with `--registry-ca`, or as `ca.crt` of the pull secret"
            }
            Self::WrongName => "its certificate is for another name",
            Self::Expired => "its certificate has expired",
            Self::PlainHttp => {
                "it speaks plain http; if that is meant, name the host with `--plain-http`"
            }
            Self::Other(text) => text,
        })
    }
}

/// The kind of credentials shown to a registry that did not accept them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shown {
    /// Nothing: there are no credentials for it.
    Nothing,
    /// A user name and password.
    Password,
    /// A bearer token.
    Token,
    /// An identity token, which only token services accept.
    Identity,
}

/// The reason why a request to a registry has no result. `host` is the host that answered, or did not answer: the registry, its
/// token service, or a host that it redirected to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Cause {
    /// The host does not accept the credentials, or requires some.
    #[error("{}", unauthorized(host, *shown, message.as_deref()))]
    Unauthorized {
        /// The host that answered.
        host: String,
        /// The kind of credentials it was shown.
        shown: Shown,
        /// The host's message.
        message: Option<String>,
    },
    /// The host denies access, to a caller that it knows or to an anonymous one.
    #[error("{host} denies it{}; the credentials may lack the right to do this, or the repository may not exist", said(message.as_deref()))]
    Denied {
        /// The host that answered.
        host: String,
        /// The host's message.
        message: Option<String>,
    },
    /// The host, or its token service, accepts the credentials, but they do not permit the action.
    #[error("{host} denies it{}: the credentials give no right to {action} `{repository}`, or there is no such repository; ask for the right, and check that they are the credentials that you mean", said(message.as_deref()))]
    NoRight {
        /// The host that answered.
        host: String,
        /// The action that was not permitted: `pull from`, `list the tags of` or `push to`.
        action: &'static str,
        /// The repository.
        repository: String,
        /// The host's message.
        message: Option<String>,
    },
    /// The host has no such repository, tag or blob.
    #[error("{host} has no such {part}{}", said(message.as_deref()))]
    NotFound {
        /// The host that answered.
        host: String,
        /// What was asked for.
        part: &'static str,
        /// The host's message.
        message: Option<String>,
    },
    /// The host limits the rate of requests.
    #[error("{host} asks for fewer requests{}", said(message.as_deref()))]
    RateLimited {
        /// The host that answered.
        host: String,
        /// How long the host wants callers to wait before they ask it again.
        retry_after: Option<Duration>,
        /// The host's message.
        message: Option<String>,
    },
    /// The host has a problem of its own.
    #[error("{host} answered with status {status}{}", said(message.as_deref()))]
    Server {
        /// The host that answered.
        host: String,
        /// The status: 500 or more, or 408.
        status: u16,
        /// How long the host wants callers to wait before they ask it again.
        retry_after: Option<Duration>,
        /// The host's message.
        message: Option<String>,
    },
    /// The host refuses the request.
    #[error("{host} refuses the request with status {status}{}", said(message.as_deref()))]
    Refused {
        /// The host that answered.
        host: String,
        /// The status.
        status: u16,
        /// The host's message.
        message: Option<String>,
    },
    /// No connection to the host can be opened.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// The host that cannot be reached.
        host: String,
        /// The reason, in the words of the system.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection to {host} broke: {reason}")]
    Interrupted {
        /// The other side of the connection.
        host: String,
        /// The reason, in the words of the system.
        reason: String,
    },
    /// The host did not answer, or not fast enough.
    #[error("{host} {}", silence(*total, *limit))]
    Timeout {
        /// The other side of the connection.
        host: String,
        /// Whether the whole call took too long, rather than one response.
        total: bool,
        /// The limit.
        limit: Duration,
    },
    /// So many other callers ask the host that this one did not get a turn in time.
    #[error("{host} was not asked: those who asked it before took longer than {limit:?}")]
    Busy {
        /// The host that they ask.
        host: String,
        /// How long this caller waited.
        limit: Duration,
    },
    /// There is no secure connection to the host.
    #[error("no secure connection to {host}: {problem}")]
    Tls {
        /// The other side of the connection.
        host: String,
        /// What went wrong.
        problem: TlsProblem,
    },
    /// The host sends us, or our credentials, to a place that is not safe.
    #[error("{host} sends us to {to}, which is not followed: {reason}")]
    Redirect {
        /// The host that answered.
        host: String,
        /// Where it sends us.
        to: String,
        /// Why that is not followed.
        reason: &'static str,
    },
    /// Content does not match its digest.
    #[error(
        "the {part} is not what its digest says: expected {expected}, got {got}; the registry, or something between, has changed it"
    )]
    Digest {
        /// The content.
        part: Part,
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of the content that was received.
        got: Digest,
    },
    /// The manifest to push has a digest other than the one in the reference.
    #[error(
        "the reference asks for {expected}, but what is pushed is {got}; push to a tag, or correct the digest"
    )]
    OtherContent {
        /// The digest in the reference.
        expected: Digest,
        /// The digest of the manifest.
        got: Digest,
    },
    /// Content is larger than the limit.
    #[error("{}", too_large(*part, *limit, *size))]
    TooLarge {
        /// The content.
        part: Part,
        /// The limit, in bytes.
        limit: u64,
        /// Its size, if it is known.
        size: Option<u64>,
    },
    /// A list of tags continues after the most that is read of one.
    #[error(
        "the list of tags goes on after {limit} {unit}, and no more are read; name the tag itself, or a digest, in place of a range"
    )]
    TooManyTags {
        /// The limit that was reached.
        limit: u64,
        /// The unit of the limit: `versions`, `pages` or `bytes`.
        unit: &'static str,
    },
    /// An index lists more versions of charts than the limit.
    #[error(
        "the index lists more than the limit of {limit} versions of charts, which no known index comes near; check what generates it"
    )]
    TooManyVersions {
        /// The limit.
        limit: usize,
    },
    /// The size of content is not the one in the manifest.
    #[error("the {part} should have {declared} bytes according to the manifest, but {}", came(*got, *more))]
    Size {
        /// The content.
        part: Part,
        /// The size according to the manifest, in bytes.
        declared: u64,
        /// How many bytes were received before the mismatch was clear.
        got: u64,
        /// Whether there was more to come.
        more: bool,
    },
    /// The artifact is not a Wasm component.
    #[error("it is {is}; expected a Wasm component (config {CONFIG_V0}, one layer {LAYER})", CONFIG_V0 = crate::manifest::CONFIG_V0, LAYER = crate::manifest::LAYER)]
    NotWasm {
        /// What it is instead.
        is: String,
    },
    /// The artifact is neither a Helm chart nor another artifact whose one layer is an archive of files.
    #[error(
        "it is {is}; expected a Helm chart (one layer {CHART_LAYER}), or another artifact whose one layer is an archive of files",
        CHART_LAYER = crate::manifest::CHART_LAYER
    )]
    NotFiles {
        /// What it is instead.
        is: String,
    },
    /// An archive of files is rejected.
    #[error("the archive is rejected")]
    Archive(#[from] ArchiveError),
    /// A download cannot be written to the disk of this machine, or there is no room for it there.
    #[error("the {part} cannot be stored in {} during its download: {reason}", dir.display())]
    Disk {
        /// The content that is downloaded.
        part: Part,
        /// The folder that it should be stored in.
        dir: PathBuf,
        /// Why that is not possible, in the words of the system, and what to do.
        reason: String,
    },
    /// There is no room for content that is downloaded, or is in the cache, in addition to what is held already.
    #[error(
        "there is no room for the {part}: those in use and those being downloaded share {limit} bytes, a quarter of which is reserved for downloads; use fewer or smaller ones, or, for an agent, set a larger `--cache-size`"
    )]
    NoRoom {
        /// The content.
        part: Part,
        /// How many bytes all may have together.
        limit: u64,
    },
    /// A response cannot be understood.
    #[error("the {part} cannot be understood: {reason}")]
    Malformed {
        /// The content.
        part: Part,
        /// The reason.
        reason: String,
    },
    /// The registry does not follow the protocol.
    #[error("{host} does not follow the OCI distribution specification: {reason}")]
    Protocol {
        /// The host that answered.
        host: String,
        /// What the host does wrong.
        reason: String,
    },
    /// The bytes are not a component.
    #[error(transparent)]
    Component(#[from] ComponentError),
}

impl Cause {
    /// Returns whether the same call may succeed later without any change on this side.
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Server { .. }
                | Self::Unreachable { .. }
                | Self::Interrupted { .. }
                | Self::Timeout { .. }
                | Self::Busy { .. }
                | Self::Disk { .. }
                | Self::NoRoom { .. }
        )
    }

    /// Returns how long the host that answered wants callers to wait before they ask it again, if it said so.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Server { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// Returns the cause with the time that is left of the pause that the host asked for.
    pub(crate) fn with_retry_after(mut self, left: Duration) -> Self {
        if let Self::RateLimited { retry_after, .. } | Self::Server { retry_after, .. } = &mut self
        {
            *retry_after = Some(left);
        }
        self
    }

    /// Returns the name for metric labels.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unauthorized { .. } => "unauthorized",
            Self::Denied { .. } | Self::NoRight { .. } => "denied",
            Self::NotFound { .. } => "not-found",
            Self::RateLimited { .. } => "rate-limited",
            Self::Server { .. } => "server",
            Self::Refused { .. } => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Interrupted { .. } => "interrupted",
            Self::Timeout { .. } => "timeout",
            Self::Busy { .. } => "busy",
            Self::Tls { .. } => "tls",
            Self::Redirect { .. } => "redirect",
            Self::Digest { .. } => "digest",
            Self::OtherContent { .. } => "other-content",
            Self::TooLarge { .. } => "too-large",
            Self::TooManyTags { .. } => "too-many-tags",
            Self::TooManyVersions { .. } => "too-many-versions",
            Self::Size { .. } => "size",
            Self::NotWasm { .. } => "not-wasm",
            Self::NotFiles { .. } => "not-files",
            Self::Archive(_) => "archive",
            Self::Disk { .. } => "disk",
            Self::NoRoom { .. } => "no-room",
            Self::Malformed { .. } => "malformed",
            Self::Protocol { .. } => "protocol",
            Self::Component(_) => "component",
        }
    }
}

fn said(message: Option<&str>) -> String {
    message
        .map(|message| format!(" ({message})"))
        .unwrap_or_default()
}

fn unauthorized(host: &str, shown: Shown, message: Option<&str>) -> String {
    let said = said(message);
    match shown {
        Shown::Nothing => {
            format!(
                "{host} asks for credentials{said}, and there are none for it; log in with `docker login`, or give a pull secret that has an entry for it"
            )
        }
        Shown::Password => format!("{host} does not accept the user name and password{said}"),
        Shown::Token => format!("{host} does not accept the token{said}"),
        Shown::Identity => {
            format!(
                "{host} does not accept the identity token{said}; log in again, or give a user name and password"
            )
        }
    }
}

fn too_large(part: Part, limit: u64, size: Option<u64>) -> String {
    let size = size.map_or_else(String::new, |size| format!(" (it has {size})"));
    let advice = match part {
        Part::Component => Some("build it without debug information, or split it"),
        Part::Archive => Some(ARCHIVE_ADVICE),
        Part::Index => Some("take old versions off it, or split the repository"),
        // Legitimate content does not come near these limits.
        Part::Manifest | Part::Config | Part::Token | Part::Tags => None,
    };
    let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
    format!("the {part} is larger than the limit of {limit} bytes{size}{advice}")
}

fn came(got: u64, more: bool) -> String {
    if more {
        "has more".to_owned()
    } else {
        format!("ends after {got}")
    }
}

fn silence(total: bool, limit: Duration) -> String {
    if total {
        format!("took longer than {limit:?} in all")
    } else {
        format!("did not answer within {limit:?}")
    }
}

/// The reason why a [`Registry`](crate::Registry) cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A CA file does not contain a certificate.
    #[error(
        "registry CA number {number} holds no PEM certificate: expected `-----BEGIN CERTIFICATE-----`"
    )]
    NoCertificate {
        /// The number of the file, starting at 1.
        number: usize,
    },
    /// A CA certificate cannot be read.
    #[error("registry CA number {number} cannot be read: {reason}")]
    Certificate {
        /// The number of the file, starting at 1.
        number: usize,
        /// The reason.
        reason: String,
    },
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {reason}")]
    Client {
        /// The reason.
        reason: String,
    },
}
