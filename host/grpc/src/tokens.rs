// SPDX-License-Identifier: Apache-2.0
//! Bearer tokens, from a file that may change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use code_mode_grpc::tonic::codegen::http::HeaderValue;
use subtle::ConstantTimeEq;

use crate::peer::Owner;

/// The largest file of tokens, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The shortest token, in bytes: one that can be guessed is none.
const MIN_TOKEN_BYTES: usize = 16;

/// Why the tokens cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file cannot be read.
    #[error("Failed to read the tokens from {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file holds something that is no token. It is not told what.
    #[error(
        "Failed to take the tokens from {}: line {line} is shorter than {MIN_TOKEN_BYTES} bytes or has blanks",
        .path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The file has no token.
    #[error("Failed to take the tokens from {}: there is none", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The tokens that let a client in, one in each line of a file; lines that begin with `#` are comments. It
/// is read again when it has changed; one that cannot be used then leaves the tokens as they are.
pub struct Tokens {
    path: PathBuf,
    state: Mutex<LoadedTokens>,
}

struct LoadedTokens {
    stamp: Stamp,
    tokens: Vec<(Vec<u8>, u64)>,
    next: u64,
}

/// What tells one version of a file from another.
pub(crate) type Stamp = Option<(SystemTime, u64)>;

/// The stamp of a file as it is now; `None` when it cannot be seen.
pub(crate) fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl Tokens {
    /// Reads the tokens.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, TokensError> {
        let path = path.into();
        let stamp = stamp(&path);
        let tokens = read(&path)?;
        let tokens: Vec<(Vec<u8>, u64)> = tokens.into_iter().zip(1..).collect();
        Ok(Self {
            path,
            state: Mutex::new(LoadedTokens {
                stamp,
                next: tokens.len() as u64 + 1,
                tokens,
            }),
        })
    }

    /// Who shows this `authorization`, if it holds a token. Every token is compared in full.
    pub(crate) fn owner(&self, header: Option<&HeaderValue>) -> Option<Owner> {
        let shown = header?.as_bytes().strip_prefix(b"Bearer ")?;
        let mut state = self.lock();
        self.renew(&mut state);
        let mut found = None;
        for (token, number) in &state.tokens {
            if bool::from(token.as_slice().ct_eq(shown)) {
                found = Some(Owner::Token(*number));
            }
        }
        found
    }

    fn renew(&self, state: &mut LoadedTokens) {
        let now = stamp(&self.path);
        if now == state.stamp {
            return;
        }
        match read(&self.path) {
            Ok(tokens) => {
                let old = std::mem::take(&mut state.tokens);
                for token in tokens {
                    let known = old.iter().find(|(old, _)| *old == token);
                    // One that stays keeps its sessions.
                    let number = known.map_or(state.next, |(_, number)| *number);
                    state.next += u64::from(known.is_none());
                    state.tokens.push((token, number));
                }
                tracing::info!(path = %self.path.display(), "the tokens were read again");
            }
            Err(error) => tracing::warn!(%error, "the tokens stay as they were"),
        }
        state.stamp = now;
    }

    fn lock(&self) -> MutexGuard<'_, LoadedTokens> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<Vec<Vec<u8>>, TokensError> {
    let failed = |source| TokensError::Read {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
        let message = format!("the file is larger than {MAX_FILE_BYTES} bytes");
        return Err(failed(io::Error::other(message)));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let mut tokens = Vec::new();
    for (line, token) in (1..).zip(text.lines()) {
        let token = token.trim();
        if token.is_empty() || token.starts_with('#') {
            continue;
        }
        if token.len() < MIN_TOKEN_BYTES || token.contains(char::is_whitespace) {
            return Err(TokensError::Line {
                path: path.to_owned(),
                line,
            });
        }
        tokens.push(token.as_bytes().to_vec());
    }
    if tokens.is_empty() {
        return Err(TokensError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "first-0123456789abcdef";
    const SECOND: &str = "second-0123456789abcdef";

    fn shown(tokens: &Tokens, header: &str) -> Option<Owner> {
        tokens.owner(Some(&HeaderValue::from_str(header).expect("is a header")))
    }

    #[test]
    fn only_a_bearer_of_a_token_is_let_in() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens");
        fs::write(
            &path,
            format!("# A friend's.\n{FIRST}\n\n  # Mine.\n{SECOND}\n"),
        )
        .expect("is written");
        let tokens = Tokens::read(&path).expect("they are tokens");
        assert_eq!(
            shown(&tokens, &format!("Bearer {FIRST}")),
            Some(Owner::Token(1))
        );
        assert_eq!(
            shown(&tokens, &format!("Bearer {SECOND}")),
            Some(Owner::Token(2))
        );
        for bad in [
            FIRST,
            "Bearer ",
            "Bearer x",
            &format!("Bearer {FIRST}x"),
            "Bearer # A friend's.",
        ] {
            assert_eq!(shown(&tokens, bad), None, "{bad}");
        }
        assert_eq!(tokens.owner(None), None);
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_token_that_stays_keeps_its_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens");
        fs::write(&path, FIRST).expect("is written");
        let tokens = Tokens::read(&path).expect("it is a token");
        fs::write(&path, format!("{SECOND}\n{FIRST}\n")).expect("is written");
        let owner = |token: &str| shown(&tokens, &format!("Bearer {token}"));
        assert_eq!(owner(FIRST), Some(Owner::Token(1)));
        assert_eq!(owner(SECOND), Some(Owner::Token(2)));
        fs::write(&path, "short").expect("is written");
        assert_eq!(owner(SECOND), Some(Owner::Token(2)), "the old ones stay");
        fs::write(&path, SECOND).expect("is written");
        assert_eq!(owner(FIRST), None, "it was taken back");
        assert_eq!(owner(SECOND), Some(Owner::Token(2)));
    }

    #[test]
    fn a_file_without_a_good_token_is_refused_without_telling_what_is_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens");
        assert!(matches!(Tokens::read(&path), Err(TokensError::Read { .. })));
        for (text, line) in [
            ("secret", Some(1)),
            ("\n", None),
            ("# secret-0123456789abcdef", None),
            ("# Mine.\nsecret-01234567", Some(2)),
        ] {
            fs::write(&path, text).expect("is written");
            let error = Tokens::read(&path).err().expect("is refused");
            assert!(!error.to_string().contains("secret"));
            let of_line = match error {
                TokensError::Line { line, .. } => Some(line),
                _ => None,
            };
            assert_eq!(of_line, line, "{text}");
        }
    }

    #[test]
    fn a_file_beyond_its_bound_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens");
        let longest = "x".repeat(MAX_FILE_BYTES as usize);
        fs::write(&path, &longest).expect("is written");
        assert!(Tokens::read(&path).is_ok());
        fs::write(&path, longest + "x").expect("is written");
        assert!(matches!(Tokens::read(&path), Err(TokensError::Read { .. })));
    }
}
