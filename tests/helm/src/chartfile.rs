//! Charts as single text files: `tests/helm/charts/*.chart`.
//!
//! A file begins with comments (`# why`) and with lines of flags for `helm template` (`$ --set a=1`), one for each time that the
//! chart is rendered. Paths in flags are relative to the chart. Then follow the chart's files, each after a line with its path:
//! `-- templates/a.yaml --`. A path such as `charts/db-1.0.0.tgz:db/Chart.yaml` is a file in an archive.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};

use crate::oracle::Templating;

/// A chart as a text file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChartFile {
    /// The flags of each time that it is rendered.
    pub runs: Vec<String>,
    /// The chart's files by path.
    files: BTreeMap<String, String>,
}

impl ChartFile {
    /// Parses the text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut chart = Self::default();
        let mut current: Option<&mut String> = None;
        for line in text.split_inclusive('\n') {
            let marker = line.trim_end_matches('\n');
            let path = marker
                .strip_prefix("-- ")
                .and_then(|rest| rest.strip_suffix(" --"));
            if let Some(path) = path {
                current = Some(chart.files.entry(path.to_owned()).or_default());
            } else if let Some(file) = &mut current {
                file.push_str(line);
            } else if let Some(flags) = marker.strip_prefix('$') {
                chart.runs.push(flags.trim().to_owned());
            } else {
                ensure!(
                    marker.is_empty() || marker.starts_with('#'),
                    "{marker:?} is no comment, no flags and in no file"
                );
            }
        }
        ensure!(!chart.runs.is_empty(), "there is no line with flags");
        Ok(chart)
    }

    /// Writes the chart into a folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut archives = BTreeMap::<&str, Vec<(&str, &str)>>::new();
        for (path, content) in &self.files {
            if let Some((archive, inner)) = path.split_once(':') {
                archives.entry(archive).or_default().push((inner, content));
                continue;
            }
            put(&folder.join(path), content.as_bytes())?;
        }
        for (path, entries) in archives {
            put(&folder.join(path), &packed(&entries)?)?;
        }
        Ok(())
    }

    /// Returns the request that a line of flags makes for the chart in a folder.
    pub fn templating(flags: &str, folder: &Path) -> Result<Templating> {
        let mut asked = Templating {
            chart: folder.to_owned(),
            release: "rel".to_owned(),
            namespace: "ns".to_owned(),
            ..Templating::default()
        };
        let words = words(flags);
        let mut words = words.iter();
        while let Some(flag) = words.next() {
            let mut value = || {
                let value = words.next().cloned();
                value.with_context(|| format!("the flag {flag} needs a value"))
            };
            match flag.as_str() {
                "--name" => asked.release = value()?,
                "--namespace" => asked.namespace = value()?,
                "--values" => asked.values.push(inside(folder, &value()?)),
                "--set" => asked.set.push(value()?),
                "--set-string" => asked.set_string.push(value()?),
                "--set-json" => asked.set_json.push(value()?),
                "--set-literal" => asked.set_literal.push(value()?),
                "--set-file" => asked.set_file.push(with_paths(&value()?, folder)),
                "--kube-version" => asked.kube_version = value()?,
                "--api-versions" => asked
                    .api_versions
                    .extend(value()?.split(',').map(str::to_owned)),
                "--include-crds" => asked.include_crds = true,
                "--is-upgrade" => asked.is_upgrade = true,
                "--skip-schema-validation" => asked.skip_schema = true,
                "--render-subchart-notes" => asked.sub_notes = true,
                _ => bail!("the flag {flag} is unknown"),
            }
        }
        Ok(asked)
    }
}

fn put(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

fn inside(folder: &Path, path: &str) -> PathBuf {
    folder.join(path)
}

/// Returns `a=x.txt,b=y.txt` with the paths resolved in the folder.
fn with_paths(line: &str, folder: &Path) -> String {
    let pairs = line.split(',').map(|pair| match pair.split_once('=') {
        Some((key, path)) => format!("{key}={}", inside(folder, path).display()),
        None => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join(",")
}

/// Splits a text into words between blanks. A word that begins with a quotation mark ends with the next one.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// Returns a gzipped tar archive.
fn packed(entries: &[(&str, &str)]) -> Result<Vec<u8>> {
    const BLOCK: usize = 512;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    for (name, content) in entries {
        ensure!(name.len() <= 100, "the name {name:?} is too long");
        let mut block = vec![0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000644");
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[136..147].fill(b'0');
        block[156] = b'0';
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block.extend_from_slice(content.as_bytes());
        block.resize(block.len().next_multiple_of(BLOCK), 0);
        gzip.write_all(&block)?;
    }
    gzip.write_all(&[0; 2 * BLOCK])?;
    Ok(gzip.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_in_one_file() {
        let text =
            "# why\n$\n$ --set a=1 --set \"b c=d\"\n-- Chart.yaml --\nname: x\n-- t/a --\n\nend";
        let chart = ChartFile::parse(text).unwrap();
        assert_eq!(chart.runs, ["", "--set a=1 --set \"b c=d\""]);
        assert_eq!(chart.files["Chart.yaml"], "name: x\n");
        assert_eq!(chart.files["t/a"], "\nend");
        let asked = ChartFile::templating(&chart.runs[1], Path::new("c")).unwrap();
        assert_eq!(asked.set, ["a=1", "b c=d"]);
        assert!(ChartFile::parse("text\n").is_err());
        assert!(ChartFile::templating("--nothing", Path::new("c")).is_err());
    }
}
