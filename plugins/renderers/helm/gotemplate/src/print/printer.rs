//! Prints one argument after another with the flags of its verb.

use std::io::Write;

use super::{
    MAX_OUTPUT, PrintError, number,
    quote::{can_backquote, quote, quote_char, quote_to_ascii},
};
use crate::{
    complex::Complex,
    rune,
    value::{Int, Kind, List, MAX_NESTING, Map, Object, Type, Value},
};

/// The part between `%` and the verb.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%+v`
    pub(super) plus_v: bool,
    /// `%#v`
    pub(super) sharp_v: bool,
}

/// Appends printed values to bytes.
pub(super) struct Printer<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) flags: Flags,
    /// Whether a bad verb is being reported. Methods are then no longer called.
    reporting: bool,
}

impl<'a> Printer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            flags: Flags::default(),
            reporting: false,
        }
    }

    /// Prints an argument of a print function.
    pub(super) fn argument(&mut self, value: &Value, verb: char) -> Result<(), PrintError> {
        match (value, verb) {
            (Value::Nil, 'T' | 'v') => self.pad(b"<nil>"),
            (Value::Nil, _) => self.bad_verb(None, verb, 0),
            (_, 'T') => self.text(value.go_type().to_string().as_bytes()),
            // A template must not learn the address of a value, because it differs from run to run.
            (Value::Map(_) | Value::List(_), 'p') => self.pad(b"0x0"),
            (Value::Object(object), 'p')
                if !matches!(object.go_type().kind(), Kind::Struct | Kind::Int(_)) =>
            {
                self.pad(b"0x0")
            }
            (Value::List(list), 'w') if list.go_type() == Type::BYTES => self.list(list, 'w', 0),
            (_, 'p' | 'w') => self.bad_verb(Some(value), verb, 0),
            _ => self.value(value, verb, 0),
        }
    }

    /// Prints what an action prints. Go's templates follow a pointer, unless its type has a method that returns the text.
    pub(super) fn result(&mut self, value: &Value) -> Result<(), PrintError> {
        match value {
            Value::Object(object)
                if object.go_type().kind() == Kind::Pointer
                    && !object.is_nil()
                    && object.string().is_none() =>
            {
                self.fields(&**object, "", 'v', 0)
            }
            _ => self.argument(value, 'v'),
        }
    }

    fn value(&mut self, value: &Value, verb: char, depth: usize) -> Result<(), PrintError> {
        if depth > MAX_NESTING {
            return Err(PrintError::TooDeep);
        }
        match value {
            Value::Nil if self.flags.sharp_v => self.raw(b"interface {}(nil)"),
            Value::Nil => self.raw(b"<nil>"),
            Value::Bool(truth) => match verb {
                't' | 'v' => self.pad(if *truth { b"true" } else { b"false" }),
                _ => self.bad_verb(Some(value), verb, depth),
            },
            Value::Int(int) => self.int(*int, value, verb, depth),
            Value::Float(number) => match verb {
                'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E' => {
                    self.float(*number, verb)
                }
                _ => self.bad_verb(Some(value), verb, depth),
            },
            Value::String(text) => match verb {
                'v' | 's' | 'x' | 'X' | 'q' => self.string(text, verb),
                _ => self.bad_verb(Some(value), verb, depth),
            },
            Value::List(list) => self.list(list, verb, depth),
            Value::Map(map) => self.map(map, verb, depth),
            Value::Object(object) => self.object(&**object, value, verb, depth),
        }
    }

    /// Prints `%!verb(type=value)`.
    fn bad_verb(
        &mut self,
        value: Option<&Value>,
        verb: char,
        depth: usize,
    ) -> Result<(), PrintError> {
        let before = std::mem::replace(&mut self.reporting, true);
        write!(self.out, "%!{verb}(").expect("memory takes it");
        match value {
            None => self.raw(b"<nil>")?,
            Some(value) => {
                write!(self.out, "{}=", value.go_type()).expect("memory takes it");
                self.value(value, 'v', depth + 1)?;
            }
        }
        self.reporting = before;
        self.raw(b")")
    }

    fn int(&mut self, int: Int, value: &Value, verb: char, depth: usize) -> Result<(), PrintError> {
        let printed = match verb {
            'v' if self.flags.sharp_v && !int.kind().is_signed() => {
                let flags = Flags {
                    sharp: true,
                    ..self.flags
                };
                number::integer(int, 'x', &flags)
            }
            'v' => number::integer(int, 'd', &self.flags),
            'd' | 'b' | 'o' | 'O' | 'x' | 'X' => number::integer(int, verb, &self.flags),
            'U' => number::unicode(int, &self.flags),
            'c' => {
                let mut buffer = [0; 4];
                return self.pad(number::character(int).encode_utf8(&mut buffer).as_bytes());
            }
            'q' => {
                let literal = quote_char(number::character(int), self.flags.plus);
                return self.pad(&literal);
            }
            _ => return self.bad_verb(Some(value), verb, depth),
        };
        self.pad_number(printed.as_bytes())
    }

    fn float(&mut self, number: f64, verb: char) -> Result<(), PrintError> {
        let text = number::float(number, verb, &self.flags);
        let digits = text.trim_start_matches(['+', '-', ' ']);
        if !digits.starts_with(|first: char| first.is_ascii_digit()) {
            return self.pad_number(text.as_bytes());
        }
        let (sign, digits) = text.split_at(text.len() - digits.len());
        let width = self.flags.width.unwrap_or(0);
        if !sign.is_empty() && self.flags.zero && !self.flags.minus && width > text.len() {
            self.raw(sign.as_bytes())?;
            self.padding(width - text.len(), b'0')?;
            return self.raw(digits.as_bytes());
        }
        self.pad(text.as_bytes())
    }

    /// Prints `(1+2i)`.
    fn complex(&mut self, number: Complex, verb: char) -> Result<(), PrintError> {
        self.raw(b"(")?;
        self.float(number.real, verb)?;
        let plus = std::mem::replace(&mut self.flags.plus, true);
        self.float(number.imaginary, verb)?;
        self.flags.plus = plus;
        self.raw(b"i)")
    }

    /// Prints a string or the bytes of a `[]byte`.
    fn string(&mut self, text: &[u8], verb: char) -> Result<(), PrintError> {
        match verb {
            'q' => self.quoted(text),
            'v' if self.flags.sharp_v => self.quoted(text),
            'x' | 'X' => self.hex(text, verb),
            _ => self.text(text),
        }
    }

    fn text(&mut self, text: &[u8]) -> Result<(), PrintError> {
        let end = self.cut(text);
        self.pad(&text[..end])
    }

    fn quoted(&mut self, text: &[u8]) -> Result<(), PrintError> {
        let text = &text[..self.cut(text)];
        if self.flags.sharp && can_backquote(text) {
            return self.pad(&[b"`", text, b"`"].concat());
        }
        let literal = if self.flags.plus {
            quote_to_ascii(text)
        } else {
            quote(text)
        };
        self.pad(&literal)
    }

    fn hex(&mut self, text: &[u8], verb: char) -> Result<(), PrintError> {
        let text = &text[..text.len().min(self.flags.precision.unwrap_or(usize::MAX))];
        let (prefix, upper) = if verb == 'X' {
            ("0X", true)
        } else {
            ("0x", false)
        };
        let mut printed = Vec::with_capacity(text.len() * 2);
        for (index, byte) in text.iter().enumerate() {
            if self.flags.space && index > 0 {
                printed.push(b' ');
            }
            if self.flags.sharp && (self.flags.space || index == 0) {
                printed.extend_from_slice(prefix.as_bytes());
            }
            if upper {
                write!(printed, "{byte:02X}").expect("memory takes it");
            } else {
                write!(printed, "{byte:02x}").expect("memory takes it");
            }
        }
        self.pad(&printed)
    }

    /// Returns the length in bytes to which the precision cuts a text.
    fn cut(&self, text: &[u8]) -> usize {
        match self.flags.precision {
            None => text.len(),
            Some(count) => rune::runes(text).take(count).map(|rune| rune.len).sum(),
        }
    }

    fn list(&mut self, list: &List, verb: char, depth: usize) -> Result<(), PrintError> {
        let bytes = list.as_bytes().filter(|_| "sqxX".contains(verb));
        if let Some(bytes) = bytes {
            return self.string(bytes, verb);
        }
        if list.go_type() == Type::BYTES && list.is_empty() && "sqxX".contains(verb) {
            return self.string(b"", verb);
        }
        let (open, between, close) = if self.flags.sharp_v {
            // Go names the type of a byte slice in two ways, depending on its depth.
            let name = match list.go_type() {
                Type::BYTES if depth == 0 => "[]byte".to_owned(),
                other => other.to_string(),
            };
            if list.is_nil() {
                return self.raw(format!("{name}(nil)").as_bytes());
            }
            (format!("{name}{{"), ", ", "}")
        } else {
            ("[".to_owned(), " ", "]")
        };
        self.raw(open.as_bytes())?;
        for (index, item) in list.iter().enumerate() {
            if index > 0 {
                self.raw(between.as_bytes())?;
            }
            self.value(&item, verb, depth + 1)?;
        }
        self.raw(close.as_bytes())
    }

    fn map(&mut self, map: &Map, verb: char, depth: usize) -> Result<(), PrintError> {
        let (open, between, close) = if self.flags.sharp_v {
            let name = map.go_type();
            if map.is_nil() {
                return self.raw(format!("{name}(nil)").as_bytes());
            }
            (format!("{name}{{"), ", ", "}")
        } else {
            ("map[".to_owned(), " ", "]")
        };
        self.raw(open.as_bytes())?;
        for (index, (key, value)) in map.borrow().iter().enumerate() {
            if index > 0 {
                self.raw(between.as_bytes())?;
            }
            match verb {
                'v' | 's' | 'x' | 'X' | 'q' => self.string(key, verb)?,
                _ => self.bad_verb(Some(&Value::String(key.clone())), verb, depth + 1)?,
            }
            self.raw(b":")?;
            self.value(value, verb, depth + 1)?;
        }
        self.raw(close.as_bytes())
    }

    fn object(
        &mut self,
        object: &dyn Object,
        value: &Value,
        verb: char,
        depth: usize,
    ) -> Result<(), PrintError> {
        if let Some(complex) = object.as_any().downcast_ref::<Complex>() {
            return match verb {
                'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E' => {
                    self.complex(*complex, verb)
                }
                _ => self.bad_verb(Some(value), verb, depth),
            };
        }
        let asks = matches!(verb, 'v' | 's' | 'x' | 'X' | 'q');
        if asks && !self.reporting && !self.flags.sharp_v {
            if object.is_nil() {
                return self.raw(b"<nil>");
            }
            if let Some(text) = object.string() {
                return self.string(&text, verb);
            }
        }
        match object.go_type().kind() {
            Kind::Struct => self.fields(object, "", verb, depth),
            Kind::Pointer if object.is_nil() => match verb {
                'v' => self.pad(b"<nil>"),
                'b' | 'd' | 'o' | 'x' | 'X' => self.value(&Value::uint64(0), verb, depth + 1),
                _ => self.bad_verb(Some(value), verb, depth),
            },
            // At deeper levels, Go prints the address, which differs from run to run.
            Kind::Pointer => self.fields(object, "&", verb, depth),
            Kind::Func => self.pad(b"0x0"),
            // The reported type is the named one.
            Kind::Int(_) if !"vbcdoOqUxX".contains(verb) => self.bad_verb(Some(value), verb, depth),
            _ => self.value(&object.to_plain(), verb, depth + 1),
        }
    }

    fn fields(
        &mut self,
        object: &dyn Object,
        prefix: &str,
        verb: char,
        depth: usize,
    ) -> Result<(), PrintError> {
        self.raw(prefix.as_bytes())?;
        if self.flags.sharp_v {
            let name = object.go_type().to_string();
            self.raw(name.trim_start_matches('*').as_bytes())?;
        }
        self.raw(b"{")?;
        for (index, (name, value)) in object.fields().into_iter().enumerate() {
            if index > 0 {
                self.raw(if self.flags.sharp_v { b", " } else { b" " })?;
            }
            if self.flags.plus_v || self.flags.sharp_v {
                self.raw(name.as_bytes())?;
                self.raw(b":")?;
            }
            self.value(&value, verb, depth + 1)?;
        }
        self.raw(b"}")
    }

    /// Appends text, padded to the width with spaces, or with zeros if the flags request them.
    fn pad(&mut self, text: &[u8]) -> Result<(), PrintError> {
        let fill = if self.flags.zero && !self.flags.minus {
            b'0'
        } else {
            b' '
        };
        self.pad_with(text, fill)
    }

    /// Pads like [`Self::pad`], for numbers that already have their zeros.
    fn pad_number(&mut self, text: &[u8]) -> Result<(), PrintError> {
        self.pad_with(text, b' ')
    }

    fn pad_with(&mut self, text: &[u8], fill: u8) -> Result<(), PrintError> {
        let Some(width) = self.flags.width else {
            return self.raw(text);
        };
        let missing = width.saturating_sub(rune::count(text));
        if self.flags.minus {
            self.raw(text)?;
            self.padding(missing, fill)
        } else {
            self.padding(missing, fill)?;
            self.raw(text)
        }
    }

    fn padding(&mut self, count: usize, fill: u8) -> Result<(), PrintError> {
        self.room_for(count)?;
        self.out.resize(self.out.len() + count, fill);
        Ok(())
    }

    pub(super) fn raw(&mut self, text: &[u8]) -> Result<(), PrintError> {
        self.room_for(text.len())?;
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn room_for(&self, count: usize) -> Result<(), PrintError> {
        if self.out.len().saturating_add(count) > MAX_OUTPUT {
            return Err(PrintError::TooLong);
        }
        Ok(())
    }
}
