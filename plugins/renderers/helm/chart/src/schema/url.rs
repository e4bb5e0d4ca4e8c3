//! URLs as Go reads them, which decides what Helm's library takes for a `uri` and a `uri-reference`.

use std::net::Ipv6Addr;

/// Whether a text is an absolute URL.
pub(super) fn is_absolute(text: &str) -> bool {
    parse(text) == Some(true)
}

/// Whether a text is a URL, absolute or relative. Blanks are tolerated.
pub(super) fn is_reference(text: &str) -> bool {
    !text.contains('\\') && parse(text).is_some()
}

/// Whether a URL is absolute; None if it is none.
fn parse(text: &str) -> Option<bool> {
    let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
    if url.contains(|c: char| c.is_ascii_control()) || !escapes_hold(fragment) {
        return None;
    }
    let (scheme, rest) = scheme(url)?;
    let rest = rest.split('?').next().unwrap_or_default();
    if !rest.starts_with('/') {
        let first = rest.split('/').next().unwrap_or_default();
        return match scheme {
            Some(_) => Some(true),
            None => (!first.contains(':') && escapes_hold(rest)).then_some(false),
        };
    }
    let has_authority = scheme.is_some() || !rest.starts_with("///");
    let path = match rest.strip_prefix("//").filter(|_| has_authority) {
        Some(behind) => {
            let (authority, path) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
            if !is_authority(authority) {
                return None;
            }
            path
        }
        None => rest,
    };
    escapes_hold(path).then_some(scheme.is_some())
}

/// The scheme, if there is one, and what is behind it; None if there is a colon without a scheme.
fn scheme(url: &str) -> Option<(Option<&str>, &str)> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    match url.split_once(':') {
        Some(("", _)) => None,
        Some((scheme, rest))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(inner) =>
        {
            Some((Some(scheme), rest))
        }
        _ => Some((None, url)),
    }
}

fn escapes_hold(text: &str) -> bool {
    text.match_indices('%').all(|(at, _)| {
        let code = text.as_bytes().get(at + 1..at + 3);
        code.is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit))
    })
}

fn is_authority(authority: &str) -> bool {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let of_user = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    user.chars().all(of_user) && escapes_hold(user) && is_host(host)
}

fn is_host(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(literal) = host.strip_prefix('[') {
        let Some((address, port)) = literal.rsplit_once(']') else {
            return false;
        };
        let address = address
            .split_once("%25")
            .map_or(address, |(address, _)| address);
        let port_holds = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return address.parse::<Ipv6Addr>().is_ok() && port_holds;
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let bytes = name.as_bytes();
    // Only what is not ASCII may be escaped in a name, and the percent sign.
    let escaped = |at: usize| {
        let code = bytes.get(at + 1..at + 3);
        code.is_some_and(|code| {
            let hex = code.iter().all(u8::is_ascii_hexdigit);
            code == b"25" || (hex && !matches!(code[0], b'0'..=b'7'))
        })
    };
    let holds = |(at, &byte): (usize, &u8)| match byte {
        b'%' => escaped(at),
        _ => {
            !byte.is_ascii()
                || byte.is_ascii_alphanumeric()
                || b"!\"$&'()*+,-.;<=>]_~".contains(&byte)
        }
    };
    is_port(port) && bytes.iter().enumerate().all(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        for good in [
            "",
            "#",
            "*",
            "a b",
            "#/definitions/a b",
            "/a?b%",
            "///a",
            "http://user:p@host:80/a%20b?c#d",
            "http://[::1%25eth0]:80/",
            "http://a%25b%C3%A9/",
            "urn:a:b",
        ] {
            assert!(is_reference(good), "{good:?}");
        }
        for bad in [
            ":a",
            "a b:c",
            "1:a",
            "a%",
            "#%zz",
            "a\\b",
            "a\nb",
            "http://a b/",
            "http://a:b/",
            "http://a:1:2/",
            "http://[::1",
            "http://[1.2.3.4]/",
            "http://a%20b/",
        ] {
            assert!(!is_reference(bad), "{bad:?}");
        }
        assert!(is_absolute("https://example.com/a"));
        assert!(is_absolute("urn:a"));
        assert!(!is_absolute("example.com/a"));
    }
}
