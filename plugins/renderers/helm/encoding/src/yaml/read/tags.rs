//! Scans directives, tags and anchors.

use super::{
    error::YamlError,
    scan::Scanner,
    token::{Mark, Token},
};

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

impl<'a> Scanner<'a> {
    /// Scans letters, digits, `_` and `-`.
    fn scan_word(&mut self) -> &'a [u8] {
        let start = self.at;
        while self.byte(0).is_some_and(is_word) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    /// Scans an anchor or alias, from its indicator on.
    pub(super) fn scan_anchor(&mut self, anchor: bool) -> Result<Token<'a>, YamlError> {
        let context = self.mark();
        self.at += 1;
        let name = self.scan_word();
        let ends = self.is_blank_or_end(0)
            || matches!(
                self.byte(0),
                Some(b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`')
            );
        if name.is_empty() || !ends {
            return Err(self.error(
                context,
                "did not find expected alphabetic or numeric character",
            ));
        }
        Ok(if anchor {
            Token::Anchor(name)
        } else {
            Token::Alias(name)
        })
    }

    /// Scans `%YAML 1.1` or `%TAG !x! prefix`, with the rest of the line.
    pub(super) fn scan_directive(&mut self) -> Result<Token<'a>, YamlError> {
        let context = self.mark();
        self.at += 1;
        let name = self.scan_word();
        if name.is_empty() {
            return Err(self.error(context, "could not find expected directive name"));
        }
        if !self.is_blank_or_end(0) {
            return Err(self.error(context, "found unexpected non-alphabetical character"));
        }
        let token = match name {
            b"YAML" => self.scan_version(context)?,
            b"TAG" => self.scan_tag_directive(context)?,
            _ => return Err(self.error(context, "found unknown directive name")),
        };
        self.skip_rest_of_line(context)?;
        Ok(token)
    }

    fn scan_version(&mut self, context: Mark) -> Result<Token<'a>, YamlError> {
        self.skip_blanks();
        let major = self.scan_version_number(context)?;
        if self.byte(0) != Some(b'.') {
            return Err(self.error(context, "did not find expected digit or '.' character"));
        }
        self.at += 1;
        let minor = self.scan_version_number(context)?;
        Ok(Token::Version {
            is_1_1: (major, minor) == (1, 1),
        })
    }

    fn scan_version_number(&mut self, context: Mark) -> Result<u8, YamlError> {
        let start = self.at;
        let mut number = 0;
        while let Some(digit) = self.byte(0).filter(u8::is_ascii_digit) {
            if self.at - start == 2 {
                return Err(self.error(context, "found extremely long version number"));
            }
            number = number * 10 + (digit - b'0');
            self.at += 1;
        }
        if self.at == start {
            return Err(self.error(context, "did not find expected version number"));
        }
        Ok(number)
    }

    fn scan_tag_directive(&mut self, context: Mark) -> Result<Token<'a>, YamlError> {
        self.skip_blanks();
        let handle = self.scan_tag_handle(true, context)?;
        if !matches!(self.byte(0), Some(b' ' | b'\t')) {
            return Err(self.error(context, "did not find expected whitespace"));
        }
        self.skip_blanks();
        let mut prefix = Vec::new();
        self.scan_tag_uri(&mut prefix, false, context)?;
        if !self.is_blank_or_end(0) {
            return Err(self.error(context, "did not find expected whitespace or line break"));
        }
        Ok(Token::TagDirective(Box::new((handle.to_vec(), prefix))))
    }

    /// Scans a tag, from its `!` on.
    pub(super) fn scan_tag(&mut self) -> Result<Token<'a>, YamlError> {
        let context = self.mark();
        let mut suffix = Vec::new();
        let handle: &[u8] = if self.byte(1) == Some(b'<') {
            self.at += 2;
            self.scan_tag_uri(&mut suffix, false, context)?;
            if self.byte(0) != Some(b'>') {
                return Err(self.error(context, "did not find the expected '>'"));
            }
            self.at += 1;
            b""
        } else {
            let handle = self.scan_tag_handle(false, context)?;
            if handle.len() > 1 && handle.ends_with(b"!") {
                self.scan_tag_uri(&mut suffix, false, context)?;
                handle
            } else {
                // This was not a handle. What looked like one is the beginning of the tag.
                suffix.extend_from_slice(&handle[1..]);
                self.scan_tag_uri(&mut suffix, true, context)?;
                if suffix.is_empty() {
                    suffix.push(b'!');
                    b""
                } else {
                    b"!"
                }
            }
        };
        if !self.is_blank_or_end(0) {
            return Err(self.error(context, "did not find expected whitespace or line break"));
        }
        Ok(Token::Tag(Box::new((handle.to_vec(), suffix))))
    }

    /// Scans `!`, `!!` or `!word!`. In a tag, it also accepts `!word`, which is not a handle.
    fn scan_tag_handle(&mut self, directive: bool, context: Mark) -> Result<&'a [u8], YamlError> {
        let start = self.at;
        if self.byte(0) != Some(b'!') {
            return Err(self.error(context, "did not find expected '!'"));
        }
        self.at += 1;
        self.scan_word();
        if self.byte(0) == Some(b'!') {
            self.at += 1;
        } else if directive && self.at - start > 1 {
            return Err(self.error(context, "did not find expected '!'"));
        }
        Ok(&self.text[start..self.at])
    }

    /// Scans the rest of a tag and resolves its escapes. `begun` means that a part of the tag was already read.
    fn scan_tag_uri(
        &mut self,
        out: &mut Vec<u8>,
        begun: bool,
        context: Mark,
    ) -> Result<(), YamlError> {
        let start = self.at;
        while let Some(byte) = self.byte(0) {
            match byte {
                b'%' => self.scan_uri_escape(out, context)?,
                b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',' | b'.'
                | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' | b'[' | b']' => {
                    out.push(byte);
                    self.at += 1;
                }
                _ if is_word(byte) => {
                    out.push(byte);
                    self.at += 1;
                }
                _ => break,
            }
        }
        if self.at == start && !begun {
            return Err(self.error(context, "did not find expected tag URI"));
        }
        Ok(())
    }

    /// Scans one character in `%XX` escapes.
    fn scan_uri_escape(&mut self, out: &mut Vec<u8>, context: Mark) -> Result<(), YamlError> {
        let mut left = None;
        while left != Some(0) {
            let digit = |ahead| self.byte(ahead).and_then(|b| char::from(b).to_digit(16));
            let (Some(b'%'), Some(high), Some(low)) = (self.byte(0), digit(1), digit(2)) else {
                return Err(self.error(context, "did not find URI escaped octet"));
            };
            let octet = u8::try_from(high << 4 | low).unwrap_or_default();
            left = Some(match left {
                None => match octet {
                    0..0x80 => 0,
                    0xc0..0xe0 => 1,
                    0xe0..0xf0 => 2,
                    0xf0..0xf8 => 3,
                    _ => {
                        return Err(self.error(context, "found an incorrect leading UTF-8 octet"));
                    }
                },
                Some(_) if octet & 0xc0 != 0x80 => {
                    return Err(self.error(context, "found an incorrect trailing UTF-8 octet"));
                }
                Some(left) => left - 1,
            });
            out.push(octet);
            self.at += 3;
        }
        Ok(())
    }
}
