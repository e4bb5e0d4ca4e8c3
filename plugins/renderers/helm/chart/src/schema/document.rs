//! A schema and its parts that other parts refer to.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;
use serde_json::Value as Json;

/// How deep a schema may be; JSON readers stop at 128.
const MAX_DEPTH: usize = 130;

/// The drafts of JSON Schema; later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Draft {
    V4,
    V6,
    V7,
    V2019,
    V2020,
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
    regexes: BTreeMap<&'a str, Regex>,
}

impl<'a> Document<'a> {
    /// Looks through a schema; says what is wrong if it is none.
    pub(super) fn new(root: &'a Json) -> Result<Self, String> {
        if !matches!(root, Json::Bool(_) | Json::Object(_)) {
            return Err("is no schema: a schema is an object or a boolean".to_owned());
        }
        let mut document = Self {
            root,
            draft: draft(root),
            tracks: false,
            parts: BTreeMap::new(),
            regexes: BTreeMap::new(),
        };
        document.parts.insert(String::new(), root);
        document.index(root, "", &mut Vec::new(), 0)?;
        Ok(document)
    }

    /// Collects ids, anchors and patterns, and refuses keywords with values that they cannot have.
    fn index(
        &mut self,
        schema: &'a Json,
        base: &str,
        path: &mut Vec<&'a str>,
        depth: usize,
    ) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("is too deep".to_owned());
        }
        let Json::Object(keywords) = schema else {
            return Ok(());
        };
        let id = if self.draft == Draft::V4 { "id" } else { "$id" };
        let base = match keywords.get(id).and_then(Json::as_str) {
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
            path.push(keyword);
            self.keyword(keyword, value, path)?;
            match (keyword.as_str(), value) {
                ("enum" | "const" | "default" | "examples", _) => {}
                (
                    "properties" | "patternProperties" | "definitions" | "$defs"
                    | "dependentSchemas" | "dependencies",
                    Json::Object(schemas),
                ) => {
                    for (name, schema) in schemas {
                        path.push(name);
                        self.index(schema, &base, path, depth + 1)?;
                        path.pop();
                    }
                }
                (_, Json::Array(schemas)) => {
                    for schema in schemas {
                        self.index(schema, &base, path, depth + 1)?;
                    }
                }
                _ => self.index(value, &base, path, depth + 1)?,
            }
            path.pop();
        }
        Ok(())
    }

    /// Refuses a keyword with a value that it cannot have, as far as that would change what is valid.
    fn keyword(&mut self, keyword: &str, value: &'a Json, path: &[&str]) -> Result<(), String> {
        const TYPES: [&str; 7] = [
            "array", "boolean", "integer", "null", "number", "object", "string",
        ];
        let at = || path.iter().fold(String::new(), |at, part| at + "/" + part);
        match (keyword, value) {
            ("type", Json::String(name)) if !TYPES.contains(&name.as_str()) => Err(format!(
                "has the type {name:?} at {}: there is no such type",
                at()
            )),
            ("pattern", Json::String(pattern)) => self.regex(pattern, &at()),
            ("patternProperties", Json::Object(patterns)) => {
                let mut patterns = patterns.keys();
                patterns.try_for_each(|pattern| self.regex(pattern, &at()))
            }
            ("unevaluatedProperties" | "unevaluatedItems", _) => {
                self.tracks = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn regex(&mut self, pattern: &'a str, at: &str) -> Result<(), String> {
        let regex = Regex::new(pattern)
            .map_err(|error| format!("has an invalid regex {pattern:?} at {at}: {error}"))?;
        self.regexes.insert(pattern, regex);
        Ok(())
    }

    /// Whether a pattern, which is in the schema, matches anywhere in a text.
    pub(super) fn matches(&self, pattern: &str, text: &str) -> bool {
        let regex = self.regexes.get(pattern);
        regex.is_some_and(|regex| regex.is_match(text))
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
        let id = if self.draft == Draft::V4 { "id" } else { "$id" };
        let id = keywords.get(id)?.as_str()?;
        if id.starts_with('#') {
            return None;
        }
        let address = join(base, id);
        Some(address.split('#').next().unwrap_or_default().to_owned())
    }
}

/// The draft that a schema names; the latest if it names none.
fn draft(root: &Json) -> Draft {
    let name = root.get("$schema").and_then(Json::as_str);
    let name = name.unwrap_or_default().trim_end_matches('#');
    let name = name
        .strip_prefix("http://")
        .or_else(|| name.strip_prefix("https://"))
        .unwrap_or(name);
    match name {
        "json-schema.org/draft-04/schema" => Draft::V4,
        "json-schema.org/draft-06/schema" => Draft::V6,
        "json-schema.org/draft-07/schema" => Draft::V7,
        "json-schema.org/draft/2019-09/schema" => Draft::V2019,
        _ => Draft::V2020,
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
