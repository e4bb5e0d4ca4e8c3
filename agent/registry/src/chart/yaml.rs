//! Large YAML from anybody, read in memory of the order of its own size.

use serde::de::DeserializeOwned;
use serde_saphyr::{
    Budget, MergeKeyPolicy, Options,
    granit_parser::{Event, Options as ParserOptions, Parser},
};

/// Deepest nesting, far above what any index has; the bound on everything else is the size.
const MAX_DEPTH: usize = 64;
/// Most keys of all mappings that one place is within. The largest repositories that are known have some hundred charts.
const MAX_KEYS: usize = 100_000;
/// Most anchors. Generators that write any write one for a list that many versions share.
const MAX_ANCHORS: usize = 50_000;
/// Most nodes that are kept for aliases.
const MAX_ANCHORED: usize = 100_000;

/// Reads a text. What it says of one that is none is one line.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    check(text)?;
    // The size of the text is bounded already, and an index is large: what counts is that it cannot grow.
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
    // Nobody reads them, and they would be collected until something follows that they could be about.
    options.emit_comments = false;
    // All that is merged would be collected first, and no generator merges anything.
    options.merge_keys = MergeKeyPolicy::Error;
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // The rest shows the text around the place, over several lines.
        let said = error.to_string();
        said.lines().next().unwrap_or_default().to_owned()
    })
}

/// A list or a mapping that has begun.
enum Open {
    List,
    Mapping { keys: usize, is_key_next: bool },
}

/// Refuses what the reader would keep many times the size of. Of each mapping that it is in, it keeps all keys, to find one
/// that is there twice; and a key that is itself a list or a mapping it keeps whole.
fn check(text: &str) -> Result<(), String> {
    let mut options = ParserOptions::default();
    options.set_emit_comments(false);
    let mut open: Vec<Open> = Vec::new();
    let (mut keys, mut anchors) = (0, 0);
    for event in Parser::new_from_str_with_options(text, options) {
        // The reader will tell what is wrong here, and comes no further either.
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
        // What has ended is not kept any more.
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
