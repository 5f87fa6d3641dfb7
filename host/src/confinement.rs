// SPDX-License-Identifier: Apache-2.0
//! What the host's own process gives up, by how it listens; and the check of what cells give up.

use std::fmt::Write;

use code_mode_runtime::{Confinement, HostNeeds, Outcome, check_confinement, confine_host};

use crate::args::{Args, CellMode};
use crate::listening::Listening;

/// Confines this process, once everything is there that it must not make later.
///
/// # Errors
/// When it is to be strict and the kernel lacks something, or when the kernel refuses.
pub(crate) fn enforce(args: &Args) -> Result<Vec<&'static str>, String> {
    match args.cells {
        // V8 makes code, and threads of cells are threads of the host.
        CellMode::Threads => Ok(Vec::new()),
        CellMode::Forks => confine_host(args.confinement, &needs(&args.listening)),
    }
}

/// What a host has to do that listens like this.
fn needs(listening: &Listening) -> HostNeeds {
    let tls = listening
        .tls
        .iter()
        .flat_map(|(certificate, key)| [certificate, key]);
    HostNeeds {
        accepts: listening.has_sockets() || listening.metrics.is_some(),
        reads: tls.chain(&listening.tokens).cloned().collect(),
        removes: listening.unix.clone(),
    }
}

/// What came of trying everything that a cell must not do, in lines; and whether the confinement holds.
///
/// # Errors
/// When it could not be tried.
pub(crate) fn check(confinement: Confinement) -> Result<(String, bool), String> {
    let checked = check_confinement(confinement)?;
    let mut lines = String::new();
    // Writing to a string cannot fail.
    for what in &checked.lacking {
        let _ = writeln!(lines, "lacking: {what}");
    }
    for (name, outcome) in &checked.attempts {
        let _ = writeln!(lines, "{name}: {outcome}");
    }
    let holds = checked
        .attempts
        .iter()
        .all(|(_, outcome)| *outcome != Outcome::Succeeded);
    let count = checked.attempts.len();
    let _ = writeln!(
        lines,
        "{}",
        match holds {
            true => format!("the confinement holds against {count} attempts"),
            false => "THE CONFINEMENT DOES NOT HOLD".to_owned(),
        }
    );
    Ok((lines, holds))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn needs_of(pairs: &[(&str, &str)]) -> HostNeeds {
        let mut listening = Listening::default();
        for (name, value) in pairs {
            listening.set(name, value).expect("it makes sense");
        }
        needs(&listening.finish().expect("it makes sense"))
    }

    #[test]
    fn a_host_on_standard_streams_needs_nothing() {
        assert_eq!(needs_of(&[]), HostNeeds::default());
        assert_eq!(
            needs_of(&[("--listen", "grpc+stdio://")]),
            HostNeeds::default()
        );
    }

    #[test]
    fn a_host_on_sockets_that_are_handed_over_takes_connections_and_removes_nothing() {
        let needs = needs_of(&[("--listen", "grpc+systemd://")]);
        assert!(needs.accepts);
        assert!(needs.reads.is_empty() && needs.removes.is_empty());
    }

    #[test]
    fn a_host_on_sockets_takes_connections_and_reads_what_it_was_told_to() {
        let needs = needs_of(&[
            ("--listen", "grpc://127.0.0.1:0"),
            ("--listen", "grpc+unix:///run/x/y.sock"),
            ("--tls-cert", "/etc/x/c"),
            ("--tls-key", "/etc/x/k"),
            ("--token-file", "/etc/y/t"),
        ]);
        assert!(needs.accepts);
        assert_eq!(
            needs.reads,
            ["/etc/x/c", "/etc/x/k", "/etc/y/t"].map(PathBuf::from)
        );
        assert_eq!(needs.removes, [PathBuf::from("/run/x/y.sock")]);
    }
}
