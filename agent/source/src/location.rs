//! The address of a repository.

use std::{fmt, path::PathBuf};

use url::Url;

use crate::error::SourceError;

/// A repository's address, parsed and checked once.
///
/// Its text ([`fmt::Display`]) is safe to show: an address that carries a password, or something that could be one, is
/// never accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Location {
    /// `https://…` or `http://…`.
    Http(Url),
    /// `ssh://…` or `user@host:path`.
    Ssh(SshAddress),
    /// `file://…` or a plain path.
    Local(PathBuf),
}

/// The address that `ssh` is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SshAddress {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// The path as the server gets it: absolute with a leading `/`, otherwise relative to the account's home.
    pub(crate) path: String,
}

impl Location {
    /// Parses an address.
    pub(crate) fn parse(text: &str) -> Result<Self, SourceError> {
        let refuse = |reason: &str| SourceError::Url {
            url: redact(text),
            reason: reason.to_owned(),
        };
        if text.is_empty() {
            return Err(refuse(
                "it is empty: expected https://…, http://…, ssh://…, git@host:path or file://…",
            ));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(refuse("it holds white space or control characters"));
        }
        if let Some(path) = text.strip_prefix("file://") {
            return local_url(path).ok_or_else(|| {
                refuse("a file URL has an absolute path and no host: expected file:///path")
            });
        }
        if text.contains("://") {
            return remote_url(text).map_err(|reason| refuse(&reason));
        }
        if let Some(address) = scp_form(text) {
            address.check().map_err(|reason| refuse(&reason))?;
            return Ok(Self::Ssh(address));
        }
        Ok(Self::Local(PathBuf::from(text)))
    }

    /// Returns whether this address needs no network.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Returns the name of the host without the port, since everything behind one name shares its troubles.
    pub(crate) fn host(&self) -> String {
        match self {
            Self::Http(url) => url.host_str().unwrap_or_default().to_ascii_lowercase(),
            Self::Ssh(address) => address.host.to_ascii_lowercase(),
            Self::Local(_) => String::new(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url.as_str()),
            Self::Ssh(address) => address.fmt(f),
            Self::Local(path) => path.display().fmt(f),
        }
    }
}

/// Writes a text that no other address has. It keeps what was fetched from one address apart from what was fetched from
/// another.
impl fmt::Display for SshAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In a URL, a path is absolute or begins with a home. Any other path can only be written as `user@host:path`, so it was
        // given in that form and has no port either.
        let is_home = self.path.starts_with('~');
        let is_absolute = self.path.starts_with('/') && !self.path.starts_with("/~");
        if is_home || is_absolute {
            f.write_str("ssh://")?;
        }
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        let separator = match (is_home, is_absolute) {
            (true, _) => "/",
            (_, true) => "",
            _ => ":",
        };
        write!(f, "{separator}{}", self.path)
    }
}

impl SshAddress {
    /// Refuses anything that `ssh`, or the shell at the other end, could take for something else.
    fn check(&self) -> Result<(), String> {
        let option = |text: &str| text.starts_with('-');
        if self.host.is_empty() || option(&self.host) || self.host.contains('@') {
            return Err(format!("`{}` is not a host name", self.host));
        }
        if self
            .user
            .as_deref()
            .is_some_and(|user| user.is_empty() || option(user) || user.contains([':', '/']))
        {
            return Err(
                "its user name is empty, begins with `-`, or holds a `/` or a password: keys go into the credentials"
                    .to_owned(),
            );
        }
        if self.path.trim_matches('/').is_empty() || option(&self.path) {
            return Err("it names no repository after the host".to_owned());
        }
        Ok(())
    }
}

fn local_url(path: &str) -> Option<Location> {
    let path = path.strip_prefix("localhost").unwrap_or(path);
    if !path.starts_with('/') {
        return None;
    }
    let url = Url::parse(&format!("file://{path}")).ok()?;
    url.to_file_path().ok().map(Location::Local)
}

fn remote_url(text: &str) -> Result<Location, String> {
    let mut url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.password().is_some() {
        return Err(
            "it holds a password, and URLs are shown in status and logs: put it into the credentials".to_owned(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a repository's URL has no `?` or `#`".to_owned());
    }
    match url.scheme() {
        "https" | "http" => {
            if !url.username().is_empty() {
                // Some hosts show URLs such as `https://git@host/…`. Only the name in the credentials counts.
                url.set_username("")
                    .map_err(|()| "it names no host".to_owned())?;
            }
            let path = url.path().trim_end_matches('/').to_owned();
            if path.is_empty() {
                return Err("it names no repository after the host".to_owned());
            }
            url.set_path(&path);
            Ok(Location::Http(url))
        }
        "ssh" | "git+ssh" | "ssh+git" => {
            let path = percent_decoded(url.path())?;
            let address = SshAddress {
                user: match url.username() {
                    "" => None,
                    name => Some(percent_decoded(name)?),
                },
                host: url
                    .host_str()
                    .unwrap_or_default()
                    .trim_matches(['[', ']'])
                    .to_owned(),
                port: url.port(),
                // As in git, `ssh://host/~user/x` is relative to a home.
                path: path
                    .strip_prefix("/~")
                    .map_or(path.clone(), |rest| format!("~{rest}")),
            };
            address.check()?;
            Ok(Location::Ssh(address))
        }
        other => Err(format!(
            "`{other}` is not supported: expected https, http, ssh or file"
        )),
    }
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err("a `%` is not followed by two hexadecimal digits".to_owned());
            };
            bytes.push(u8::try_from(high * 16 + low).expect("two digits make a byte"));
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    if text.chars().any(char::is_control) {
        return Err("it holds control characters".to_owned());
    }
    Ok(text)
}

/// Parses `[user@]host:path`. As in git, a `/` before the first `:` makes it a path on this machine.
fn scp_form(text: &str) -> Option<SshAddress> {
    let (before, path) = text.split_once(':')?;
    if before.contains('/') || before.is_empty() {
        return None;
    }
    let (user, host) = match before.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, before),
    };
    Some(SshAddress {
        user,
        host: host.to_owned(),
        port: None,
        path: path.to_owned(),
    })
}

/// Removes whatever may be a secret from a text that did not parse: everything between `//` and the last `@`, a query, a
/// fragment, and control characters.
pub(crate) fn redact(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let clean = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).collect() };
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{}://…@{}", clean(scheme), clean(rest)),
        (None, Some((user, rest))) if user.contains(':') => format!("…@{}", clean(rest)),
        _ => clean(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match Location::parse(text) {
            Ok(location) => location.to_string(),
            Err(error) => format!("refused: {error}"),
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(
            shown("https://example.com/a/b.git/"),
            "https://example.com/a/b.git"
        );
        assert_eq!(
            shown("https://git@example.com/a.git"),
            "https://example.com/a.git"
        );
        assert_eq!(
            shown("ssh://git@example.com:2222/a%20b"),
            "ssh://git@example.com:2222/a b"
        );
        assert_eq!(shown("file:///srv/a%20b.git"), "/srv/a b.git");
        assert_eq!(shown("./here"), "./here");
        assert!(Location::parse("/srv/a:b").unwrap().is_local());
        let Location::Ssh(relative) = Location::parse("git@example.com:a.git").unwrap() else {
            panic!("an ssh address");
        };
        assert_eq!(relative.path, "a.git", "relative to the account's home");
    }

    #[test]
    fn what_is_shown_means_what_was_written() {
        for text in [
            "git@example.com:team/a.git",
            "example.com:a",
            "example.com:/~me/x",
            "ssh://git@example.com/team/a.git",
            "ssh://git@example.com:22/team/a.git",
            "ssh://example.com/~/x",
            "ssh://example.com:22/~me/x",
            "ssh://example.com//~me/x",
            "ssh://[::1]/a",
            "ssh://[::1]:22/a",
            "ssh://[::1:22]/a",
        ] {
            assert_eq!(shown(text), text);
        }
        let same = |one: &str, other: &str| {
            let (one, other) = (Location::parse(one), Location::parse(other));
            assert_eq!(one.unwrap(), other.unwrap());
        };
        same(
            "git@example.com:/srv/a.git",
            "ssh://git@example.com/srv/a.git",
        );
        same("example.com:~me/x", "ssh://example.com/~me/x");
    }

    #[test]
    fn what_could_do_harm_is_refused_and_never_repeated() {
        insta::assert_snapshot!(shown("https://me:hunter2@example.com/a.git"), @"refused: `https://…@example.com/a.git` is not usable as a repository: it holds a password, and URLs are shown in status and logs: put it into the credentials");
        insta::assert_snapshot!(shown("https://example.com/a.git?private_token=hunter2"), @"refused: `https://example.com/a.git` is not usable as a repository: a repository's URL has no `?` or `#`");
        insta::assert_snapshot!(shown("ssh://-oProxyCommand=id/a.git"), @"refused: `ssh://-oProxyCommand=id/a.git` is not usable as a repository: `-oProxyCommand=id` is not a host name");
        insta::assert_snapshot!(shown("git@-oProxyCommand=id:a.git"), @"refused: `git@-oProxyCommand=id:a.git` is not usable as a repository: `-oProxyCommand=id` is not a host name");
        insta::assert_snapshot!(shown("ssh://me%2Fyou@example.com/a.git"), @"refused: `ssh://…@example.com/a.git` is not usable as a repository: its user name is empty, begins with `-`, or holds a `/` or a password: keys go into the credentials");
        insta::assert_snapshot!(shown("git://example.com/a.git"), @"refused: `git://example.com/a.git` is not usable as a repository: `git` is not supported: expected https, http, ssh or file");
        insta::assert_snapshot!(shown("ext::sh -c id"), @"refused: `ext::sh -c id` is not usable as a repository: it holds white space or control characters");
        insta::assert_snapshot!(shown("me:hunter2@example.com:a b"), @"refused: `…@example.com:a b` is not usable as a repository: it holds white space or control characters");
        insta::assert_snapshot!(shown("ssh://a@b@c:x@example.com/a"), @"refused: `ssh://…@example.com/a` is not usable as a repository: it holds a password, and URLs are shown in status and logs: put it into the credentials");
        insta::assert_snapshot!(shown("https://example.com/"), @"refused: `https://example.com/` is not usable as a repository: it names no repository after the host");
        insta::assert_snapshot!(shown("file://server/share"), @"refused: `file://server/share` is not usable as a repository: a file URL has an absolute path and no host: expected file:///path");
        insta::assert_snapshot!(shown(""), @"refused: `` is not usable as a repository: it is empty: expected https://…, http://…, ssh://…, git@host:path or file://…");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_no_password_is_shown(scheme in "(https|http|ssh)", rest in "[a-z/:.#?%-]{0,12}") {
            let text = shown(&format!("{scheme}://u:hunter2@{rest}"));
            proptest::prop_assert!(!text.contains("hunter2"), "{}", text);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,40}") {
            let _ = Location::parse(&text);
        }
    }
}
