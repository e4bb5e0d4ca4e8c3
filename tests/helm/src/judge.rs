//! Charts through Helm and through the renderer.

use std::{fmt, panic};

use serde_json::{Number, Value};

use crate::compare::Verdict;
use crate::oracle::{Answer, Hook, Templating};
use crate::ours::{self, Templated};

/// How our rendering of a chart compares with Helm's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The manifests, hooks, notes and objects are the same.
    Equal,
    /// They are the same except for what is random or depends on the time, both here and in Helm.
    EqualButRandom,
    /// Both refuse.
    BothRefuse {
        /// How the errors compare.
        verdict: Verdict,
        /// Helm's message.
        helm: String,
        /// Our message.
        ours: String,
    },
    /// Helm needs a schema from the internet, which a test must not depend on. The renderer never requests one.
    NeedsInternet,
    /// There is a difference.
    Different {
        /// What differs: `manifest`, `hooks`, `notes`, `objects`, `only we refuse`, `only Helm refuses`,
        /// `a panic of ours`.
        part: &'static str,
        /// The first line that differs, on both sides, or the error.
        first: String,
    },
}

impl Judgement {
    /// Returns whether a chart's user would get something else.
    pub fn differs(&self) -> bool {
        matches!(self, Self::Different { .. })
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal => f.write_str("equal"),
            Self::EqualButRandom => f.write_str("equal but for what is random"),
            Self::NeedsInternet => f.write_str("Helm needs the internet"),
            Self::BothRefuse {
                verdict,
                helm,
                ours,
            } => write!(
                f,
                "both refuse ({verdict:?})\n  helm {helm:?}\n  ours {ours:?}"
            ),
            Self::Different { part, first } => write!(f, "different in {part}\n{first}"),
        }
    }
}

/// Judges a chart by Helm's answer.
///
/// If something differs, the chart is rendered again with another seed and at another time. Lines that change here cannot be the
/// same in Helm, so only the rest is compared.
pub fn judge(asked: &Templating, helm: &Answer) -> Judgement {
    let rendered = panic::catch_unwind(|| ours::template(&ours::engine(), asked));
    let Ok(ours) = rendered else {
        let first = "  the message is on standard error".to_owned();
        return Judgement::Different {
            part: "a panic of ours",
            first,
        };
    };
    // Helm joins the notes of several charts in no fixed order, so both sides are sorted.
    let mut helm = helm.clone();
    let sorted = |notes: &str| {
        let mut lines: Vec<_> = notes.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    if asked.sub_notes {
        helm.notes = sorted(&helm.notes);
    }
    let comparable = |mut ours: Templated| {
        if asked.sub_notes {
            ours.notes = sorted(&ours.notes);
        }
        ours
    };
    let ours = ours.map(comparable);
    let judgement = compare(&ours, &helm);
    let (Judgement::Different { .. }, Ok(ours)) = (&judgement, ours) else {
        return judgement;
    };
    let again = ours::template(&ours::engine_of(1_234_567_890, 77), asked);
    match again.map(comparable) {
        Ok(again) if same_but_for_random(&ours, &again, &helm) => Judgement::EqualButRandom,
        _ => judgement,
    }
}

fn compare(ours: &Result<Templated, String>, helm: &Answer) -> Judgement {
    let different = |part, first| Judgement::Different { part, first };
    let ours = match (ours, helm.error()) {
        (Err(ours), Some(helm)) => {
            return Judgement::BothRefuse {
                verdict: Verdict::of(&Err(ours.clone()), &Err(helm.to_owned())),
                helm: helm.to_owned(),
                ours: ours.clone(),
            };
        }
        (Ok(_), Some(helm)) if helm.contains("HTTP request failed for http") => {
            return Judgement::NeedsInternet;
        }
        (Err(ours), None) => return different("only we refuse", format!("  ours {ours:?}")),
        (Ok(_), Some(helm)) => return different("only Helm refuses", format!("  helm {helm:?}")),
        (Ok(ours), None) => ours,
    };
    let manifest = String::from_utf8_lossy(&ours.manifest);
    if let Some(first) = first_difference(&manifest, &helm.manifest) {
        return different("manifest", first);
    }
    if ours.hooks != helm.hooks {
        let first = first_difference(&shown(&ours.hooks), &shown(&helm.hooks));
        return different("hooks", first.unwrap_or_default());
    }
    if let Some(first) = first_difference(&ours.notes, &helm.notes) {
        return different("notes", first);
    }
    if !equal_lists(&ours.objects, &helm.objects) {
        let first = first_difference(&lines(&ours.objects), &lines(&helm.objects));
        return different("objects", first.unwrap_or_default());
    }
    Judgement::Equal
}

/// Returns whether every line here that depends on neither the seed nor the time is the same in Helm.
fn same_but_for_random(ours: &Templated, again: &Templated, helm: &Answer) -> bool {
    let all = |manifest: &str, hooks: &[Hook], notes: &str| {
        format!("{manifest}\n{}\n{notes}", shown(hooks))
    };
    let of = |one: &Templated| {
        let manifest = String::from_utf8_lossy(&one.manifest);
        all(&manifest, &one.hooks, &one.notes)
    };
    let (ours, again) = (of(ours), of(again));
    let helm = all(&helm.manifest, &helm.hooks, &helm.notes);
    let count = ours.lines().count();
    ours != again
        && count == again.lines().count()
        && count == helm.lines().count()
        && ours
            .lines()
            .zip(again.lines())
            .zip(helm.lines())
            .all(|((ours, again), helm)| ours == helm || ours != again)
}

fn shown(hooks: &[Hook]) -> String {
    let hooks = hooks.iter().map(|hook| format!("{hook:#?}"));
    hooks.collect::<Vec<_>>().join("\n")
}

fn lines(objects: &[Value]) -> String {
    let objects = objects.iter().map(Value::to_string);
    objects.collect::<Vec<_>>().join("\n")
}

/// Returns the first lines that differ, with their source and line number.
fn first_difference(ours: &str, helm: &str) -> Option<String> {
    if ours == helm {
        return None;
    }
    let (mut ours_lines, mut helm_lines) = (ours.lines(), helm.lines());
    let (mut source, mut number) = ("", 0);
    loop {
        number += 1;
        let pair = (ours_lines.next(), helm_lines.next());
        if let (Some(one), Some(other)) = pair
            && one == other
        {
            if one.starts_with("# Source: ") {
                source = one;
            }
            continue;
        }
        let (one, other) = pair;
        let end = "(only line ends differ)";
        return Some(match pair {
            (None, None) => format!("  {end}"),
            _ => format!("  {source} line {number}\n  helm {other:?}\n  ours {one:?}"),
        });
    }
}

fn equal_lists(ours: &[Value], helm: &[Value]) -> bool {
    ours.len() == helm.len() && ours.iter().zip(helm).all(|(ours, helm)| equal(ours, helm))
}

/// Returns whether two objects are equal. `1` and `1.0` are equal.
fn equal(ours: &Value, helm: &Value) -> bool {
    match (ours, helm) {
        (Value::Number(ours), Value::Number(helm)) => equal_numbers(ours, helm),
        (Value::Array(ours), Value::Array(helm)) => equal_lists(ours, helm),
        (Value::Object(ours), Value::Object(helm)) => {
            ours.len() == helm.len()
                && ours
                    .iter()
                    .all(|(key, value)| helm.get(key).is_some_and(|helm| equal(value, helm)))
        }
        _ => ours == helm,
    }
}

fn equal_numbers(ours: &Number, helm: &Number) -> bool {
    ours == helm || (ours.is_f64() || helm.is_f64()) && ours.as_f64() == helm.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(manifest: &str) -> Answer {
        let mut answer = Answer::default();
        manifest.clone_into(&mut answer.manifest);
        answer
    }

    fn templated(manifest: &str) -> Templated {
        Templated {
            manifest: manifest.as_bytes().to_vec(),
            ..Templated::default()
        }
    }

    #[test]
    fn every_byte_counts() {
        let ours = Ok(templated("---\n# Source: a\nx: 1\n"));
        assert_eq!(
            compare(&ours, &answer("---\n# Source: a\nx: 1\n")),
            Judgement::Equal
        );
        for other in ["---\n# Source: a\nx: 1", "---\n# Source: a\nx:  1\n", ""] {
            assert!(compare(&ours, &answer(other)).differs(), "{other:?}");
        }
    }

    #[test]
    fn only_what_a_seed_changes_may_differ() {
        let (ours, again) = (templated("a: 1\nb: x\n"), templated("a: 1\nb: y\n"));
        let same = |helm| same_but_for_random(&ours, &again, &answer(helm));
        assert!(same("a: 1\nb: z\n"));
        assert!(!same("a: 2\nb: z\n"));
        assert!(!same("a: 1\nb: z\nc: 3\n"));
    }

    #[test]
    fn numbers_are_equal_by_value() {
        let of = |text| serde_json::from_str::<Value>(text).unwrap();
        assert!(equal(&of("[1.0]"), &of("[1]")));
        assert!(!equal(&of("[1]"), &of("[2]")));
        assert!(!equal(
            &of("{\"a\": 9007199254740993}"),
            &of("{\"a\": 9007199254740992}")
        ));
        assert!(!equal(&of("{\"a\": null}"), &of("{}")));
    }
}
