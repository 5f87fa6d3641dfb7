// SPDX-License-Identifier: Apache-2.0
//! What an exec costs through the client library, for any hosts of the protocol, and what hours of them do.
//!
//! # Purpose
//! The program `exec_overhead`: the scenarios of `code_mode_benchsuite` over host processes. It is a
//! package of its own, so that nobody who uses the client has the measuring with it.
//! `docs/performance.md` says how to read the table, `--help` how to choose what is measured.
//! The program `soak`: mixed work against one host for a long time; `docs/reliability.md` has its figures.
//!
//! # Life cycle
//! [`main`] and [`soak_main`] carry out one command line each; a sample of the first starts hosts of its own and ends
//! them, the second has one.
//!
//! # Threads
//! Those of the suite and of the client.
//!
//! # Limits
//! Those that the command line gives.

mod default_host;
mod soak;
mod soak_main;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use code_mode_api::{BoxFuture, SessionError, SessionOptions, SessionProvider};
use code_mode_benchsuite::{HostCommand, Instance, Options, Program, Round, Subject, Task};
use code_mode_client::{ProcessSessionProvider, ProviderConfig};

use default_host::default_host;

pub use soak::{SoakOptions, soak};
pub use soak_main::soak_main;

/// A host program, driven as an embedder with every default would.
struct Host(HostCommand);

impl Host {
    async fn start(&self) -> Result<Instance, SessionError> {
        let mut config = ProviderConfig::new(&self.0.program);
        config.arguments.clone_from(&self.0.arguments);
        let provider = Arc::new(ProcessSessionProvider::new(config));
        let info = provider.probe().await?;
        let (delegate, calls) = code_mode_benchsuite::delegate();
        let session = provider
            .open_session(SessionOptions::default(), delegate)
            .await?;
        Ok(Instance {
            session,
            calls,
            startup: info.startup,
            process_id: info.process_id,
            shutdown: Box::pin(async move { provider.shutdown().await }),
        })
    }
}

impl Subject for Host {
    fn name(&self) -> String {
        let mut name = self.0.program.display().to_string();
        for argument in &self.0.arguments {
            name += &format!(" {}", argument.display());
        }
        name
    }

    fn measure<'a>(&'a self, task: &'a Task) -> BoxFuture<'a, Round> {
        Box::pin(async move {
            match self.start().await {
                Ok(instance) => task.run(instance).await,
                Err(error) => Round::failed(error),
            }
        })
    }
}

fn subjects(options: &Options) -> Vec<Box<dyn Subject>> {
    let hosts = options.hosts.iter().cloned();
    hosts.map(|host| Box::new(Host(host)) as _).collect()
}

/// Carries out the command line of this process, and gives its exit status.
pub fn main() -> ExitCode {
    let program = Program::Hosts {
        default_host: default_host(),
    };
    let status = code_mode_benchsuite::run(
        &program,
        std::env::args_os().skip(1),
        subjects,
        &mut std::io::stdout(),
        &mut std::io::stderr(),
    );
    match status {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            // Where standard error is closed too, the exit status has to do.
            let _ = writeln!(std::io::stderr(), "exec_overhead: {failure}");
            ExitCode::FAILURE
        }
    }
}
