//! Why a repository gives no revision.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

use pintle_core::causes::chain_with;

/// Why a repository could not be read.
///
/// Addresses in it contain no passwords. It can be cloned, because every caller that shared a fetch gets its failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The address is malformed, of an unknown kind, or holds a secret.
    #[error("`{url}` is not usable as a repository: {reason}")]
    Url {
        /// The address, without anything that may be a secret.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A path on this machine, where that is not allowed.
    #[error(
        "{url} is a path on the machine that runs the agent, which it does not read: expected https, http or ssh"
    )]
    Local {
        /// The path.
        url: String,
    },
    /// There is no repository at a path of this machine.
    #[error("{} is not in a git repository: run `git init` and commit, or take the files as they are with --dev", .path.display())]
    NotARepository {
        /// The path.
        path: PathBuf,
    },
    /// The credentials do not fit the address, or are malformed.
    #[error("the credentials do not fit {url}: {reason}")]
    Credentials {
        /// The repository.
        url: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The server asks for credentials, or refuses those given.
    #[error("{url} {}", if *.given { "refused the credentials: check that they are right and have not expired" } else { "asks for credentials: name a Secret with them in the source" })]
    Unauthenticated {
        /// The repository.
        url: String,
        /// Whether credentials were sent.
        given: bool,
    },
    /// The server knows who is asking, and refuses.
    #[error("{url} may not be read with these credentials: {reason}")]
    Forbidden {
        /// The repository.
        url: String,
        /// What the server says.
        reason: String,
    },
    /// The server says that there is no such repository.
    #[error("{url} does not exist, or may not be seen with {}", if *.given { "these credentials" } else { "no credentials" })]
    NotFound {
        /// The repository.
        url: String,
        /// Whether credentials were sent.
        given: bool,
    },
    /// There is no connection, or it broke.
    #[error("{url} cannot be reached: {reason}")]
    Unreachable {
        /// The repository.
        url: String,
        /// What the network says.
        reason: String,
    },
    /// The server is there, but says that it cannot answer now.
    #[error("{url} is not available: {reason}")]
    Unavailable {
        /// The repository.
        url: String,
        /// What the server says.
        reason: String,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// Nothing arrived for too long, or the whole took too long.
    #[error("{url} {doing} for more than {}", seconds(.limit))]
    Timeout {
        /// The repository.
        url: String,
        /// What it did, such as `sent nothing`.
        doing: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// Other work on this machine delayed it for too long. This says nothing about the server.
    #[error("{url} was not read within {}: it waited for other fetches on this machine", seconds(.limit))]
    Busy {
        /// The repository.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// The list of references is long, and not all of it arrived in the time that others wait for it. The server does answer.
    #[error("{url} has a long list of branches and tags, the rest of which did not come within {}: delete those that nobody needs", seconds(.limit))]
    SlowList {
        /// The repository.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// The server's certificate was not accepted.
    #[error(
        "no trusted connection to {url}: {reason}; a server with its own certificate authority needs that authority as `ca.crt` in the credentials"
    )]
    Tls {
        /// The repository.
        url: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The server's SSH key is not the known one, or is of a type that is not accepted.
    #[error("{url} is not trusted: {reason}")]
    HostKey {
        /// The repository.
        url: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// There is no `ssh` program.
    #[error(
        "{url} needs the program `ssh`, which is not installed here: install OpenSSH's client, or use https"
    )]
    NoSsh {
        /// The repository.
        url: String,
    },
    /// What answers is not a git server, or breaks the protocol.
    #[error("{url} does not answer as a git server: {reason}")]
    Protocol {
        /// The repository.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The server sends more than is accepted.
    #[error("{url} sends {}", .what.over(*.limit))]
    TooLarge {
        /// The repository.
        url: String,
        /// What there is too much of.
        what: Excess,
        /// How much of it is accepted.
        limit: u64,
    },
    /// The repository has no commit yet.
    #[error("{url} has no commits yet: push one")]
    Empty {
        /// The repository.
        url: String,
    },
    /// HEAD names no branch that exists.
    #[error("{url} has no default branch: name a branch in the source{offer}")]
    NoDefault {
        /// The repository.
        url: String,
        /// What there is instead, with punctuation before it; may be empty.
        offer: String,
    },
    /// The branch or tag is not there.
    #[error("{url} has no {kind} `{name}`{offer}")]
    NoReference {
        /// The repository.
        url: String,
        /// `branch` or `tag`.
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// What there is instead, with punctuation before it; may be empty.
        offer: String,
    },
    /// No tag is in the version range.
    #[error("{url} has no tag in the version range `{range}`{offer}")]
    NoVersion {
        /// The repository.
        url: String,
        /// The range asked for.
        range: String,
        /// What there is instead, with punctuation before it; may be empty.
        offer: String,
    },
    /// The version range is malformed.
    #[error("`{range}` is not a version range: {reason}; expected one such as `>=1.2.0, <2.0.0`")]
    Range {
        /// The range.
        range: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The commit id is malformed.
    #[error(
        "`{commit}` is not a commit id: expected all of its 40 hexadecimal digits, as a shorter one may come to mean another commit"
    )]
    CommitId {
        /// The text.
        commit: String,
    },
    /// The commit is not there.
    #[error("{url} has no commit {commit}: it was never pushed, or a force-push removed it")]
    NoCommit {
        /// The repository.
        url: String,
        /// The commit id.
        commit: String,
    },
    /// The server sends the commit only with all of the history, and that is more than is accepted.
    #[error(
        "{url} sends only tips of branches and tags alone, and commit {commit} is none of them; with all of the history it sends {}: put a tag on the commit and follow that, or follow a branch", .what.measure(*.limit)
    )]
    NoTip {
        /// The repository.
        url: String,
        /// The commit id.
        commit: String,
        /// What the history has too much of.
        what: Excess,
        /// How much of it is accepted.
        limit: u64,
    },
    /// A tag names something other than a commit.
    #[error("{reference} of {url} is a {kind}, not a commit")]
    NotACommit {
        /// The repository.
        url: String,
        /// What was asked for.
        reference: String,
        /// What it names: `tree` or `blob`.
        kind: String,
    },
    /// The revision has no such folder.
    #[error("{revision} has no folder `{path}`{offer}")]
    NoFolder {
        /// The revision, in a form for people.
        revision: String,
        /// The path asked for.
        path: String,
        /// What there is instead, with punctuation before it; may be empty.
        offer: String,
    },
    /// The tree could not be read.
    #[error(transparent)]
    Tree(#[from] pintle_core::tree::TreeError),
    /// The objects that arrived are malformed or incomplete, even when fetched anew.
    #[error("{url} sends objects that are malformed or incomplete: {reason}")]
    Objects {
        /// The repository.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The folder for fetched repositories cannot be used.
    #[error("the cache folder {} cannot be used: {reason}", .path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system says, and what to do.
        reason: String,
        /// Whether the reason is that no room is left.
        is_full: bool,
    },
    /// The process is stopping.
    #[error("{url} was not read: the process is stopping")]
    Stopped {
        /// The repository.
        url: String,
    },
}

/// What a repository has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// Branches and tags, in bytes of their list.
    References,
    /// One transfer, in bytes as sent.
    Transfer,
    /// The objects of one transfer.
    Objects,
    /// One object, in bytes when unpacked.
    Object,
    /// All objects of one transfer together, in bytes when unpacked.
    Unpacked,
    /// The objects that are needed at the same time to make others from them, in bytes.
    Bases,
    /// The chain of objects that one object is made from, one after the other.
    Chain,
}

impl Excess {
    /// Describes what there is too much of, and what helps.
    fn over(self, limit: u64) -> String {
        format!("{}: {}", self.measure(limit), self.advice())
    }

    fn measure(self, limit: u64) -> String {
        match self {
            Self::References => {
                format!("more than {limit} bytes of branches and tags, the limit of their list")
            }
            Self::Transfer => format!("more than {limit} bytes at once, the limit of one transfer"),
            Self::Objects => {
                format!("more than {limit} objects at once, the limit of one transfer")
            }
            Self::Object => {
                format!("an object of more than {limit} bytes, the limit of one object")
            }
            Self::Unpacked => format!(
                "objects that have more than {limit} bytes when they are unpacked, the limit of one transfer"
            ),
            Self::Bases => format!(
                "objects that need more than {limit} bytes of others at once to be put together, the limit of that"
            ),
            Self::Chain => format!(
                "an object that is made from more than {limit} others, one after the other, which is the most that git makes"
            ),
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::References => {
                "delete those that nobody needs; before version 2 of git's protocol the list holds all other references too"
            }
            Self::Transfer | Self::Unpacked => {
                "take what is not deployed out of the repository, or deploy from one of its own; \
                 an agent takes more with `--max-git-transfer`"
            }
            Self::Objects => {
                "take what is not deployed out of the repository, or deploy from one of its own; \
                 an agent takes more with `--max-git-objects`"
            }
            Self::Object => {
                "take the file out of the commit; `git ls-tree -r -l COMMIT` shows the sizes; \
                 an agent takes larger ones with `--max-git-object-size`"
            }
            Self::Bases => "run `git repack -a -d -f --depth=4` where the repository is kept",
            Self::Chain => "run `git repack -a -d -f` where the repository is kept",
        }
    }
}

impl SourceError {
    /// Returns whether trying again later, with nothing changed here, may succeed.
    ///
    /// An error that only a push, a new credential or an edit of the source can fix is not retryable; the next poll sees such a
    /// change in any case.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Unavailable { .. }
                | Self::Timeout { .. }
                | Self::Busy { .. }
                | Self::SlowList { .. }
                | Self::Protocol { .. }
                | Self::Objects { .. }
                | Self::Cache { .. }
                | Self::Stopped { .. }
        )
    }

    /// Returns how long the server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl SourceError {
    /// Sets how long the server asks to be left alone from now on.
    pub(crate) fn with_retry_after(mut self, left: Duration) -> Self {
        if let Self::Unavailable { retry_after, .. } = &mut self {
            *retry_after = Some(left);
        }
        self
    }

    /// Returns whether there was no connection, or nothing arrived in time.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }

    /// Returns the error for a file or folder of the cache that cannot be used.
    pub(crate) fn cache(path: &Path, error: &io::Error) -> Self {
        let is_full = is_full(error);
        let advice = if is_full {
            ": make room on its volume, or give it a larger one"
        } else if lacks_rights(error) {
            ": let the user as whom this runs write there"
        } else {
            ""
        };
        Self::Cache {
            path: path.to_owned(),
            reason: format!("{error}{advice}"),
            is_full,
        }
    }

    /// Returns whether the cache has no room left.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Cache { is_full: true, .. })
    }
}

/// Finds the cause of a git error that lies with this machine: no room, or no permission to write. In that case nothing is
/// wrong with what was being written, nor with what is already there.
pub(crate) fn lack(error: &gix::Error) -> Option<&io::Error> {
    error
        .iter_errors()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .find(|cause| is_full(cause) || lacks_rights(cause))
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn lacks_rights(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn seconds(limit: &Duration) -> String {
    if limit.subsec_millis() == 0 {
        format!("{} s", limit.as_secs())
    } else {
        format!("{} ms", limit.as_millis())
    }
}

/// Runs code that decodes data from elsewhere: a flaw in a decoder must not take down more than this one call. If it panics,
/// the panic message is the error.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| said(panic.as_ref()))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    one_line(text.unwrap_or("no reason given"))
}

/// Formats an error and its causes as one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    chain_with(error, one_line)
}

/// Makes third-party text fit for a status: one line, no control characters, no longer than 500 characters.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(500) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_told_with_its_limit_and_what_helps() {
        let told = |what| {
            let url = "URL".to_owned();
            SourceError::TooLarge {
                url,
                what,
                limit: 9,
            }
            .to_string()
        };
        insta::assert_snapshot!(told(Excess::References), @"URL sends more than 9 bytes of branches and tags, the limit of their list: delete those that nobody needs; before version 2 of git's protocol the list holds all other references too");
        insta::assert_snapshot!(told(Excess::Transfer), @"URL sends more than 9 bytes at once, the limit of one transfer: take what is not deployed out of the repository, or deploy from one of its own; an agent takes more with `--max-git-transfer`");
        insta::assert_snapshot!(told(Excess::Objects), @"URL sends more than 9 objects at once, the limit of one transfer: take what is not deployed out of the repository, or deploy from one of its own; an agent takes more with `--max-git-objects`");
        insta::assert_snapshot!(told(Excess::Object), @"URL sends an object of more than 9 bytes, the limit of one object: take the file out of the commit; `git ls-tree -r -l COMMIT` shows the sizes; an agent takes larger ones with `--max-git-object-size`");
        insta::assert_snapshot!(told(Excess::Unpacked), @"URL sends objects that have more than 9 bytes when they are unpacked, the limit of one transfer: take what is not deployed out of the repository, or deploy from one of its own; an agent takes more with `--max-git-transfer`");
        insta::assert_snapshot!(told(Excess::Bases), @"URL sends objects that need more than 9 bytes of others at once to be put together, the limit of that: run `git repack -a -d -f --depth=4` where the repository is kept");
        let history = SourceError::NoTip {
            url: "URL".to_owned(),
            commit: "COMMIT".to_owned(),
            what: Excess::Bases,
            limit: 9,
        };
        insta::assert_snapshot!(history, @"URL sends only tips of branches and tags alone, and commit COMMIT is none of them; with all of the history it sends objects that need more than 9 bytes of others at once to be put together, the limit of that: put a tag on the commit and follow that, or follow a branch");
        insta::assert_snapshot!(told(Excess::Chain), @"URL sends an object that is made from more than 9 others, one after the other, which is the most that git makes: run `git repack -a -d -f` where the repository is kept");
    }

    #[test]
    fn a_full_disk_is_found_behind_what_git_says() {
        use io::ErrorKind::{
            Other, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };

        // Nested as deeply as in gix, inside an error of another kind.
        let error = |kind: io::ErrorKind| {
            let inner = gix::Error::from_error(io::Error::new(kind, "no"));
            gix::Error::from_error(io::Error::other(inner))
        };
        for (kind, full) in [
            (StorageFull, true),
            (QuotaExceeded, true),
            (ReadOnlyFilesystem, false),
            (PermissionDenied, false),
        ] {
            let error = error(kind);
            let cause = lack(&error).unwrap();
            assert_eq!(cause.kind(), kind);
            let told = SourceError::cache(Path::new("/cache"), cause);
            assert!(told.is_retryable() && told.is_full() == full, "{told}");
        }
        assert!(lack(&error(Other)).is_none());
        let told =
            |kind: io::ErrorKind| SourceError::cache(Path::new("/cache"), &kind.into()).to_string();
        insta::assert_snapshot!(told(StorageFull), @"the cache folder /cache cannot be used: no storage space: make room on its volume, or give it a larger one");
        insta::assert_snapshot!(told(PermissionDenied), @"the cache folder /cache cannot be used: permission denied: let the user as whom this runs write there");
        insta::assert_snapshot!(told(Other), @"the cache folder /cache cannot be used: other error");
    }

    #[test]
    fn text_of_others_is_tamed() {
        assert_eq!(one_line("a\n\x1b[31m b\t c"), "a [31m b c");
        assert_eq!(one_line(&"x".repeat(600)).chars().count(), 501);
    }
}
