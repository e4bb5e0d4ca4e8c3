//! The renderer `helm`: a chart, rendered as Helm does.
