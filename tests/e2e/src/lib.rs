//! End-to-end tests: what users see, on a real control plane.
