//! Helm charts: loading, dependencies, values, schemas, and what a chart's templates see.
