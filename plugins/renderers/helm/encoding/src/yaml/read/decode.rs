//! Converts a tree to values: resolves scalars, follows aliases and merges maps.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use pintle_gotemplate::{Map, Text, Value, value::Entries};

use super::{
    aliases,
    error::YamlError,
    go_syntax,
    parse::{Document, Kind, Tree},
    texts,
    write_json::Writer,
};
use crate::{
    float,
    json::not_a_number,
    yaml::scalar::{Scalar, resolve},
};

/// The types of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// `float64`, as with `json.Unmarshal` into an `interface{}`. Values and `fromYaml` have these.
    Float,
    /// `int64` or `uint64` where the JSON form is a whole number that fits. The API server reads manifests this way.
    Exact,
    /// `int64` or `uint64` where the number is written as an integer, otherwise `float64`. Used for a number that becomes a
    /// string in a string field.
    AsWritten,
}

impl Document<'_> {
    /// Returns the first document as a value; nil if there is none. The last of several equal keys wins.
    pub fn to_value(&self, numbers: Numbers) -> Result<Value, YamlError> {
        let tree = self.tree()?;
        let decoder = self.decoder(&tree)?;
        if tree.nodes.is_empty() {
            return Ok(Value::Nil);
        }
        decoder
            .value(0, numbers)
            .map_err(|error| decoder.first_error(error))
    }

    /// Appends the first document as JSON without white space, with sorted keys, and with `<`, `>` and `&` as they are; `null` if
    /// there is none.
    pub fn write_json(&self, out: &mut Vec<u8>) -> Result<(), YamlError> {
        let tree = self.tree()?;
        let decoder = self.decoder(&tree)?;
        decoder.whole_json(out)
    }

    /// Appends the first document like [`Document::write_json`], with the numbers that [`Numbers::Exact`] gives. Also returns a
    /// part of it as a value: for a map, the entries with these keys; anything else in full.
    ///
    /// This is for callers that need to know what an object is, and pass the object on.
    pub fn write_json_keeping(
        &self,
        keys: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<Value, YamlError> {
        let tree = self.tree()?;
        let mut decoder = self.decoder(&tree)?;
        decoder.exact = true;
        decoder.whole_json(out)?;
        if tree.nodes.is_empty() {
            return Ok(Value::Nil);
        }
        decoder.excerpt(keys)
    }

    fn decoder<'t>(&'t self, tree: &'t Tree<'t>) -> Result<Decoder<'t>, YamlError> {
        let decoder = Decoder {
            document: self,
            tree,
            exact: false,
        };
        if tree.has_aliases && !tree.nodes.is_empty() {
            aliases::check(&decoder)?;
        }
        Ok(decoder)
    }
}

/// The value of a scalar.
pub(super) enum Resolved<'t> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(Cow<'t, [u8]>),
}

const LONG_TAG: &str = "tag:yaml.org,2002:";

/// Base64 as Go's standard decoder accepts it: padded, with any unused bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

pub(super) struct Decoder<'t> {
    document: &'t Document<'t>,
    pub(super) tree: &'t Tree<'t>,
    /// Whether JSON has the numbers of [`Numbers::Exact`], which have no negative zero.
    pub(super) exact: bool,
}

impl<'t> Decoder<'t> {
    pub(super) fn error(&self, node: usize, problem: &str) -> YamlError {
        let place = self.document.place(self.tree.nodes[node].mark);
        YamlError::yaml(None, problem, Some(place))
    }

    /// Creates an error of the step from YAML to JSON.
    fn json_error(&self, node: usize, problem: String) -> YamlError {
        let place = self.document.place(self.tree.nodes[node].mark);
        YamlError::json(problem, Some(place))
    }

    /// Returns the node that an alias stands for, which is never an alias. Any other node stands for itself.
    pub(super) fn target(&self, node: usize) -> usize {
        match self.tree.nodes[node].kind {
            Kind::Alias { target, .. } => target,
            _ => node,
        }
    }

    /// Returns an iterator over the nodes of a collection.
    pub(super) fn children(&self, collection: usize) -> impl Iterator<Item = usize> + use<'t> {
        let tree = self.tree;
        let end = tree.after(collection);
        let mut next = collection + 1;
        std::iter::from_fn(move || {
            let node = next;
            (node < end).then(|| {
                next = tree.after(node);
                node
            })
        })
    }

    /// Returns an iterator over the keys and values of a map.
    pub(super) fn pairs(&self, map: usize) -> impl Iterator<Item = (usize, usize)> + use<'t> {
        let mut nodes = self.children(map);
        std::iter::from_fn(move || Some((nodes.next()?, nodes.next()?)))
    }

    /// Returns whether a key is `<<`, which merges another map.
    pub(super) fn is_merge(&self, key: usize) -> bool {
        match &self.tree.nodes[key].kind {
            Kind::Scalar { text, implicit } if **text == *b"<<" => {
                *implicit || self.tree.tag(key) == Some(b"tag:yaml.org,2002:merge")
            }
            _ => false,
        }
    }

    /// Returns the maps that a merge adds, in the order in which they are added.
    pub(super) fn merged(&self, value: usize) -> Result<Vec<usize>, YamlError> {
        let maps = match self.tree.nodes[value].kind {
            Kind::Sequence(_) => {
                let mut maps: Vec<usize> = self.children(value).collect();
                maps.reverse();
                maps
            }
            _ => vec![value],
        };
        for &map in &maps {
            if !matches!(self.tree.nodes[self.target(map)].kind, Kind::Mapping(_)) {
                let problem = "map merge requires map or sequence of maps as the value";
                return Err(self.error(map, problem));
            }
        }
        Ok(maps)
    }

    /// Returns the text of a scalar as written.
    pub(super) fn text(&self, node: usize) -> &'t [u8] {
        match &self.tree.nodes[node].kind {
            Kind::Scalar { text, .. } => text,
            _ => b"",
        }
    }

    pub(super) fn scalar(&self, node: usize) -> Result<Resolved<'t>, YamlError> {
        let Kind::Scalar { text, implicit } = &self.tree.nodes[node].kind else {
            return Ok(Resolved::Null);
        };
        let resolved = match self.tree.tag(node) {
            None if *implicit => resolve(text, true),
            None => Scalar::Text,
            Some(tag) => return self.tagged(node, tag, text),
        };
        Ok(plain(resolved, text))
    }

    /// Resolves a scalar whose tag determines its type.
    fn tagged(&self, node: usize, tag: &[u8], text: &'t [u8]) -> Result<Resolved<'t>, YamlError> {
        let Some(name) = tag.strip_prefix(LONG_TAG.as_bytes()) else {
            return Ok(Resolved::Text(Cow::Borrowed(text)));
        };
        match name {
            b"binary" => {
                // The decoder skips line breaks.
                let digits: Vec<u8> = text
                    .iter()
                    .copied()
                    .filter(|b| !matches!(b, b'\r' | b'\n'))
                    .collect();
                match BASE64.decode(digits) {
                    Ok(bytes) => Ok(Resolved::Text(Cow::Owned(bytes))),
                    Err(_) => Err(self.error(node, "!!binary value contains invalid base64 data")),
                }
            }
            b"bool" | b"int" | b"float" | b"null" | b"timestamp" => {
                let resolved = resolve(text, name == b"timestamp");
                let found: &[u8] = match resolved {
                    Scalar::Null => b"null",
                    Scalar::Bool(_) => b"bool",
                    Scalar::Int(_) | Scalar::Uint(_) => b"int",
                    Scalar::Float(_) => b"float",
                    Scalar::Timestamp => b"timestamp",
                    Scalar::Text => b"str",
                };
                match resolved {
                    #[expect(
                        clippy::cast_precision_loss,
                        reason = "Go converts it in the same way"
                    )]
                    Scalar::Int(number) if name == b"float" => Ok(Resolved::Float(number as f64)),
                    _ if found == name => Ok(plain(resolved, text)),
                    _ => {
                        let show = String::from_utf8_lossy;
                        let problem = format!(
                            "cannot decode !!{} `{}` as a !!{}",
                            show(found),
                            show(text),
                            show(name)
                        );
                        Err(self.error(node, &problem))
                    }
                }
            }
            _ => Ok(Resolved::Text(Cow::Borrowed(text))),
        }
    }

    /// Returns a key in its JSON form.
    fn key(&self, key: usize, value: usize) -> Result<Cow<'t, [u8]>, YamlError> {
        let node = self.target(key);
        if !matches!(self.tree.nodes[node].kind, Kind::Scalar { .. }) {
            self.sound(node)?;
            let problem = format!("invalid map key: {}", go_syntax::show(self, node)?);
            return Err(self.error(key, &problem));
        }
        let owned = |text: String| Cow::Owned(text.into_bytes());
        Ok(match self.scalar(node)? {
            Resolved::Text(text) => text,
            Resolved::Bool(true) => Cow::Borrowed(b"true"),
            Resolved::Bool(false) => Cow::Borrowed(b"false"),
            Resolved::Int(number) => owned(number.to_string()),
            Resolved::Float(number) => {
                let mut text = Vec::new();
                float::write_general_32(number, &mut text);
                match &text[..] {
                    b"NaN" => Cow::Borrowed(b".nan"),
                    b"+Inf" => Cow::Borrowed(b".inf"),
                    b"-Inf" => Cow::Borrowed(b"-.inf"),
                    _ => Cow::Owned(text),
                }
            }
            Resolved::Null | Resolved::Uint(_) => {
                let (go_type, shown) = match self.scalar(node)? {
                    Resolved::Uint(number) => ("uint64", format!("{number:#x}")),
                    _ => ("%!s(<nil>)", "<nil>".to_owned()),
                };
                let value = go_syntax::show(self, value)?;
                let problem =
                    format!("unsupported map key of type: {go_type}, key: {shown}, value: {value}");
                return Err(self.json_error(key, problem));
            }
        })
    }

    fn value(&self, node: usize, numbers: Numbers) -> Result<Value, YamlError> {
        let node = self.target(node);
        Ok(match &self.tree.nodes[node].kind {
            Kind::Alias { .. } | Kind::Scalar { .. } => match self.scalar(node)? {
                Resolved::Null => Value::Nil,
                Resolved::Bool(value) => Value::Bool(value),
                Resolved::Int(number) => match numbers {
                    #[expect(clippy::cast_precision_loss, reason = "JSON numbers are floats in Go")]
                    Numbers::Float => Value::Float(number as f64),
                    Numbers::Exact | Numbers::AsWritten => Value::int64(number),
                },
                Resolved::Uint(number) => match numbers {
                    #[expect(clippy::cast_precision_loss, reason = "JSON numbers are floats in Go")]
                    Numbers::Float => Value::Float(number as f64),
                    Numbers::Exact | Numbers::AsWritten => Value::uint64(number),
                },
                Resolved::Float(number) => {
                    self.check(node, number)?;
                    match numbers {
                        Numbers::Float | Numbers::AsWritten => Value::Float(number),
                        Numbers::Exact => exact(number),
                    }
                }
                Resolved::Text(text) => Value::String(self.text_of(&text)),
            },
            Kind::Sequence(_) => {
                let items = self.children(node).map(|item| self.value(item, numbers));
                Value::list(items.collect::<Result<_, _>>()?)
            }
            Kind::Mapping(_) => Map::from(self.kept(node, numbers, &|_| true)?).into(),
        })
    }

    /// Returns the entries of a map whose keys are wanted. Entries that a later one overwrites are not converted to JSON.
    fn kept(
        &self,
        map: usize,
        numbers: Numbers,
        is_wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Entries, YamlError> {
        let mut entries = Entries::new();
        let mut refused: Vec<(Text, YamlError)> = Vec::new();
        self.entries(map, &mut |key, value| {
            if !is_wanted(&key) {
                return Ok(());
            }
            let key = self.text_of(&key);
            refused.retain(|(other, _)| *other != key);
            match self.value(value, numbers) {
                Ok(value) => drop(entries.insert(key, value)),
                Err(error) if error.is_json() => {
                    self.sound(value)?;
                    refused.push((key, error));
                }
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
        match refused.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(entries),
        }
    }

    /// Returns the text with each byte replaced that is not part of a character. Only the tag `!!binary` produces such bytes.
    fn text_of(&self, text: &[u8]) -> Text {
        if self.tree.tags.is_empty() {
            return texts::text(text);
        }
        (*valid(text)).into()
    }

    /// Visits each entry of a map, with merged entries in their place.
    pub(super) fn entries(
        &self,
        map: usize,
        each: &mut impl FnMut(Cow<'t, [u8]>, usize) -> Result<(), YamlError>,
    ) -> Result<(), YamlError> {
        for (key, value) in self.pairs(map) {
            if self.is_merge(key) {
                for map in self.merged(value)? {
                    self.entries(self.target(map), each)?;
                }
            } else {
                each(self.key(key, value)?, value)?;
            }
        }
        Ok(())
    }

    /// Returns the error to report. The library reads the whole document, in order, before it converts it to JSON.
    fn first_error(&self, error: YamlError) -> YamlError {
        self.sound(0).err().unwrap_or(error)
    }

    /// Refuses what the YAML reader refuses, in its order.
    pub(super) fn sound(&self, node: usize) -> Result<(), YamlError> {
        match self.tree.nodes[node].kind {
            Kind::Alias { .. } => {}
            Kind::Scalar { .. } => drop(self.scalar(node)?),
            Kind::Sequence(_) => {
                for item in self.children(node) {
                    self.sound(item)?;
                }
            }
            Kind::Mapping(_) => {
                for (key, value) in self.pairs(node) {
                    if self.is_merge(key) {
                        for map in self.merged(value)? {
                            self.sound(map)?;
                        }
                        continue;
                    }
                    match self.key(key, value) {
                        Err(error) if !error.is_json() => return Err(error),
                        _ => self.sound(value)?,
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn check(&self, node: usize, number: f64) -> Result<(), YamlError> {
        match not_a_number(number) {
            None => Ok(()),
            Some(error) => Err(self.json_error(node, error.to_string())),
        }
    }

    fn whole_json(&self, out: &mut Vec<u8>) -> Result<(), YamlError> {
        if self.tree.nodes.is_empty() {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        Writer::new(self, out).node(0).map_err(|error| {
            // JSON is written in key order, but the error to report is the first one in the document.
            let first = self.value(0, Numbers::Float).err();
            self.first_error(first.unwrap_or(error))
        })
    }

    /// Returns the entries of the root with these keys if it is a map, and the whole root otherwise.
    fn excerpt(&self, keys: &[&[u8]]) -> Result<Value, YamlError> {
        let root = self.target(0);
        if !matches!(self.tree.nodes[root].kind, Kind::Mapping(_)) {
            return self.value(root, Numbers::Exact);
        }
        let entries = self.kept(root, Numbers::Exact, &|key| keys.contains(&key))?;
        Ok(Map::from(entries).into())
    }
}

fn plain(resolved: Scalar, text: &[u8]) -> Resolved<'_> {
    match resolved {
        Scalar::Null => Resolved::Null,
        Scalar::Bool(value) => Resolved::Bool(value),
        Scalar::Int(number) => Resolved::Int(number),
        Scalar::Uint(number) => Resolved::Uint(number),
        Scalar::Float(number) => Resolved::Float(number),
        // For compatibility with programs that are older than the library's timestamps.
        Scalar::Timestamp | Scalar::Text => Resolved::Text(Cow::Borrowed(text)),
    }
}

/// Returns a whole number if the JSON form is one and fits.
fn exact(number: f64) -> Value {
    let mut text = Vec::new();
    float::write_json(number, &mut text);
    match resolve(&text, false) {
        Scalar::Int(number) => Value::int64(number),
        Scalar::Uint(number) => Value::uint64(number),
        _ => Value::Float(number),
    }
}

fn valid(text: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(text).is_ok() {
        return Cow::Borrowed(text);
    }
    let mut valid = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        valid.extend_from_slice(chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            valid.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    Cow::Owned(valid)
}
