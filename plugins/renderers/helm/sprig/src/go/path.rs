//! Go's `path` package, which is also its `path/filepath` on Unix.

/// Returns Go's `path.Clean`: the shortest equivalent path, determined from its text alone.
pub(crate) fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = is_abs(path);
    let mut out: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match out.last() {
                Some(last) if *last != b".." => {
                    out.pop();
                }
                _ if rooted => {}
                _ => out.push(part),
            },
            _ => out.push(part),
        }
    }
    let joined = out.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", &joined[..]].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// Returns Go's `path.Base`: the last element.
pub(crate) fn base(path: &[u8]) -> &[u8] {
    if path.is_empty() {
        return b".";
    }
    let Some(end) = path.iter().rposition(|&byte| byte != b'/') else {
        return b"/";
    };
    let path = &path[..=end];
    &path[after_last_slash(path)..]
}

/// Returns Go's `path.Dir`: all but the last element, cleaned.
pub(crate) fn dir(path: &[u8]) -> Vec<u8> {
    clean(&path[..after_last_slash(path)])
}

/// Returns Go's `path.Ext`: the part from the last dot of the last element on.
pub(crate) fn ext(path: &[u8]) -> &[u8] {
    let name = &path[after_last_slash(path)..];
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) => &name[dot..],
        None => b"",
    }
}

/// Returns Go's `path.IsAbs`.
pub(crate) fn is_abs(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
}

fn after_last_slash(path: &[u8]) -> usize {
    path.iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned_as_in_go() {
        let cases = [
            ("", "."),
            ("/", "/"),
            ("a//b/./c/", "a/b/c"),
            ("a/../..", ".."),
            ("../../a/..", "../.."),
            ("/../a/..", "/"),
            ("./x", "x"),
        ];
        for (path, expected) in cases {
            assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn parts_as_in_go() {
        let cases = [
            ("", ".", ".", ""),
            ("/", "/", "/", ""),
            ("///", "/", "/", ""),
            ("a/b.tar.gz", "b.tar.gz", "a", ".gz"),
            ("a/b/", "b", "a/b", ""),
            ("a.b/c", "c", "a.b", ""),
            (".bashrc", ".bashrc", ".", ".bashrc"),
        ];
        for (path, name, folder, suffix) in cases {
            let path = path.as_bytes();
            assert_eq!(base(path), name.as_bytes());
            assert_eq!(dir(path), folder.as_bytes());
            assert_eq!(ext(path), suffix.as_bytes());
        }
    }
}
