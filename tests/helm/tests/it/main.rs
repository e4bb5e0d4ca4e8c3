//! The renderer `helm` against Helm. See `tests/helm/README.md`.

mod charts;
mod functions;
mod helm_charts;
mod keys;
