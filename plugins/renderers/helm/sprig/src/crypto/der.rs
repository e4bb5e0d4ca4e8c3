//! The Distinguished Encoding Rules of ASN.1 (X.690), as far as keys and certificates need them.

/// The tags of types.
pub(super) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const UTF8_STRING: u8 = 0x0C;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const T61_STRING: u8 = 0x14;
    pub(crate) const IA5_STRING: u8 = 0x16;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const BMP_STRING: u8 = 0x1E;
    pub(crate) const NUMERIC_STRING: u8 = 0x12;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// Returns the tag that a specification writes as `[number]`, around a whole element.
    pub(crate) const fn explicit(number: u8) -> u8 {
        0xA0 | number
    }

    /// Returns the tag that a specification writes as `[number] IMPLICIT`, in place of that of a primitive type.
    pub(crate) const fn implicit(number: u8) -> u8 {
        0x80 | number
    }
}

/// The contents of object identifiers.
pub(super) mod oid {
    pub(crate) const RSA: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x01\x01";
    pub(crate) const SHA256_WITH_RSA: &[u8] = b"\x2A\x86\x48\x86\xF7\x0D\x01\x01\x0B";
    pub(crate) const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
    pub(crate) const DSA: &[u8] = b"\x2A\x86\x48\xCE\x38\x04\x01";
    pub(crate) const EC: &[u8] = b"\x2A\x86\x48\xCE\x3D\x02\x01";
    pub(crate) const P224: &[u8] = b"\x2B\x81\x04\x00\x21";
    pub(crate) const P256: &[u8] = b"\x2A\x86\x48\xCE\x3D\x03\x01\x07";
    pub(crate) const P384: &[u8] = b"\x2B\x81\x04\x00\x22";
    pub(crate) const P521: &[u8] = b"\x2B\x81\x04\x00\x23";
    pub(crate) const ECDSA_WITH_SHA256: &[u8] = b"\x2A\x86\x48\xCE\x3D\x04\x03\x02";
    pub(crate) const ECDSA_WITH_SHA384: &[u8] = b"\x2A\x86\x48\xCE\x3D\x04\x03\x03";
    pub(crate) const ECDSA_WITH_SHA512: &[u8] = b"\x2A\x86\x48\xCE\x3D\x04\x03\x04";
    pub(crate) const ED25519: &[u8] = b"\x2B\x65\x70";
    pub(crate) const X25519: &[u8] = b"\x2B\x65\x6E";
    pub(crate) const COMMON_NAME: &[u8] = b"\x55\x04\x03";
    pub(crate) const SUBJECT_KEY_ID: &[u8] = b"\x55\x1D\x0E";
    pub(crate) const KEY_USAGE: &[u8] = b"\x55\x1D\x0F";
    pub(crate) const ALTERNATIVE_NAME: &[u8] = b"\x55\x1D\x11";
    pub(crate) const BASIC_CONSTRAINTS: &[u8] = b"\x55\x1D\x13";
    pub(crate) const AUTHORITY_KEY_ID: &[u8] = b"\x55\x1D\x23";
    pub(crate) const EXTENDED_KEY_USAGE: &[u8] = b"\x55\x1D\x25";
    pub(crate) const SERVER_AUTH: &[u8] = b"\x2B\x06\x01\x05\x05\x07\x03\x01";
    pub(crate) const CLIENT_AUTH: &[u8] = b"\x2B\x06\x01\x05\x05\x07\x03\x02";
}

/// Encodes an element whose contents are the concatenated parts.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(len + 6);
    out.push(tag);
    let digits = len.to_be_bytes();
    if len < 0x80 {
        out.extend(&digits[digits.len() - 1..]);
    } else {
        let zeros = digits.iter().take_while(|&&digit| digit == 0).count();
        let digits = &digits[zeros..];
        out.push(0x80 | digits.len().to_le_bytes()[0]);
        out.extend(digits);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(tag::SEQUENCE, parts)
}

/// Encodes a non-negative INTEGER from its bytes, most significant first.
pub(super) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let digits = &bytes[zeros..];
    // The first bit is the sign.
    let sign: &[u8] = match digits.first() {
        Some(0..=0x7F) => &[],
        Some(_) | None => &[0],
    };
    element(tag::INTEGER, &[sign, digits])
}

/// Encodes a BIT STRING of whole bytes.
pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    element(tag::BIT_STRING, &[&[0], bytes])
}

/// Reads consecutive elements; None where the bytes are not as requested.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

/// An element: its tag, its contents, and all of its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) contents: &'a [u8],
    pub(super) bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the next element has the tag.
    pub(super) fn at(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// Reads the next element.
    pub(super) fn any(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        // Tags above 30 take more bytes, and nothing that is read here has them.
        if tag & 0x1F == 0x1F {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            // Only the shortest form is allowed.
            if digits.len() > 4 || matches!(digits, [] | [0, ..] | [0..=0x7F]) {
                return None;
            }
            let fold = |len, digit: &u8| (len << 8) | usize::from(*digit);
            (digits.iter().fold(0, fold), rest)
        };
        let (contents, rest) = rest.split_at_checked(len)?;
        let bytes = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Element {
            tag,
            contents,
            bytes,
        })
    }

    /// Returns the contents of the next element, which must have the tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element(tag).map(|element| element.contents)
    }

    /// Returns the next element, which must have the tag.
    pub(super) fn element(&mut self, tag: u8) -> Option<Element<'a>> {
        if self.at(tag) { self.any() } else { None }
    }

    /// Returns a reader of the contents of the next element, which must have the tag.
    pub(super) fn inside(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Self)
    }

    /// Reads an INTEGER in the shortest form, as signed bytes.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        let bytes = self.take(tag::INTEGER)?;
        match bytes {
            [] | [0, 0..=0x7F, ..] | [0xFF, 0x80..=0xFF, ..] => None,
            _ => Some(bytes),
        }
    }

    /// Reads a positive INTEGER, without the byte for its sign.
    pub(super) fn positive(&mut self) -> Option<&'a [u8]> {
        match self.integer()? {
            [0] | [0x80..=0xFF, ..] => None,
            [0, rest @ ..] => Some(rest),
            bytes => Some(bytes),
        }
    }

    /// Reads a BIT STRING of whole bytes.
    pub(super) fn bits(&mut self) -> Option<&'a [u8]> {
        match self.take(tag::BIT_STRING)? {
            [0, bytes @ ..] => Some(bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_they_are_read() {
        for len in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let bytes = element(tag::OCTET_STRING, &[&vec![7; len]]);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.take(tag::OCTET_STRING).map(<[u8]>::len), Some(len));
            assert!(reader.is_empty());
            assert!(Reader::new(&bytes[..bytes.len() - 1]).any().is_none());
        }
    }

    #[test]
    fn only_the_shortest_form_is_read() {
        for bytes in [
            &b"\x04\x81\x01x"[..],
            b"\x04\x82\x00\x01x",
            b"\x04\x80",
            b"\x1F\x81\x01\x00",
            b"",
            b"\x04",
        ] {
            assert!(Reader::new(bytes).any().is_none(), "{bytes:x?}");
        }
        for bytes in [&b"\x02\x00"[..], b"\x02\x02\x00\x01", b"\x02\x02\xFF\x80"] {
            assert!(Reader::new(bytes).integer().is_none(), "{bytes:x?}");
        }
    }

    #[test]
    fn integers_have_a_sign() {
        assert_eq!(unsigned(b"\0\x7F"), b"\x02\x01\x7F");
        assert_eq!(unsigned(b"\x80"), b"\x02\x02\0\x80");
        assert_eq!(unsigned(b""), b"\x02\x01\0");
        assert_eq!(
            Reader::new(b"\x02\x02\0\x80").positive(),
            Some(&b"\x80"[..])
        );
        assert!(Reader::new(b"\x02\x01\x80").positive().is_none());
        assert!(Reader::new(b"\x02\x01\x00").positive().is_none());
    }
}
