use pretty_assertions::assert_eq;

use super::*;

fn parse_words(line: &str) -> Result<Command, UsageError> {
    parse(line.split_whitespace().map(OsString::from))
}

#[track_caller]
fn check_error(line: &str, expected: &str) {
    assert_eq!(parse_words(line).unwrap_err().to_string(), expected);
}

#[test]
fn run_takes_scripts_and_options_in_any_order() {
    let expected = Command::Run(RunOptions {
        scripts: vec![Script::File("a.js".into()), Script::Stdin],
        tools: Some("t.json".into()),
        timeout: Some(Duration::from_secs(30)),
        json: true,
        store: Some("s.json".into()),
        host: Some("/h".into()),
    });
    let line = "run --tools=t.json a.js --timeout 30s - --json --store s.json --host=/h";
    assert_eq!(parse_words(line).unwrap(), expected);
}

#[test]
fn what_follows_two_dashes_is_a_script() {
    let Command::Run(options) = parse_words("run -- --tools").unwrap() else {
        panic!("not run")
    };
    assert_eq!(options.scripts, [Script::File("--tools".into())]);
}

#[test]
fn a_mistyped_option_is_answered_with_the_nearest_one() {
    check_error(
        "run a.js --tool x",
        "unknown option --tool; did you mean --tools?\nsee `code_mode help run`",
    );
    check_error(
        "run a.js --quux",
        "unknown option --quux\nsee `code_mode help run`",
    );
    check_error(
        "rum a.js",
        "unknown command rum; did you mean run?\nsee `code_mode help`",
    );
}

#[test]
fn each_misuse_is_named() {
    check_error("", "no command given\nsee `code_mode help`");
    check_error(
        "run",
        "no script given; name a file, or - for standard input\nsee `code_mode help run`",
    );
    check_error(
        "run - -",
        "standard input (-) can be read only once\nsee `code_mode help run`",
    );
    check_error(
        "run a.js --tools",
        "--tools needs a value: --tools FILE\nsee `code_mode help run`",
    );
    check_error(
        "run a.js --json --json",
        "--json is given twice\nsee `code_mode help run`",
    );
    check_error(
        "run a.js --json=1",
        "--json takes no value\nsee `code_mode help run`",
    );
    check_error(
        "run a.js --timeout soon",
        "--timeout soon is no duration; write a number above 0 with ms, s, m or h, such as 30s\n\
         see `code_mode help run`",
    );
    check_error(
        "describe",
        "--tools FILE is missing\nsee `code_mode help describe`",
    );
    check_error(
        "doctor now",
        "unexpected argument now\nsee `code_mode help doctor`",
    );
}

#[test]
fn help_can_be_asked_for_in_three_ways() {
    assert_eq!(parse_words("help run").unwrap(), Command::Help(Some("run")));
    assert_eq!(
        parse_words("run --help").unwrap(),
        Command::Help(Some("run"))
    );
    assert_eq!(parse_words("--help").unwrap(), Command::Help(None));
}

#[test]
fn durations_have_units() {
    assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
    assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
    assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
    assert_eq!(parse_duration("1h"), Some(Duration::from_secs(3600)));
    assert_eq!(parse_duration("7"), Some(Duration::from_secs(7)));
    for wrong in ["", "s", "0", "-1s", "1d", "1.2.3s", "9e99"] {
        assert_eq!(parse_duration(wrong), None, "{wrong}");
    }
}

#[test]
fn a_path_need_not_be_unicode() {
    use std::os::unix::ffi::OsStringExt;
    let odd = OsString::from_vec(b"--store=\xff".to_vec());
    let command = parse(["repl".into(), odd]).unwrap();
    let expected = PathBuf::from(OsString::from_vec(vec![0xff]));
    assert_eq!(
        command,
        Command::Repl(ReplOptions {
            store: Some(expected),
            ..Default::default()
        })
    );
}
