//! The command line `code_mode`.
//!
//! `args` reads the command line; `run`, `repl`, `describe` and `doctor` carry the commands out;
//! `output` is the only module that writes to the standard streams. Everything but `connect` knows
//! sessions only by their traits, so that it is tested against a session without a process.
//! `docs/cli.md` documents it for users.

mod args;
mod command_tool;
mod connect;
mod delegate;
mod describe;
mod doctor;
mod drive;
mod events;
mod find_host;
mod help;
mod interrupts;
mod output;
mod paths;
mod repl;
mod repl_input;
mod repl_lines;
mod run;
mod schema;
mod session;
mod status;
mod store_file;
mod suggest;
mod terminal;
mod tools_file;

#[cfg(test)]
mod fake_session;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use args::Command;
use events::Reporter;
use interrupts::Interrupts;
use output::{Output, Printer, Stream};
use status::Status;

pub use find_host::{HOST_VARIABLE, HostSearch};

/// How long the end of the program waits for work that runs on threads of its own, such as a read
/// of standard input that nobody ends.
const EXIT_DEADLINE: Duration = Duration::from_millis(500);

/// Carries out the command line `arguments`, which do not hold the program's own name, and gives
/// the program's exit status (`docs/cli.md`, section *Exit status*).
///
/// It makes a Tokio runtime of its own, so it must not be called from within one.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    output::start_tracing();
    let command = match args::parse(arguments) {
        Ok(command) => command,
        Err(error) => {
            output::say(&format!("code_mode: {error}"));
            return Status::SetUp.into();
        }
    };
    match carry_out(command) {
        Ok(status) => status.into(),
        Err(error) => {
            output::say(&format!("code_mode: failed to start: {error}"));
            Status::SetUp.into()
        }
    }
}

fn carry_out(command: Command) -> io::Result<Status> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (printer, output) = Output::start()?;
    let status = runtime.block_on(async {
        let mut interrupts = Interrupts::listen()?;
        let status = dispatch(command, &printer, &mut interrupts).await?;
        // The reader of standard output may be slow or stuck; a signal ends the wait for it.
        tokio::select! {
            () = printer.flush() => Ok(status),
            why = interrupts.next() => Ok(Status::of_termination(why)),
        }
    });
    let failure = printer.take_failure();
    drop(printer);
    runtime.shutdown_timeout(EXIT_DEADLINE);
    output.close();
    match failure {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            output::say(&format!(
                "code_mode: failed to write to standard output: {error}"
            ));
            Ok(Status::SetUp)
        }
        _ => status,
    }
}

async fn dispatch(
    command: Command,
    printer: &Printer,
    interrupts: &mut Interrupts,
) -> io::Result<Status> {
    let folder = paths::caller_folder()?;
    let json = matches!(&command, Command::Run(options) if options.json);
    let reporter = Reporter::new(printer.clone(), json);
    let result = match command {
        Command::Run(options) => {
            return Ok(run::run(options, &folder, &reporter, interrupts).await);
        }
        Command::Repl(options) => {
            return Ok(repl::run(options, &folder, &reporter, interrupts).await);
        }
        Command::Doctor { host } => {
            return Ok(tokio::select! {
                status = doctor::run(host, &folder, &reporter) => status,
                why = interrupts.next() => Status::of_termination(why),
            });
        }
        Command::Help(topic) => Ok(help::text(topic)),
        Command::Version => Ok(format!("code_mode {}", env!("CARGO_PKG_VERSION"))),
        Command::Describe { tools } => session::load_tools(Some(&paths::resolve(&folder, &tools)))
            .map(|tools| {
                let tools: Vec<_> = tools.into_iter().map(|tool| tool.definition).collect();
                describe::text(&tools)
            }),
    };
    match result {
        Ok(text) => {
            printer.line(Stream::Stdout, text).await;
            Ok(Status::Completed)
        }
        Err(error) => {
            reporter.problem(error.message).await;
            Ok(error.status)
        }
    }
}
