//! Reads values: numbers, times, arrays and inline tables.

use pintle_gotemplate::{Map, Text, Value, print};

use super::{MAX_DEPTH, Problem, Reader, scan::Scanner};
use crate::toml::datetime;

impl Reader<'_> {
    /// Reads a value. Inside an array, tables are independent of each other.
    pub(super) fn value(&mut self, in_array: bool) -> Result<Value, Problem> {
        self.scanner.skip_blanks();
        let start = self.scanner.at;
        match self.scanner.peek() {
            Some(b'[') => self.array(),
            Some(b'{') => self.inline_table(in_array),
            Some(quote @ (b'"' | b'\'')) => {
                let long = self.scanner.text[start..].starts_with(&[quote; 3]);
                let text = match quote {
                    _ if long => self.scanner.long_string(quote)?,
                    b'"' => self.scanner.string()?,
                    _ => self.scanner.raw_string()?,
                };
                Ok(Value::String(text))
            }
            Some(b'0'..=b'9') => match self.scanner.number_or_date()? {
                Token::Integer => self.scanner.integer(start),
                Token::Float => self.scanner.float(start),
                Token::Date => self.date(start),
            },
            Some(b'+' | b'-') => match self.scanner.signed()? {
                Token::Float => self.scanner.float(start),
                _ => self.scanner.integer(start),
            },
            Some(b'.') => Err(self
                .scanner
                .problem("floats must start with a digit, not '.'")),
            _ => self.scanner.word(),
        }
    }

    fn date(&mut self, start: usize) -> Result<Value, Problem> {
        let text = self.scanner.text[start..self.scanner.at].trim_ascii_end();
        let text: Vec<u8> = text
            .iter()
            .map(|byte| match byte {
                b'z' => b'Z',
                b't' | b' ' => b'T',
                _ => *byte,
            })
            .collect();
        match datetime::parse(&text) {
            Some(time) => Ok((self.time)(&time)),
            None => Err(self
                .scanner
                .problem(format!("invalid datetime: {}", quote(&text)))),
        }
    }

    fn array(&mut self) -> Result<Value, Problem> {
        self.scanner.deepen()?;
        self.scanner.at += 1;
        let key = self.key.clone().unwrap_or_default();
        self.tree.set_array(&self.typed_path(&key), true);
        let mut items = Vec::new();
        loop {
            self.scanner.skip_lines()?;
            match self.scanner.peek() {
                Some(b',') => return Err(self.scanner.problem("unexpected comma")),
                Some(b']') => break,
                _ => items.push(self.value(true)?),
            }
            self.scanner.skip_lines()?;
            match self.scanner.peek() {
                Some(b',') => self.scanner.at += 1,
                Some(b']') => break,
                _ => {
                    return Err(self.scanner.unexpected_item(
                        "expected a comma (',') or array terminator (']'), but got {}",
                    ));
                }
            }
        }
        self.scanner.at += 1;
        self.scanner.depth -= 1;
        Ok(Value::list(items))
    }

    fn inline_table(&mut self, in_array: bool) -> Result<Value, Problem> {
        self.scanner.deepen()?;
        self.scanner.at += 1;
        let (context, key) = (self.context.clone(), self.key.take());
        let mut path = context.clone();
        path.extend(key.clone());
        self.tree.set_implicit(&path, true);
        self.context.clone_from(&path);
        self.enter(&path, in_array)?;
        let table = Map::new();
        loop {
            self.scanner.skip_lines()?;
            match self.scanner.peek() {
                Some(b',') => return Err(self.scanner.problem("unexpected comma")),
                Some(b'}') => break,
                _ => {}
            }
            let (names, value) = self.pair()?;
            self.context.clone_from(&path);
            self.insert(&table, &names, value)?;
            self.scanner.skip_lines()?;
            match self.scanner.peek() {
                Some(b',') => self.scanner.at += 1,
                Some(b'}') => break,
                _ => {
                    return Err(self.scanner.unexpected_item(
                        "expected a comma or an inline table terminator '}', but got {} instead",
                    ));
                }
            }
        }
        self.scanner.at += 1;
        self.scanner.depth -= 1;
        (self.context, self.key) = (context, key);
        Ok(table.into())
    }

    /// Inserts a value into an inline table, together with the tables that a dotted key implies.
    fn insert(&self, table: &Map, names: &[Text], value: Value) -> Result<(), Problem> {
        let Some((last, parents)) = names.split_last() else {
            return Ok(());
        };
        let mut table = table.clone();
        for name in parents {
            let inner = match table.get(name) {
                None => {
                    let inner = Map::new();
                    // Only nil maps refuse an entry.
                    table.insert(name.clone(), inner.clone().into()).ok();
                    inner
                }
                Some(Value::Map(inner)) => inner,
                Some(_) => return Err(self.scanner.problem("this key is not a table")),
            };
            table = inner;
        }
        table.insert(last.clone(), value).ok();
        Ok(())
    }
}

/// What a text that begins with a digit may be, judged by its characters.
pub(super) enum Token {
    Integer,
    Float,
    Date,
}

impl Scanner<'_> {
    fn deepen(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.problem("exceeded max depth"));
        }
        Ok(())
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&accept) {
            self.at += 1;
        }
    }

    fn number_or_date(&mut self) -> Result<Token, Problem> {
        let token = self.scan_number_or_date()?;
        self.check_end()?;
        Ok(token)
    }

    fn scan_number_or_date(&mut self) -> Result<Token, Problem> {
        let start = self.at;
        let prefixed = match self.text.get(start + 1) {
            _ if self.peek() != Some(b'0') => None,
            Some(b'b') => Some(("a binary", 2)),
            Some(b'o') => Some(("an octal", 8)),
            Some(b'x') => Some(("a hexadecimal", 16)),
            _ => None,
        };
        if let Some((name, radix)) = prefixed {
            let is_digit = |byte: u8| char::from(byte).is_digit(radix);
            self.at += 2;
            if !self.peek().is_some_and(is_digit) {
                let prefix = String::from_utf8_lossy(&self.text[start..self.at]);
                let found = self.character();
                return Err(self.problem(format!("not {name} number: '{prefix}{found}'")));
            }
            self.skip_while(|byte| byte == b'_' || is_digit(byte));
            return Ok(Token::Integer);
        }
        self.skip_while(|byte| byte.is_ascii_digit());
        // A single zero does not begin a date or time, because a year or hour has more digits.
        let zero = self.at == start + 1 && self.text[start] == b'0';
        match self.peek() {
            Some(b'-' | b':') if !zero => {
                self.skip_while(|byte| {
                    byte.is_ascii_digit()
                        || matches!(
                            byte,
                            b'-' | b':' | b'T' | b't' | b' ' | b'.' | b'Z' | b'z' | b'+'
                        )
                });
                Ok(Token::Date)
            }
            _ => Ok(self.decimal()),
        }
    }

    /// Scans the rest of a decimal number.
    fn decimal(&mut self) -> Token {
        self.skip_while(|byte| byte.is_ascii_digit() || byte == b'_');
        if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Token::Integer;
        }
        self.skip_while(|byte| {
            byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-' | b'+' | b'e' | b'E')
        });
        Token::Float
    }

    /// Scans a number with a sign.
    fn signed(&mut self) -> Result<Token, Problem> {
        let start = self.at;
        self.at += 1;
        let rest = &self.text[self.at..];
        match rest {
            [b'i' | b'n', ..] => {
                let word: &[u8] = if rest[0] == b'i' { b"inf" } else { b"nan" };
                let same = rest.iter().zip(word).take_while(|(a, b)| a == b).count();
                self.at += same;
                if same < word.len() {
                    let found = String::from_utf8_lossy(&self.text[start..self.at]);
                    return Err(self.problem(format!("invalid float: '{found}'")));
                }
                Ok(Token::Float)
            }
            [b'0', base @ (b'b' | b'o' | b'x'), ..] => {
                let found = String::from_utf8_lossy(&self.text[start..=self.at]);
                let base = char::from(*base);
                Err(self.problem(format!(
                    "cannot use sign with non-decimal numbers: '{found}{base}'"
                )))
            }
            [b'.', ..] => Err(self.problem("floats must start with a digit, not '.'")),
            [b'0'..=b'9', ..] => {
                let token = self.decimal();
                self.check_end()?;
                Ok(token)
            }
            _ => Err(self.unexpected("expected a digit but got {}")),
        }
    }

    fn integer(&self, start: usize) -> Result<Value, Problem> {
        let text = &self.text[start..self.at];
        let invalid = |why| self.problem(format!("Invalid integer {}: {why}", quote(text)));
        if !underscores_between_digits(text) {
            return Err(invalid("underscores must be surrounded by digits"));
        }
        if has_leading_zero(text) {
            return Err(invalid("cannot have leading zeroes"));
        }
        let digits: String = text
            .iter()
            .filter(|&&b| b != b'_')
            .map(|&b| char::from(b))
            .collect();
        let number = match digits.get(..2) {
            Some("0b") => i64::from_str_radix(&digits[2..], 2),
            Some("0o") => i64::from_str_radix(&digits[2..], 8),
            Some("0x") => i64::from_str_radix(&digits[2..], 16),
            _ => digits.parse(),
        };
        number.map(Value::int64).map_err(|_| {
            let text = String::from_utf8_lossy(text);
            self.problem(format!("{text} is out of range for int64"))
        })
    }

    fn float(&self, start: usize) -> Result<Value, Problem> {
        let text = &self.text[start..self.at];
        let invalid = |why| self.problem(format!("Invalid float {}: {why}", quote(text)));
        let mut parts = text
            .split(|b| matches!(b, b'.' | b'e' | b'E'))
            .filter(|part| !part.is_empty());
        if !parts.clone().all(underscores_between_digits) {
            return Err(invalid("underscores must be surrounded by digits"));
        }
        if parts.next().is_some_and(has_leading_zero) {
            return Err(invalid("cannot have leading zeroes"));
        }
        let dots = text
            .windows(2)
            .all(|two| two[0] != b'.' || two[1].is_ascii_digit());
        if !dots || text.ends_with(b".") {
            return Err(invalid("'.' must be followed by one or more digits"));
        }
        let digits: String = text
            .iter()
            .filter(|&&b| b != b'_')
            .map(|&b| char::from(b))
            .collect();
        let special = digits.ends_with("inf") || digits.ends_with("nan");
        match digits.parse::<f64>() {
            Ok(number) if number.is_finite() || special => Ok(Value::Float(number)),
            Ok(_) => {
                let text = String::from_utf8_lossy(text);
                Err(self.problem(format!("{text} is out of range for float64")))
            }
            Err(_) => Err(self.problem(format!("Invalid float value: {}", quote(text)))),
        }
    }

    /// Reads `true`, `false`, `inf` or `nan`.
    fn word(&mut self) -> Result<Value, Problem> {
        let words: [(&[u8], Value); 2] = [
            (b"inf", Value::Float(f64::INFINITY)),
            (b"nan", Value::Float(f64::NAN)),
        ];
        let rest = &self.text[self.at..];
        for (word, value) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        let rest = std::str::from_utf8(rest).unwrap_or_default();
        let end = rest
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(rest.len());
        let word = &rest[..end];
        if end == rest.len() {
            self.at += end;
            self.check_end()?;
            self.at -= end;
        }
        let problem = match (word, self.peek()) {
            ("true" | "false", _) => {
                self.at += end;
                return Ok((word == "true").into());
            }
            ("", None) => self.problem("unexpected EOF; expected value"),
            ("", _) => self.unexpected("expected value but found {} instead"),
            _ => self.problem(format!(
                "expected value but found {} instead",
                quote(word.as_bytes())
            )),
        };
        Err(problem)
    }
}

fn quote(text: &[u8]) -> String {
    String::from_utf8_lossy(&print::quote(text)).into_owned()
}

fn underscores_between_digits(text: &[u8]) -> bool {
    if matches!(text, [.., b'n', b'a', b'n'] | [.., b'i', b'n', b'f']) {
        return true;
    }
    let mut digit = false;
    for byte in text {
        if *byte == b'_' && !digit {
            return false;
        }
        digit = byte.is_ascii_hexdigit();
    }
    digit
}

/// Returns whether there is a zero before the first digit. The zero may follow a sign, and does not count before a base.
fn has_leading_zero(text: &[u8]) -> bool {
    match text {
        [b'0', next, ..] => !matches!(next, b'b' | b'o' | b'x'),
        [b'+' | b'-', b'0', _, ..] => true,
        _ => false,
    }
}
