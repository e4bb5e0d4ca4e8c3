//! Keys and strings in TOML notation.

/// Returns whether a key may contain the character without quotes.
pub(super) fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Appends a key, in quotes if it needs them.
pub(super) fn write_key(key: &[u8], out: &mut Vec<u8>) {
    if !key.is_empty() && key.iter().copied().all(is_bare) {
        out.extend_from_slice(key);
    } else {
        write_string(key, out);
    }
}

/// Appends the path of a key, with dots between its parts.
pub(super) fn write_path<T: AsRef<[u8]>>(path: &[T], out: &mut Vec<u8>) {
    for (index, key) in path.iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        write_key(key.as_ref(), out);
    }
}

/// Appends a string in double quotes. Non-ASCII bytes stay as they are, even if they are not valid characters.
pub(super) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x20 | 0x7f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
