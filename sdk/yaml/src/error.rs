//! Errors in an input, and warnings about what its author may not expect.

use std::fmt;

use crate::node::Mark;

/// An error at a position of the input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{kind}")]
pub struct Error {
    /// What is wrong.
    #[source]
    pub kind: ErrorKind,
    /// The position.
    pub mark: Mark,
    /// The RFC 6901 pointer into the document, to the value or to the collection in which reading stopped.
    pub pointer: String,
}

impl Error {
    /// Returns what to do about the error, if there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        self.kind.hint()
    }
}

/// The kind of an error in an input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is not YAML.
    #[error("invalid YAML: {message}")]
    Yaml {
        /// The parser's message.
        message: String,
        /// What to do about the error, if that is clear.
        hint: Option<&'static str>,
    },
    /// There is a tab where only spaces may indent.
    #[error("invalid YAML: a tab where only spaces may indent")]
    Tab,
    /// The text is not JSON; the reader's message.
    #[error("invalid JSON: {0}")]
    Json(String),
    /// The anchor of an alias does not come before it in the same document.
    #[error("the alias `*{0}` has no anchor `&{0}` before it in this document")]
    UnknownAlias(String),
    /// An alias is inside the value that it stands for.
    #[error("an alias stands for a value that contains it")]
    AliasInItself,
    /// A key occurs twice in the same mapping.
    #[error("the key `{key}` occurs twice; it was first set at line {}", first.line)]
    DuplicateKey {
        /// The key in its JSON form.
        key: String,
        /// The position of its first occurrence.
        first: Mark,
    },
    /// A key is not possible in JSON.
    #[error("{0} cannot be a key")]
    Key(&'static str),
    /// A value does not fit its explicit tag.
    #[error("`{text}` is no {tag}")]
    Tag {
        /// The tag, such as `!!int`.
        tag: String,
        /// The value as written.
        text: String,
    },
    /// A number is an infinity or `.nan`, which JSON cannot hold.
    #[error("`{0}` has no form in JSON")]
    NotFinite(String),
    /// A value tagged `!!binary` is not base64.
    #[error("the value is tagged `!!binary` and is not base64")]
    NotBase64,
    /// A value tagged `!!binary` is not text.
    #[error("the value is tagged `!!binary` and is not UTF-8 once decoded")]
    BinaryNotText,
    /// `<<` merges something other than mappings.
    #[error("`<<` merges a mapping or a list of mappings, and this is neither")]
    Merge,
    /// Collections are nested too deeply.
    #[error("more than {0} collections within one another")]
    Depth(usize),
    /// A document has too many values.
    #[error("more than {0} values in one document")]
    Nodes(usize),
    /// Aliases expand to too much.
    #[error(
        "the aliases of this document expand to more than the limit of {nodes} values or {bytes} bytes"
    )]
    Aliases {
        /// The limit in values.
        nodes: usize,
        /// The limit in bytes.
        bytes: usize,
    },
    /// The input is larger than the limit in bytes.
    #[error("the file has {size} bytes, more than the limit of {limit}")]
    Size {
        /// The size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The input is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// The input is in another Unicode encoding.
    #[error("the text is {0}, not UTF-8")]
    Encoding(&'static str),
    /// The input contains a NUL, which ends the text for many readers.
    #[error("the text contains a NUL character")]
    Nul,
}

impl ErrorKind {
    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Tab => "indent with spaces",
            Self::UnknownAlias(_) => {
                "put the anchor before the alias and in the same document, or quote the value if it is text"
            }
            Self::DuplicateKey { .. } => "keep one of the two",
            Self::Key(_) => {
                "quote the key if it is text; `{{ ... }}` of a template is no YAML until it is rendered"
            }
            Self::Tag { .. } | Self::NotFinite(_) => "quote the value if it is text",
            Self::NotBase64 | Self::BinaryNotText => "remove the tag to keep the text as it is",
            Self::Depth(_) | Self::Nodes(_) | Self::Size { .. } => {
                "split it into several documents or files"
            }
            Self::Aliases { .. } => "write the values out where they are needed",
            Self::NotUtf8 | Self::Encoding(_) => "save the file as UTF-8",
            Self::Nul => "is the file binary? exclude it, or remove the character",
            Self::Yaml { hint, .. } => return *hint,
            Self::Json(_) | Self::AliasInItself | Self::Merge => return None,
        })
    }
}

/// A value that may not be what its author expects.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// What may be unexpected.
    pub kind: WarningKind,
    /// The position.
    pub mark: Mark,
    /// The RFC 6901 pointer into the document.
    pub pointer: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Warning {
    /// Returns what to do about the warning.
    pub fn hint(&self) -> &'static str {
        match self.kind {
            WarningKind::Key { .. } => "quote the key if it is text",
            WarningKind::Boolean { .. } => "write true or false, or quote it if it is text",
            WarningKind::Number { .. } | WarningKind::Rounded { .. } => "quote it if it is text",
            WarningKind::IgnoredTag { .. } => {
                "remove the tag; the values of manifests have no tags"
            }
            WarningKind::MergeOverrides { .. } => "put `<<` before the mapping's own keys",
        }
    }
}

/// What its author may not expect of a value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WarningKind {
    /// A plain key becomes a different text, such as `on`, which becomes `true`.
    Key {
        /// The key as written.
        text: String,
        /// The resulting key.
        key: String,
    },
    /// A boolean is in one of YAML 1.1's other spellings, such as `yes`.
    Boolean {
        /// The value as written.
        text: String,
        /// The value that it is read as.
        value: bool,
    },
    /// A number is in a spelling that texts can have too, such as `12e5` or `1_000`.
    Number {
        /// The value as written.
        text: String,
        /// The value that it is read as.
        value: serde_json::Number,
    },
    /// A whole number is too large to be kept exactly.
    Rounded {
        /// The value as written.
        text: String,
    },
    /// A tag has no meaning in manifests.
    IgnoredTag {
        /// The tag as written.
        tag: String,
    },
    /// A `<<` comes after a key and replaces its value.
    MergeOverrides {
        /// The key.
        key: String,
    },
}

impl fmt::Display for WarningKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { text, key } => write!(f, "the key `{text}` is read as `{key}`"),
            Self::Boolean { text, value } => write!(f, "`{text}` is read as the boolean {value}"),
            Self::Number { text, value } => write!(f, "`{text}` is read as the number {value}"),
            Self::Rounded { text } => {
                write!(f, "the number `{text}` is too large to be kept exactly")
            }
            Self::IgnoredTag { tag } => write!(f, "the tag `{tag}` is ignored"),
            Self::MergeOverrides { key } => {
                write!(f, "the `<<` after the key `{key}` replaces its value")
            }
        }
    }
}

/// Returns what to do about the syntax errors that people make most.
pub(crate) fn syntax_hint(kind: &granit_parser::ErrorKind) -> Option<&'static str> {
    use granit_parser::ErrorKind as Scan;
    Some(match kind {
        Scan::InvalidQuotedScalarIndent | Scan::UnclosedQuotedScalar => {
            "close the quote; the lines that continue a quoted text must be indented"
        }
        Scan::MappingValueNotAllowed | Scan::InvalidIndentation => {
            "check the indentation; a text that contains `: ` must be quoted"
        }
        Scan::ExpectedBlockMappingKey
        | Scan::SimpleKeyExpected
        | Scan::ExpectedBlockSequenceEntry => {
            "check the indentation, and that every key ends with `:`"
        }
        Scan::UnexpectedCharacter { .. } => "quote the value if it is text",
        Scan::UnknownQuotedScalarEscape => "use single quotes to keep backslashes as they are",
        _ => return None,
    })
}
