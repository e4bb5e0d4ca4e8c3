//! Go's text/template language, its values and its printing, without Helm.
