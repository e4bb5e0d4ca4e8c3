//! URLs as Go's `net/url` parses and prints them. Templates get them from `urlParse`, and Helm's JSON Schema library uses the
//! same rules for `uri`. Charts rely on its leniency and its messages.
//!
//! ```
//! use pintle_gourl::Url;
//!
//! let url = Url::parse(b"https://user@example.com:443/a%20b")?;
//! assert_eq!((url.hostname(), &url.path[..]), (&b"example.com"[..], &b"/a b"[..]));
//! # Ok::<(), pintle_gourl::UrlError>(())
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use memchr::memmem::find;
use pintle_gotemplate::print;
use thiserror::Error;

/// The parts of a URL. Escapes are resolved where Go resolves them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    /// The scheme in lowercase; empty for a relative URL.
    pub scheme: Vec<u8>,
    /// The part after the scheme, if it does not begin with a slash.
    pub opaque: Vec<u8>,
    /// The user information before the host.
    pub user: Option<UserInfo>,
    /// The host, including the port.
    pub host: Vec<u8>,
    /// The path.
    pub path: Vec<u8>,
    /// The path as written, if it differs from the default escaping of [`Self::path`]; otherwise empty.
    pub raw_path: Vec<u8>,
    /// The query as written.
    pub query: Vec<u8>,
    /// The part after `#`.
    pub fragment: Vec<u8>,
}

/// The name and password before a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    name: Vec<u8>,
    password: Option<Vec<u8>>,
}

/// The text is not a valid URL. The messages are Go's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("parse {url}: {problem}")]
pub struct UrlError {
    url: String,
    problem: Problem,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
enum Problem {
    #[error("net/url: invalid control character in URL")]
    Control,
    #[error("missing protocol scheme")]
    NoScheme,
    #[error("first path segment in URL cannot contain colon")]
    Colon,
    #[error("invalid URL escape {0}")]
    Escape(String),
    #[error("invalid character {0} in host name")]
    HostCharacter(String),
    #[error("invalid IP-literal")]
    IpLiteral,
    #[error("missing ']' in host")]
    Bracket,
    #[error("invalid port {0} after host")]
    Port(String),
    #[error("invalid host: ParseAddr({0}): unable to parse IP")]
    Address(String),
    #[error("net/url: invalid userinfo")]
    UserInfo,
}

/// A part of a URL, which determines the characters to escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Path,
    UserInfo,
    Host,
    Zone,
    Fragment,
}

/// Returns whether a byte must be escaped in a part of a URL.
fn must_escape(byte: u8, part: Part) -> bool {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        return false;
    }
    let allowed: &[u8] = match part {
        Part::Host | Part::Zone => b"!$&'()*+,;=:[]<>\"",
        Part::Path => b"$&+,/:;=@",
        Part::UserInfo => b"$&+,;=",
        Part::Fragment => b"$&+,/:;=?@!()*",
    };
    !allowed.contains(&byte)
}

fn escape(text: &[u8], part: Part) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if must_escape(byte, part) {
            let digit = |value: u8| DIGITS[usize::from(value)];
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.push(byte);
        }
    }
    out
}

fn hexadecimal(byte: Option<&u8>) -> Option<u8> {
    let digit = char::from(*byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

fn unescape(text: &[u8], part: Part) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte != b'%' {
            if matches!(part, Part::Host | Part::Zone) && byte.is_ascii() && must_escape(byte, part)
            {
                return Err(Problem::HostCharacter(quoted(&[byte])));
            }
            out.push(byte);
            at += 1;
            continue;
        }
        let written = &text[at..text.len().min(at + 3)];
        let bad = || Problem::Escape(quoted(written));
        let high = hexadecimal(text.get(at + 1)).ok_or_else(bad)?;
        let low = hexadecimal(text.get(at + 2)).ok_or_else(bad)?;
        let value = (high << 4) | low;
        // In a host, only non-ASCII bytes and the percent sign before a zone may be escaped.
        let refused = match part {
            Part::Host => high < 8 && written != b"%25",
            Part::Zone => written != b"%25" && value != b' ' && must_escape(value, Part::Host),
            _ => false,
        };
        if refused {
            return Err(bad());
        }
        out.push(value);
        at += 3;
    }
    Ok(out)
}

fn quoted(text: &[u8]) -> String {
    String::from_utf8_lossy(&print::quote(text)).into_owned()
}

/// Splits a text at the first separator, and returns what is before and after it. Without a separator, the first part is the
/// whole text and there is no second part.
fn cut(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&byte| byte == separator) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

impl Url {
    /// Parses a URL like Go's `url.Parse`.
    pub fn parse(text: &[u8]) -> Result<Self, UrlError> {
        let (before, fragment) = cut(text, b'#');
        let error = |url: &[u8], problem| UrlError {
            url: quoted(url),
            problem,
        };
        let mut url =
            Self::parse_without_fragment(before).map_err(|problem| error(before, problem))?;
        if let Some(fragment) = fragment {
            url.fragment =
                unescape(fragment, Part::Fragment).map_err(|problem| error(text, problem))?;
        }
        Ok(url)
    }

    fn parse_without_fragment(text: &[u8]) -> Result<Self, Problem> {
        if text.iter().any(u8::is_ascii_control) {
            return Err(Problem::Control);
        }
        let mut url = Self::default();
        if text == b"*" {
            url.path = text.to_vec();
            return Ok(url);
        }
        let (scheme, rest) = split_scheme(text)?;
        url.scheme = scheme.to_ascii_lowercase();
        let (rest, query) = cut(rest, b'?');
        url.query = query.unwrap_or_default().to_vec();
        if !rest.starts_with(b"/") {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_vec();
                return Ok(url);
            }
            if cut(rest, b'/').0.contains(&b':') {
                return Err(Problem::Colon);
            }
        }
        let mut path = rest;
        let has_authority = !url.scheme.is_empty() || !rest.starts_with(b"///");
        if let Some(rest) = rest.strip_prefix(b"//")
            && has_authority
        {
            let end = rest.iter().position(|&byte| byte == b'/');
            let (authority, after) = rest.split_at(end.unwrap_or(rest.len()));
            (url.user, url.host) = parse_authority(&url.scheme, authority)?;
            path = after;
        }
        url.path = unescape(path, Part::Path)?;
        if escape(&url.path, Part::Path) != path {
            url.raw_path = path.to_vec();
        }
        Ok(url)
    }

    /// Returns the host without its port. An IPv6 address comes without its brackets.
    pub fn hostname(&self) -> &[u8] {
        let mut host = &self.host[..];
        if let Some(colon) = host.iter().rposition(|&byte| byte == b':')
            && is_port(&host[colon..])
        {
            host = &host[..colon];
        }
        host.strip_prefix(b"[")
            .and_then(|host| host.strip_suffix(b"]"))
            .unwrap_or(host)
    }

    /// Returns what Go's `URL.String` gives for a URL made of these parts.
    pub fn to_text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.scheme.is_empty() {
            out.extend_from_slice(&self.scheme);
            out.push(b':');
        }
        if self.opaque.is_empty() {
            self.write_hierarchy(&mut out);
        } else {
            out.extend_from_slice(&self.opaque);
        }
        if !self.query.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&self.query);
        }
        if !self.fragment.is_empty() {
            out.push(b'#');
            out.extend_from_slice(&escape(&self.fragment, Part::Fragment));
        }
        out
    }

    fn write_hierarchy(&self, out: &mut Vec<u8>) {
        let has_authority = !self.host.is_empty() || self.user.is_some();
        if has_authority || (!self.scheme.is_empty() && !self.path.is_empty()) {
            out.extend_from_slice(b"//");
        }
        if let Some(user) = &self.user {
            out.extend_from_slice(&user.to_text());
            out.push(b'@');
        }
        out.extend_from_slice(&escape(&self.host, Part::Host));
        let path = if self.path == b"*" {
            self.path.clone()
        } else {
            escape(&self.path, Part::Path)
        };
        if !path.is_empty() && path[0] != b'/' && !self.host.is_empty() {
            out.push(b'/');
        }
        // Otherwise the text before the colon would look like a scheme.
        if out.is_empty() && cut(&path, b'/').0.contains(&b':') {
            out.extend_from_slice(b"./");
        }
        out.extend_from_slice(&path);
    }
}

impl UserInfo {
    /// Returns `name:password`, escaped.
    pub fn to_text(&self) -> Vec<u8> {
        let mut out = escape(&self.name, Part::UserInfo);
        if let Some(password) = &self.password {
            out.push(b':');
            out.extend_from_slice(&escape(password, Part::UserInfo));
        }
        out
    }
}

/// Returns the scheme, which is empty if there is none, and the text after its colon.
fn split_scheme(text: &[u8]) -> Result<(&[u8], &[u8]), Problem> {
    let none: (&[u8], &[u8]) = (b"", text);
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let end = text.iter().position(|byte| !is_part(byte));
    match end {
        Some(0) if text[0] == b':' => Err(Problem::NoScheme),
        Some(end) if text[end] == b':' && text[0].is_ascii_alphabetic() => {
            Ok((&text[..end], &text[end + 1..]))
        }
        _ => Ok(none),
    }
}

fn parse_authority(
    scheme: &[u8],
    authority: &[u8],
) -> Result<(Option<UserInfo>, Vec<u8>), Problem> {
    let Some(at) = authority.iter().rposition(|&byte| byte == b'@') else {
        return Ok((None, parse_host(scheme, authority)?));
    };
    let (userinfo, host) = (&authority[..at], &authority[at + 1..]);
    let host = parse_host(scheme, host)?;
    let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
    if !userinfo.iter().all(is_valid) {
        return Err(Problem::UserInfo);
    }
    let (name, password) = cut(userinfo, b':');
    let password = password.map(|password| unescape(password, Part::UserInfo));
    let user = UserInfo {
        name: unescape(name, Part::UserInfo)?,
        password: password.transpose()?,
    };
    Ok((Some(user), host))
}

fn parse_host(scheme: &[u8], host: &[u8]) -> Result<Vec<u8>, Problem> {
    let port_of = |port: &[u8]| match port {
        b"" => Ok(()),
        port if is_port(port) => Ok(()),
        port => Err(Problem::Port(quoted(port))),
    };
    match host.iter().rposition(|&byte| byte == b'[') {
        Some(0) => {
            let end = host.iter().rposition(|&byte| byte == b']');
            let end = end.ok_or(Problem::Bracket)?;
            let (address, port) = (&host[1..end], &host[end + 1..]);
            port_of(port)?;
            let address = unescape_address(address)?;
            return Ok([b"[", &address[..], b"]", port].concat());
        }
        Some(_) => return Err(Problem::IpLiteral),
        None => {}
    }
    let first = host.iter().position(|&byte| byte == b':');
    let last = host.iter().rposition(|&byte| byte == b':');
    // Only other schemes may have lists of hosts with ports, as database URLs do.
    let strict = matches!(scheme, b"http" | b"https");
    if let Some(colon) = if strict { first } else { last } {
        port_of(&host[colon..])?;
    }
    unescape(host, Part::Host)
}

/// Unescapes the text between brackets: an IPv6 address, optionally with a zone.
fn unescape_address(text: &[u8]) -> Result<Vec<u8>, Problem> {
    let address = match find(text, b"%25") {
        Some(zone) => [
            unescape(&text[..zone], Part::Host)?,
            unescape(&text[zone..], Part::Zone)?,
        ]
        .concat(),
        None => unescape(text, Part::Host)?,
    };
    let bad = || Problem::Address(quoted(&address));
    let as_text = std::str::from_utf8(&address).map_err(|_| bad())?;
    let (number, zone) = match as_text.split_once('%') {
        Some((number, zone)) => (number, Some(zone)),
        None => (as_text, None),
    };
    if zone.is_none() && number.parse::<Ipv4Addr>().is_ok() {
        return Err(Problem::IpLiteral);
    }
    if zone == Some("") || number.parse::<Ipv6Addr>().is_err() {
        return Err(bad());
    }
    Ok(address)
}

/// Returns whether the text is a colon followed by digits or by nothing.
fn is_port(text: &[u8]) -> bool {
    text.first() == Some(&b':') && text[1..].iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(url: &str) -> Result<String, String> {
        let url = Url::parse(url.as_bytes()).map_err(|error| error.to_string())?;
        let part = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        let user = url.user.as_ref().map(UserInfo::to_text).unwrap_or_default();
        let parts = [
            &url.scheme,
            &url.opaque,
            &user,
            &url.host,
            &url.path,
            &url.query,
            &url.fragment,
        ];
        Ok(parts.map(|text| part(text)).join("|"))
    }

    #[test]
    fn parts_of_urls() {
        let cases = [
            (
                "http://u:p%40@h:80/a%20b?q=1#f%21",
                "http||u:p%40|h:80|/a b|q=1|f!",
            ),
            ("mailto:a@b.c", "mailto|a@b.c|||||"),
            ("//h/p", "|||h|/p||"),
            ("///p", "||||///p||"),
            ("a/b:c", "||||a/b:c||"),
            ("http://[fe80::1%25en0]:80/", "http|||[fe80::1%en0]:80|/||"),
            ("mongodb://a:1,b:2/", "mongodb|||a:1,b:2|/||"),
            ("file:///x", "file||||/x||"),
        ];
        for (url, expected) in cases {
            assert_eq!(text(url).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn paths_as_they_were_written() {
        for (url, written) in [
            ("http://h/a%20b", ""),
            ("/%7Ba", ""),
            ("/{a}", "/{a}"),
            ("/%7ba", "/%7ba"),
            ("/a%2Fb/c d", "/a%2Fb/c d"),
            ("urn:{a}", ""),
        ] {
            let url = Url::parse(url.as_bytes()).unwrap();
            assert_eq!(url.raw_path, written.as_bytes());
        }
    }

    #[test]
    fn errors_are_go_s() {
        let cases = [
            (":x", "parse \":x\": missing protocol scheme"),
            (
                "a:b/c\n",
                "parse \"a:b/c\\n\": net/url: invalid control character in URL",
            ),
            (
                "1a:b",
                "parse \"1a:b\": first path segment in URL cannot contain colon",
            ),
            (
                "http://h:x/",
                "parse \"http://h:x/\": invalid port \":x\" after host",
            ),
            (
                "http://a b/",
                "parse \"http://a b/\": invalid character \" \" in host name",
            ),
            ("/%zz", "parse \"/%zz\": invalid URL escape \"%zz\""),
            ("http://[::1", "parse \"http://[::1\": missing ']' in host"),
            (
                "http://[1.2.3.4]",
                "parse \"http://[1.2.3.4]\": invalid IP-literal",
            ),
            (
                "http://u^@h",
                "parse \"http://u^@h\": net/url: invalid userinfo",
            ),
        ];
        for (url, expected) in cases {
            assert_eq!(text(url).unwrap_err(), expected);
        }
    }
}
