//! The values that templates see.

use pintle_gotemplate::Map;
use thiserror::Error;

use crate::{
    chart::Chart,
    schema::{self, SchemaError},
    values::coalesce::{CoalesceError, Nulls, coalesce},
    warning::Warnings,
};

/// Why there are no values for templates.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ComposeError {
    /// The values for a subchart are no table.
    #[error("{0}")]
    Coalesce(#[from] CoalesceError),
    /// The values are not what the schemas of the charts ask for.
    #[error("values don't meet the specifications of the schema(s) in the following chart(s): {}", charts(.0))]
    Schema(Vec<SchemaError>),
}

fn charts(errors: &[SchemaError]) -> String {
    let mut charts: Vec<&str> = errors.iter().map(|error| error.chart.as_str()).collect();
    charts.dedup();
    charts.join(", ")
}

/// The values that templates see: the user's over those of the chart and its subcharts, checked against the schemas unless
/// `skip_schemas`.
pub fn compose(
    chart: &Chart,
    values: &Map,
    skip_schemas: bool,
    warnings: &mut Warnings,
) -> Result<Map, ComposeError> {
    let values = coalesce(chart, values, Nulls::Remove, warnings)?;
    if !skip_schemas {
        let errors = schema::check(chart, &values, warnings);
        if !errors.is_empty() {
            return Err(ComposeError::Schema(errors));
        }
    }
    Ok(values)
}
