//! Functions that are random in Go. Here they are derived from the render's [`Secrets`](crate::Secrets).

use hmac::{Hmac, KeyInit, Mac};
use pintle_gotemplate::{Args, Call, Function, FunctionError, Type, Value, value::clamp_to_usize};
use sha2::Sha256;

use crate::{
    Outcome, Secrets,
    encodings::hex,
    go::{base, panic, unicode},
};

const COUNT: &[Type] = &[Type::INT];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("randAlphaNum", COUNT, |call, args| {
        characters(call, args, |byte| byte.is_ascii_alphanumeric())
    }),
    Function::new("randAlpha", COUNT, |call, args| {
        characters(call, args, |byte| byte.is_ascii_alphabetic())
    }),
    Function::new("randNumeric", COUNT, |call, args| {
        characters(call, args, |byte| byte.is_ascii_digit())
    }),
    Function::new("randAscii", COUNT, |call, args| {
        characters(call, args, |byte| matches!(byte, b' '..=b'~'))
    }),
    Function::new("randBytes", COUNT, |call, args| {
        let count = args.int(0)?;
        if count < 0 {
            return Err(panic::make_slice());
        }
        let count = clamp_to_usize(count);
        call.charge(count.saturating_mul(2))?;
        let mut bytes = vec![0; count];
        Stream::for_call(call, &count.to_string())?.fill(&mut bytes);
        Ok(Value::string(base::encode64(&bytes)))
    }),
    Function::new("randInt", &[Type::INT, Type::INT], |call, args| {
        let (least, limit) = (args.int(0)?, args.int(1)?);
        let range = u64::try_from(limit.wrapping_sub(least))
            .ok()
            .filter(|&range| range > 0)
            .ok_or_else(|| FunctionError::new("invalid argument to Intn"))?;
        let number = Stream::for_call(call, &format!("{least}-{limit}"))?.below(range);
        Ok(Value::int(least.wrapping_add_unsigned(number)))
    }),
    Function::new("shuffle", &[Type::String], shuffle),
    Function::new("uuidv4", &[], uuid),
];

/// An endless stream of bytes from a seed: HMAC-SHA-256 in counter mode, as in NIST SP 800-108.
pub(crate) struct Stream {
    mac: Hmac<Sha256>,
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Stream {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        Self {
            mac: Hmac::<Sha256>::new_from_slice(seed).expect("HMAC takes keys of any length"),
            counter: 0,
            block: [0; 32],
            used: 32,
        }
    }

    /// Returns the stream for a call that creates what `which` identifies; see [`Secrets`].
    pub(crate) fn for_call(call: &dyn Call, which: &str) -> Result<Self, FunctionError> {
        Ok(Self::new(&Secrets::seed(call, which)?))
    }

    pub(crate) fn byte(&mut self) -> u8 {
        if self.used == self.block.len() {
            let mut mac = self.mac.clone();
            mac.update(&self.counter.to_be_bytes());
            self.block = mac.finalize().into_bytes().into();
            self.counter += 1;
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.byte());
    }

    /// Returns a number below the limit, which is not 0. All numbers are equally likely.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        let mask = u64::MAX >> (limit - 1).leading_zeros().min(63);
        let bytes = usize::try_from((64 - mask.leading_zeros()).div_ceil(8)).unwrap_or(8);
        loop {
            let mut number = [0; 8];
            self.fill(&mut number[8 - bytes..]);
            let number = u64::from_be_bytes(number) & mask;
            if number < limit {
                return number;
            }
        }
    }
}

/// Returns this many of the characters that qualify. A negative number gives none.
fn characters(call: &mut dyn Call, args: Args<'_>, qualifies: impl Fn(u8) -> bool) -> Outcome {
    let count = clamp_to_usize(args.int(0)?);
    call.charge(count.saturating_mul(4))?;
    let mut stream = Stream::for_call(call, &count.to_string())?;
    let mut text = Vec::with_capacity(count);
    while text.len() < count {
        // All of them are ASCII, which has seven bits.
        let byte = stream.byte() & 0x7F;
        if qualifies(byte) {
            text.push(byte);
        }
    }
    Ok(Value::string(text))
}

fn shuffle(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let text = args.text(0)?;
    if text.is_empty() {
        return Ok(text.clone().into());
    }
    call.charge(text.len().saturating_mul(4))?;
    let mut runes = unicode::to_runes(text);
    let mut stream = Stream::for_call(call, &digest(&[text]))?;
    for last in (1..runes.len()).rev() {
        let other = stream.below(last as u64 + 1);
        runes.swap(last, usize::try_from(other).unwrap_or_default());
    }
    Ok(runes.into_iter().collect::<String>().into())
}

fn uuid(call: &mut dyn Call, _: Args<'_>) -> Outcome {
    let mut bytes = [0; 16];
    Stream::for_call(call, "")?.fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0F) | 0x40;
    bytes[8] = (bytes[8] & 0x3F) | 0x80;
    let text = hex(&bytes);
    let parts = [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ];
    Ok(parts.join("-").into())
}

/// Returns a short name for arguments that may be long or secret, for use in a purpose.
pub(crate) fn digest(parts: &[&[u8]]) -> String {
    use sha2::Digest;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_repeats_and_is_spread_evenly() {
        let mut one = Stream::new(&[7; 32]);
        let mut two = Stream::new(&[7; 32]);
        let mut counts = [0; 6];
        for _ in 0..6000 {
            let number = one.below(6);
            assert_eq!(number, two.below(6));
            counts[usize::try_from(number).unwrap()] += 1;
        }
        assert!(
            counts.iter().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
        assert_eq!(one.below(1), 0);
        assert!(one.below(u64::MAX) < u64::MAX);
    }
}
