//! Checks of headers that are possible before a request is created.

use pintle_sdk::Problem;

/// The headers that the host sets itself. A request that has one of them is malformed. The contract lists them; a `*` stands
/// for any ending.
const HOST_HEADERS: [&str; 10] = [
    "accept-encoding",
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-*",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Checks that a request may have a header with this name. `at` points to the header in the settings.
///
/// The host refuses a request with a header that it sets itself. Without this check, every delivery would fail for a reason that
/// the settings could have reported at once.
pub fn check_header_name(name: &str, at: &str) -> Option<Problem> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Some(
            Problem::new(format!("`{name}` is no name of a header"))
                .pointer(at)
                .hint("names are made of letters, digits and `-`"),
        );
    }
    is_hosts(&name.to_ascii_lowercase()).then(|| {
        Problem::new(format!("header {name} is set by the host itself"))
            .pointer(at)
            .hint("leave it out")
    })
}

fn is_hosts(name: &str) -> bool {
    HOST_HEADERS.iter().any(|own| match own.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *own,
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn the_contract_lists_the_headers_that_are_the_hosts() {
        let contract = include_str!("../../../wit/types/types.wit");
        let (_, list) = contract.split_once("which the host sets itself:").unwrap();
        let (list, _) = list.split_once('.').unwrap();
        let listed: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, HOST_HEADERS);
    }

    #[test]
    fn names_are_tokens_that_are_not_the_hosts() {
        for name in ["Authorization", "X-Env", "x_1", "Proxy", "Hosted"] {
            assert_eq!(check_header_name(name, "/headers/x"), None, "{name}");
        }
        let problem = |name| check_header_name(name, "/headers/x").unwrap();
        assert_snapshot!(problem(""), @"/headers/x: `` is no name of a header (names are made of letters, digits and `-`)");
        assert_snapshot!(problem("a b"), @"/headers/x: `a b` is no name of a header (names are made of letters, digits and `-`)");
        assert_snapshot!(problem("Keep-Alive"), @"/headers/x: header Keep-Alive is set by the host itself (leave it out)");
        assert_snapshot!(problem("Proxy-Authorization"), @"/headers/x: header Proxy-Authorization is set by the host itself (leave it out)");
    }
}
