//! String functions: cutting, joining, quoting, indenting.

use pintle_gotemplate::{
    Args, Call, Function, FunctionError, List, Map, Text, Type, Value, print, value::clamp_to_usize,
};

use crate::{
    Outcome, cast,
    go::{panic, strings as go},
    words,
};

const ONE: &[Type] = &[Type::String];
const TWO: &[Type] = &[Type::String, Type::String];
const COUNT_AND_TEXT: &[Type] = &[Type::INT, Type::String];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("hello", &[], |_, _| Ok("Hello!".into())),
    Function::new("trim", ONE, |_, args| {
        Ok(Value::string(go::trim_space(args.text(0)?)))
    }),
    Function::new("upper", ONE, |_, args| {
        Ok(Value::string(go::to_upper(args.text(0)?)))
    }),
    Function::new("lower", ONE, |_, args| {
        Ok(Value::string(go::to_lower(args.text(0)?)))
    }),
    Function::new("title", ONE, |_, args| {
        Ok(Value::string(go::title(args.text(0)?)))
    }),
    Function::new("untitle", ONE, |_, args| {
        Ok(Value::string(words::uncapitalize(args.text(0)?)))
    }),
    Function::new("swapcase", ONE, |_, args| {
        Ok(Value::string(words::swap_case(args.text(0)?)))
    }),
    Function::new("initials", ONE, |_, args| {
        Ok(Value::string(words::initials(args.text(0)?)))
    }),
    Function::new("nospace", ONE, |_, args| {
        Ok(Value::string(words::delete_white_space(args.text(0)?)))
    }),
    Function::new("abbrev", COUNT_AND_TEXT, |_, args| {
        Ok(Value::string(words::abbreviate(
            args.text(1)?,
            args.int(0)?,
        )))
    }),
    Function::new(
        "abbrevboth",
        &[Type::INT, Type::INT, Type::String],
        |_, args| {
            let (left, right) = (args.int(0)?, args.int(1)?);
            Ok(Value::string(words::abbreviate_both(
                args.text(2)?,
                left,
                right,
            )))
        },
    ),
    Function::new("trunc", COUNT_AND_TEXT, trunc),
    Function::new("substr", &[Type::INT, Type::INT, Type::String], substr),
    Function::new("repeat", COUNT_AND_TEXT, |call, args| {
        Ok(repeat(call, args.text(1)?, args.int(0)?)?.into())
    }),
    Function::new("trimall", TWO, trim_all),
    Function::new("trimAll", TWO, trim_all),
    Function::new("trimSuffix", TWO, |_, args| {
        let (suffix, text) = (args.text(0)?, args.text(1)?);
        Ok(Value::string(
            text.strip_suffix(suffix.as_bytes()).unwrap_or(text),
        ))
    }),
    Function::new("trimPrefix", TWO, |_, args| {
        let (prefix, text) = (args.text(0)?, args.text(1)?);
        Ok(Value::string(
            text.strip_prefix(prefix.as_bytes()).unwrap_or(text),
        ))
    }),
    Function::new("wrap", COUNT_AND_TEXT, |call, args| {
        let (width, text) = (args.int(0)?, args.text(1)?);
        call.charge(text.len())?;
        Ok(Value::string(words::wrap(text, width, b"\n", false)))
    }),
    Function::new(
        "wrapWith",
        &[Type::INT, Type::String, Type::String],
        wrap_with,
    ),
    Function::new("contains", TWO, |_, args| {
        Ok(go::find(args.text(1)?, args.text(0)?).is_some().into())
    }),
    Function::new("hasPrefix", TWO, |_, args| {
        Ok(args.text(1)?.starts_with(args.text(0)?).into())
    }),
    Function::new("hasSuffix", TWO, |_, args| {
        Ok(args.text(1)?.ends_with(args.text(0)?).into())
    }),
    Function::variadic("quote", &[Type::Any], quote),
    Function::variadic("squote", &[Type::Any], squote),
    Function::variadic("cat", &[Type::Any], cat),
    Function::new("indent", COUNT_AND_TEXT, |call, args| {
        indent(call, args, b"")
    }),
    Function::new("nindent", COUNT_AND_TEXT, |call, args| {
        indent(call, args, b"\n")
    }),
    Function::new(
        "replace",
        &[Type::String, Type::String, Type::String],
        |call, args| {
            let (old, new, text) = (args.text(0)?, args.text(1)?, args.text(2)?);
            call.charge(go::replaced_len(text, old, new))?;
            Ok(Value::string(go::replace(text, old, new)))
        },
    ),
    Function::new(
        "plural",
        &[Type::String, Type::String, Type::INT],
        |_, args| {
            let form = usize::from(args.int(2)? != 1);
            Ok(args.text(form)?.clone().into())
        },
    ),
    Function::new("toString", &[Type::Any], |_, args| {
        Ok(cast::to_text(args.any(0))?.into())
    }),
    Function::new("toStrings", &[Type::Any], |_, args| to_strings(args.any(0))),
    Function::new("split", TWO, |call, args| {
        numbered(parts(call, args.text(1)?, args.text(0)?, -1)?)
    }),
    Function::new(
        "splitn",
        &[Type::String, Type::INT, Type::String],
        |call, args| numbered(parts(call, args.text(2)?, args.text(0)?, args.int(1)?)?),
    ),
    Function::new("splitList", TWO, |call, args| {
        let parts = parts(call, args.text(1)?, args.text(0)?, -1)?;
        Ok(List::strings(parts).into())
    }),
    Function::new("join", &[Type::String, Type::Any], join),
];

fn trunc(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    let (count, text) = (args.int(0)?, args.text(1)?);
    let length = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if length >= text.len() {
        return Ok(text.clone().into());
    }
    Ok(Value::string(if count < 0 {
        &text[text.len() - length..]
    } else {
        &text[..length]
    }))
}

/// Cuts a text. With a negative start, it takes everything before the given end. With any other start, an end that is negative or
/// too large means the end of the text.
fn substr(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    let (start, end, text) = (args.int(0)?, args.int(1)?, args.text(2)?);
    let inside = usize::try_from(end).is_ok_and(|end| end <= text.len());
    let cut = if start < 0 {
        panic::slice(text, 0, Some(end))
    } else {
        panic::slice(text, start, inside.then_some(end))
    };
    Ok(Value::string(cut?))
}

/// Repeats like Go's `strings.Repeat`.
pub(crate) fn repeat(call: &mut dyn Call, text: &[u8], count: i64) -> Result<Text, FunctionError> {
    if count < 0 {
        return Err(FunctionError::new("strings: negative Repeat count"));
    }
    // In 64 bits, regardless of the size of lengths here.
    let len = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let len = len
        .checked_mul(count)
        .ok_or_else(|| FunctionError::new("strings: Repeat output length overflow"))?;
    call.charge(clamp_to_usize(len))?;
    if len == 0 {
        return Ok(Text::default());
    }
    Ok(text.repeat(clamp_to_usize(count)).into())
}

fn trim_all(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    Ok(Value::string(go::trim(args.text(1)?, args.text(0)?)))
}

fn wrap_with(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let (width, separator, text) = (args.int(0)?, args.text(1)?, args.text(2)?);
    let width_in_bytes = clamp_to_usize(width).max(1);
    call.charge((text.len() / width_in_bytes).saturating_mul(separator.len()))?;
    let separator = if separator.is_empty() {
        b"\n"
    } else {
        separator.as_bytes()
    };
    Ok(Value::string(words::wrap(text, width, separator, true)))
}

fn quote(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    joined(args, |value| Ok(print::quote(&cast::to_text(value)?)))
}

fn squote(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    joined(args, |value| {
        Ok([b"'", cast::printed(value)?.as_bytes(), b"'"].concat())
    })
}

fn cat(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    joined(args, |value| Ok(cast::printed(value)?.to_vec()))
}

/// Joins the arguments with spaces, without those that are nil.
fn joined(args: Args<'_>, text: impl Fn(&Value) -> Result<Vec<u8>, FunctionError>) -> Outcome {
    let values = args.all().iter();
    let values = values.filter(|value| !matches!(value, Value::Nil));
    let texts: Vec<_> = values.map(text).collect::<Result<_, _>>()?;
    Ok(Value::string(texts.join(&b' ')))
}

fn indent(call: &mut dyn Call, args: Args<'_>, before: &[u8]) -> Outcome {
    let (width, text) = (args.int(0)?, args.text(1)?);
    let pad = repeat(call, b" ", width)?;
    let lines = text.split(|&byte| byte == b'\n').count();
    let added = lines.saturating_mul(pad.len());
    call.charge(added)?;
    let mut out = Vec::with_capacity(before.len() + text.len() + added);
    out.extend_from_slice(before);
    out.extend_from_slice(&pad);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        out.extend_from_slice(line);
        if line.ends_with(b"\n") {
            out.extend_from_slice(&pad);
        }
    }
    Ok(Value::string(out))
}

fn to_strings(value: &Value) -> Outcome {
    match value {
        Value::List(list) if list.go_type() == Type::STRING_SLICE => Ok(value.clone()),
        other => Ok(List::strings(cast::to_texts(other)?).into()),
    }
}

/// Returns the parts of a text, each of which becomes a value.
fn parts<'a>(
    call: &mut dyn Call,
    text: &'a [u8],
    separator: &[u8],
    count: i64,
) -> Result<Vec<&'a [u8]>, FunctionError> {
    let parts = go::split(text, separator, count);
    call.charge(parts.len().saturating_mul(size_of::<usize>()))?;
    Ok(parts)
}

/// Returns a `map[string]string` with the keys `_0`, `_1` and so on.
fn numbered(parts: Vec<&[u8]>) -> Outcome {
    let map = Map::typed(Type::STRING_MAP);
    for (index, part) in parts.into_iter().enumerate() {
        map.insert(format!("_{index}"), Value::string(part))?;
    }
    Ok(map.into())
}

fn join(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let (separator, texts) = (args.text(0)?, cast::to_texts(args.any(1))?);
    call.charge(separator.len().saturating_mul(texts.len()))?;
    Ok(Value::string(texts.join(separator.as_bytes())))
}
