//! The renderer `helm` against Helm. See `tests/helm/README.md`.

mod bounded;
mod charts;
mod comparing;
mod expressions;
mod functions;
mod helm_charts;
mod keys;
mod schemas;
