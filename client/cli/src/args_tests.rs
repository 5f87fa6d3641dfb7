// SPDX-License-Identifier: Apache-2.0
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use clap::CommandFactory;
use pretty_assertions::assert_eq;

use super::*;

fn parse(line: &str) -> Result<Cli, String> {
    let words = std::iter::once("code_mode").chain(line.split_whitespace());
    Cli::try_parse_from(words).map_err(|error| error.to_string())
}

fn run_args(line: &str) -> RunArgs {
    match parse(line).unwrap().command {
        Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

fn scripts(line: &str) -> Result<(Vec<Script>, Vec<String>), String> {
    run_args(line).scripts()
}

#[test]
fn the_declaration_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn options_may_stand_before_and_behind_the_script() {
    let line = "run --tools=t.json a.js one --tools u.json --timeout 30s two --json --store s.json \
                --host=/h --limit heap=1MiB --limit timers=3 --images i --input {} -v";
    let args = run_args(line);
    let file = |name: &str| Script::File(name.into());
    assert_eq!(
        args.scripts(),
        Ok((vec![file("a.js")], vec!["one".to_owned(), "two".to_owned()]))
    );
    assert_eq!(
        args.session.tools,
        [PathBuf::from("t.json"), PathBuf::from("u.json")]
    );
    assert_eq!(args.timeout, Some(Duration::from_secs(30)));
    assert!(args.json);
    assert_eq!(args.session.store, Some("s.json".into()));
    assert_eq!(args.session.host.host, Some("/h".into()));
    assert_eq!(args.session.images, Some("i".into()));
    assert_eq!(args.session.limits.len(), 2);
    assert_eq!(args.input.as_deref(), Some("{}"));
    assert_eq!(parse(line).unwrap().common.verbose, 1);
}

#[test]
fn what_stands_behind_two_dashes_is_the_scripts() {
    let file = |name: &str| vec![Script::File(name.into())];
    assert_eq!(
        scripts("run a.js x -- --tools -v"),
        Ok((
            file("a.js"),
            ["x", "--tools", "-v"].map(str::to_owned).to_vec()
        ))
    );
    assert_eq!(scripts("run -- --tools"), Ok((file("--tools"), vec![])));
    assert_eq!(
        scripts("run -e 1 a -- -b"),
        Ok((
            vec![Script::Code("1".into())],
            vec!["a".into(), "-b".into()]
        ))
    );
}

#[test]
fn scripts_come_from_files_standard_input_and_the_command_line() {
    assert_eq!(scripts("run -"), Ok((vec![Script::Stdin], vec![])));
    let first = Script::File("a.js".into());
    assert_eq!(
        scripts("run --first a.js --first - b.js"),
        Ok((
            vec![first, Script::Stdin, Script::File("b.js".into())],
            vec![]
        ))
    );
}

#[test]
fn each_misuse_is_named() {
    let missing = scripts("run --json").unwrap_err();
    assert_eq!(
        missing,
        "no script given: name a file, - for standard input, or -e CODE"
    );
    for line in ["run --first - -", "run - --input @-"] {
        assert_eq!(
            scripts(line).unwrap_err(),
            "standard input (-) can be read only once"
        );
    }
    for (line, expected) in [
        ("run a.js --tool x", "a similar argument exists: '--tools'"),
        ("rum a.js", "a similar subcommand exists: 'run'"),
        ("run a.js --timeout soon", "such as 30s"),
        ("run a.js --limit haep=1", "did you mean heap?"),
        (
            "run a.js --tools",
            "a value is required for '--tools <FILE>'",
        ),
        ("run a.js --json --json", "cannot be used multiple times"),
        ("run a.js -q -v", "cannot be used with"),
        ("completions powershell", "bash, zsh and fish"),
        ("describe extra", "unexpected argument 'extra'"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn an_argument_that_is_no_text_is_refused() {
    let mut args = run_args("run a.js");
    args.words.push(OsStr::from_bytes(b"\xff").to_owned());
    assert!(args.scripts().unwrap_err().contains("is not UTF-8 text"));
}

#[test]
fn no_line_of_the_help_is_too_long_for_a_terminal() {
    let mut command = Cli::command();
    command.build();
    for command in command.get_subcommands_mut() {
        for line in command.render_long_help().to_string().lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn every_command_has_completions_in_every_shell() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "code_mode", &mut text);
        let text = String::from_utf8(text).unwrap();
        for word in ["run", "repl", "describe", "doctor", "timeout", "images"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
        assert!(!text.contains(crate::guard::COMMAND), "{shell}");
    }
}
