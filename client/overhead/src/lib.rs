// SPDX-License-Identifier: Apache-2.0
//! What an exec costs through the client library, for any hosts of the protocol, and what hours of them do.
//!
//! # Purpose
//! The program `exec_overhead`: the scenarios of `code_mode_benchsuite` over host processes, by frames or by gRPC. It is a
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
mod listening;
mod soak;
mod soak_main;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use code_mode_api::{BoxFuture, SessionError, SessionOptions, SessionProvider};
use code_mode_benchsuite::{
    HostCommand, Instance, Options, Program, Round, Subject, Task, Transport,
};
use code_mode_client::{ProcessSessionProvider, ProviderConfig};
use code_mode_client_grpc::{AddressConfig, AddressSessionProvider};

use default_host::default_host;
use listening::Listening;

pub use soak::{SoakOptions, soak};
pub use soak_main::soak_main;

/// A host program, driven as an embedder with every default would.
struct Host(HostCommand);

impl Host {
    async fn start(&self) -> Result<Instance, SessionError> {
        match self.0.transport {
            Transport::Frames => self.start_child().await,
            Transport::GrpcStdio | Transport::Grpc | Transport::Unix => {
                self.start_listening().await
            }
        }
    }

    async fn start_child(&self) -> Result<Instance, SessionError> {
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

    async fn start_listening(&self) -> Result<Instance, SessionError> {
        let begun = Instant::now();
        let failed = |cause| SessionError::StartFailed { cause };
        let mut host = Listening::start(&self.0).await.map_err(failed)?;
        let mut config = AddressConfig::new(host.address().clone());
        // As over frames: a copy of the store is another exchange after each cell.
        config.keep_store = false;
        let provider = Arc::new(AddressSessionProvider::new(config));
        host.while_it_starts(provider.probe())
            .await
            .map_err(failed)??;
        let startup = begun.elapsed();
        let (delegate, calls) = code_mode_benchsuite::delegate();
        let session = provider
            .open_session(SessionOptions::default(), delegate)
            .await?;
        Ok(Instance {
            session,
            calls,
            startup,
            process_id: host.process_id(),
            shutdown: Box::pin(async move {
                provider.shutdown().await;
                host.end().await;
            }),
        })
    }
}

impl Subject for Host {
    fn name(&self) -> String {
        let mut name = self.0.program.display().to_string();
        for argument in &self.0.arguments {
            name += &format!(" {}", argument.display());
        }
        if self.0.transport != Transport::Frames {
            name += &format!(" over {}", self.0.transport.name());
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
