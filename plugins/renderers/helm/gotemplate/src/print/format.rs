//! The format strings of `printf`.

use super::{
    PrintError,
    printer::{Flags, Printer},
};
use crate::{
    rune::{self, Rune},
    value::Value,
};

/// The largest width or precision. Go treats a larger one as a mistake.
const MAX_NUMBER: usize = 1_000_000;

/// Appends the arguments as the format specifies.
pub(super) fn format(out: &mut Vec<u8>, format: &[u8], args: &[Value]) -> Result<(), PrintError> {
    let mut run = Run {
        printer: Printer::new(out),
        rest: format,
        args,
        next: 0,
        reordered: false,
        good_index: true,
        after_index: false,
    };
    while let Some(percent) = run.rest.iter().position(|byte| *byte == b'%') {
        let (text, rest) = run.rest.split_at(percent);
        run.printer.raw(text)?;
        run.rest = &rest[1..];
        run.printer.flags = Flags::default();
        run.good_index = true;
        run.after_index = false;
        run.directive()?;
    }
    let text = run.rest;
    run.printer.raw(text)?;
    run.extra()
}

/// A format that is being processed from left to right.
struct Run<'a, 'o> {
    printer: Printer<'o>,
    rest: &'a [u8],
    args: &'a [Value],
    /// The argument that the next verb prints.
    next: usize,
    /// Whether an index like `[3]` was seen. Leftover arguments then do not matter.
    reordered: bool,
    /// Whether the index of this directive names an existing argument.
    good_index: bool,
    /// Whether the last thing read was an index.
    after_index: bool,
}

impl Run<'_, '_> {
    /// Processes what follows a `%`.
    fn directive(&mut self) -> Result<(), PrintError> {
        self.flags();
        self.index();
        self.width()?;
        self.precision()?;
        if !self.after_index {
            self.index();
        }
        let Some(Rune { char: verb, len }) = rune::decode(self.rest) else {
            return self.printer.raw(b"%!(NOVERB)");
        };
        self.rest = &self.rest[len..];
        if verb == '%' {
            return self.printer.raw(b"%");
        }
        if !self.good_index {
            return self.printer.raw(format!("%!{verb}(BADINDEX)").as_bytes());
        }
        let Some(value) = self.args.get(self.next) else {
            return self.printer.raw(format!("%!{verb}(MISSING)").as_bytes());
        };
        self.next += 1;
        let flags = &mut self.printer.flags;
        if verb == 'v' {
            flags.sharp_v = std::mem::take(&mut flags.sharp);
            flags.plus_v = std::mem::take(&mut flags.plus);
        }
        self.printer.argument(value, verb)
    }

    fn flags(&mut self) {
        let flags = &mut self.printer.flags;
        while let Some((byte, rest)) = self.rest.split_first() {
            match byte {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => return,
            }
            self.rest = rest;
        }
    }

    /// Reads `[n]`.
    fn index(&mut self) {
        self.after_index = false;
        if self.rest.first() != Some(&b'[') {
            return;
        }
        self.reordered = true;
        let Some(end) = self.rest.iter().position(|byte| *byte == b']') else {
            self.good_index = false;
            self.rest = &self.rest[1..];
            return;
        };
        let (inside, rest) = (&self.rest[1..end], &self.rest[end + 1..]);
        self.rest = rest;
        let number = number(inside).filter(|(_, len)| *len == inside.len());
        self.after_index = number.is_some();
        match number.and_then(|(number, _)| number?.checked_sub(1)) {
            Some(index) if index < self.args.len() => self.next = index,
            _ => self.good_index = false,
        }
    }

    fn width(&mut self) -> Result<(), PrintError> {
        if self.rest.first() == Some(&b'*') {
            self.rest = &self.rest[1..];
            self.after_index = false;
            match self.star() {
                Some(width) => {
                    let flags = &mut self.printer.flags;
                    flags.width = Some(width.unsigned_abs());
                    if width < 0 {
                        flags.minus = true;
                        flags.zero = false;
                    }
                }
                None => self.printer.raw(b"%!(BADWIDTH)")?,
            }
            return Ok(());
        }
        self.printer.flags.width = self.number();
        if self.after_index && self.printer.flags.width.is_some() {
            self.good_index = false;
        }
        Ok(())
    }

    fn precision(&mut self) -> Result<(), PrintError> {
        // A point at the very end counts as a verb.
        if self.rest.len() < 2 || self.rest[0] != b'.' {
            return Ok(());
        }
        self.rest = &self.rest[1..];
        if self.after_index {
            self.good_index = false;
        }
        self.index();
        if self.rest.first() == Some(&b'*') {
            self.rest = &self.rest[1..];
            self.after_index = false;
            let precision = self.star().and_then(|number| usize::try_from(number).ok());
            self.printer.flags.precision = precision;
            if precision.is_none() {
                self.printer.raw(b"%!(BADPREC)")?;
            }
        } else {
            self.printer.flags.precision = Some(self.number().unwrap_or(0));
        }
        Ok(())
    }

    /// Reads the number that an argument provides for `*`.
    fn star(&mut self) -> Option<isize> {
        let value = self.args.get(self.next)?;
        self.next += 1;
        let Value::Int(int) = value else { return None };
        let number = isize::try_from(int.as_i64()?).ok()?;
        (number.unsigned_abs() <= MAX_NUMBER).then_some(number)
    }

    /// Reads digits, if there are any. If there are so many that Go gives up on them, the whole format ends.
    fn number(&mut self) -> Option<usize> {
        let (number, len) = number(self.rest)?;
        self.rest = &self.rest[len..];
        if number.is_none() {
            self.rest = &[];
        }
        number
    }

    /// Reports arguments that no verb has printed.
    fn extra(&mut self) -> Result<(), PrintError> {
        if self.reordered || self.next >= self.args.len() {
            return Ok(());
        }
        self.printer.flags = Flags::default();
        self.printer.raw(b"%!(EXTRA ")?;
        for (index, value) in self.args[self.next..].iter().enumerate() {
            if index > 0 {
                self.printer.raw(b", ")?;
            }
            if !matches!(value, Value::Nil) {
                self.printer
                    .raw(format!("{}=", value.go_type()).as_bytes())?;
            }
            self.printer.argument(value, 'v')?;
        }
        self.printer.raw(b")")
    }
}

/// Reads the number at the start. Returns the number, None if it is far too large, and its length in bytes.
fn number(text: &[u8]) -> Option<(Option<usize>, usize)> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = text[..len].iter().try_fold(0, |number, digit| {
        // As in Go, only the part before the last digit is compared.
        (number <= MAX_NUMBER).then(|| number * 10 + usize::from(digit - b'0'))
    });
    (len > 0).then_some((number, len))
}
