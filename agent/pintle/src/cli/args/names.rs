//! Names in arguments.

/// The maximum length of a name. With `pintle-inventory.` before it, it is the name of a `ConfigMap`, which may have 253
/// characters.
const LONGEST: usize = 236;

/// Accepts the name of an application, with the rules of Kubernetes for names of objects.
pub(crate) fn application_name(text: &str) -> Result<String, String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(is_inner)
    };
    if text.len() <= LONGEST && text.split('.').all(is_part) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "expected a name of lowercase letters, digits, inner `-` and `.`, of at most {LONGEST} characters"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_objects() {
        let longest = "a".repeat(LONGEST);
        for name in ["shop", "a", "0", "shop-2.example", longest.as_str()] {
            assert_eq!(application_name(name).as_deref(), Ok(name));
        }
        let too_long = "a".repeat(LONGEST + 1);
        for none in [
            "",
            "Bad Name",
            "Shop",
            "typo/path",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a_b",
            "é",
            too_long.as_str(),
        ] {
            assert!(application_name(none).is_err(), "{none}");
        }
    }
}
