//! Parses the contents of collections.

use super::{Context, Kind, OPEN, Open, Parser, State};
use crate::yaml::read::{
    error::YamlError,
    token::{At, Mark, Token},
};

impl Parser<'_> {
    /// Continues in the innermost collection, which is `open`.
    pub(super) fn step(&mut self, open: Open) -> Result<(), YamlError> {
        match open.state {
            State::BlockSequence => self.block_sequence(open.context),
            State::IndentlessSequence => self.indentless_sequence(),
            State::BlockMappingKey => self.block_mapping_key(open.context),
            State::BlockMappingValue => self.block_mapping_value(),
            State::FlowSequence { first } => self.flow_sequence(open.context, first),
            State::FlowPairKey => self.flow_pair_key(),
            State::FlowPairValue => self.flow_pair_value(),
            State::FlowPairEnd => {
                self.close();
                Ok(())
            }
            State::FlowMapping { first } => self.flow_mapping(open.context, first),
            State::FlowMappingValue => self.flow_mapping_value(),
            State::FlowMappingNoValue => {
                self.expect(State::FlowMapping { first: false });
                let mark = self.scanner.peek()?.mark;
                self.empty(mark);
                Ok(())
            }
        }
    }

    fn block_sequence(&mut self, context: Mark) -> Result<(), YamlError> {
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        match token {
            Token::BlockEntry => {
                self.scanner.take();
                match self.scanner.peek()?.token {
                    Token::BlockEntry | Token::BlockEnd => self.empty(mark),
                    _ => self.node(Context::Block)?,
                }
                Ok(())
            }
            Token::BlockEnd => {
                self.end();
                Ok(())
            }
            _ => Err(self.error(mark, context, "did not find expected '-' indicator")),
        }
    }

    /// Takes the token that ends the innermost collection.
    fn end(&mut self) {
        self.scanner.take();
        self.close();
    }

    fn indentless_sequence(&mut self) -> Result<(), YamlError> {
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        if !matches!(token, Token::BlockEntry) {
            self.close();
            return Ok(());
        }
        self.scanner.take();
        match self.scanner.peek()?.token {
            Token::BlockEntry | Token::Key | Token::Value | Token::BlockEnd => {
                self.empty(mark);
                Ok(())
            }
            _ => self.node(Context::Block),
        }
    }

    fn block_mapping_key(&mut self, context: Mark) -> Result<(), YamlError> {
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        match token {
            Token::Key => {
                self.scanner.take();
                self.expect(State::BlockMappingValue);
                self.block_mapping_part(mark)
            }
            Token::BlockEnd => {
                self.end();
                Ok(())
            }
            _ => Err(self.error(mark, context, "did not find expected key")),
        }
    }

    fn block_mapping_value(&mut self) -> Result<(), YamlError> {
        self.expect(State::BlockMappingKey);
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        if matches!(token, Token::Value) {
            self.scanner.take();
            return self.block_mapping_part(mark);
        }
        self.empty(mark);
        Ok(())
    }

    /// Parses what follows `?` or `:`.
    fn block_mapping_part(&mut self, mark: Mark) -> Result<(), YamlError> {
        match self.scanner.peek()?.token {
            Token::Key | Token::Value | Token::BlockEnd => {
                self.empty(mark);
                Ok(())
            }
            _ => self.node(Context::BlockValue),
        }
    }

    fn flow_sequence(&mut self, context: Mark, first: bool) -> Result<(), YamlError> {
        if matches!(self.scanner.peek()?.token, Token::FlowSequenceEnd) {
            self.end();
            return Ok(());
        }
        if !first {
            self.flow_entry(context, "did not find expected ',' or ']'")?;
        }
        self.expect(State::FlowSequence { first: false });
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        match token {
            Token::Key => {
                self.scanner.take();
                let map = self.push(Kind::Mapping(OPEN), mark);
                self.open(map, State::FlowPairKey, mark)
            }
            Token::FlowSequenceEnd => {
                self.end();
                Ok(())
            }
            _ => self.node(Context::Flow),
        }
    }

    /// Takes the comma between two entries.
    fn flow_entry(&mut self, context: Mark, problem: &str) -> Result<(), YamlError> {
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        if !matches!(token, Token::FlowEntry) {
            return Err(self.error(mark, context, problem));
        }
        self.scanner.take();
        Ok(())
    }

    /// Parses the key of a single-pair map in a list, `[a: b]`, after the token for it.
    fn flow_pair_key(&mut self) -> Result<(), YamlError> {
        self.expect(State::FlowPairValue);
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        match token {
            Token::Value | Token::FlowEntry | Token::FlowSequenceEnd => {
                // The library takes the token here, whatever it is.
                self.scanner.take();
                self.empty(mark);
                Ok(())
            }
            _ => self.node(Context::Flow),
        }
    }

    fn flow_pair_value(&mut self) -> Result<(), YamlError> {
        self.expect(State::FlowPairEnd);
        self.flow_value(|token| matches!(token, Token::FlowEntry | Token::FlowSequenceEnd))
    }

    fn flow_mapping(&mut self, context: Mark, first: bool) -> Result<(), YamlError> {
        if matches!(self.scanner.peek()?.token, Token::FlowMappingEnd) {
            self.end();
            return Ok(());
        }
        if !first {
            self.flow_entry(context, "did not find expected ',' or '}'")?;
        }
        match self.scanner.peek()?.token {
            Token::Key => {
                self.scanner.take();
                self.expect(State::FlowMappingValue);
                let At { token, mark } = self.scanner.peek()?;
                let mark = *mark;
                match token {
                    Token::Value | Token::FlowEntry | Token::FlowMappingEnd => {
                        self.empty(mark);
                        Ok(())
                    }
                    _ => self.node(Context::Flow),
                }
            }
            Token::FlowMappingEnd => {
                self.end();
                Ok(())
            }
            _ => {
                self.expect(State::FlowMappingNoValue);
                self.node(Context::Flow)
            }
        }
    }

    fn flow_mapping_value(&mut self) -> Result<(), YamlError> {
        self.expect(State::FlowMapping { first: false });
        self.flow_value(|token| matches!(token, Token::FlowEntry | Token::FlowMappingEnd))
    }

    /// Parses the value of a pair. It is empty if the collection ends, or if there is no `:`.
    fn flow_value(&mut self, is_end: fn(&Token<'_>) -> bool) -> Result<(), YamlError> {
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        if !matches!(token, Token::Value) {
            self.empty(mark);
            return Ok(());
        }
        self.scanner.take();
        let At { token, mark } = self.scanner.peek()?;
        let mark = *mark;
        if is_end(token) {
            self.empty(mark);
            return Ok(());
        }
        self.node(Context::Flow)
    }
}
