//! Arguments that list several things with commas, as those of Helm do: one line of CSV (RFC 4180).

use super::HelmArgs;

impl HelmArgs {
    /// Splits the arguments that list several things, as Helm does. An empty argument lists nothing.
    pub(crate) fn listed(&self) -> Self {
        Self {
            values: listed(&self.values),
            ..self.clone()
        }
    }
}

/// Accepts an argument that lists things, unchanged, if it can be split.
pub(super) fn checked(text: &str) -> Result<String, String> {
    fields(text).map(|_| text.to_owned())
}

/// Returns the items of arguments that were accepted as lists.
pub(crate) fn listed(arguments: &[String]) -> Vec<String> {
    arguments
        .iter()
        .flat_map(|text| fields(text))
        .flatten()
        .collect()
}

fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = (!text.is_empty()).then_some(text);
    while let Some(text) = rest {
        let (field, after) = match text.strip_prefix('"') {
            Some(text) => quoted(text)?,
            None => plain(text)?,
        };
        fields.push(field);
        rest = after;
    }
    Ok(fields)
}

/// Parses a field without quotes, and returns it with what follows after its comma.
fn plain(text: &str) -> Result<(String, Option<&str>), String> {
    let (field, after) = match text.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (text, None),
    };
    if field.contains('"') {
        return Err(
            "expected quotes around all between two commas, and each within them twice".to_owned(),
        );
    }
    Ok((field.to_owned(), after))
}

/// Parses a field after its opening quote, and returns it with what follows after its comma.
fn quoted(text: &str) -> Result<(String, Option<&str>), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            return Err("expected another quote at the end of what is quoted".to_owned());
        };
        field.push_str(part);
        let Some(more) = after.strip_prefix('"') else {
            rest = after;
            break;
        };
        field.push('"');
        rest = more;
    }
    match rest.strip_prefix(',') {
        None if rest.is_empty() => Ok((field, None)),
        None => Err("expected a comma after what is quoted".to_owned()),
        after => Ok((field, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_apart_as_helm_does() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("a.yaml", &["a.yaml"]),
            ("a.yaml,b.yaml", &["a.yaml", "b.yaml"]),
            ("a,", &["a", ""]),
            (",", &["", ""]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#""say ""no""""#, &[r#"say "no""#]),
            (r#""","#, &["", ""]),
            (" a, b", &[" a", " b"]),
        ];
        for (text, expected) in cases {
            assert_eq!(fields(text).unwrap(), expected, "{text}");
        }
        for none in [r#"a"b"#, r#""a"#, r#""a"b"#, r#"a,"b"#, r#"""""#] {
            assert!(checked(none).is_err(), "{none}");
        }
    }

    #[test]
    fn what_lists_nothing_is_as_if_it_had_not_been_typed() {
        let typed = |values: &[&str]| HelmArgs {
            values: values.iter().map(|&text| text.to_owned()).collect(),
            ..HelmArgs::default()
        };
        assert_eq!(typed(&["", ""]).listed(), HelmArgs::default());
        let all = typed(&["a,b", "c"]).listed();
        assert_eq!(all, typed(&["a", "b", "c"]));
    }
}
