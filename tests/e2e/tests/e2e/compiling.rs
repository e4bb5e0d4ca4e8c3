//! The agent's compiler: a component that is too large for it ends the compiler, and nothing else.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result};
use pintle_harness::agent;

/// What precedes the sections of a component.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// The number of bytes of memory that the compiler may use here.
const MEMORY: u64 = 64 << 20;

/// Encodes a length as WebAssembly does.
fn length(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(length % 128).expect("it is below 128");
        length /= 128;
        if length == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 128);
    }
}

fn with_length(content: Vec<u8>) -> Vec<u8> {
    [length(content.len()), content].concat()
}

fn section(id: u8, content: Vec<u8>) -> Vec<u8> {
    [vec![id], with_length(content)].concat()
}

/// Returns a component with one function, which raises a number to the power of `factors` plus one.
fn component(factors: usize) -> Vec<u8> {
    let mut body = vec![0_u8, 0x20, 0]; // no locals; local.get 0
    body.extend([0x20_u8, 0, 0x6c].repeat(factors)); // local.get 0; i32.mul
    body.push(0x0b); // end
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, vec![1, 0x60, 1, 0x7f, 1, 0x7f]), // a type: i32 to i32
        section(3, vec![1, 0]),
        section(10, [vec![1], with_length(body)].concat()),
    ];
    [COMPONENT.to_vec(), section(1, module.concat())].concat()
}

/// Returns a component with this many bytes of data: little to compile, and much to write.
fn data(bytes: usize) -> Vec<u8> {
    let segment = [vec![1_u8], with_length(vec![7; bytes])].concat(); // passive
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(11, [vec![1], segment].concat()),
    ];
    [COMPONENT.to_vec(), section(1, module.concat())].concat()
}

/// Compiles the way the agent does in a container.
fn compile(cache: &Path, component: &[u8], memory: u64) -> Result<Output> {
    let mut child = Command::new(agent::executable()?)
        .args(["compile", "--cache-bytes", "1000000000", "--memory"])
        .arg(memory.to_string())
        .arg("--cache")
        .arg(cache)
        .env_clear()
        .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
        .env("MIMALLOC_PAGE_COMMIT_ON_DEMAND", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start pintle compile")?;
    let mut stdin = child.stdin.take().context("it has a standard input")?;
    stdin.write_all(component)?;
    drop(stdin);
    Ok(child.wait_with_output()?)
}

#[test]
fn a_component_that_is_too_large_ends_the_compiler_alone() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let aborted = compile(cache.path(), &component(2_000_000), MEMORY)?;
    let said = String::from_utf8_lossy(&aborted.stderr);
    assert_eq!(aborted.status.signal(), Some(6), "{said}");
    assert!(said.contains("memory allocation of"), "{said}");

    // Other components are compiled with the same limit.
    let small = compile(cache.path(), &component(1_000), MEMORY)?;
    let said = String::from_utf8_lossy(&small.stderr);
    assert_eq!(small.status.code(), Some(0), "{said}");
    Ok(())
}

#[test]
fn wherever_memory_runs_out_the_compiler_ends_as_in_a_crash() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let component = data(8 << 20);
    // The output is assembled, then mapped, and then copied: at some limit, each of these is the first to fail. An exit code of
    // its own would blame the component, or the process.
    let mut codes = Vec::new();
    for mebibytes in (2_u64..=64).step_by(2) {
        let ended = compile(cache.path(), &component, mebibytes << 20)?;
        let said = String::from_utf8_lossy(&ended.stderr);
        let code = ended.status.code();
        assert!(matches!(code, None | Some(0 | 101)), "{mebibytes}: {said}");
        codes.push(code);
    }
    assert_ne!(codes.first(), Some(&Some(0)), "there is too little");
    assert_eq!(codes.last(), Some(&Some(0)), "there is enough");
    Ok(())
}
