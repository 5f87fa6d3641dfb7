// SPDX-License-Identifier: Apache-2.0
//! Unix sockets: only users that are let in.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};

use code_mode_api::CancellationSignal;
use tokio::net::UnixListener;

use super::{Connections, not_accepted};
use crate::connection::{ConnectionOptions, Served};
use crate::peer::Owner;

/// Why a socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum UnixError {
    /// Something is at its path: no socket, or one that a process listens on.
    #[error("Failed to listen on {}: {reason}", .path.display())]
    Taken {
        /// The path.
        path: PathBuf,
        /// What is there.
        reason: &'static str,
    },
    /// The operating system does not let us.
    #[error("Failed to listen on {}: {source}", .path.display())]
    Bind {
        /// The path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Makes a socket that its owner alone can connect to, or everybody if others are let in. One that a
/// dead process has left is replaced.
///
/// # Errors
/// [`UnixError`].
pub fn bind_unix(path: &Path, for_others: bool) -> Result<UnixListener, UnixError> {
    let failed = |source| UnixError::Bind {
        path: path.to_owned(),
        source,
    };
    let taken = |reason| UnixError::Taken {
        path: path.to_owned(),
        reason,
    };
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(taken("a file is there that is no socket"));
        }
        Ok(_) if BlockingStream::connect(path).is_ok() => {
            return Err(taken("another process listens there"));
        }
        Ok(_) => fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Whoever gets in before this is asked for credentials as everybody is.
    let mode = if for_others { 0o666 } else { 0o600 };
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
    Ok(listener)
}

/// Serves a socket until `drain` fires and its connections have ended; then its path is free again. Only
/// processes of this process's user and of `allowed` are served.
pub async fn serve_unix(
    served: Served,
    listener: UnixListener,
    allowed: Vec<u32>,
    drain: CancellationSignal,
) {
    let mut connections = Connections::new(served, drain);
    accept_all(&mut connections, &listener, &allowed).await;
    let path = listener
        .local_addr()
        .ok()
        .and_then(|address| address.as_pathname().map(Path::to_owned));
    drop(listener);
    if let Some(path) = path
        && let Err(error) = fs::remove_file(&path)
    {
        tracing::debug!(%error, path = %path.display(), "the socket is left behind");
    }
    connections.ended().await;
}

/// The same for a socket that somebody else has bound, whose path stays: whoever connects there next is
/// the next host's.
pub async fn serve_inherited_unix(
    served: Served,
    listener: UnixListener,
    allowed: Vec<u32>,
    drain: CancellationSignal,
) {
    let mut connections = Connections::new(served, drain);
    accept_all(&mut connections, &listener, &allowed).await;
    drop(listener);
    connections.ended().await;
}

/// Serves whoever connects and may, until the drain begins.
async fn accept_all(connections: &mut Connections, listener: &UnixListener, allowed: &[u32]) {
    let ours = effective_user();
    while let Some(stream) = connections.next(|| listener.accept()).await {
        let user = match stream.peer_cred() {
            Ok(credentials) => credentials.uid(),
            Err(error) => {
                not_accepted(&error).await;
                continue;
            }
        };
        if user != ours && !allowed.contains(&user) {
            tracing::warn!(user, "a connection was dropped: its user is not let in");
            let metrics = connections.served.door().metrics();
            metrics.connections_refused.add_one();
            continue;
        }
        let Some(slot) = connections.slot() else {
            continue;
        };
        let options = ConnectionOptions {
            owner: Owner::User(user),
            tokens: None,
            keepalive: false,
            drain: connections.drain.clone(),
        };
        connections.serve(slot, async move { Some((stream, options)) });
    }
}

#[expect(unsafe_code, reason = "the standard library does not know users")]
fn effective_user() -> u32 {
    // SAFETY: geteuid has no precondition and cannot fail.
    unsafe { libc::geteuid() }
}
