use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

use super::*;

/// Returns one entry of a tar archive.
pub(crate) fn entry(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut header = vec![0; BLOCK];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    header[156] = kind;
    header[257..263].copy_from_slice(b"ustar\0");
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header.extend_from_slice(data);
    header.resize(header.len().next_multiple_of(BLOCK), 0);
    header
}

/// Packs entries into an archive.
pub(crate) fn packed(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    for entry in entries {
        gzip.write_all(entry).expect("memory takes everything");
    }
    gzip.write_all(&[0; 2 * BLOCK])
        .expect("memory takes everything");
    gzip.finish().expect("memory takes everything")
}

fn names(entries: &[Vec<u8>]) -> Result<Vec<String>, ArchiveError> {
    let files = unpack(&packed(entries), &mut MAX_SIZE.clone())?;
    Ok(files.into_iter().map(|file| file.name).collect())
}

#[test]
fn files_come_without_the_chart_s_folder() {
    let archive = packed(&[
        entry("web/", b'5', b""),
        entry("web/Chart.yaml", b'0', b"\xef\xbb\xbfname: web\n"),
        entry("web/templates/./a.yaml", 0, b"a: 1\n"),
    ]);
    let mut budget = 100;
    let files = unpack(&archive, &mut budget).expect("the archive is good");
    assert_eq!(budget, 100 - 13 - 5);
    assert_eq!(files[0].name, "Chart.yaml");
    assert_eq!(files[0].data, "name: web\n");
    assert_eq!(files[1].name, "templates/a.yaml");
}

#[test]
fn long_names_in_both_formats() {
    let long = format!("web/{}", "a".repeat(150));
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let length = rest.len() + 3;
        format!("{length}{rest}").into_bytes()
    };
    let pax = record("path", &long);
    assert_eq!(
        names(&[
            entry("pax", b'x', &pax),
            entry("web/cut", b'0', b"1"),
            entry("././@LongLink", b'L', format!("{long}2\0").as_bytes()),
            entry("web/cut", b'0', b"2"),
            entry("pax_global_header", b'g', b""),
            entry("web/plain", b'0', b"3"),
        ]),
        Ok(vec![
            long["web/".len()..].to_owned(),
            format!("{}2", &long["web/".len()..]),
            "plain".to_owned(),
        ])
    );
}

#[test]
fn paths_that_leave_the_chart_are_refused() {
    for name in [
        "web/../../etc",
        "web//etc/passwd",
        "web/..",
        "web/c:/x",
        "alone",
    ] {
        let error = names(&[entry(name, b'0', b"")]).expect_err(name);
        assert_eq!(error, ArchiveError::Outside(name.to_owned()));
    }
    assert_eq!(
        names(&[entry("web\\a\\b", b'0', b"")]),
        Ok(vec!["a/b".to_owned()])
    );
    assert_eq!(
        names(&[entry("Chart.yaml", b'0', b"")]),
        Err(ArchiveError::NoFolder)
    );
}

#[test]
fn what_is_too_large_or_damaged_is_refused() {
    assert_eq!(names(&[]), Err(ArchiveError::Empty));
    let archive = packed(&[entry("web/a", b'0', &[b'a'; 1000])]);
    assert_eq!(unpack(&archive, &mut 999), Err(ArchiveError::TooLarge(999)));
    assert!(matches!(
        unpack(b"kind: x", &mut 999),
        Err(ArchiveError::Gzip(_))
    ));
    assert!(matches!(
        unpack(&archive[..40], &mut 9999),
        Err(ArchiveError::Gzip(_))
    ));
    let mut broken = entry("web/a", b'0', b"1");
    broken[0] = b'x';
    assert!(matches!(names(&[broken]), Err(ArchiveError::Tar(_))));
}

#[test]
fn what_is_behind_the_end_does_not_matter() {
    let file = entry("web/a", b'0', b"1");
    let behind = |archive: &[u8], more: &[u8]| {
        let files = unpack(&[archive, more].concat(), &mut MAX_SIZE.clone());
        files.map(|files| files.len())
    };
    let archive = packed(std::slice::from_ref(&file));
    assert_eq!(behind(&archive, b"garbage"), Ok(1));
    assert_eq!(behind(&archive, &[0; 100]), Ok(1));
    // The checksum at the end of the gzip data.
    assert_eq!(behind(&archive[..archive.len() - 4], b""), Ok(1));
    // Without an end marker, everything must be intact.
    let open = |blocks: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&file).expect("memory takes everything");
        gzip.write_all(blocks).expect("memory takes everything");
        gzip.finish().expect("memory takes everything")
    };
    for (zeros, alone) in [(0, true), (BLOCK, true), (600, false)] {
        let archive = open(&vec![0; zeros]);
        assert_eq!(behind(&archive, b"").is_ok(), alone, "{zeros}");
        let error = behind(&archive, b"garbage").expect_err("no end");
        assert!(matches!(error, ArchiveError::Gzip(_)), "{error}");
    }
    let after = [[0_u8; BLOCK], [1; BLOCK]].concat();
    assert_eq!(
        behind(&open(&after), b""),
        Err(ArchiveError::Tar("something stands after its end"))
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_are_a_problem(bytes: Vec<u8>, at in 0_usize..BLOCK, with: u8) {
        let _ = unpack(&bytes, &mut 10_000);
        let mut changed = entry("web/a", b'0', b"1");
        changed[at] = with;
        let _ = names(&[changed, bytes]);
    }
}
