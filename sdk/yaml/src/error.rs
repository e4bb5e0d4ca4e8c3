//! What can be wrong with an input, and what its author may not expect.

use std::fmt;

use crate::node::Mark;

/// Something wrong at a place of the input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{kind}")]
pub struct Error {
    /// What is wrong.
    #[source]
    pub kind: ErrorKind,
    /// Where.
    pub mark: Mark,
    /// RFC 6901 pointer into the document to the value, or to the collection in which reading stopped.
    pub pointer: String,
}

impl Error {
    /// Says what to do about it, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        self.kind.hint()
    }
}

/// What is wrong with an input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is not YAML.
    #[error("invalid YAML: {message}")]
    Yaml {
        /// The parser's word.
        message: String,
        /// What to do about it, where that is clear.
        hint: Option<&'static str>,
    },
    /// A tab where only spaces may indent.
    #[error("invalid YAML: a tab where only spaces may indent")]
    Tab,
    /// The text is not JSON; the reader's word.
    #[error("invalid JSON: {0}")]
    Json(String),
    /// An alias whose anchor does not come before it in the same document.
    #[error("the alias `*{0}` has no anchor `&{0}` before it in this document")]
    UnknownAlias(String),
    /// An alias inside the value that it stands for.
    #[error("an alias stands for a value that contains it")]
    AliasInItself,
    /// One key twice in one mapping.
    #[error("the key `{key}` occurs twice; it was first set at line {}", first.line)]
    DuplicateKey {
        /// The key, as JSON has it.
        key: String,
        /// Where it occurs first.
        first: Mark,
    },
    /// A key that JSON cannot have.
    #[error("{0} cannot be a key")]
    Key(&'static str),
    /// A value that its explicit tag does not allow.
    #[error("`{text}` is no {tag}")]
    Tag {
        /// The tag, such as `!!int`.
        tag: String,
        /// The value as written.
        text: String,
    },
    /// An infinity or `.nan`, which JSON cannot hold.
    #[error("`{0}` has no form in JSON")]
    NotFinite(String),
    /// `!!binary` with something other than base64.
    #[error("the value is tagged `!!binary` and is not base64")]
    NotBase64,
    /// `!!binary` that is not text.
    #[error("the value is tagged `!!binary` and is not UTF-8 once decoded")]
    BinaryNotText,
    /// `<<` with something other than mappings.
    #[error("`<<` merges a mapping or a list of mappings, and this is neither")]
    Merge,
    /// Too many collections within collections.
    #[error("more than {0} collections within one another")]
    Depth(usize),
    /// Too many values.
    #[error("more than {0} values in one document")]
    Nodes(usize),
    /// Aliases that expand to too much.
    #[error(
        "the aliases of this document expand to more than the limit of {nodes} values or {bytes} bytes"
    )]
    Aliases {
        /// The limit in values.
        nodes: usize,
        /// The limit in bytes.
        bytes: usize,
    },
    /// An input larger than the limit in bytes.
    #[error("the file has {size} bytes, more than the limit of {limit}")]
    Size {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// An input that is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// An input in another Unicode encoding.
    #[error("the text is {0}, not UTF-8")]
    Encoding(&'static str),
    /// A NUL, which ends the text for many readers.
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
    /// Where.
    pub mark: Mark,
    /// RFC 6901 pointer into the document.
    pub pointer: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Warning {
    /// Says what to do about it.
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

/// What may be unexpected about a value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WarningKind {
    /// A plain key that becomes another text, such as `on`, which becomes `true`.
    Key {
        /// As written.
        text: String,
        /// The key that it becomes.
        key: String,
    },
    /// A boolean in one of YAML 1.1's other spellings, such as `yes`.
    Boolean {
        /// As written.
        text: String,
        /// What it is read as.
        value: bool,
    },
    /// A number in a spelling that texts have too, such as `12e5` or `1_000`.
    Number {
        /// As written.
        text: String,
        /// What it is read as.
        value: serde_json::Number,
    },
    /// A whole number too large to be kept exactly.
    Rounded {
        /// As written.
        text: String,
    },
    /// A tag without a meaning in manifests.
    IgnoredTag {
        /// As written.
        tag: String,
    },
    /// A `<<` that comes after a key, and replaces its value.
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

/// What to do about the syntax errors that people make most.
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
