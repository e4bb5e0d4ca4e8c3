//! Reads large YAML from untrusted sources, in memory proportional to its size.

use serde::de::DeserializeOwned;
use serde_saphyr::{
    Budget, MergeKeyPolicy, Options,
    granit_parser::{Event, Options as ParserOptions, Parser},
};

/// The maximum nesting depth, far above that of any index. Everything else is limited by the size.
const MAX_DEPTH: usize = 64;
/// The maximum number of keys in all mappings around one place. The largest known repositories have about a hundred charts.
const MAX_KEYS: usize = 100_000;
/// The maximum number of anchors. Generators that write any write one for each list that several versions share.
const MAX_ANCHORS: usize = 50_000;
/// The maximum number of nodes that are kept for aliases.
const MAX_ANCHORED: usize = 100_000;

/// Parses a text. The error is a single line.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    check(text)?;
    // The size of the text is limited already, and an index is large. What matters is that it cannot expand.
    let most = text.len().max(1024);
    let mut budget = Budget::default();
    budget.max_events = most;
    budget.max_nodes = most;
    budget.max_total_scalar_bytes = most * 2;
    budget.max_depth = MAX_DEPTH;
    budget.max_anchors = MAX_ANCHORS;
    budget.max_recorded_anchor_events = MAX_ANCHORED;
    let mut options = Options::default();
    options.budget = Some(budget);
    // Nobody reads comments, and the parser would collect them until something follows that they could belong to.
    options.emit_comments = false;
    // The parser would first collect everything that is merged, and no generator merges anything.
    options.merge_keys = MergeKeyPolicy::Error;
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // The other lines show the surrounding text.
        let said = error.to_string();
        said.lines().next().unwrap_or_default().to_owned()
    })
}

/// A list or a mapping that has been opened and not closed yet.
enum Open {
    List,
    Mapping { keys: usize, is_key_next: bool },
}

/// Refuses texts for which the parser would keep many times their size. It keeps all keys of each mapping that it is in, to
/// detect duplicates, and keeps a key that is itself a list or a mapping as a whole.
fn check(text: &str) -> Result<(), String> {
    let mut options = ParserOptions::default();
    options.set_emit_comments(false);
    let mut open: Vec<Open> = Vec::new();
    let (mut keys, mut anchors) = (0, 0);
    for event in Parser::new_from_str_with_options(text, options) {
        // The parser will report the error, and does not get past this place either.
        let Ok((event, _)) = event else { break };
        let (anchor, opens) = match event {
            Event::Scalar(_, _, anchor, _) => (anchor, None),
            Event::Alias(_) => (0, None),
            Event::SequenceStart(_, anchor, _) => (anchor, Some(Open::List)),
            Event::MappingStart(_, anchor, _) => {
                let mapping = Open::Mapping {
                    keys: 0,
                    is_key_next: true,
                };
                (anchor, Some(mapping))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open::Mapping { keys: ended, .. }) = open.pop() {
                    keys -= ended;
                }
                continue;
            }
            Event::DocumentEnd => break,
            _ => continue,
        };
        if anchor != 0 {
            anchors += 1;
            if anchors > MAX_ANCHORS {
                return Err(format!("it has more than {MAX_ANCHORS} anchors"));
            }
        }
        if let Some(Open::Mapping {
            keys: known,
            is_key_next,
        }) = open.last_mut()
        {
            if *is_key_next {
                if opens.is_some() {
                    return Err(
                        "a key in it is a list or a mapping: expected texts alone".to_owned()
                    );
                }
                *known += 1;
                keys += 1;
                if keys > MAX_KEYS {
                    return Err(format!(
                        "a mapping in it, with those around it, has more than {MAX_KEYS} keys"
                    ));
                }
            }
            *is_key_next = !*is_key_next;
        }
        open.extend(opens);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde::de::IgnoredAny;

    use super::*;

    fn refused(text: &str) -> String {
        read::<IgnoredAny>(text).unwrap_err()
    }

    #[test]
    fn what_would_be_kept_is_bounded() {
        let wide = |from: usize, to: usize, indent: &str| {
            (from..to).fold(String::new(), |mut text, key| {
                let _ = writeln!(text, "{indent}k{key}: ");
                text
            })
        };
        assert!(read::<IgnoredAny>(&wide(0, 1_000, "")).is_ok());
        let flat = wide(0, MAX_KEYS + 1, "");
        let nested = format!(
            "{}last:\n{}",
            wide(0, MAX_KEYS / 2, ""),
            wide(0, MAX_KEYS / 2, "  ")
        );
        // Keys of a mapping that has ended are no longer kept.
        let siblings = format!(
            "a:\n{}b:\n{}",
            wide(0, MAX_KEYS / 2, "  "),
            wide(0, MAX_KEYS / 2, "  ")
        );
        assert!(read::<IgnoredAny>(&siblings).is_ok());
        let anchors = "- &a 1\n".repeat(MAX_ANCHORS + 1);
        let said: Vec<_> = [
            flat.as_str(),
            &nested,
            &anchors,
            "? [a, b]\n: c\n",
            "? {a: b}\n: c\n",
            "a: &a {b: c}\nd:\n  <<: *a\n",
        ]
        .into_iter()
        .map(refused)
        .collect();
        insta::assert_snapshot!(said[..5].join("\n"), @r"
        a mapping in it, with those around it, has more than 100000 keys
        a mapping in it, with those around it, has more than 100000 keys
        it has more than 50000 anchors
        a key in it is a list or a mapping: expected texts alone
        a key in it is a list or a mapping: expected texts alone
        ");
        assert!(said[5].contains("merge"), "{}", said[5]);
    }

    #[test]
    fn aliases_are_followed() {
        let text = "a: &a [x, z]\n? b\n: *a\n# a comment\nc: {d: [{e: f}, *a], g: ~}\n";
        let read: serde_json::Value = read(text).unwrap();
        let expected = serde_json::json!({
            "a": ["x", "z"], "b": ["x", "z"], "c": {"d": [{"e": "f"}, ["x", "z"]], "g": null}
        });
        assert_eq!(read, expected);
    }
}
