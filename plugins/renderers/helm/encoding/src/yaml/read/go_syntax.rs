//! Formats nodes as Go's `%#v` prints them, for the errors about keys: `{{ .Values.name }}` without quotes is such a key.

use std::fmt::Write as _;

use pintle_gotemplate::print;

use super::{
    decode::{Decoder, Resolved},
    error::YamlError,
    parse::Kind,
};
use crate::float;

/// Returns the node in Go's syntax.
pub(super) fn show(decoder: &Decoder<'_>, node: usize) -> Result<String, YamlError> {
    let mut out = String::new();
    write(decoder, node, false, &mut out)?;
    Ok(out)
}

fn write(
    decoder: &Decoder<'_>,
    node: usize,
    inside: bool,
    out: &mut String,
) -> Result<(), YamlError> {
    // An error need not show a large document in full.
    if out.len() > 1000 {
        return Ok(());
    }
    match &decoder.tree.nodes[node].kind {
        Kind::Alias { target, .. } => return write(decoder, *target, inside, out),
        Kind::Scalar { .. } => scalar(&decoder.scalar(node)?, inside, out),
        Kind::Sequence(_) => {
            out.push_str("[]interface {}{");
            for (index, item) in decoder.children(node).enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write(decoder, item, true, out)?;
            }
            out.push('}');
        }
        Kind::Mapping(_) => {
            out.push_str("map[interface {}]interface {}{");
            let mut pairs: Vec<_> = decoder.pairs(node).collect();
            pairs.sort_by(|(one, _), (other, _)| decoder.text(*one).cmp(decoder.text(*other)));
            for (index, (key, value)) in pairs.into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write(decoder, key, true, out)?;
                out.push(':');
                write(decoder, value, true, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn scalar(value: &Resolved<'_>, inside: bool, out: &mut String) {
    match value {
        Resolved::Null if inside => out.push_str("interface {}(nil)"),
        Resolved::Null => out.push_str("<nil>"),
        Resolved::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        // Writing to a string cannot fail.
        Resolved::Int(number) => write!(out, "{number}").unwrap_or_default(),
        Resolved::Uint(number) => write!(out, "{number:#x}").unwrap_or_default(),
        Resolved::Float(number) => {
            let mut text = Vec::new();
            float::write_general(*number, &mut text);
            out.push_str(&String::from_utf8_lossy(&text));
        }
        Resolved::Text(text) => out.push_str(&String::from_utf8_lossy(&print::quote(text))),
    }
}
