//! What the sink of the servers received.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// One request that the sink received, in the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When it arrived: RFC 3339 in UTC, with fractions of a second.
    pub at: String,
    /// The HTTP method.
    pub method: String,
    /// The path, `/sink/NAME`.
    pub path: String,
    /// The query without its question mark.
    pub query: String,
    /// The headers by lowercase name. Values of repeated headers are joined by a comma.
    pub headers: BTreeMap<String, String>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// The status of the sink's answer.
    pub status: u16,
}

impl Delivery {
    /// Returns the body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("the body sent to {} is not JSON", self.path))
    }
}

#[derive(Deserialize)]
struct Line {
    at: String,
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, Vec<String>>,
    body: String,
    bytes: Option<String>,
    status: u16,
}

/// Reads the sink's file, except for a partially written last line.
pub(crate) fn read(file: &Path) -> Result<Vec<Delivery>> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(parse).collect()
}

fn parse(line: &str) -> Result<Delivery> {
    let line: Line =
        serde_json::from_str(line).with_context(|| format!("parse the delivery {line}"))?;
    let body = match line.bytes {
        Some(encoded) => STANDARD
            .decode(encoded)
            .context("decode the body of a delivery")?,
        None => line.body.into_bytes(),
    };
    Ok(Delivery {
        at: line.at,
        method: line.method,
        path: line.path,
        query: line.query,
        headers: line
            .headers
            .into_iter()
            .map(|(name, values)| (name.to_lowercase(), values.join(", ")))
            .collect(),
        body,
        status: line.status,
    })
}
