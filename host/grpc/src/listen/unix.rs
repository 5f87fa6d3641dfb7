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
    accept_all(&mut connections, &listener, effective_user(), &allowed).await;
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
    accept_all(&mut connections, &listener, effective_user(), &allowed).await;
    drop(listener);
    connections.ended().await;
}

/// Serves whoever connects and may, until the drain begins: processes of the users `ours` and `allowed`.
async fn accept_all(
    connections: &mut Connections,
    listener: &UnixListener,
    ours: u32,
    allowed: &[u32],
) {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use code_mode_api::waist::{Bell, Session, Sessions};
    use code_mode_api::{SessionError, SessionOptions};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::door::Door;

    /// Sessions that nobody gets as far as to open.
    struct NoSessions;

    impl Sessions for NoSessions {
        fn open(
            &self,
            _: SessionOptions,
            _: Arc<dyn Bell>,
        ) -> Result<Arc<dyn Session>, SessionError> {
            Err(SessionError::StartFailed {
                cause: "there are none".to_owned(),
            })
        }
    }

    /// Whether this process is served on the socket of a host that runs as `host_user`.
    async fn is_served(host_user: u32, allowed: &[u32]) -> bool {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let listener = bind_unix(&path, true).expect("it listens");
        let served = Served::new(Door::new(Arc::new(NoSessions))).await;
        let metrics = Arc::clone(served.door().metrics());
        let drain = CancellationSignal::new();
        let mut connections = Connections::new(served, drain.clone());
        let client = async {
            let mut stream = UnixStream::connect(&path).await.expect("it connects");
            // It may be closed already.
            let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
            let greeted = stream.read_u8().await.is_ok();
            drain.cancel();
            greeted
        };
        let serving = accept_all(&mut connections, &listener, host_user, allowed);
        let ((), greeted) = tokio::join!(serving, client);
        let counted = metrics.render().contains("connections_refused_total 1\n");
        assert_ne!(counted, greeted);
        connections.ended().await;
        greeted
    }

    // The peer's user is the kernel's word for this process; only the host is said to be somebody else's.
    #[tokio::test]
    async fn another_user_is_served_only_where_the_host_was_told_to() {
        let this_user = effective_user();
        let other = this_user + 1;
        assert!(is_served(this_user, &[]).await, "the host's own");
        assert!(!is_served(other, &[]).await, "a stranger");
        assert!(!is_served(other, &[other + 1]).await, "not this one");
        assert!(is_served(other, &[this_user]).await, "a guest");
    }
}
