//! The tokens of YAML.

use std::borrow::Cow;

/// Text borrowed from the input, or derived from it.
pub(super) type Bytes<'a> = Cow<'a, [u8]>;

#[derive(Clone, Debug)]
pub(super) enum Token<'a> {
    StreamEnd,
    Version {
        is_1_1: bool,
    },
    /// `%TAG handle prefix`
    TagDirective(Box<(Vec<u8>, Vec<u8>)>),
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'a [u8]),
    Anchor(&'a [u8]),
    /// The handle, which is empty for a complete tag, and what follows.
    Tag(Box<(Vec<u8>, Vec<u8>)>),
    Scalar {
        text: Bytes<'a>,
        plain: bool,
    },
}

/// A token and where it starts.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub(super) token: Token<'a>,
    pub(super) mark: Mark,
}

/// A place in the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The byte offset, from 0.
    pub(super) at: usize,
    /// The line, from 0.
    pub(super) line: usize,
}
