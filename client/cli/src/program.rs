// SPDX-License-Identifier: Apache-2.0
//! Carries out one command line.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};
use code_mode_embed::describe;

use crate::args::{Cli, ColorWhen, Command, CommonArgs};
use crate::context::Context;
use crate::interrupts::Interrupts;
use crate::output::{Output, Printer, Stream};
use crate::reporter::{Colors, Loudness, Reporter, View};
use crate::settings::Settings;
use crate::status::Status;
use crate::{connect, doctor, guard, mcp, output, paths, repl, reporter, run, session};

/// How long the end of the program waits for work that runs on threads of its own, such as a read
/// of standard input that nobody ends.
const EXIT_DEADLINE: Duration = Duration::from_millis(500);

/// Carries out the command line `arguments`, which do not hold the program's own name, and gives
/// the program's exit status (`docs/cli.md`, section *Exit status*).
///
/// `version` is what `--version` says, and what `doctor` compares with the host's.
///
/// It makes a Tokio runtime of its own, so it must not be called from within one.
pub fn main(version: &'static str, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // No command for people: it is in no help and no completion.
    if arguments.first().is_some_and(|word| word == guard::COMMAND) {
        guard::run();
        return Status::Completed.into();
    }
    let teller = Teller::of(&arguments);
    let folder = match paths::caller_folder() {
        Ok(folder) => folder,
        Err(error) => {
            return teller.refused(&format!("Failed to find the working folder: {error}"));
        }
    };
    let settings = Settings::load(&folder);
    let command = match &settings {
        Ok(settings) => settings.tell(declaration(version)),
        // The help can be had all the same; any command that needs the settings says what is wrong.
        Err(_) => declaration(version),
    };
    let words = std::iter::once("code_mode".into()).chain(arguments);
    let matches = command.try_get_matches_from(words);
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return teller.explained(&error),
    };
    match cli.command {
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "code_mode", &mut text);
            teller.written(output::print(&text))
        }
        Command::Man { folder: target } => {
            match write_man_pages(version, &paths::resolve(&folder, &target)) {
                Ok(()) => Status::Completed.into(),
                Err(error) => teller.refused(&format!(
                    "Failed to write the man pages into {}: {error}",
                    target.display()
                )),
            }
        }
        command => match settings {
            Err(error) => teller.refused(&error.to_string()),
            Ok(settings) => {
                let context = Context {
                    folder,
                    settings,
                    version,
                };
                carry_out(command, &cli.common, &context).map_or_else(
                    |error| teller.refused(&format!("failed to start: {error}")),
                    ExitCode::from,
                )
            }
        },
    }
}

/// Says what is wrong before there is a [`Reporter`].
#[derive(Clone, Copy)]
struct Teller {
    /// Whether the caller reads JSON from standard output.
    json: bool,
}

impl Teller {
    /// Goes by the words alone, since they may be what is wrong: what stands behind `--` is a script's.
    fn of(arguments: &[OsString]) -> Self {
        let mut own = arguments.iter().take_while(|word| *word != "--");
        Self {
            json: own.any(|word| word == "--json"),
        }
    }

    /// Says why nothing was done.
    fn refused(self, message: &str) -> ExitCode {
        output::say(&format!("code_mode: {message}"));
        self.problem(message);
        Status::SetUp.into()
    }

    /// Prints the help that was asked for, or what is wrong with the command line.
    fn explained(self, error: &clap::Error) -> ExitCode {
        let printed = error.print();
        if error.use_stderr() {
            let text = error.render().to_string();
            let text = text.trim_end();
            self.problem(text.strip_prefix("error: ").unwrap_or(text));
            return Status::SetUp.into();
        }
        self.written(printed)
    }

    /// The status after text was written to standard output.
    fn written(self, result: io::Result<()>) -> ExitCode {
        match result {
            Ok(()) => Status::Completed.into(),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Status::OutputClosed.into(),
            Err(error) => self.refused(&format!("failed to write to standard output: {error}")),
        }
    }

    fn problem(self, message: &str) {
        if self.json {
            let line = reporter::problem_json(message);
            // People were told on standard error, and the status stays what it is.
            let _ = output::print(format!("{line}\n").as_bytes());
        }
    }
}

/// The command line of the program of this version.
fn declaration(version: &'static str) -> clap::Command {
    Cli::command().version(version)
}

fn write_man_pages(version: &'static str, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(declaration(version), folder)
}

/// Which streams take colours.
fn colors(when: ColorWhen) -> Colors {
    let auto = |choice: anstream::ColorChoice| choice != anstream::ColorChoice::Never;
    match when {
        ColorWhen::Always => Colors {
            stdout: true,
            stderr: true,
        },
        ColorWhen::Never => Colors::default(),
        ColorWhen::Auto => Colors {
            stdout: auto(anstream::AutoStream::choice(&io::stdout())),
            stderr: auto(anstream::AutoStream::choice(&io::stderr())),
        },
    }
}

fn carry_out(command: Command, common: &CommonArgs, context: &Context) -> io::Result<Status> {
    output::start_tracing(match common.verbose {
        0 | 1 => None,
        2 => Some("info"),
        _ => Some("debug"),
    });
    let configured = context.settings.color.as_ref().map(|color| color.value);
    let view = View {
        json: match &command {
            Command::Run(args) => args.json,
            Command::Describe(args) => args.json,
            _ => false,
        },
        loudness: match common {
            CommonArgs { quiet: true, .. } => Loudness::Quiet,
            CommonArgs { verbose: 1.., .. } => Loudness::Verbose,
            _ => Loudness::Usual,
        },
        colors: colors(common.color.or(configured).unwrap_or_default()),
        images: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (printer, output) = Output::start(!common.quiet)?;
    let status = runtime.block_on(async {
        let mut interrupts = Interrupts::listen()?;
        let reporter = Reporter::new(printer.clone(), view);
        let status = dispatch(command, context, &reporter, &mut interrupts).await;
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
        // What was asked for was done, but not told.
        Some(_) => status.map(|status| match status {
            Status::Completed => Status::OutputClosed,
            other => other,
        }),
        None => status,
    }
}

async fn dispatch(
    command: Command,
    context: &Context,
    reporter: &Reporter,
    interrupts: &mut Interrupts,
) -> Status {
    match command {
        Command::Run(args) => run::run(args, context, reporter, interrupts).await,
        Command::Repl(args) => repl::run(args, context, reporter, interrupts).await,
        Command::Mcp(args) => mcp::run(*args, context, reporter, interrupts).await,
        Command::Doctor(args) => tokio::select! {
            status = doctor::run(args, context, reporter) => status,
            why = interrupts.next() => Status::of_termination(why),
        },
        Command::Describe(args) => {
            match session::load_tools(&args.tools, context, reporter.colors().stderr) {
                Ok(tools) => {
                    let tools: Vec<_> = tools.into_iter().map(|tool| tool.definition).collect();
                    let globals = args.globals.unwrap_or(connect::PREFERRED_GLOBALS);
                    let text = match args.json {
                        true => describe::json(&tools, globals).to_string(),
                        false => describe::text(&tools, globals),
                    };
                    show(reporter.printer(), text).await
                }
                Err(error) => {
                    reporter.problem(error.message).await;
                    error.status
                }
            }
        }
        // `main` has carried these out already.
        Command::Completions { .. } | Command::Man { .. } => Status::Completed,
    }
}

async fn show(printer: &Printer, text: String) -> Status {
    printer.line(Stream::Stdout, text).await;
    Status::Completed
}
