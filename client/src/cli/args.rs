//! Reads the command line.
//!
//! Every option is declared once in [`COMMANDS`]; the parser, the error messages and the help texts
//! come from that table.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use super::suggest::nearest;

/// An option of a command.
pub struct OptionSpec {
    /// The name with its dashes.
    pub name: &'static str,
    /// What the value is called in help texts; `None` when the option takes no value.
    pub value: Option<&'static str>,
    /// One line of help.
    pub help: &'static str,
}

/// A command with its options.
pub struct CommandSpec {
    /// The command's word.
    pub name: &'static str,
    /// The arguments in the usage line.
    pub usage: &'static str,
    /// One line of help.
    pub summary: &'static str,
    /// The options that it takes.
    pub options: &'static [OptionSpec],
    /// Further help, shown below the options.
    pub notes: &'static str,
}

const TOOLS: OptionSpec = OptionSpec {
    name: "--tools",
    value: Some("FILE"),
    help: "the tools that scripts may call (docs/cli.md, Tools file)",
};
const HOST: OptionSpec = OptionSpec {
    name: "--host",
    value: Some("PATH"),
    help: "the code_mode_host program (else CODE_MODE_HOST, else beside this program)",
};
const STORE: OptionSpec = OptionSpec {
    name: "--store",
    value: Some("FILE"),
    help: "load the session's stored values from FILE and save them there at the end",
};

/// Every command, in the order of the help text.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "run",
        usage: "SCRIPT... [OPTIONS]",
        summary: "run scripts in one session, one after the other",
        options: &[
            TOOLS,
            OptionSpec {
                name: "--timeout",
                value: Some("D"),
                help: "terminate a script after D: 500ms, 30s, 5m, 1h or seconds",
            },
            OptionSpec {
                name: "--json",
                value: None,
                help: "print one JSON object per event to standard output",
            },
            STORE,
            HOST,
        ],
        notes: "SCRIPT is a file, or - for standard input.\n\
            Text goes to standard output as it comes, errors to standard error.\n\
            Exit status: 0 completed, 1 a script failed or timed out, 2 bad usage or set-up,\n\
            3 the host was lost, 130 interrupted by Ctrl-C, 143 by SIGTERM.",
    },
    CommandSpec {
        name: "repl",
        usage: "[OPTIONS]",
        summary: "type scripts and see what they give",
        options: &[
            TOOLS,
            OptionSpec {
                name: "--yield-after",
                value: Some("D"),
                help: "leave a cell in the background after D (default 10s)",
            },
            STORE,
            HOST,
        ],
        notes: "Type .help at the prompt.",
    },
    CommandSpec {
        name: "describe",
        usage: "--tools FILE",
        summary: "print what a model is told about exec and wait",
        options: &[TOOLS],
        notes: "",
    },
    CommandSpec {
        name: "doctor",
        usage: "[OPTIONS]",
        summary: "check that the host works, and say what to do where it does not",
        options: &[HOST],
        notes: "Exit status: 0 when every check passed, 1 when one failed.",
    },
];

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// `code_mode run`.
    Run(RunOptions),
    /// `code_mode repl`.
    Repl(ReplOptions),
    /// `code_mode describe`.
    Describe {
        /// The tools file.
        tools: PathBuf,
    },
    /// `code_mode doctor`.
    Doctor {
        /// The host program, if named.
        host: Option<PathBuf>,
    },
    /// `code_mode help`, with a command's name if one was given.
    Help(Option<&'static str>),
    /// `code_mode --version`.
    Version,
}

/// The options of `code_mode run`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// The scripts in order; at least one.
    pub scripts: Vec<Script>,
    /// The tools file, if any.
    pub tools: Option<PathBuf>,
    /// How long each script may run.
    pub timeout: Option<Duration>,
    /// Whether events are printed as JSON.
    pub json: bool,
    /// Where stored values are loaded from and saved to.
    pub store: Option<PathBuf>,
    /// The host program, if named.
    pub host: Option<PathBuf>,
}

/// The options of `code_mode repl`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReplOptions {
    /// The tools file, if any.
    pub tools: Option<PathBuf>,
    /// How long a cell may keep the prompt away.
    pub yield_after: Option<Duration>,
    /// Where stored values are loaded from and saved to.
    pub store: Option<PathBuf>,
    /// The host program, if named.
    pub host: Option<PathBuf>,
}

/// Where a script comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// `-`.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// A command line that cannot be carried out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}\nsee `code_mode help{}`", .topic.map(|topic| format!(" {topic}")).unwrap_or_default())]
pub struct UsageError {
    /// What is wrong.
    pub message: String,
    /// The command whose help tells more.
    pub topic: Option<&'static str>,
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// When they name no command, or not in the way that the command wants them.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter();
    let general = |message: String| UsageError {
        message,
        topic: None,
    };
    let Some(word) = arguments.next() else {
        return Err(general("no command given".into()));
    };
    let word = word.to_string_lossy().into_owned();
    match word.as_str() {
        "-h" | "--help" => return Ok(Command::Help(None)),
        "-V" | "--version" => return Ok(Command::Version),
        "help" => {
            return match arguments.next() {
                None => Ok(Command::Help(None)),
                Some(topic) => {
                    command(&topic.to_string_lossy()).map(|spec| Command::Help(Some(spec.name)))
                }
            };
        }
        _ => {}
    }
    let spec = command(&word)?;
    let given = Given::read(spec, arguments)?;
    if given.help {
        return Ok(Command::Help(Some(spec.name)));
    }
    match spec.name {
        "run" => run(&given).map(Command::Run),
        "repl" => repl(&given).map(Command::Repl),
        "describe" => {
            given.no_positionals()?;
            let tools = given
                .path("--tools")
                .ok_or_else(|| given.error("--tools FILE is missing"))?;
            Ok(Command::Describe { tools })
        }
        _ => {
            given.no_positionals()?;
            Ok(Command::Doctor {
                host: given.path("--host"),
            })
        }
    }
}

fn command(word: &str) -> Result<&'static CommandSpec, UsageError> {
    COMMANDS
        .iter()
        .find(|spec| spec.name == word)
        .ok_or_else(|| {
            let names = COMMANDS.iter().map(|spec| spec.name).chain(["help"]);
            UsageError {
                message: format!("unknown command {word}{}", did_you_mean(word, names)),
                topic: None,
            }
        })
}

fn run(given: &Given) -> Result<RunOptions, UsageError> {
    let scripts: Vec<Script> = given
        .positionals
        .iter()
        .map(|name| {
            if name == "-" {
                Script::Stdin
            } else {
                Script::File(name.into())
            }
        })
        .collect();
    if scripts.is_empty() {
        return Err(given.error("no script given; name a file, or - for standard input"));
    }
    if scripts
        .iter()
        .filter(|script| **script == Script::Stdin)
        .count()
        > 1
    {
        return Err(given.error("standard input (-) can be read only once"));
    }
    Ok(RunOptions {
        scripts,
        tools: given.path("--tools"),
        timeout: given.duration("--timeout")?,
        json: given.has("--json"),
        store: given.path("--store"),
        host: given.path("--host"),
    })
}

fn repl(given: &Given) -> Result<ReplOptions, UsageError> {
    given.no_positionals()?;
    Ok(ReplOptions {
        tools: given.path("--tools"),
        yield_after: given.duration("--yield-after")?,
        store: given.path("--store"),
        host: given.path("--host"),
    })
}

/// What was given to a command, checked against its options only.
struct Given {
    spec: &'static CommandSpec,
    positionals: Vec<OsString>,
    options: Vec<(&'static str, OsString)>,
    help: bool,
}

impl Given {
    fn read(
        spec: &'static CommandSpec,
        mut arguments: impl Iterator<Item = OsString>,
    ) -> Result<Self, UsageError> {
        let mut given = Self {
            spec,
            positionals: Vec::new(),
            options: Vec::new(),
            help: false,
        };
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                given.positionals.extend(arguments);
                break;
            }
            let bytes = argument.as_encoded_bytes();
            if !bytes.starts_with(b"-") || argument == "-" {
                given.positionals.push(argument);
                continue;
            }
            if argument == "-h" || argument == "--help" {
                given.help = true;
                continue;
            }
            let (name, attached) = split_attached(&argument);
            let option = given.option(&name)?;
            if given.has(option.name) {
                return Err(given.error(format!("{} is given twice", option.name)));
            }
            let value = match (option.value, attached) {
                (None, None) => OsString::new(),
                (None, Some(_)) => {
                    return Err(given.error(format!("{} takes no value", option.name)));
                }
                (Some(_), Some(value)) => value,
                (Some(called), None) => arguments.next().ok_or_else(|| {
                    given.error(format!(
                        "{} needs a value: {} {called}",
                        option.name, option.name
                    ))
                })?,
            };
            given.options.push((option.name, value));
        }
        Ok(given)
    }

    fn option(&self, name: &str) -> Result<&'static OptionSpec, UsageError> {
        self.spec
            .options
            .iter()
            .find(|option| option.name == name)
            .ok_or_else(|| {
                let names = self
                    .spec
                    .options
                    .iter()
                    .map(|option| option.name)
                    .chain(["--help"]);
                self.error(format!(
                    "unknown option {name}{}",
                    did_you_mean(name, names)
                ))
            })
    }

    fn error(&self, message: impl Into<String>) -> UsageError {
        UsageError {
            message: message.into(),
            topic: Some(self.spec.name),
        }
    }

    fn no_positionals(&self) -> Result<(), UsageError> {
        match self.positionals.first() {
            None => Ok(()),
            Some(extra) => Err(self.error(format!("unexpected argument {}", extra.display()))),
        }
    }

    fn value(&self, name: &str) -> Option<&OsStr> {
        self.options
            .iter()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value.as_os_str())
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, UsageError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let text = value.to_string_lossy();
        parse_duration(&text).map(Some).ok_or_else(|| {
            self.error(format!(
                "{name} {text} is no duration; write a number above 0 with ms, s, m or h, such as 30s"
            ))
        })
    }
}

fn split_attached(argument: &OsStr) -> (String, Option<OsString>) {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = argument.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        None => (argument.to_string_lossy().into_owned(), None),
        Some(at) => {
            let (name, value) = bytes.split_at(at);
            let value = value.get(1..).unwrap_or_default();
            (
                String::from_utf8_lossy(name).into_owned(),
                Some(OsString::from_vec(value.to_vec())),
            )
        }
    }
}

fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known)
        .map(|name| format!("; did you mean {name}?"))
        .unwrap_or_default()
}

/// Reads a duration such as `250ms`, `1.5s`, `5m`, `1h`, or `30` for seconds; `None` for zero, a
/// negative number and anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * seconds_per_unit;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| !duration.is_zero())
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
