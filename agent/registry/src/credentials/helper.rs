//! Credential helpers: programs that keep credentials for Docker.
//!
//! The protocol is that of <https://github.com/docker/docker-credential-helpers>: `docker-credential-NAME get`, the key on
//! standard input, JSON on standard output. It is implemented here, rather than by a crate, because a helper may wait forever
//! (for a key ring that nobody unlocks) and must be ended then.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::{io::AsyncWriteExt as _, process::Command, time};

use super::{Credentials, Secret};

/// How long a helper may take: long enough for a person to type a passphrase.
const LIMIT: Duration = Duration::from_mins(1);
/// What a helper prints if it has nothing for a key, which is not a failure.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that marks the secret as an identity token.
const TOKEN_USER: &str = "<token>";

/// Why a credential helper returns nothing.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The helper's name would be a path.
    #[error(
        "`{0}` is not the name of a credential helper: expected letters, digits, `.`, `_` and `-`"
    )]
    Name(String),
    /// The helper cannot be started.
    #[error("`{program}` cannot be run: {reason}; install it, or remove it from the Docker config")]
    Start {
        /// The program.
        program: String,
        /// The reason, in the words of the system.
        reason: String,
    },
    /// The helper does not end.
    #[error("`{program}` did not answer within {limit:?}", limit = LIMIT)]
    Timeout {
        /// The program.
        program: String,
    },
    /// The helper failed.
    #[error("`{program}` failed: {said}")]
    Failed {
        /// The program.
        program: String,
        /// What the helper printed.
        said: String,
    },
    /// The helper answered something else.
    #[error("`{program}` answered something that is not JSON with `Username` and `Secret`")]
    Answer {
        /// The program.
        program: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper for the credentials under a key. Returns `None` if it has none.
pub(super) async fn get(
    name: &str,
    key: &str,
    search_path: Option<&OsStr>,
) -> Result<Option<Credentials>, HelperError> {
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    {
        return Err(HelperError::Name(name.to_owned()));
    }
    let program = format!("docker-credential-{name}");
    let started = |error: std::io::Error| HelperError::Start {
        program: program.clone(),
        reason: error.to_string(),
    };
    let mut command = Command::new(&program);
    if let Some(path) = search_path {
        command.env("PATH", path);
    }
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // The helper may talk to the person there.
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(started)?;
    let output = time::timeout(LIMIT, async {
        if let Some(mut stdin) = child.stdin.take() {
            // If a helper does not read its input, its answer shows that.
            let _ = stdin.write_all(key.as_bytes()).await;
        }
        child.wait_with_output().await
    })
    .await
    .map_err(|_| HelperError::Timeout {
        program: program.clone(),
    })?
    .map_err(started)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let said: String = said
            .trim()
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
        if said.contains(NOT_FOUND) {
            return Ok(None);
        }
        return Err(HelperError::Failed { program, said });
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| HelperError::Answer { program })?;
    Ok(match answer {
        Answer { secret, .. } if secret.is_empty() => None,
        Answer { username, secret } if username == TOKEN_USER => {
            Some(Credentials::Identity(Secret::new(secret)))
        }
        Answer { username, secret } => Some(Credentials::basic(username, secret)),
    })
}
