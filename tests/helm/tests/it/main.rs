//! Compares the renderer `helm` with Helm. See `tests/helm/README.md`.

mod bounded;
mod charts;
mod comparing;
mod expressions;
mod functions;
mod helm_charts;
mod keys;
mod schemas;
