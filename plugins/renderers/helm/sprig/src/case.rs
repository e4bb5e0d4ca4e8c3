//! Conversions of names to other notations, as in the library `xstrings`.

use pintle_gotemplate::{Function, Type, Value, rune::is_letter};

use crate::go::unicode::{
    REPLACEMENT, decode, is_punct, is_space, is_upper, push, runes, to_lower, to_upper,
};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("snakecase", &[Type::String], |_, args| {
        Ok(Value::string(separate(args.text(0)?, '_')))
    }),
    Function::new("kebabcase", &[Type::String], |_, args| {
        Ok(Value::string(separate(args.text(0)?, '-')))
    }),
    Function::new("camelcase", &[Type::String], |_, args| {
        Ok(Value::string(pascal_case(args.text(0)?)))
    }),
];

fn is_connector(rune: char) -> bool {
    rune == '-' || rune == '_' || is_space(rune)
}

/// Returns whether a character is a letter, except for common Chinese, Japanese and Korean ones, which have no case.
fn is_alphabet(rune: char) -> bool {
    is_letter(rune)
        && !matches!(
            rune,
            '\u{4E00}'..='\u{9FCC}' | '\u{3400}'..='\u{4D85}' | '\u{20000}'..='\u{2B81D}'
        )
}

/// Converts `some_words` to `SomeWords`. Connectors at the start stay, and so does the second of two in a row.
fn pascal_case(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = runes(text).map(|(_, rune, _)| rune).peekable();
    let mut current = None;
    let mut first_is_upper = false;
    for rune in rest.by_ref() {
        if is_connector(rune) {
            // The last character is written below, whether it is a connector or not.
            if let Some(previous) = current.replace(rune) {
                push(&mut out, previous);
            }
        } else {
            if let Some(previous) = current.take() {
                push(&mut out, previous);
            }
            first_is_upper = is_upper(rune);
            current = Some(to_upper(rune));
            break;
        }
    }
    let Some(mut current) = current else {
        return out;
    };
    if rest.peek().is_none() && is_connector(current) {
        // If there are only connectors, the library writes the last of them twice.
        push(&mut out, current);
    }
    for next in rest {
        let previous = std::mem::replace(&mut current, next);
        if is_connector(next) && is_connector(previous) {
            push(&mut out, previous);
        } else if is_connector(previous) {
            first_is_upper = is_upper(next);
            current = to_upper(next);
        } else {
            if first_is_upper {
                if is_upper(next) {
                    current = to_lower(next);
                } else {
                    first_is_upper = false;
                }
            }
            push(&mut out, previous);
        }
    }
    push(&mut out, current);
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    /// The end of the text, or only invalid bytes.
    None,
    Number,
    Upper,
    Alphabet,
    Connector,
    Punctuation,
    Other,
}

/// Converts `HTTPServer` to `http_server`: the words of a name in lowercase, with a connector between them.
fn separate(text: &[u8], connector: char) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
    let (mut kind, mut word, mut rest) = next_word(text);
    while !rest.is_empty() {
        if kind != Word::Connector {
            write_word(&mut out, kind, word, connector);
        }
        let (previous, last) = (kind, word);
        (kind, word, rest) = next_word(rest);
        match previous {
            Word::Number => {
                write_run(&mut out, (&mut kind, &mut word, &mut rest), connector);
                if !matches!(kind, Word::None | Word::Punctuation | Word::Connector) {
                    push(&mut out, connector);
                }
            }
            Word::Connector => write_word(&mut out, previous, last, connector),
            Word::Punctuation => {}
            _ if kind != Word::Number => {
                if !matches!(kind, Word::Connector | Word::Punctuation) {
                    push(&mut out, connector);
                }
            }
            _ if rest.is_empty() => {}
            _ => {
                let number = word;
                (kind, word, rest) = next_word(rest);
                if kind == Word::Alphabet {
                    // Lowercase letters after a number make it a separate word: `http_2xx`.
                    push(&mut out, connector);
                    write_word(&mut out, Word::Number, number, connector);
                    write_run(&mut out, (&mut kind, &mut word, &mut rest), connector);
                    if !matches!(kind, Word::None | Word::Connector | Word::Punctuation) {
                        push(&mut out, connector);
                    }
                } else {
                    // Otherwise the number belongs to the word before it: `bld4_floor`.
                    write_word(&mut out, Word::Number, number, connector);
                    if !matches!(kind, Word::Connector | Word::Punctuation) {
                        push(&mut out, connector);
                    }
                }
            }
        }
    }
    write_word(&mut out, kind, word, connector);
    out
}

/// Writes numbers and lowercase letters as long as they follow each other.
fn write_run<'a>(
    out: &mut Vec<u8>,
    (kind, word, rest): (&mut Word, &mut &'a [u8], &mut &'a [u8]),
    connector: char,
) {
    while matches!(*kind, Word::Alphabet | Word::Number) {
        write_word(out, *kind, word, connector);
        (*kind, *word, *rest) = next_word(rest);
    }
}

fn write_word(out: &mut Vec<u8>, kind: Word, word: &[u8], connector: char) {
    if !matches!(kind, Word::Upper | Word::Connector) {
        out.extend_from_slice(word);
        return;
    }
    for (_, rune, _) in runes(word) {
        if is_connector(rune) {
            push(out, connector);
        } else if is_upper(rune) {
            push(out, to_lower(rune));
        } else {
            push(out, rune);
        }
    }
}

/// A position in a text that moves by characters. Invalid bytes belong to the valid character after them.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    /// Returns the next valid character and the number of bytes to its end; `previous` if there is none.
    fn peek(&self, previous: char) -> (char, usize) {
        let mut size = 0;
        loop {
            let (rune, len) = decode(&self.text[self.at + size..]);
            size += len;
            if len == 0 {
                return (previous, size);
            }
            if rune != REPLACEMENT {
                return (rune, size);
            }
        }
    }

    fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Moves on while characters match. Returns the first one that does not match, or the last one at the end.
    fn skip_while(&mut self, mut rune: char, matches: impl Fn(char) -> bool) -> char {
        while !self.is_at_end() {
            let size;
            (rune, size) = self.peek(rune);
            if !matches(rune) {
                break;
            }
            self.at += size;
        }
        rune
    }
}

fn next_word(text: &[u8]) -> (Word, &[u8], &[u8]) {
    if text.is_empty() {
        return (Word::None, b"", b"");
    }
    let mut cursor = Cursor { text, at: 0 };
    let (rune, size) = cursor.peek(REPLACEMENT);
    cursor.at = size;
    let small = |rune| is_alphabet(rune) && !is_upper(rune);
    let kind = if rune == REPLACEMENT {
        Word::None
    } else if is_connector(rune) {
        cursor.skip_while(rune, is_connector);
        Word::Connector
    } else if is_punct(rune) {
        cursor.skip_while(rune, is_punct);
        Word::Punctuation
    } else if is_upper(rune) {
        skip_upper(&mut cursor, rune);
        Word::Upper
    } else if is_alphabet(rune) {
        cursor.skip_while(rune, small);
        Word::Alphabet
    } else if rune.is_numeric() {
        cursor.skip_while(rune, char::is_numeric);
        Word::Number
    } else {
        cursor.skip_while(rune, |rune| {
            !(is_connector(rune) || is_alphabet(rune) || rune.is_numeric() || is_punct(rune))
        });
        Word::Other
    };
    let (word, rest) = text.split_at(cursor.at);
    (kind, word, rest)
}

/// Skips the rest of a word that begins with a capital: lowercase letters, or capitals up to the one before a lowercase letter.
fn skip_upper(cursor: &mut Cursor<'_>, first: char) {
    if cursor.is_at_end() {
        return;
    }
    let (second, size) = cursor.peek(first);
    if is_upper(second) {
        let mut last = size;
        cursor.at += size;
        let mut rune = second;
        while !cursor.is_at_end() {
            let size;
            (rune, size) = cursor.peek(rune);
            if !is_upper(rune) {
                break;
            }
            last = size;
            cursor.at += size;
        }
        if !cursor.is_at_end() && is_alphabet(rune) {
            cursor.at -= last;
        }
    } else if is_alphabet(second) {
        cursor.at += size;
        cursor.skip_while(second, |rune| is_alphabet(rune) && !is_upper(rune));
    }
}
