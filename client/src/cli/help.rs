//! The help texts, made from the table of commands.

use super::args::{COMMANDS, CommandSpec, OptionSpec};

/// The help text of a command, or of the program when `topic` is none of its commands.
pub fn text(topic: Option<&str>) -> String {
    match COMMANDS.iter().find(|spec| Some(spec.name) == topic) {
        Some(spec) => command_text(spec),
        None => program_text(),
    }
}

fn program_text() -> String {
    let mut text = String::from(
        "code_mode runs JavaScript that calls tools, in a host process of its own.\n\n\
         Usage: code_mode COMMAND [ARGUMENTS]\n\nCommands:\n",
    );
    for spec in COMMANDS {
        text.push_str(&format!("  {:<10}{}\n", spec.name, spec.summary));
    }
    text.push_str(
        "  help      print this, or the help of a command: code_mode help run\n\n\
         Options: --help, --version\n",
    );
    text
}

fn command_text(spec: &CommandSpec) -> String {
    let mut text = format!("code_mode {}: {}\n\n", spec.name, spec.summary);
    text.push_str(&format!(
        "Usage: code_mode {} {}\n\nOptions:\n",
        spec.name, spec.usage
    ));
    let help = OptionSpec {
        name: "--help",
        value: None,
        help: "print this",
    };
    for option in spec.options.iter().chain([&help]) {
        let shown = match option.value {
            Some(value) => format!("{} {value}", option.name),
            None => option.name.to_owned(),
        };
        text.push_str(&format!("  {shown:<18}{}\n", option.help));
    }
    if !spec.notes.is_empty() {
        text.push_str(&format!("\n{}\n", spec.notes));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_help_names_every_command() {
        let text = text(None);
        for spec in COMMANDS {
            assert!(text.contains(&format!("\n  {}", spec.name)), "{text}");
        }
    }

    #[test]
    fn a_commands_help_names_every_option_with_its_value() {
        let text = text(Some("run"));
        for shown in [
            "--tools FILE",
            "--timeout D",
            "--json",
            "--store FILE",
            "--host PATH",
        ] {
            assert!(text.contains(&format!("\n  {shown} ")), "{text}");
        }
        assert!(text.contains("Exit status: 0 completed"), "{text}");
    }

    #[test]
    fn no_line_is_too_long_for_a_terminal() {
        let topics = COMMANDS.iter().map(|spec| Some(spec.name)).chain([None]);
        for line in
            topics.flat_map(|topic| text(topic).lines().map(str::to_owned).collect::<Vec<_>>())
        {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
