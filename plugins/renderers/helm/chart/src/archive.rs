//! Packed charts: gzipped tar archives.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;

use crate::chart::File;

/// The maximum size of an unpacked chart in bytes, as in Helm.
pub(crate) const MAX_SIZE: u64 = 100 * 1024 * 1024;

/// The size of the blocks that a tar archive consists of.
const BLOCK: usize = 512;

/// Why an archive is not a packed chart.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ArchiveError {
    /// The archive is not gzip, or is damaged.
    #[error("cannot be unpacked: {0}")]
    Gzip(String),
    /// The tar archive inside is damaged.
    #[error("is no tar archive: {0}")]
    Tar(&'static str),
    /// The unpacked archive is larger than allowed.
    #[error("decompressed chart is larger than the maximum size {0}")]
    TooLarge(u64),
    /// A path leads outside the chart.
    #[error("chart illegally contains content outside its folder: {0:?}")]
    Outside(String),
    /// `Chart.yaml` is not in the folder that must contain everything.
    #[error("chart yaml not in base directory")]
    NoFolder,
    /// The archive contains no files.
    #[error("no files in chart archive")]
    Empty,
}

/// Unpacks a chart. Each file has its path below the chart's own folder.
///
/// `budget` is the allowed unpacked size in bytes. The size that was used is subtracted.
pub(crate) fn unpack(bytes: &[u8], budget: &mut u64) -> Result<Vec<File>, ArchiveError> {
    let limit = *budget;
    let mut tar = Vec::new();
    // A tar archive has up to two additional blocks per file, and padding.
    let allowed = limit.saturating_mul(2).saturating_add(1 << 20);
    // A program that unpacks while it reads, as Helm does, stops at the end of the tar archive. Anything after that end, or
    // missing there, does not matter.
    let broken = MultiGzDecoder::new(bytes)
        .take(allowed)
        .read_to_end(&mut tar)
        .err()
        .map(|error| ArchiveError::Gzip(error.to_string()));
    let mut files = Vec::new();
    let mut archive = Tar {
        rest: &tar,
        ended: false,
    };
    loop {
        let entry = match (archive.next(), &broken) {
            (Ok(Some(entry)), _) => entry,
            (Ok(None), Some(broken)) if !archive.ended => return Err(broken.clone()),
            (Ok(None), _) => break,
            (Err(ArchiveError::Tar(_)), Some(broken)) => return Err(broken.clone()),
            (Err(error), _) => return Err(error),
        };
        let Some(name) = path_in_chart(&entry.name)? else {
            continue;
        };
        let size = u64::try_from(entry.data.len()).unwrap_or(u64::MAX);
        *budget = budget
            .checked_sub(size)
            .ok_or(ArchiveError::TooLarge(limit))?;
        files.push(File {
            name,
            data: without_mark(entry.data).into(),
        });
    }
    if files.is_empty() {
        return Err(ArchiveError::Empty);
    }
    Ok(files)
}

/// Returns a text without the byte order mark that some editors put before it.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Returns the path below the first folder; None for folders, which end with a slash.
fn path_in_chart(name: &str) -> Result<Option<String>, ArchiveError> {
    if name.ends_with('/') {
        return Ok(None);
    }
    let outside = || ArchiveError::Outside(name.to_owned());
    // Some archives were created on Windows.
    let delimiter = if name.contains('\\') { '\\' } else { '/' };
    let (first, rest) = name.split_once(delimiter).unwrap_or((name, ""));
    if first == "Chart.yaml" {
        return Err(ArchiveError::NoFolder);
    }
    let rest = rest.replace(delimiter, "/");
    if rest.starts_with('/') {
        return Err(outside());
    }
    let mut parts = Vec::new();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(outside)?;
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    let drive = path.as_bytes();
    let has_drive = drive.len() > 2 && drive[0].is_ascii_alphabetic() && &drive[1..3] == b":/";
    if path.is_empty() || path.starts_with("..") || has_drive {
        return Err(outside());
    }
    Ok(Some(path))
}

/// One file in a tar archive.
struct Entry<'a> {
    name: String,
    data: &'a [u8],
}

/// A tar archive (POSIX ustar with the pax and GNU extensions for long names).
struct Tar<'a> {
    rest: &'a [u8],
    /// Whether the end marker was found, as opposed to the input ending without one.
    ended: bool,
}

impl<'a> Tar<'a> {
    /// Reads the rest of the end marker, whose first block of zeros has been read. Another such block follows, or nothing.
    fn end(&mut self, rest: &[u8]) -> Result<Option<Entry<'a>>, ArchiveError> {
        match rest.split_at_checked(BLOCK) {
            Some((second, _)) if is_zero(second) => self.ended = true,
            Some(_) => return Err(ArchiveError::Tar("something stands after its end")),
            None if rest.is_empty() => {}
            None => return Err(ArchiveError::Tar("it ends within a header")),
        }
        Ok(None)
    }

    /// Returns the next entry that has a name and content; None at the end.
    fn next(&mut self) -> Result<Option<Entry<'a>>, ArchiveError> {
        let mut long_name = None;
        let mut long_size = None;
        loop {
            let Some((header, rest)) = self.rest.split_at_checked(BLOCK) else {
                return if self.rest.is_empty() {
                    Ok(None)
                } else {
                    Err(ArchiveError::Tar("it ends within a header"))
                };
            };
            if is_zero(header) {
                return self.end(rest);
            }
            check_sum(header)?;
            let kind = header[156];
            // The size in the pax header applies to the entry that follows it.
            let own = number(&header[124..136])?;
            let size = match kind {
                b'x' | b'g' | b'L' | b'K' => own,
                _ => long_size.take().unwrap_or(own),
            };
            // Links and folders have no content, whatever their headers say.
            let size = if matches!(kind, b'1'..=b'6') { 0 } else { size };
            let size = usize::try_from(size).map_err(|_| ArchiveError::Tar("an entry is huge"))?;
            let data = rest
                .get(..size)
                .ok_or(ArchiveError::Tar("it ends within a file"))?;
            let padded = size.next_multiple_of(BLOCK).min(rest.len());
            self.rest = &rest[padded..];
            match kind {
                b'L' => long_name = Some(text(data)),
                b'x' => {
                    for (key, value) in records(data)? {
                        match key.as_str() {
                            "path" => long_name = Some(value),
                            "size" => {
                                let size = value.parse();
                                long_size = Some(size.map_err(|_| {
                                    ArchiveError::Tar("an extended header has no size")
                                })?);
                            }
                            _ => {}
                        }
                    }
                }
                // Global headers, and long names of links. Neither is part of a chart.
                b'g' | b'K' => {}
                _ => {
                    let mut name = long_name.unwrap_or_else(|| short_name(header));
                    if kind == b'5' && !name.ends_with('/') {
                        name.push('/');
                    }
                    return Ok(Some(Entry { name, data }));
                }
            }
        }
    }
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// Returns the name that the header itself has room for.
fn short_name(header: &[u8]) -> String {
    let name = text(&header[..100]);
    let prefix = if &header[257..263] == b"ustar\0" {
        text(&header[345..500])
    } else {
        String::new()
    };
    if prefix.is_empty() {
        name
    } else {
        format!("{prefix}/{name}")
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

/// Reads a number from a header: octal digits, or binary if the first bit is set.
fn number(field: &[u8]) -> Result<u64, ArchiveError> {
    const BAD: ArchiveError = ArchiveError::Tar("a header has no number where one belongs");
    if field[0] & 0x80 != 0 {
        let mut number = u64::from(field[0] & 0x7f);
        for &byte in &field[1..] {
            number = number.checked_mul(256).ok_or(BAD)? + u64::from(byte);
        }
        return Ok(number);
    }
    let digits = field
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, 0 | b' '));
    let mut number = 0_u64;
    for digit in digits {
        if !(b'0'..=b'7').contains(&digit) {
            return Err(BAD);
        }
        number = number.checked_mul(8).ok_or(BAD)? + u64::from(digit - b'0');
    }
    Ok(number)
}

fn check_sum(header: &[u8]) -> Result<(), ArchiveError> {
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(index, &byte)| {
            // The sum is computed as if its own field were spaces.
            let own = (148..156).contains(&index);
            u64::from(if own { b' ' } else { byte })
        })
        .sum();
    if number(&header[148..156])? == sum {
        Ok(())
    } else {
        Err(ArchiveError::Tar("a header's sum does not fit"))
    }
}

/// Reads the records of an extended header: `LENGTH KEY=VALUE\n`.
fn records(data: &[u8]) -> Result<Vec<(String, String)>, ArchiveError> {
    const BAD: ArchiveError = ArchiveError::Tar("an extended header is malformed");
    let mut found = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let space = rest.iter().position(|&byte| byte == b' ').ok_or(BAD)?;
        let length: usize = std::str::from_utf8(&rest[..space])
            .ok()
            .and_then(|length| length.parse().ok())
            .ok_or(BAD)?;
        let record = rest.get(space + 1..length).ok_or(BAD)?;
        let record = record.strip_suffix(b"\n").ok_or(BAD)?;
        let equals = record.iter().position(|&byte| byte == b'=').ok_or(BAD)?;
        found.push((text(&record[..equals]), text(&record[equals + 1..])));
        rest = &rest[length..];
    }
    Ok(found)
}

#[cfg(test)]
pub(crate) mod tests;
