//! Why something cannot be had from, or given to, a registry.

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
    /// Checking what is to be pushed.
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
    /// Which artifact.
    pub reference: Reference,
    /// What was being done.
    pub stage: Stage,
    /// Why it failed.
    #[source]
    pub cause: Cause,
}

impl RegistryError {
    /// Says whether the same call may succeed later without any change on this side.
    pub const fn is_retryable(&self) -> bool {
        self.cause.is_retryable()
    }

    /// Returns after what time whoever answered said that it may be asked again.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.cause.retry_after()
    }
}

/// What of an artifact is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The manifest.
    Manifest,
    /// The config.
    Config,
    /// The component.
    Component,
    /// An answer of a token service.
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

/// What was wrong with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsProblem {
    /// The certificate is signed by nobody who is trusted here.
    UnknownAuthority,
    /// The certificate is for other names.
    WrongName,
    /// The certificate's time is over.
    Expired,
    /// The other side does not speak TLS.
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

/// What was shown to a registry that did not accept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shown {
    /// Nothing: there are no credentials for it.
    Nothing,
    /// User name and password.
    Password,
    /// A bearer token.
    Token,
    /// An identity token, which only token services take.
    Identity,
}

/// Why a request to a registry has no result. `host` is who answered, or did not: the registry, its token service, or
/// where it redirected to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Cause {
    /// It does not accept the credentials, or wants some.
    #[error("{}", unauthorized(host, *shown, message.as_deref()))]
    Unauthorized {
        /// Who answered.
        host: String,
        /// What it was shown.
        shown: Shown,
        /// Its words.
        message: Option<String>,
    },
    /// It knows who asks, and says no.
    #[error("{host} denies it{}; the credentials may lack the right to do this, or the repository may not exist", said(message.as_deref()))]
    Denied {
        /// Who answered.
        host: String,
        /// Its words.
        message: Option<String>,
    },
    /// It, or its token service, takes the credentials, and they are not good for this.
    #[error("{host} denies it{}: the credentials give no right to {action} `{repository}`, or there is no such repository; ask for the right, and check that they are the credentials that you mean", said(message.as_deref()))]
    NoRight {
        /// Who answered.
        host: String,
        /// What was to be done: `pull from`, `list the tags of` or `push to`.
        action: &'static str,
        /// The repository.
        repository: String,
        /// Its words.
        message: Option<String>,
    },
    /// It has no such repository, tag or blob.
    #[error("{host} has no such {part}{}", said(message.as_deref()))]
    NotFound {
        /// Who answered.
        host: String,
        /// What was asked for.
        part: &'static str,
        /// Its words.
        message: Option<String>,
    },
    /// It wants to be asked less often.
    #[error("{host} asks for fewer requests{}", said(message.as_deref()))]
    RateLimited {
        /// Who answered.
        host: String,
        /// When it may be asked again.
        retry_after: Option<Duration>,
        /// Its words.
        message: Option<String>,
    },
    /// It has a problem of its own.
    #[error("{host} answered with status {status}{}", said(message.as_deref()))]
    Server {
        /// Who answered.
        host: String,
        /// Status of 500 or more, or 408.
        status: u16,
        /// When it may be asked again.
        retry_after: Option<Duration>,
        /// Its words.
        message: Option<String>,
    },
    /// It does not take the request.
    #[error("{host} refuses the request with status {status}{}", said(message.as_deref()))]
    Refused {
        /// Who answered.
        host: String,
        /// Status.
        status: u16,
        /// Its words.
        message: Option<String>,
    },
    /// There is no connection to it.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// Who was called.
        host: String,
        /// Why, in the words of the system.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection to {host} broke: {reason}")]
    Interrupted {
        /// The other side.
        host: String,
        /// Why, in the words of the system.
        reason: String,
    },
    /// It did not answer, or not fast enough.
    #[error("{host} {}", silence(*total, *limit))]
    Timeout {
        /// The other side.
        host: String,
        /// Whether the whole took too long, rather than one answer.
        total: bool,
        /// The limit.
        limit: Duration,
    },
    /// So many others ask it that there was no turn.
    #[error("{host} was not asked: those who asked it before took longer than {limit:?}")]
    Busy {
        /// Whom they ask.
        host: String,
        /// How long it waited.
        limit: Duration,
    },
    /// There is no secure connection to it.
    #[error("no secure connection to {host}: {problem}")]
    Tls {
        /// The other side.
        host: String,
        /// What is wrong.
        problem: TlsProblem,
    },
    /// It sends us, or our credentials, somewhere that is not safe.
    #[error("{host} sends us to {to}, which is not followed: {reason}")]
    Redirect {
        /// Who answered.
        host: String,
        /// Where to.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// Content is not what its digest says.
    #[error(
        "the {part} is not what its digest says: expected {expected}, got {got}; the registry, or something between, has changed it"
    )]
    Digest {
        /// Of what.
        part: Part,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        got: Digest,
    },
    /// What is to be pushed has another digest than the reference says.
    #[error(
        "the reference asks for {expected}, but what is pushed is {got}; push to a tag, or correct the digest"
    )]
    OtherContent {
        /// The digest in the reference.
        expected: Digest,
        /// The digest of the manifest.
        got: Digest,
    },
    /// Something is larger than is taken.
    #[error("{}", too_large(*part, *limit, *size))]
    TooLarge {
        /// What.
        part: Part,
        /// The limit, in bytes.
        limit: u64,
        /// Its size, if it is known.
        size: Option<u64>,
    },
    /// A list of tags goes on after as much as is read of one.
    #[error(
        "the list of tags goes on after {limit} {unit}, and no more are read; name the tag itself, or a digest, in place of a range"
    )]
    TooManyTags {
        /// The limit that was met.
        limit: u64,
        /// Of what: `versions`, `pages` or `bytes`.
        unit: &'static str,
    },
    /// An index lists more than is taken.
    #[error(
        "the index lists more than the limit of {limit} versions of charts, which none that is known comes near; see what writes it"
    )]
    TooManyVersions {
        /// The limit.
        limit: usize,
    },
    /// Content has another size than the manifest says.
    #[error("the {part} should have {declared} bytes by the manifest, but {}", came(*got, *more))]
    Size {
        /// What.
        part: Part,
        /// Size by the manifest, in bytes.
        declared: u64,
        /// What came until it was clear, in bytes.
        got: u64,
        /// Whether there was more to come.
        more: bool,
    },
    /// The artifact is something else.
    #[error("it is {is}; expected a Wasm component (config {CONFIG_V0}, one layer {LAYER})", CONFIG_V0 = crate::manifest::CONFIG_V0, LAYER = crate::manifest::LAYER)]
    NotWasm {
        /// What it is.
        is: String,
    },
    /// The artifact is something else.
    #[error(
        "it is {is}; expected a Helm chart (one layer {CHART_LAYER}), or another artifact whose one layer is an archive of files",
        CHART_LAYER = crate::manifest::CHART_LAYER
    )]
    NotFiles {
        /// What it is.
        is: String,
    },
    /// An archive of files is not taken.
    #[error("the archive is not taken")]
    Archive(#[from] ArchiveError),
    /// What comes cannot be written to the disk of this machine, or finds no room there.
    #[error("the {part} cannot be put down in {} while it comes: {reason}", dir.display())]
    Disk {
        /// What comes.
        part: Part,
        /// Where it is put.
        dir: PathBuf,
        /// Why it cannot, in the words of the system, and what to do.
        reason: String,
    },
    /// What comes, or is in the cache, finds no room beside the others that are held.
    #[error(
        "there is no room for the {part}: those in use and those on their way share {limit} bytes, a quarter of which is only for those on their way; use fewer or smaller ones, or, for an agent, set a larger `--cache-size`"
    )]
    NoRoom {
        /// What.
        part: Part,
        /// How many bytes all may have.
        limit: u64,
    },
    /// An answer cannot be understood.
    #[error("the {part} cannot be understood: {reason}")]
    Malformed {
        /// What.
        part: Part,
        /// Why.
        reason: String,
    },
    /// The registry does not follow the protocol.
    #[error("{host} does not follow the OCI distribution specification: {reason}")]
    Protocol {
        /// Who answered.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// The bytes are not a component.
    #[error(transparent)]
    Component(#[from] ComponentError),
}

impl Cause {
    /// Says whether the same call may succeed later without any change on this side.
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

    /// Returns after what time whoever answered said that it may be asked again.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Server { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// Returns it with what is left of the time.
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
        // Nothing that is meant well comes near these limits.
        Part::Manifest | Part::Config | Part::Token | Part::Tags => None,
    };
    let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
    format!("the {part} is larger than the limit of {limit} bytes{size}{advice}")
}

fn came(got: u64, more: bool) -> String {
    if more {
        "goes on after them".to_owned()
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

/// Why a [`Registry`](crate::Registry) cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A CA file holds no certificate.
    #[error(
        "registry CA number {number} holds no PEM certificate: expected `-----BEGIN CERTIFICATE-----`"
    )]
    NoCertificate {
        /// Which one, from 1.
        number: usize,
    },
    /// A CA certificate cannot be read.
    #[error("registry CA number {number} cannot be read: {reason}")]
    Certificate {
        /// Which one, from 1.
        number: usize,
        /// Why.
        reason: String,
    },
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be set up: {reason}")]
    Client {
        /// Why.
        reason: String,
    },
}
