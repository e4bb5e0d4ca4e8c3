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
    /// The values for a subchart are not a table.
    #[error("{0}")]
    Coalesce(#[from] CoalesceError),
    /// The values do not satisfy the schemas of the charts.
    #[error("values don't meet the specifications of the schema(s) in the following chart(s): {}", charts(.0))]
    Schema(Vec<SchemaError>),
}

fn charts(errors: &[SchemaError]) -> String {
    let mut charts: Vec<&str> = errors.iter().map(|error| error.chart.as_str()).collect();
    charts.dedup();
    charts.join(", ")
}

/// Returns the values that templates see: the user's values over those of the chart and its subcharts. They are checked against
/// the schemas unless `skip_schemas` is set.
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
