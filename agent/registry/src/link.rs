//! `Link` headers (RFC 8288): where a list continues.

use reqwest::header::{HeaderMap, LINK};

/// The characters that may stand between the parts of a header.
const BLANK: [char; 2] = [' ', '\t'];

/// A `Link` header that cannot be read, so that what it may say about the next page is not known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Finds the next page. There may be several headers with several links each, including those of intermediaries.
pub(crate) fn next(headers: &HeaderMap) -> Result<Option<String>, Unreadable> {
    let mut none = Ok(None);
    for header in headers.get_all(LINK) {
        match next_of(&String::from_utf8_lossy(header.as_bytes())) {
            Ok(Some(target)) => return Ok(Some(target.to_owned())),
            Ok(None) => {}
            Err(unreadable) => none = Err(unreadable),
        }
    }
    none
}

fn next_of(header: &str) -> Result<Option<&str>, Unreadable> {
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(None);
        }
        let target = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (target, parameters) = target.ok_or(Unreadable)?;
        let (relation, behind) = relation(parameters)?;
        let mut words = relation.split_ascii_whitespace();
        if words.any(|word| word.eq_ignore_ascii_case("next")) {
            return Ok(Some(target));
        }
        rest = behind;
    }
}

/// Reads the parameters of a link. Returns the first `rel`, since further ones do not count, and what comes after the link.
fn relation(parameters: &str) -> Result<(&str, &str), Unreadable> {
    let mut rest = parameters;
    let mut relation = None;
    loop {
        rest = rest.trim_start_matches(BLANK);
        if rest.is_empty() || rest.starts_with(',') {
            return Ok((relation.unwrap_or_default(), rest));
        }
        rest = rest.strip_prefix(';').ok_or(Unreadable)?;
        let (name, behind) = until(rest, &['=', ';', ',']);
        rest = behind;
        if let Some(behind) = rest.strip_prefix('=') {
            let (value, behind) = value(behind.trim_start_matches(BLANK))?;
            rest = behind;
            if name.eq_ignore_ascii_case("rel") {
                relation = relation.or(Some(value));
            }
        }
    }
}

/// Reads the value of a parameter, which may be quoted. Escapes in it stay as they are: no relation needs them.
fn value(text: &str) -> Result<(&str, &str), Unreadable> {
    let Some(quoted) = text.strip_prefix('"') else {
        return Ok(until(text, &[';', ',']));
    };
    let mut is_escaped = false;
    let end = quoted.find(|letter: char| {
        let ends = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        ends
    });
    let (value, behind) = quoted.split_at(end.ok_or(Unreadable)?);
    Ok((value, behind.strip_prefix('"').ok_or(Unreadable)?))
}

/// Splits a text at the first of some characters, and trims blanks around the part before it.
fn until<'a>(text: &'a str, ends: &[char]) -> (&'a str, &'a str) {
    let (part, behind) = text.split_at(text.find(ends).unwrap_or(text.len()));
    (part.trim_matches(BLANK), behind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    fn found(headers: &[&str]) -> Result<Option<String>, Unreadable> {
        let headers = headers
            .iter()
            .filter_map(|header| HeaderValue::from_bytes(header.as_bytes()).ok());
        next(&headers.map(|header| (LINK, header)).collect())
    }

    #[test]
    fn finds_the_next_page() {
        let cases: [(&[&str], &str); 9] = [
            (
                &["</v2/x/tags/list?last=b&n=2>; rel=\"next\""],
                "/v2/x/tags/list?last=b&n=2",
            ),
            (&["<a>; rel=\"prev\", <b>; rel=next"], "b"),
            (&["<a>; rel=preconnect", "<b>; rel=\"next\""], "b"),
            (&["garbage", "<b>; rel=next"], "b"),
            (&["<a,b;c>;rel=next"], "a,b;c"),
            (&["<a>; rel=\"prev\" ,\t, <b> ; REL = \"last NEXT\" ;"], "b"),
            (&["<b>; title=\"x, <y>; \\\"rel=z\"; a; rel=next"], "b"),
            (&["<a>; title=\"é\"; rel=up", "<b>; title=é; rel=next"], "b"),
            (&["<a>; rel=prev; rel=next, <b>; rel=next"], "b"),
        ];
        for (headers, target) in cases {
            assert_eq!(found(headers), Ok(Some(target.to_owned())), "{headers:?}");
        }
    }

    #[test]
    fn a_last_page_is_told_from_what_cannot_be_read() {
        let last: [&[&str]; 6] = [
            &[],
            &[""],
            &["<a>"],
            &["<a>; rel=\"prev\""],
            &["<a>; rel=nextly; title=\"rel=next\""],
            &["<a>; rel", "<b>; title=next,"],
        ];
        for headers in last {
            assert_eq!(found(headers), Ok(None), "{headers:?}");
        }
        let unreadable: [&[&str]; 6] = [
            &["garbage"],
            &["/v2/x/tags/list?last=b; rel=next"],
            &["<a; rel=next"],
            &["<a> rel=next"],
            &["<a>; rel=\"next"],
            &["<a>; rel=prev", "garbage"],
        ];
        for headers in unreadable {
            assert_eq!(found(headers), Err(Unreadable), "{headers:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(text in "[<>;,=\"\\\\ aé]{0,30}") {
            let _ = next_of(&text);
        }
    }
}
