//! Character classes in regular expressions.

use pintle_gotemplate::rune::{to_lower, to_upper};
use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use super::syntax::{Code, SyntaxError};

/// Returns the class that consists of the given ranges.
pub(super) fn of(ranges: &[(char, char)]) -> ClassUnicode {
    let ranges = ranges.iter();
    ClassUnicode::new(ranges.map(|&(first, last)| ClassUnicodeRange::new(first, last)))
}

/// Returns the class for `\d`, `\s`, `\w` or one of their opposites; ASCII only.
pub(super) fn perl(letter: u8, fold: bool) -> Option<ClassUnicode> {
    let ranges: &[(char, char)] = match letter.to_ascii_lowercase() {
        b'd' => &[('0', '9')],
        b's' => &[('\t', '\n'), ('\x0C', '\r'), (' ', ' ')],
        b'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        _ => return None,
    };
    Some(signed(of(ranges), letter.is_ascii_uppercase(), fold))
}

/// Returns the class for `[:alpha:]` and the like; None for a name that does not exist.
pub(super) fn posix(name: &str, fold: bool) -> Option<ClassUnicode> {
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7F')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1F'), ('\x7F', '\x7F')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some(signed(of(ranges), negated, fold))
}

/// Reads `\p{Greek}`, `\pN` or `\P{^L}` at the start of a text. Also returns the text after it.
pub(super) fn unicode(text: &str, fold: bool) -> Result<(ClassUnicode, &str), SyntaxError> {
    let mut negated = text.starts_with("\\P");
    let name = &text[2..];
    let Some(first) = name.chars().next() else {
        return Err(SyntaxError::new(Code::CharRange, text));
    };
    let (name, rest) = match name.strip_prefix('{') {
        Some(name) => name
            .split_once('}')
            .ok_or_else(|| SyntaxError::new(Code::CharRange, text))?,
        None => name.split_at(first.len_utf8()),
    };
    let written = &text[..text.len() - rest.len()];
    let name = match name.strip_prefix('^') {
        Some(name) => {
            negated = !negated;
            name
        }
        None => name,
    };
    let found = named(name).ok_or_else(|| SyntaxError::new(Code::CharRange, written))?;
    Ok((signed(found, negated, fold), rest))
}

/// The categories and scripts of Unicode 15, as Go has them. Each entry consists of the length of its name, the name, the number
/// of its ranges, and, for each range, the distance from the end of the previous range and its length minus one. Numbers are
/// stored with seven bits per byte, low bits first.
const TABLE: &[u8] = include_bytes!("classes.bin");

/// Alternative names of categories.
const ALIASES: &[(&str, &str)] = &[
    ("Casedletter", "Lc"),
    ("Closepunctuation", "Pe"),
    ("Cntrl", "Cc"),
    ("Combiningmark", "M"),
    ("Connectorpunctuation", "Pc"),
    ("Control", "Cc"),
    ("Currencysymbol", "Sc"),
    ("Dashpunctuation", "Pd"),
    ("Decimalnumber", "Nd"),
    ("Digit", "Nd"),
    ("Enclosingmark", "Me"),
    ("Finalpunctuation", "Pf"),
    ("Format", "Cf"),
    ("Initialpunctuation", "Pi"),
    ("Letter", "L"),
    ("Letternumber", "Nl"),
    ("Lineseparator", "Zl"),
    ("Lowercaseletter", "Ll"),
    ("Mark", "M"),
    ("Mathsymbol", "Sm"),
    ("Modifierletter", "Lm"),
    ("Modifiersymbol", "Sk"),
    ("Nonspacingmark", "Mn"),
    ("Number", "N"),
    ("Openpunctuation", "Ps"),
    ("Other", "C"),
    ("Otherletter", "Lo"),
    ("Othernumber", "No"),
    ("Otherpunctuation", "Po"),
    ("Othersymbol", "So"),
    ("Paragraphseparator", "Zp"),
    ("Privateuse", "Co"),
    ("Punct", "P"),
    ("Punctuation", "P"),
    ("Separator", "Z"),
    ("Spaceseparator", "Zs"),
    ("Spacingmark", "Mc"),
    ("Surrogate", "Cs"),
    ("Symbol", "S"),
    ("Titlecaseletter", "Lt"),
    ("Unassigned", "Cn"),
    ("Uppercaseletter", "Lu"),
];

/// Returns a category or script of Unicode. The name is compared without regard to case, `_`, `-` and spaces.
fn named(name: &str) -> Option<ClassUnicode> {
    let mut name: String = name
        .chars()
        .filter(|char| !matches!(char, '_' | '-' | ' '))
        .collect();
    name.make_ascii_lowercase();
    name.get_mut(..1)?.make_ascii_uppercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let name = alias.map_or(&*name, |(_, category)| category);
    let union = |matches: &dyn Fn(&str) -> bool| {
        let mut class = ClassUnicode::empty();
        let mut found = false;
        each_named(|known, ranges| {
            if matches(known) {
                found = true;
                class.union(&ClassUnicode::new(ranges.iter().copied()));
            }
        });
        found.then_some(class)
    };
    match name {
        "Any" => Some(of(&[('\0', char::MAX)])),
        "Ascii" => Some(of(&[('\0', '\x7F')])),
        "Assigned" => union(&|known| known == "Cn").map(|class| signed(class, true, false)),
        "Lc" => union(&|known| matches!(known, "Ll" | "Lt" | "Lu")),
        // No script with a two-letter name begins with one of these letters.
        "C" | "L" | "M" | "N" | "P" | "S" | "Z" => {
            union(&|known| known.len() == 2 && known.starts_with(name))
        }
        _ => union(&|known| known == name),
    }
}

/// Visits each entry of the table.
fn each_named(mut visit: impl FnMut(&str, &[ClassUnicodeRange])) {
    let mut bytes = TABLE.iter().copied();
    let mut number = || {
        let (mut number, mut shift) = (0u32, 0);
        loop {
            let byte = bytes.next()?;
            number |= u32::from(byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 {
                return Some(number);
            }
        }
    };
    while let Some(len) = number() {
        let letters = (0..len).filter_map(|_| number().and_then(char::from_u32));
        let name: String = letters.collect();
        let count = number().unwrap_or_default();
        let mut last = 0;
        let mut ranges = Vec::new();
        for _ in 0..count {
            let first = last + number().unwrap_or_default();
            last = first + number().unwrap_or_default();
            // Surrogates are not characters.
            let first = char::from_u32(first).unwrap_or('\u{E000}');
            let last = char::from_u32(last).unwrap_or('\u{D7FF}');
            if first <= last {
                ranges.push(ClassUnicodeRange::new(first, last));
            }
        }
        visit(&name, &ranges);
    }
}

/// If asked for, adds the other cases of letters, then inverts the class.
pub(super) fn signed(mut class: ClassUnicode, negated: bool, fold: bool) -> ClassUnicode {
    if fold {
        fold_case(&mut class);
    }
    if negated {
        class.negate();
    }
    class
}

/// Characters that differ only in case, where the upper-case and lower-case mappings do not connect all of them.
const ORBITS: &[&str] = &[
    "Kk\u{212a}",
    "Ssſ",
    "µΜμ",
    "\u{c5}\u{e5}\u{212b}",
    "Ǆǅǆ",
    "Ǉǈǉ",
    "Ǌǋǌ",
    "Ǳǲǳ",
    "\u{345}Ιι\u{1fbe}",
    "Ββϐ",
    "Εεϵ",
    "Θθϑϴ",
    "Κκϰ",
    "Ππϖ",
    "Ρρϱ",
    "Σςσ",
    "Φφϕ",
    "\u{3a9}\u{3c9}\u{2126}",
    "Ввᲀ",
    "Ддᲁ",
    "Ооᲂ",
    "Ссᲃ",
    "Ттᲄᲅ",
    "Ъъᲆ",
    "Ѣѣᲇ",
    "ᲈꙊꙋ",
    "Ṡṡẛ",
    "ßẞ",
];

/// The last character that has other cases.
const LAST_WITH_CASE: char = '\u{1E943}';

/// Adds the other cases of the letters, as Go's `unicode.SimpleFold` connects them.
pub(super) fn fold_case(class: &mut ClassUnicode) {
    let mut others = Vec::new();
    for range in class.iter() {
        if range.start() <= LAST_WITH_CASE {
            let chars = range.start()..=range.end().min(LAST_WITH_CASE);
            chars.for_each(|char| add_other_cases(char, &mut others));
        }
    }
    let others = others.into_iter();
    class.union(&ClassUnicode::new(
        others.map(|char| ClassUnicodeRange::new(char, char)),
    ));
}

fn add_other_cases(char: char, others: &mut Vec<char>) {
    // The Turkish dotted capital I and dotless small i have no other cases.
    if matches!(char, 'İ' | 'ı') {
        return;
    }
    if let Some(orbit) = ORBITS.iter().find(|orbit| orbit.contains(char)) {
        others.extend(orbit.chars());
        return;
    }
    for other in [to_lower(char), to_upper(char)] {
        if other != char {
            others.push(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_unicode() {
        let contains = |name: &str, char: char| {
            let class = named(name).unwrap();
            class
                .iter()
                .any(|range| (range.start()..=range.end()).contains(&char))
        };
        assert!(contains("Greek", 'λ') && !contains("Greek", 'l'));
        assert!(contains("l", 'λ') && contains("Lu", 'Λ') && !contains("Lu", 'λ'));
        assert!(contains("uppercase_letter", 'Λ') && contains("Yi", 'ꀀ'));
        assert!(contains("Assigned", 'a') && !contains("Assigned", '\u{378}'));
        assert!(named("Klingon").is_none() && named("").is_none() && named("é").is_none());
    }

    #[test]
    fn cases_of_letters() {
        let folded = |char| {
            let mut class = of(&[(char, char)]);
            fold_case(&mut class);
            class
                .iter()
                .flat_map(|range| range.start()..=range.end())
                .collect::<String>()
        };
        assert_eq!(folded('k'), "Kk\u{212a}");
        assert_eq!(folded('ß'), "ßẞ");
        assert_eq!(folded('ǆ'), "Ǆǅǆ");
        assert_eq!(folded('ᾀ'), "ᾀᾈ");
        assert_eq!(folded('İ'), "İ");
        assert_eq!(folded('1'), "1");
    }
}
