//! Combines the values of a user, of a chart and of its subcharts into one table.
//!
//! Upper values win: tables are merged, everything else is replaced, and null removes a default. The globals of a chart are
//! passed down to its subcharts. The rules, including their corner cases, are Helm's ("Subcharts and Global Values"; observed in
//! Helm 4.3.1 where the documentation is silent).

use pintle_gotemplate::{
    Map, Text, Value,
    value::{Entries, MAX_NESTING},
};
use thiserror::Error;

use super::{copy, deep_copy, holds_tables, noun, put};
use crate::{chart::Chart, warning::Warnings};

/// The key of the values that every subchart sees.
const GLOBAL: &[u8] = b"global";

/// The values for a subchart are not a table.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "type mismatch on {path}: the values of the chart {chart:?} must be a table, and here is {found}"
)]
pub struct CoalesceError {
    /// The dot-separated path of the values.
    pub path: String,
    /// The name of the subchart.
    pub chart: String,
    /// The actual type.
    pub found: &'static str,
}

/// The treatment of null.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// Null removes the key that it overrides, for what templates see.
    Remove,
    /// Null stays, for a later step that removes it.
    Keep,
}

/// A path of keys, formatted only when a message needs it.
#[derive(Clone, Copy)]
struct Path<'a> {
    above: Option<&'a Path<'a>>,
    key: &'a [u8],
}

impl<'a> Path<'a> {
    fn then(&'a self, key: &'a [u8]) -> Path<'a> {
        Path {
            above: Some(self),
            key,
        }
    }

    fn text(&self) -> String {
        let key = String::from_utf8_lossy(self.key);
        match self.above {
            Some(above) => format!("{}.{key}", above.text()),
            None => key.into_owned(),
        }
    }
}

/// Returns the values for a chart and its subcharts: the defaults of each under `values`, which stay unchanged.
pub(crate) fn coalesce(
    chart: &Chart,
    values: &Map,
    nulls: Nulls,
    warnings: &mut Warnings,
) -> Result<Map, CoalesceError> {
    let values = deep_copy(values);
    let path = Path {
        above: None,
        key: chart.name().as_bytes(),
    };
    descend(chart, &values, path, nulls, warnings)?;
    Ok(values)
}

/// Puts the defaults of a chart, then those of its subcharts, under `values`. `path` ends with the chart's name.
fn descend(
    chart: &Chart,
    values: &Map,
    path: Path<'_>,
    nulls: Nulls,
    warnings: &mut Warnings,
) -> Result<(), CoalesceError> {
    defaults(chart, values, path, nulls, warnings);
    for subchart in &chart.dependencies {
        let name = subchart.name();
        let inner = match values.get(name.as_bytes()) {
            Some(Value::Map(inner)) => inner,
            Some(other) => {
                return Err(CoalesceError {
                    path: path.then(name.as_bytes()).text(),
                    chart: name.to_owned(),
                    found: noun(&other),
                });
            }
            None => {
                let inner = Map::new();
                put(values, name, inner.clone().into());
                inner
            }
        };
        globals(&inner, values, path, warnings);
        descend(
            subchart,
            &inner,
            path.then(name.as_bytes()),
            nulls,
            warnings,
        )?;
    }
    Ok(())
}

/// Puts the globals of a chart over those of a subchart.
fn globals(inner: &Map, outer: &Map, path: Path<'_>, warnings: &mut Warnings) {
    let Some(into) = global_table(inner, "destination", warnings) else {
        return;
    };
    let Some(from) = global_table(outer, "source", warnings) else {
        return;
    };
    for (key, value) in from.entries() {
        match (value, into.get(&key)) {
            (Value::Map(table), None) => put(&into, key, table.shallow_copy().into()),
            (Value::Map(table), Some(Value::Map(under))) => {
                // From the top down: the parent chart's value wins over the subchart's. Nulls stay, because the subchart's own
                // step removes them.
                let over = table.shallow_copy();
                tables(&over, &under, path.then(&key), warnings);
                put(&into, key, over.into());
            }
            (Value::Map(_), Some(_)) => warnings.add(format_args!(
                "cannot merge the table global.{key} of {} into what is no table",
                path.text()
            )),
            (_, Some(Value::Map(_))) => warnings.add(format_args!(
                "global.{key} is a table in a subchart of {} and stays so",
                path.text()
            )),
            (value, _) => put(&into, key, value),
        }
    }
    put(inner, Text::from(GLOBAL), into.into());
}

fn global_table(values: &Map, side: &str, warnings: &mut Warnings) -> Option<Map> {
    match values.get(GLOBAL) {
        None => Some(Map::new()),
        Some(Value::Map(table)) => Some(table),
        Some(_) => {
            warnings.add(format_args!(
                "skipping globals because {side} global is not a table"
            ));
            None
        }
    }
}

/// Puts the defaults of one chart under `values`. Only copies are inserted, so the chart keeps its own.
fn defaults(chart: &Chart, values: &Map, path: Path<'_>, nulls: Nulls, warnings: &mut Warnings) {
    let own = chart.values.borrow();
    let own = own.iter();
    for (key, default) in own {
        match (values.get(key), default) {
            (Some(Value::Nil), _) if nulls == Nulls::Remove => {
                values.remove(key);
            }
            (Some(Value::Map(table)), Value::Map(default)) => {
                // A subchart handles its own values, because its own nulls are known there.
                let is_subchart = chart
                    .dependencies
                    .iter()
                    .any(|subchart| subchart.name().as_bytes() == key.as_bytes());
                let nulls = if is_subchart { Nulls::Keep } else { nulls };
                table_defaults(&table, default, path.then(key), nulls, warnings);
            }
            (Some(Value::Map(_)), Value::Nil) => {}
            (Some(Value::Map(_)), _) => warnings.add(format_args!(
                "skipped value for {}: Not a table.",
                path.then(key).text()
            )),
            (Some(_), _) => {}
            (None, Value::Nil) if nulls == Nulls::Remove => {}
            (None, default) => put(values, key.clone(), copied(default, nulls)),
        }
    }
}

/// Puts copies of the defaults in the table `below` under the table `above`. Where nulls are removed, null defaults are skipped.
fn table_defaults(above: &Map, below: &Map, path: Path<'_>, nulls: Nulls, warnings: &mut Warnings) {
    let below = below.borrow();
    let below = below.iter();
    for (key, default) in below {
        match (above.get(key), default) {
            (_, Value::Nil) if nulls == Nulls::Remove => {}
            // Null over a default removes it, and null over null stays.
            (Some(Value::Nil), _) if nulls == Nulls::Remove => {
                above.remove(key);
            }
            (None, default) => put(above, key.clone(), copied(default, nulls)),
            (Some(Value::Map(over)), Value::Map(under)) => {
                table_defaults(&over, under, path.then(key), nulls, warnings);
            }
            (Some(kept), default) => warn_of_kinds(&kept, default, path.then(key), warnings),
        }
    }
}

/// Returns a copy of a default that shares no table with it. Where nulls are removed, the copy lacks the nulls in the default's
/// tables. Nulls in lists stay.
fn copied(default: &Value, nulls: Nulls) -> Value {
    match (default, nulls) {
        (Value::Map(table), Nulls::Remove) => Value::Map(without_nulls(table)),
        _ => copy(default, MAX_NESTING),
    }
}

fn without_nulls(table: &Map) -> Map {
    let mut kept = Entries::clone(&table.borrow());
    kept.retain(|_, value| !matches!(value, Value::Nil));
    for value in kept.values_mut().filter(|value| holds_tables(value)) {
        *value = copied(value, Nulls::Remove);
    }
    Map::with_entries(table.go_type(), kept)
}

/// Puts `below` under `above`, without removing nulls.
pub(crate) fn merge_tables(above: &Map, below: &Map, warnings: &mut Warnings) {
    let root = Path {
        above: None,
        key: b"values",
    };
    tables(above, below, root, warnings);
}

/// Puts the table `below` under the table `above`. Both then share what only the lower one has.
fn tables(above: &Map, below: &Map, path: Path<'_>, warnings: &mut Warnings) {
    let entries = below.entries();
    // Helm also writes the nulls of the upper table into the lower one, which others may hold.
    let null_keys = |map: &Map| -> Vec<Text> {
        let entries = map.borrow();
        let nulls = entries
            .iter()
            .filter(|(_, value)| matches!(value, Value::Nil));
        nulls.map(|(key, _)| key.clone()).collect()
    };
    let nulled = null_keys(above);
    for key in &nulled {
        put(below, key.clone(), Value::Nil);
    }
    for (key, default) in entries {
        match (above.get(&key), default) {
            (None, default) => put(above, key, default),
            (Some(Value::Map(over)), Value::Map(under)) => {
                tables(&over, &under, path.then(&key), warnings);
            }
            (Some(kept), default) => warn_of_kinds(&kept, &default, path.then(&key), warnings),
        }
    }
}

/// Warns if a value that is not a table overrides a default that is one, or the other way round. Null is neither.
fn warn_of_kinds(kept: &Value, default: &Value, path: Path<'_>, warnings: &mut Warnings) {
    match (kept, default) {
        (Value::Nil, _) | (_, Value::Nil) => {}
        (_, Value::Map(_)) => warnings.add(format_args!(
            "cannot overwrite table with non table for {}",
            path.text()
        )),
        (Value::Map(_), _) => warnings.add(format_args!(
            "destination for {} is a table. Ignoring non-table value",
            path.text()
        )),
        _ => {}
    }
}
