//! YAML, JSON and TOML as the Go libraries that Helm uses read and write them.
