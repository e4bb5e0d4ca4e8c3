//! Known differences from Helm, and why they stay. `plugins/renderers/helm/README.md` describes them for users.

use anyhow::Result;

use crate::compare::Outcome;
use crate::generate::Case;
use crate::oracle::{Expression, Oracle, Request};

/// Cases that differ.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// What the cases test.
    pub about: &'static str,
    /// A piece of their templates.
    pub text: &'static str,
    /// Why they differ.
    pub reason: &'static str,
}

/// All known differences, except for printed addresses. Each must still differ: one that no longer does is to be removed.
pub const KNOWN: &[Known] = &[
    Known {
        about: "sortAlpha",
        text: "{{ $first := index $l 0 }}{{ $_ := sortAlpha $l }}{{ $first }}",
        reason: LATE,
    },
    Known {
        about: "sortAlpha",
        text: "{{ range $x := $l }}{{ $_ := sortAlpha $l }}{{ $x }}",
        reason: LATE,
    },
];

const LATE: &str =
    "what `index` and `range` take of a list of texts is read in Helm when it is used";

/// A filter whose output hides an address.
const HIDING: &str = " | b64enc";

impl Known {
    /// Returns whether a case is one of these.
    pub fn covers(&self, case: &Case) -> bool {
        case.about == self.about && case.text.contains(self.text)
    }
}

/// Returns whether a case is known to differ.
pub fn is_listed(case: &Case) -> bool {
    KNOWN.iter().any(|known| known.covers(case))
}

/// Returns whether a pointer was printed: Go prints the address in the process's memory that it points to.
pub fn has_address(outcome: &Outcome) -> bool {
    const PREFIX: &[u8] = b"0x";
    const DIGITS: usize = 9;
    let Ok(text) = outcome else {
        return false;
    };
    text.windows(PREFIX.len() + DIGITS).any(|part| {
        let (prefix, digits) = part.split_at(PREFIX.len());
        prefix.eq_ignore_ascii_case(PREFIX) && digits.iter().all(u8::is_ascii_hexdigit)
    })
}

/// Returns whether a pointer was printed and a filter has made it unreadable: without the filter, Helm's output shows it.
pub fn hides_address(oracle: &mut Oracle, case: &Case) -> Result<bool> {
    if !case.text.contains(HIDING) {
        return Ok(false);
    }
    let shown = Case {
        text: case.text.replace(HIDING, ""),
        ..case.clone()
    };
    let answers = oracle.ask(&[Request::Expr(Expression::of(&shown))])?;
    Ok(answers.iter().any(|answer| has_address(&answer.result())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Compared;

    #[test]
    fn a_case_is_known_by_what_it_tests_and_a_piece_of_its_text() {
        let case = |about: &str, text: &str| Case {
            about: about.to_owned(),
            text: text.to_owned(),
            compared: Compared::Exactly,
        };
        for known in KNOWN {
            let text = format!("a{}b", known.text);
            assert!(is_listed(&case(known.about, &text)), "{known:?}");
            assert!(!is_listed(&case("other", &text)), "{known:?}");
            assert!(!is_listed(&case(known.about, "ab")), "{known:?}");
        }
    }

    #[test]
    fn an_address_is_a_long_number() {
        let has = |text: &str| has_address(&Ok(text.as_bytes().to_vec()));
        assert!(has("map[a:0x29604f67e9a0]") && has("MAP[A:0X29604F67E9A0]"));
        assert!(!has("0x2960 4f67e9a0") && !has(""));
        assert!(!has_address(&Err("0x29604f67e9a0".to_owned())));
    }
}
