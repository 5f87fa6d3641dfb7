// SPDX-License-Identifier: Apache-2.0
//! What the command line says about listening: where, for whom, and for how long after SIGTERM.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::Drain;
use crate::usage::UsageError;

/// Time that running cells get when the host drains.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(10);

/// What is spoken on standard input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// Frames of V1.
    Frames,
    /// gRPC.
    Grpc,
}

/// Where the host listens and what it asks of its clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listening {
    /// Standard input and output.
    pub stdio: Option<Spoken>,
    /// Addresses for gRPC over TCP.
    pub tcp: Vec<SocketAddr>,
    /// Paths of sockets for gRPC.
    pub unix: Vec<PathBuf>,
    /// Whether gRPC is served on the sockets that whoever started the host hands over.
    pub inherited: bool,
    /// Users other than the host's own that the sockets let in.
    pub allowed_users: Vec<u32>,
    /// The certificate and key of TCP, in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The tokens of TCP.
    pub tokens: Option<PathBuf>,
    /// Whether TCP beyond loopback may go without a certificate and tokens.
    pub insecure: bool,
    /// Time that running cells get after SIGTERM; [`DEFAULT_DRAIN`] when it is not said.
    pub drain: Option<Duration>,
    /// Where the page of metrics is.
    pub metrics: Option<SocketAddr>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Listening {
    /// A drain that takes as long as was said.
    pub(crate) fn new_drain(&self) -> Drain {
        Drain::new(self.drain.unwrap_or(DEFAULT_DRAIN))
    }

    /// Whether there is a value to set under this name.
    pub(crate) fn knows(name: &str) -> bool {
        [
            "--listen",
            "--allow-uid",
            "--tls-cert",
            "--tls-key",
            "--token-file",
            "--drain",
            "--metrics",
        ]
        .contains(&name)
    }

    /// Takes one argument of [those](Self::knows).
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), UsageError> {
        let address = |what: &str, text: &str| {
            text.parse().map_err(|_| {
                UsageError(format!(
                    "{what} {text:?} is no address: it is IP:PORT, for instance 127.0.0.1:0"
                ))
            })
        };
        match name {
            "--listen" => {
                if let Some(path) = value.strip_prefix("grpc+unix://") {
                    if !path.starts_with('/') {
                        return Err(UsageError(format!(
                            "cannot listen on {value:?}: the path of a socket is absolute, as in grpc+unix:///run/code_mode.sock"
                        )));
                    }
                    self.unix.push(PathBuf::from(path));
                } else if value == "grpc+stdio://" {
                    self.set_stdio(Spoken::Grpc)?;
                } else if value == "grpc+systemd://" {
                    self.inherited = true;
                } else if let Some(text) = value.strip_prefix("grpc://") {
                    self.tcp.push(address("--listen", text)?);
                } else if matches!(value, "stdio" | "stdio://") {
                    self.set_stdio(Spoken::Frames)?;
                } else {
                    return Err(UsageError(format!(
                        "cannot listen on {value:?}: it is stdio, grpc+stdio://, grpc://IP:PORT, grpc+unix:///PATH or grpc+systemd://"
                    )));
                }
            }
            "--allow-uid" => {
                let user = value.parse().map_err(|_| {
                    UsageError(format!("--allow-uid {value:?} is no number of a user"))
                })?;
                self.allowed_users.push(user);
            }
            "--tls-cert" => self.certificate = Some(PathBuf::from(value)),
            "--tls-key" => self.key = Some(PathBuf::from(value)),
            "--token-file" => self.tokens = Some(PathBuf::from(value)),
            "--drain" => {
                let seconds = value.parse().map_err(|_| {
                    UsageError(format!("--drain {value:?} is no whole number of seconds"))
                })?;
                self.drain = Some(Duration::from_secs(seconds));
            }
            _ => self.metrics = Some(address("--metrics", value)?),
        }
        Ok(())
    }

    fn set_stdio(&mut self, spoken: Spoken) -> Result<(), UsageError> {
        if self.stdio.replace(spoken).is_some() {
            return Err(UsageError(
                "there is one standard input: it can be listened on once".to_owned(),
            ));
        }
        Ok(())
    }

    /// Checks what only the whole command line shows.
    pub(crate) fn finish(mut self) -> Result<Self, UsageError> {
        self.tls = match (self.certificate.take(), self.key.take()) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(UsageError(
                    "--tls-cert and --tls-key belong together".to_owned(),
                ));
            }
        };
        if self.stdio.is_none() && !self.has_sockets() {
            self.stdio = Some(Spoken::Frames);
        }
        for address in &self.tcp {
            self.admit(*address)?;
        }
        Ok(self)
    }

    /// Whether there are clients beside that of standard input and output.
    pub(crate) fn has_sockets(&self) -> bool {
        !self.tcp.is_empty() || !self.unix.is_empty() || self.inherited
    }

    /// Checks that TCP may be listened on at this address.
    pub(crate) fn admit(&self, address: SocketAddr) -> Result<(), UsageError> {
        let safe = self.insecure || (self.tls.is_some() && self.tokens.is_some());
        if safe || address.ip().is_loopback() {
            return Ok(());
        }
        Err(UsageError(format!(
            "cannot listen on {address}: beyond this machine --tls-cert, --tls-key and --token-file are needed, or --insecure"
        )))
    }

    /// Whether it is all about frames on standard input and output.
    pub(crate) fn is_frames_only(&self) -> bool {
        self.stdio == Some(Spoken::Frames) && !self.has_sockets() && self.metrics.is_none()
    }
}

/// The part of `--help` about all this.
pub(crate) const HELP: &str =
    "  --listen stdio          serve frames of V1 on standard input and output (the default)
  --listen grpc+stdio://  serve gRPC on standard input and output
  --listen grpc://IP:PORT serve gRPC on TCP; port 0 picks one, and standard output says which
  --listen grpc+unix:///PATH
                          serve gRPC on a Unix socket, for processes of the same user
  --listen grpc+systemd:// serve gRPC on the sockets that a socket unit with Accept=no hands over
  --allow-uid UID         let another user in, on Unix sockets; may be given several times
  --tls-cert FILE, --tls-key FILE
                          serve TCP with TLS, with this certificate and key (PEM)
  --token-file FILE       ask TCP clients for a bearer token; FILE has one in each line
  --insecure              listen beyond loopback without TLS and tokens
  --drain SECONDS         time that running cells get after SIGTERM or SIGINT (default 10)
  --metrics IP:PORT       serve metrics for Prometheus at http://IP:PORT/metrics
";

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(arguments: &[(&str, &str)]) -> Result<Listening, UsageError> {
        let mut listening = Listening::default();
        for (name, value) in arguments {
            assert!(Listening::knows(name));
            listening.set(name, value)?;
        }
        listening.finish()
    }

    fn refused(arguments: &[(&str, &str)], reason: &str) {
        let error = listening(arguments).expect_err("it makes no sense");
        assert!(error.to_string().starts_with(reason), "{error}");
    }

    #[test]
    fn without_a_word_it_is_frames_on_standard_input_and_output() {
        let silent = listening(&[]).expect("it makes sense");
        assert!(silent.is_frames_only());
        for spelling in ["stdio", "stdio://"] {
            assert_eq!(listening(&[("--listen", spelling)]), Ok(silent.clone()));
        }
    }

    #[test]
    fn every_listener_is_understood_and_they_go_together() {
        let all = listening(&[
            ("--listen", "grpc+stdio://"),
            ("--listen", "grpc://127.0.0.1:0"),
            ("--listen", "grpc://[::1]:7"),
            ("--listen", "grpc+unix:///run/x.sock"),
            ("--listen", "grpc+systemd://"),
            ("--allow-uid", "7"),
            ("--drain", "3"),
            ("--metrics", "127.0.0.1:9"),
        ])
        .expect("it makes sense");
        assert_eq!(all.stdio, Some(Spoken::Grpc));
        assert_eq!(all.tcp.len(), 2);
        assert_eq!(all.unix, [PathBuf::from("/run/x.sock")]);
        assert!(all.inherited);
        assert_eq!(all.allowed_users, [7]);
        assert_eq!(all.drain, Some(Duration::from_secs(3)));
        assert!(all.metrics.is_some() && !all.is_frames_only());
    }

    #[test]
    fn with_sockets_that_are_handed_over_nothing_else_is_listened_on() {
        let handed = listening(&[("--listen", "grpc+systemd://")]).expect("it makes sense");
        assert_eq!(handed.stdio, None);
        assert!(handed.has_sockets() && !handed.is_frames_only());
    }

    #[test]
    fn beyond_loopback_it_takes_a_certificate_and_tokens_or_a_word() {
        let open = ("--listen", "grpc://0.0.0.0:1");
        let certificate = ("--tls-cert", "c");
        let key = ("--tls-key", "k");
        let reason = "cannot listen on 0.0.0.0:1: beyond this machine";
        refused(&[open], reason);
        refused(&[open, certificate, key], reason);
        refused(&[open, ("--token-file", "t")], reason);
        refused(&[certificate], "--tls-cert and --tls-key belong together");
        let safe = listening(&[open, certificate, key, ("--token-file", "t")]);
        assert!(safe.is_ok_and(|safe| safe.tls.is_some()));
        let mut insecure = Listening {
            insecure: true,
            ..Listening::default()
        };
        insecure.set(open.0, open.1).expect("is an address");
        assert!(insecure.finish().is_ok());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        refused(&[("--listen", "grpc://localhost:1")], "--listen");
        refused(&[("--listen", "grpc+unix://x")], "cannot listen on");
        refused(&[("--allow-uid", "root")], "--allow-uid");
        refused(&[("--drain", "-1")], "--drain");
        refused(&[("--metrics", "9")], "--metrics");
        refused(
            &[("--listen", "stdio"), ("--listen", "grpc+stdio://")],
            "there is one standard input",
        );
    }
}
