//! The functions of sprig v3 for Go templates.
