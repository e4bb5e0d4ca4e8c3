//! Functions with regular expressions.

use pintle_goregexp::{Haystack, Match, Regex, SyntaxError};
use pintle_gotemplate::{
    Args, Call, Function, FunctionError, List, Type, Value, print, rune::is_letter,
};

use crate::{Outcome, go::unicode};

const TWO: &[Type] = &[Type::String, Type::String];
const THREE: &[Type] = &[Type::String, Type::String, Type::String];
const WITH_COUNT: &[Type] = &[Type::String, Type::String, Type::INT];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("regexMatch", TWO, |_, args| {
        let text = args.text(1)?;
        let found = Regex::new(args.text(0)?).map(|regex| regex.is_match(text));
        Ok(found.unwrap_or(false).into())
    }),
    Function::new("mustRegexMatch", TWO, |_, args| {
        Ok(must(args.text(0)?)?.is_match(args.text(1)?).into())
    }),
    Function::new("regexFind", TWO, |_, args| find(compiled(args)?, args)),
    Function::new("mustRegexFind", TWO, |_, args| {
        find(must(args.text(0)?)?, args)
    }),
    Function::new("regexFindAll", WITH_COUNT, |call, args| {
        find_all(call, compiled(args)?, args)
    }),
    Function::new("mustRegexFindAll", WITH_COUNT, |call, args| {
        find_all(call, must(args.text(0)?)?, args)
    }),
    Function::new("regexReplaceAll", THREE, |call, args| {
        replace(call, compiled(args)?, args, true)
    }),
    Function::new("mustRegexReplaceAll", THREE, |call, args| {
        replace(call, must(args.text(0)?)?, args, true)
    }),
    Function::new("regexReplaceAllLiteral", THREE, |call, args| {
        replace(call, compiled(args)?, args, false)
    }),
    Function::new("mustRegexReplaceAllLiteral", THREE, |call, args| {
        replace(call, must(args.text(0)?)?, args, false)
    }),
    Function::new("regexSplit", WITH_COUNT, |call, args| {
        split(call, compiled(args)?, args)
    }),
    Function::new("mustRegexSplit", WITH_COUNT, |call, args| {
        split(call, must(args.text(0)?)?, args)
    }),
    Function::new("regexQuoteMeta", &[Type::String], |_, args| {
        let text = args.text(0)?;
        let mut out = Vec::with_capacity(text.len());
        for &byte in text.iter() {
            if br"\.+*?()|[]{}^$".contains(&byte) {
                out.push(b'\\');
            }
            out.push(byte);
        }
        Ok(Value::string(out))
    }),
];

type Compiled = std::rc::Rc<Regex>;

/// Compiles like Go's `regexp.Compile`.
fn must(pattern: &[u8]) -> Result<Compiled, FunctionError> {
    Regex::new(pattern).map_err(FunctionError::new)
}

/// Compiles like Go's `regexp.MustCompile`, whose panic shows the expression.
fn compiled(args: Args<'_>) -> Result<Compiled, FunctionError> {
    let pattern = args.text(0)?;
    Regex::new(pattern).map_err(|error: SyntaxError| {
        let quoted = if print::can_backquote(pattern) {
            [b"`", pattern.as_bytes(), b"`"].concat()
        } else {
            print::quote(pattern)
        };
        let quoted = String::from_utf8_lossy(&quoted);
        FunctionError::new(format_args!("regexp: Compile({quoted}): {error}"))
    })
}

fn find(regex: Compiled, args: Args<'_>) -> Outcome {
    let text = args.text(1)?;
    let found = regex.find_at(&Haystack::new(text), 0);
    let found = found.map(|found| Value::string(&text[found.start()..found.end()]));
    Ok(found.unwrap_or_else(|| "".into()))
}

/// Returns all matches, but at most `count` if that is not negative. An empty match directly after another one does not count.
fn all_matches(
    call: &mut dyn Call,
    regex: &Regex,
    text: &[u8],
    count: i64,
) -> Result<Vec<(usize, usize)>, FunctionError> {
    let haystack = Haystack::new(text);
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let (mut place, mut last_end) = (0, None);
    while found.len() < most && place <= text.len() {
        let Some(next) = regex.find_at(&haystack, place) else {
            break;
        };
        let (start, end) = (next.start(), next.end());
        let mut counts = true;
        if end == place {
            counts = Some(start) != last_end;
            place += unicode::decode(&text[place..]).1.max(1);
        } else {
            place = end;
        }
        last_end = Some(end);
        if counts {
            call.charge(size_of::<Value>() + end - start)?;
            found.push((start, end));
        }
    }
    Ok(found)
}

fn find_all(call: &mut dyn Call, regex: Compiled, args: Args<'_>) -> Outcome {
    let (text, count) = (args.text(1)?, args.int(2)?);
    let found = all_matches(call, &regex, text, count)?;
    if found.is_empty() {
        return Ok(List::nil(Type::STRING_SLICE).into());
    }
    let texts = found.into_iter().map(|(start, end)| &text[start..end]);
    Ok(List::strings(texts).into())
}

fn split(call: &mut dyn Call, regex: Compiled, args: Args<'_>) -> Outcome {
    let (text, count) = (args.text(1)?, args.int(2)?);
    if count == 0 {
        return Ok(List::nil(Type::STRING_SLICE).into());
    }
    if text.is_empty() && !args.text(0)?.is_empty() {
        return Ok(List::strings([""]).into());
    }
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let mut parts: Vec<&[u8]> = Vec::new();
    let (mut start, mut end) = (0, 0);
    for (found, after) in all_matches(call, &regex, text, count)? {
        if parts.len() + 1 == most {
            break;
        }
        end = found;
        if after != 0 {
            parts.push(&text[start..end]);
        }
        start = after;
    }
    if end != text.len() {
        parts.push(&text[start..]);
    }
    Ok(List::strings(parts).into())
}

/// Replaces all matches. With `expand`, `$1` and `${name}` in the replacement stand for groups.
fn replace(call: &mut dyn Call, regex: Compiled, args: Args<'_>, expand: bool) -> Outcome {
    let (text, replacement) = (args.text(1)?, args.text(2)?);
    let haystack = Haystack::new(text);
    let mut out = Vec::with_capacity(text.len());
    let (mut place, mut last_end) = (0, 0);
    while place <= text.len() {
        let Some(found) = regex.find_at(&haystack, place) else {
            break;
        };
        let (start, end) = (found.start(), found.end());
        out.extend_from_slice(&text[last_end..start]);
        // Not for an empty match directly after another one.
        if end > last_end || start == 0 {
            let before = out.len();
            if expand {
                append_expanded(&mut out, replacement, text, &regex, &found);
            } else {
                out.extend_from_slice(replacement);
            }
            call.charge(out.len() - before)?;
        }
        last_end = end;
        let width = unicode::decode(&text[place..]).1;
        place = if place + width > end {
            place + width
        } else {
            end.max(place + 1)
        };
    }
    out.extend_from_slice(&text[last_end..]);
    Ok(Value::string(out))
}

fn append_expanded(out: &mut Vec<u8>, template: &[u8], text: &[u8], regex: &Regex, found: &Match) {
    let mut rest = template;
    while let Some(dollar) = rest.iter().position(|&byte| byte == b'$') {
        out.extend_from_slice(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix(b"$") {
            out.push(b'$');
            rest = after;
            continue;
        }
        let Some((name, after)) = group_name(rest) else {
            // Without a name, this is a literal dollar sign.
            out.push(b'$');
            continue;
        };
        rest = after;
        if let Some((start, end)) = named_group(name, regex, found) {
            out.extend_from_slice(&text[start..end]);
        }
    }
    out.extend_from_slice(rest);
}

/// Returns the longest name of letters, digits and `_` after a dollar sign, optionally in braces, and the text after it.
fn group_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let braced = text.strip_prefix(b"{");
    let text = braced.unwrap_or(text);
    let fits =
        |rune: char| rune == '_' || is_letter(rune) || pintle_gotemplate::rune::is_digit(rune);
    let end = unicode::runes(text).find(|&(_, rune, _)| !fits(rune));
    let (name, rest) = text.split_at(end.map_or(text.len(), |(at, ..)| at));
    if name.is_empty() {
        return None;
    }
    match braced {
        Some(_) => Some((name, rest.strip_prefix(b"}")?)),
        None => Some((name, rest)),
    }
}

fn named_group(name: &[u8], regex: &Regex, found: &Match) -> Option<(usize, usize)> {
    // To Go, too, anything with more digits is a name.
    let is_number =
        name.len() <= 9 && name.iter().all(u8::is_ascii_digit) && (name == b"0" || name[0] != b'0');
    if is_number {
        let number = std::str::from_utf8(name).ok()?.parse().ok()?;
        return found.group(number);
    }
    let mut numbers = regex.groups_named(name);
    numbers.find_map(|number| found.group(number))
}
