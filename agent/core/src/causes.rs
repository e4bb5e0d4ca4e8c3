//! The text of an error together with its causes.

use std::error::Error;

/// Writes an error and its causes as one text, each of them once. A cause with several lines begins on a line of its own.
pub fn chain(error: &dyn Error) -> String {
    chain_with(error, str::to_owned)
}

/// Works like [`chain`], but passes each error's text through `fit` first.
pub fn chain_with(error: &dyn Error, fit: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        let more = fit(&error.to_string());
        // Many errors repeat their cause in their own text.
        if !text.contains(&more) {
            if !text.is_empty() {
                text.push_str(if more.contains('\n') { ":\n" } else { ": " });
            }
            text.push_str(&more);
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{says}")]
    struct Link {
        says: &'static str,
        #[source]
        cause: Option<Box<Link>>,
    }

    /// Builds an error with the first text, caused by an error with the next one, and so on.
    fn error(texts: &[&'static str]) -> Link {
        let cause = |cause, says| Some(Box::new(Link { says, cause }));
        *texts.iter().rev().copied().fold(None, cause).unwrap()
    }

    #[test]
    fn each_cause_is_told_once() {
        let repeated = error(&["cannot fetch", "x: refused", "refused"]);
        assert_eq!(chain(&repeated), "cannot fetch: x: refused");
        assert_eq!(chain(&error(&["one", "", "two"])), "one: two");
        assert_eq!(chain(&error(&["", "two"])), "two");
    }

    #[test]
    fn several_lines_begin_on_one_of_their_own() {
        let lines = error(&["nothing was written", "a is wrong\nb is wrong"]);
        assert_eq!(
            chain(&lines),
            "nothing was written:\na is wrong\nb is wrong"
        );
    }

    #[test]
    fn each_cause_is_made_fit_by_itself() {
        let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        let told = chain_with(&error(&["one\nmore", "two\nmore"]), first_line);
        assert_eq!(told, "one: two");
    }
}
