//! How two answers differ.

/// A template's output, or the error message.
pub type Outcome = Result<Vec<u8>, String>;

/// How our outcome compares with Helm's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The same output.
    Equal,
    /// Both refuse, with the same message.
    SameError,
    /// They differ, and [`known`](crate::known) says why.
    Known,
    /// Both refuse at the same place, with different messages.
    SamePlace,
    /// Both refuse, but name different places.
    OtherPlace,
    /// Both produce output, and the outputs differ.
    OtherOutput,
    /// Helm produces output, we refuse.
    OnlyWeRefuse,
    /// Helm refuses, we produce output.
    OnlyHelmRefuses,
}

impl Verdict {
    /// Compares two outcomes.
    pub fn of(ours: &Outcome, helm: &Outcome) -> Self {
        match (ours, helm) {
            (Ok(ours), Ok(helm)) if ours == helm => Self::Equal,
            (Ok(_), Ok(_)) => Self::OtherOutput,
            (Err(_), Ok(_)) => Self::OnlyWeRefuse,
            (Ok(_), Err(_)) => Self::OnlyHelmRefuses,
            (Err(ours), Err(helm)) => {
                if ours.trim() == helm.trim() {
                    Self::SameError
                } else if place(ours).is_some_and(|ours| Some(ours) == place(helm)) {
                    Self::SamePlace
                } else {
                    Self::OtherPlace
                }
            }
        }
    }

    /// Returns whether a chart's user would get something else.
    pub fn differs(self) -> bool {
        matches!(
            self,
            Self::OtherOutput | Self::OnlyWeRefuse | Self::OnlyHelmRefuses
        )
    }
}

/// Returns the first place in an error: `chart/templates/file:LINE` and, if it is there, `:COLUMN`.
fn place(error: &str) -> Option<&str> {
    let start = error.find("templates/")?;
    let rest = &error[start..];
    let colon = rest.find(':')?;
    let digits = rest[colon..]
        .find(|c: char| !c.is_ascii_digit() && c != ':')
        .unwrap_or(rest.len() - colon);
    Some(rest[..colon + digits].trim_end_matches(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_compared_by_text_and_then_by_place() {
        let helm = Err("c/templates/t.yaml:1:3\n  executing …: nil pointer".to_owned());
        let of = |ours: &str| Verdict::of(&Err(ours.to_owned()), &helm);
        assert_eq!(
            of("c/templates/t.yaml:1:3\n  executing …: nil pointer\n"),
            Verdict::SameError
        );
        assert_eq!(
            of("execution error at (c/templates/t.yaml:1:3): other words"),
            Verdict::SamePlace
        );
        assert_eq!(
            of("c/templates/t.yaml:1:4: nil pointer"),
            Verdict::OtherPlace
        );
        assert_eq!(of("no place"), Verdict::OtherPlace);
        assert_eq!(
            Verdict::of(&Ok(Vec::new()), &helm),
            Verdict::OnlyHelmRefuses
        );
    }
}
