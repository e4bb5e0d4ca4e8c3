//! A schema and its parts that other parts refer to.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use pintle_goregexp::Regex;
use serde_json::Value as Json;

use super::{compiled, keywords::Checker};

/// How deep a schema may be; JSON readers stop at 128.
const MAX_DEPTH: usize = 130;
/// How many bytes its patterns may take together once they are compiled: eight of the largest. The last may exceed it.
const MAX_PATTERNS: usize = 32 << 20;

/// The drafts of JSON Schema; later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Draft {
    V4,
    V6,
    V7,
    V2019,
    V2020,
}

impl Draft {
    /// The keyword of an id.
    pub(super) fn id(self) -> &'static str {
        if self == Self::V4 { "id" } else { "$id" }
    }
}

/// A schema with what its parts can be referred to by.
#[derive(Debug)]
pub(super) struct Document<'a> {
    pub(super) root: &'a Json,
    pub(super) draft: Draft,
    /// Whether `unevaluatedProperties` or `unevaluatedItems` occurs.
    pub(super) tracks: bool,
    /// By address: the document itself and its parts with an id, and each with the fragment of an anchor.
    parts: BTreeMap<String, &'a Json>,
    regexes: BTreeMap<&'a str, Result<Rc<Regex>, String>>,
    /// How many bytes the patterns may still take.
    room: usize,
}

impl<'a> Document<'a> {
    /// Looks through a schema; says what is wrong if it is none.
    pub(super) fn new(root: &'a Json) -> Result<Self, Vec<String>> {
        if !matches!(root, Json::Bool(_) | Json::Object(_)) {
            let message = "is no schema: a schema is an object or a boolean";
            return Err(vec![message.to_owned()]);
        }
        let mut document = Self {
            root,
            draft: draft(root),
            tracks: false,
            parts: BTreeMap::new(),
            regexes: BTreeMap::new(),
            room: MAX_PATTERNS,
        };
        document.parts.insert(String::new(), root);
        document
            .index(root, "", 0)
            .map_err(|message| vec![message])?;
        let regex = |pattern: &str| document.regex_error(pattern);
        let mut checker = Checker::new(&regex);
        checker.run("", root, document.draft);
        if checker.problems.is_empty() {
            compiled::check(&document, &mut checker);
        }
        let problems = checker.problems;
        if problems.is_empty() {
            Ok(document)
        } else {
            Err(problems)
        }
    }

    /// Collects ids, anchors and patterns, also from where no schema is by itself, because references lead everywhere.
    fn index(&mut self, schema: &'a Json, base: &str, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("is too deep".to_owned());
        }
        let Json::Object(keywords) = schema else {
            return Ok(());
        };
        let id = keywords.get(self.draft.id()).and_then(Json::as_str);
        let base = match id.filter(|id| !id.is_empty()) {
            Some(id) if !id.starts_with('#') => {
                let address = join(base, id);
                let address = address.split('#').next().unwrap_or_default().to_owned();
                self.parts.insert(address.clone(), schema);
                address
            }
            Some(anchor) => {
                self.parts.insert(format!("{base}{anchor}"), schema);
                base.to_owned()
            }
            None => base.to_owned(),
        };
        for anchor in ["$anchor", "$dynamicAnchor"] {
            if let Some(anchor) = keywords.get(anchor).and_then(Json::as_str) {
                self.parts.insert(format!("{base}#{anchor}"), schema);
            }
        }
        for (keyword, value) in keywords {
            match (keyword.as_str(), value) {
                ("pattern", Json::String(pattern)) => self.regex(pattern),
                ("patternProperties", Json::Object(patterns)) => {
                    for pattern in patterns.keys() {
                        self.regex(pattern);
                    }
                }
                ("unevaluatedProperties" | "unevaluatedItems", _) => self.tracks = true,
                _ => {}
            }
            match (keyword.as_str(), value) {
                ("enum" | "const" | "default" | "examples", _) => {}
                (
                    "properties" | "patternProperties" | "definitions" | "$defs"
                    | "dependentSchemas" | "dependencies",
                    Json::Object(schemas),
                ) => {
                    for schema in schemas.values() {
                        self.index(schema, &base, depth + 1)?;
                    }
                }
                (_, Json::Array(schemas)) => {
                    for schema in schemas {
                        self.index(schema, &base, depth + 1)?;
                    }
                }
                _ => self.index(value, &base, depth + 1)?,
            }
        }
        Ok(())
    }

    fn regex(&mut self, pattern: &'a str) {
        if self.regexes.contains_key(pattern) {
            return;
        }
        let regex = if self.room > 0 {
            compiled_regex(pattern)
        } else {
            Err("the patterns of the schema are too large".to_owned())
        };
        if let Ok(regex) = &regex {
            self.room = self.room.saturating_sub(regex.memory_usage());
        }
        self.regexes.insert(pattern, regex);
    }

    /// What is wrong with a pattern.
    pub(super) fn regex_error(&self, pattern: &str) -> Option<String> {
        match self.regexes.get(pattern) {
            Some(regex) => regex.as_ref().err().cloned(),
            // In what was taken for no schema, a `default` that a reference leads to.
            None => compiled_regex(pattern).err(),
        }
    }

    /// Whether a pattern, which is in the schema, matches anywhere in a text.
    pub(super) fn matches(&self, pattern: &str, text: &[u8]) -> bool {
        match self.regexes.get(pattern) {
            Some(regex) => regex.as_ref().is_ok_and(|regex| regex.is_match(text)),
            None => compiled_regex(pattern).is_ok_and(|regex| regex.is_match(text)),
        }
    }

    /// The part that a reference means, seen from a part with the address `base`, and that part's own address; None if it
    /// is elsewhere.
    pub(super) fn resolve(
        &self,
        reference: &str,
        base: &str,
    ) -> Result<Option<(&'a Json, String)>, String> {
        let address = join(base, reference);
        let (document, fragment) = address.split_once('#').unwrap_or((&address, ""));
        let Some(part) = self.parts.get(document).copied() else {
            return Ok(None);
        };
        if fragment.is_empty() {
            return Ok(Some((part, document.to_owned())));
        }
        if let Some(pointer) = fragment.strip_prefix('/') {
            let pointer = format!("/{}", percent_decoded(pointer));
            let found = part.pointer(&pointer);
            let found =
                found.ok_or_else(|| format!("refers to {reference:?}, which is not there"))?;
            return Ok(Some((found, document.to_owned())));
        }
        match self.parts.get(&format!("{document}#{fragment}")) {
            Some(found) => Ok(Some((found, document.to_owned()))),
            None => Err(format!("refers to {reference:?}, which is not there")),
        }
    }

    /// The address of a part that has an id of its own.
    pub(super) fn base_of(
        &self,
        keywords: &serde_json::Map<String, Json>,
        base: &str,
    ) -> Option<String> {
        let id = keywords.get(self.draft.id())?.as_str()?;
        // Up to draft 7, a reference hides the id beside it.
        let hidden = self.draft < Draft::V2019 && keywords.contains_key("$ref");
        if hidden || id.is_empty() || id.starts_with('#') {
            return None;
        }
        let address = join(base, id);
        Some(address.split('#').next().unwrap_or_default().to_owned())
    }
}

fn compiled_regex(pattern: &str) -> Result<Rc<Regex>, String> {
    Regex::new(pattern.as_bytes()).map_err(|error| error.to_string())
}

/// The draft that a schema names; the latest if it names none.
fn draft(root: &Json) -> Draft {
    let name = root.get("$schema").and_then(Json::as_str);
    name.and_then(named_draft).unwrap_or(Draft::V2020)
}

/// The draft with a name, whatever the fragment.
pub(super) fn named_draft(name: &str) -> Option<Draft> {
    let name = name.split('#').next().unwrap_or_default();
    let name = name
        .strip_prefix("http://")
        .or_else(|| name.strip_prefix("https://"))
        .unwrap_or(name);
    match name {
        "json-schema.org/draft-04/schema" => Some(Draft::V4),
        "json-schema.org/draft-06/schema" => Some(Draft::V6),
        "json-schema.org/draft-07/schema" => Some(Draft::V7),
        "json-schema.org/draft/2019-09/schema" => Some(Draft::V2019),
        "json-schema.org/draft/2020-12/schema" | "json-schema.org/schema" => Some(Draft::V2020),
        _ => None,
    }
}

/// Resolves a reference against an address (RFC 3986, section 5.2, as far as schemas need it).
fn join(base: &str, reference: &str) -> String {
    let base = base.split('#').next().unwrap_or_default();
    let has_scheme = reference.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if has_scheme || base.is_empty() {
        return reference.to_owned();
    }
    if reference.is_empty() || reference.starts_with('#') {
        return format!("{base}{reference}");
    }
    let origin = match base.find("://") {
        Some(at) => base[at + 3..]
            .find('/')
            .map_or(base.len(), |end| at + 3 + end),
        None => 0,
    };
    if reference.starts_with('/') {
        return format!("{}{reference}", &base[..origin]);
    }
    let folder = base
        .rfind('/')
        .filter(|&at| at >= origin)
        .map_or(origin, |at| at + 1);
    let mut parts: Vec<&str> = base[origin..folder]
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in reference.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let slash = if origin > 0 { "/" } else { "" };
    format!("{}{slash}{}", &base[..origin], parts.join("/"))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let code = (*first == b'%').then(|| behind.get(..2)).flatten();
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            bytes.push(byte);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// References to what is elsewhere.
pub(super) type Skipped = BTreeSet<String>;

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn references_are_resolved() {
        for (base, reference, expected) in [
            ("", "#/a", "#/a"),
            ("", "other.json", "other.json"),
            ("https://x.org/a/b.json", "#/c", "https://x.org/a/b.json#/c"),
            ("https://x.org/a/b.json", "c.json", "https://x.org/a/c.json"),
            (
                "https://x.org/a/b.json",
                "../c.json#d",
                "https://x.org/c.json#d",
            ),
            ("https://x.org/a/b.json", "/c", "https://x.org/c"),
            ("https://x.org", "c", "https://x.org/c"),
            ("https://x.org/a", "https://y.org/b", "https://y.org/b"),
            ("a/b.json", "c.json", "a/c.json"),
        ] {
            assert_eq!(join(base, reference), expected, "{base} {reference}");
        }
    }
}
