//! A schema, and its parts that other parts refer to.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use pintle_goregexp::Regex;
use serde_json::Value as Json;

use super::{
    compiled,
    keywords::{Checker, Shape, draft_inside, shape},
};

/// The maximum depth of a schema. JSON readers stop at 128.
const MAX_DEPTH: usize = 130;
/// The maximum total size of its compiled patterns in bytes: eight of the largest. The last one may exceed it.
const MAX_PATTERNS: usize = 32 << 20;

/// Where Helm's library assumes a schema to be. The schema's own id is relative to it, and the schema can refer to itself by it.
const PLACE: &str = "file:///values.schema.json";

/// The drafts of JSON Schema. Later ones compare as greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Draft {
    V4,
    V6,
    V7,
    V2019,
    V2020,
}

impl Draft {
    /// Returns the keyword for an id.
    pub(super) fn id(self) -> &'static str {
        if self == Self::V4 { "id" } else { "$id" }
    }

    /// Returns the keywords that refer to another schema.
    pub(super) fn references(self) -> &'static [&'static str] {
        match self {
            Self::V4 | Self::V6 | Self::V7 => &["$ref"],
            Self::V2019 => &["$ref", "$recursiveRef"],
            Self::V2020 => &["$ref", "$recursiveRef", "$dynamicRef"],
        }
    }
}

/// The scope that a part with an id forms for the parts in it, up to those with their own id.
#[derive(Debug)]
pub(super) struct Resource {
    /// The address to which their references are relative.
    pub(super) address: String,
    pub(super) draft: Draft,
}

/// The target of a reference.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) schema: &'a Json,
    /// The address of the enclosing resource, and its draft.
    pub(super) base: String,
    pub(super) draft: Draft,
}

/// A schema with an index of the parts that can be referred to.
#[derive(Debug)]
pub(super) struct Document<'a> {
    pub(super) root: &'a Json,
    /// The id if there is one, otherwise [`PLACE`].
    pub(super) address: String,
    pub(super) draft: Draft,
    /// Whether `unevaluatedProperties` or `unevaluatedItems` occurs.
    pub(super) tracks: bool,
    /// By address: the document itself, its parts with an id, and each of these with the fragment of an anchor.
    parts: BTreeMap<String, &'a Json>,
    /// The addresses that belong to schemas, not to parts that only a reference turns into one.
    named: BTreeSet<String>,
    /// The parts with an id, by their address in memory.
    resources: BTreeMap<*const Json, Resource>,
    regexes: BTreeMap<&'a str, Result<Rc<Regex>, String>>,
    /// The number of bytes that patterns may still take.
    room: usize,
}

impl<'a> Document<'a> {
    /// Indexes a schema. Returns the errors if it is invalid.
    pub(super) fn new(root: &'a Json) -> Result<Self, Vec<String>> {
        if !matches!(root, Json::Bool(_) | Json::Object(_)) {
            let message = "is no schema: a schema is an object or a boolean";
            return Err(vec![message.to_owned()]);
        }
        let draft = draft(root);
        let own = root
            .as_object()
            .and_then(|keywords| own_address(keywords, PLACE, draft_inside(root, draft)));
        let address = own.unwrap_or_else(|| PLACE.to_owned());
        let mut document = Self {
            root,
            address: address.clone(),
            draft,
            tracks: false,
            parts: BTreeMap::new(),
            named: BTreeSet::new(),
            resources: BTreeMap::new(),
            regexes: BTreeMap::new(),
            room: MAX_PATTERNS,
        };
        document
            .name(address, root, true)
            .and_then(|()| document.index(root, PLACE, draft, true, 0))
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

    /// Collects ids, anchors and patterns, also from places that are not for schemas, because references can lead anywhere.
    fn index(
        &mut self,
        schema: &'a Json,
        base: &str,
        outer: Draft,
        is_schema: bool,
        depth: usize,
    ) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("is too deep".to_owned());
        }
        let Json::Object(keywords) = schema else {
            return Ok(());
        };
        let draft = draft_inside(schema, outer);
        let own = own_address(keywords, base, draft);
        let base = own.as_deref().unwrap_or(base);
        if let Some(address) = &own {
            self.name(address.clone(), schema, is_schema)?;
            let address = address.clone();
            let resource = Resource { address, draft };
            self.resources.insert(std::ptr::from_ref(schema), resource);
        }
        for anchor in anchors(keywords, draft) {
            self.name(format!("{base}#{anchor}"), schema, is_schema)?;
        }
        for (keyword, value) in keywords {
            match (keyword.as_str(), value) {
                ("pattern", Json::String(pattern)) => self.regex(pattern),
                ("patternProperties", Json::Object(patterns)) => {
                    for pattern in patterns.keys() {
                        self.regex(pattern);
                    }
                }
                ("unevaluatedProperties" | "unevaluatedItems", _) if draft >= Draft::V2019 => {
                    self.tracks = true;
                }
                _ => {}
            }
            let are_schemas = is_schema && shape(keyword, draft).is_some_and(Shape::has_schemas);
            match (keyword.as_str(), value) {
                ("enum" | "const" | "default" | "examples", _) => {}
                (
                    "properties" | "patternProperties" | "definitions" | "$defs"
                    | "dependentSchemas" | "dependencies",
                    Json::Object(schemas),
                ) => {
                    for schema in schemas.values() {
                        self.index(schema, base, draft, are_schemas, depth + 1)?;
                    }
                }
                (_, Json::Array(schemas)) => {
                    for schema in schemas {
                        self.index(schema, base, draft, are_schemas, depth + 1)?;
                    }
                }
                _ => self.index(value, base, draft, are_schemas, depth + 1)?,
            }
        }
        Ok(())
    }

    /// Records the address of a part. Two schemas may not have the same address. A part that is not a schema by itself gives way
    /// to one that is.
    fn name(&mut self, address: String, part: &'a Json, is_schema: bool) -> Result<(), String> {
        if self.named.contains(&address) {
            let known = self.parts.get(&address);
            let is_other = known.is_some_and(|known| !std::ptr::eq(*known, part));
            if is_schema && is_other {
                let written = address.strip_prefix(PLACE).filter(|rest| !rest.is_empty());
                let written = written.unwrap_or(&address);
                return Err(format!("has the id or anchor {written:?} twice"));
            }
            return Ok(());
        }
        if is_schema {
            self.named.insert(address.clone());
        }
        self.parts.insert(address, part);
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

    /// Returns the error in a pattern.
    pub(super) fn regex_error(&self, pattern: &str) -> Option<String> {
        match self.regexes.get(pattern) {
            Some(regex) => regex.as_ref().err().cloned(),
            // The pattern is in a part that was not considered a schema, such as a `default` that a reference leads to.
            None => compiled_regex(pattern).err(),
        }
    }

    /// Returns whether a pattern of the schema matches anywhere in a text.
    pub(super) fn matches(&self, pattern: &str, text: &[u8]) -> bool {
        match self.regexes.get(pattern) {
            Some(regex) => regex.as_ref().is_ok_and(|regex| regex.is_match(text)),
            None => compiled_regex(pattern).is_ok_and(|regex| regex.is_match(text)),
        }
    }

    /// Returns the part that a reference means, relative to the resource with the address `base`; None if it is elsewhere, from
    /// where Helm would fetch it.
    pub(super) fn resolve(
        &self,
        reference: &str,
        base: &str,
    ) -> Result<Option<Target<'a>>, String> {
        let (address, fragment) = join(base, reference);
        let document = if address == PLACE {
            self.address.as_str()
        } else {
            &*address
        };
        let missing = || format!("refers to {reference:?}, which is not there");
        let Some(part) = self.parts.get(document).copied() else {
            return if is_elsewhere(document) {
                Ok(None)
            } else {
                Err(missing())
            };
        };
        let fragment = percent_decoded(fragment);
        let found = if fragment.is_empty() || fragment.starts_with('/') {
            self.follow(part, document, &fragment)
        } else {
            let part = self.parts.get(&format!("{document}#{fragment}"));
            let part = part.copied();
            part.and_then(|part| self.follow(part, document, ""))
        };
        Ok(Some(found.ok_or_else(missing)?))
    }

    /// Follows a JSON pointer from a part in a resource, possibly into resources inside it.
    fn follow(&self, part: &'a Json, base: &str, pointer: &str) -> Option<Target<'a>> {
        let root = self.parts.get(base).and_then(|root| self.resource(root));
        let mut target = Target {
            schema: part,
            base: base.to_owned(),
            draft: root.map_or(self.draft, |root| root.draft),
        };
        for token in pointer.split('/').skip(1) {
            let token = if token.contains('~') {
                Cow::Owned(token.replace("~1", "/").replace("~0", "~"))
            } else {
                Cow::Borrowed(token)
            };
            target.schema = match target.schema {
                Json::Object(entries) => entries.get(&*token)?,
                Json::Array(items) => items.get(token.parse::<usize>().ok()?)?,
                _ => return None,
            };
            if let Some(resource) = self.resource(target.schema) {
                target.base.clone_from(&resource.address);
                target.draft = resource.draft;
            }
        }
        Some(target)
    }

    /// Returns the resource that a part with an id forms.
    pub(super) fn resource(&self, schema: &Json) -> Option<&Resource> {
        self.resources.get(&std::ptr::from_ref(schema))
    }
}

type Keywords = serde_json::Map<String, Json>;

/// Returns the id of a part. Up to draft 7, a reference hides it.
fn id(keywords: &Keywords, draft: Draft) -> Option<&str> {
    let hidden = draft < Draft::V2019 && keywords.contains_key("$ref");
    let id = keywords.get(draft.id()).filter(|_| !hidden);
    id.and_then(Json::as_str)
}

/// Returns the address of a part that has its own id.
fn own_address(keywords: &Keywords, base: &str, draft: Draft) -> Option<String> {
    let id = id(keywords, draft)?.split('#').next()?;
    (!id.is_empty()).then(|| join(base, id).0.into_owned())
}

/// Returns the fragments by which references can name a part. Up to draft 7, this is the fragment of an id.
fn anchors(keywords: &Keywords, draft: Draft) -> Vec<String> {
    let named = |keyword: &str| {
        let anchor = keywords.get(keyword).and_then(Json::as_str);
        anchor.map(str::to_owned)
    };
    let anchors = match draft {
        Draft::V4 | Draft::V6 | Draft::V7 => {
            let fragment = id(keywords, draft).and_then(|id| id.split_once('#'));
            let anchor = fragment.map(|(_, fragment)| percent_decoded(fragment).into_owned());
            [
                anchor.filter(|anchor| !anchor.is_empty() && !anchor.starts_with('/')),
                None,
            ]
        }
        Draft::V2019 => [named("$anchor"), None],
        Draft::V2020 => [named("$anchor"), named("$dynamicAnchor")],
    };
    anchors.into_iter().flatten().collect()
}

fn compiled_regex(pattern: &str) -> Result<Rc<Regex>, String> {
    Regex::new(pattern.as_bytes()).map_err(|error| error.to_string())
}

/// Returns the draft that a schema names, or the latest one if it names none.
fn draft(root: &Json) -> Draft {
    let name = root.get("$schema").and_then(Json::as_str);
    name.and_then(named_draft).unwrap_or(Draft::V2020)
}

/// Returns the draft with a name, ignoring the fragment.
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

/// Returns whether Helm requests an address from the network or, with `urn:`, from the program that embeds Helm. Helm looks for a
/// file at the root of its machine, not in the chart, and there is none.
fn is_elsewhere(address: &str) -> bool {
    let scheme = address.split_once(':').map_or("", |(scheme, _)| scheme);
    let schemes = ["http", "https", "urn"];
    schemes
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Resolves a reference against an address to an address and a fragment (RFC 3986, section 5.2, as far as schemas need it).
fn join<'a>(base: &'a str, reference: &'a str) -> (Cow<'a, str>, &'a str) {
    let base = base.split('#').next().unwrap_or_default();
    let (path, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    // Nearly all references are within the document.
    if path.is_empty() {
        return (Cow::Borrowed(base), fragment);
    }
    let has_scheme = path.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if has_scheme {
        return (Cow::Borrowed(path), fragment);
    }
    let origin = match base.find("://") {
        Some(at) => base[at + 3..]
            .find('/')
            .map_or(base.len(), |end| at + 3 + end),
        None => 0,
    };
    let (folder, path) = match path.strip_prefix('/') {
        Some(path) => (origin, path),
        None => (
            base.rfind('/')
                .filter(|&at| at >= origin)
                .map_or(origin, |at| at + 1),
            path,
        ),
    };
    let mut parts: Vec<&str> = base[origin..folder]
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let slash = if origin > 0 || reference.starts_with('/') {
        "/"
    } else {
        ""
    };
    let address = format!("{}{slash}{}", &base[..origin], parts.join("/"));
    (Cow::Owned(address), fragment)
}

pub(super) fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
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
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// References that lead elsewhere.
pub(super) type Skipped = BTreeSet<String>;

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn references_are_resolved() {
        for (base, reference, expected) in [
            (
                "file:///values.schema.json",
                "#/a",
                "file:///values.schema.json#/a",
            ),
            (
                "file:///a/b.json",
                "./c.json#/../d",
                "file:///a/c.json#/../d",
            ),
            ("file:///a/b.json", "/c.json", "file:///c.json"),
            ("file:///a.json", "../c.json", "file:///c.json"),
            ("file:///a.json", "file:///c.json", "file:///c.json"),
            ("https://x.org/a/b.json", "#/c", "https://x.org/a/b.json#/c"),
            ("https://x.org/a/b.json", "c.json", "https://x.org/a/c.json"),
            (
                "https://x.org/a/b.json",
                "../c.json#d",
                "https://x.org/c.json#d",
            ),
            ("https://x.org/a/b.json", "/c/../d", "https://x.org/d"),
            ("https://x.org", "c", "https://x.org/c"),
            ("https://x.org/a", "https://y.org/b", "https://y.org/b"),
            ("a/b.json", "c.json", "a/c.json"),
        ] {
            let (address, fragment) = join(base, reference);
            let expected = expected.split_once('#').unwrap_or((expected, ""));
            assert_eq!((&*address, fragment), expected, "{base} {reference}");
        }
    }
}
