// SPDX-License-Identifier: Apache-2.0
use std::os::unix::ffi::OsStringExt;

use pretty_assertions::assert_eq;

use super::*;

fn hosts() -> Program {
    Program::Hosts { default_host: None }
}

fn parse_as(program: &Program, line: &str) -> Result<Parsed, UsageError> {
    program.parse(line.split_whitespace().map(OsString::from))
}

fn options(line: &str) -> Options {
    match parse_as(&hosts(), line) {
        Ok(Parsed::Measure(options)) => options,
        other => panic!("{line:?} gave {other:?}"),
    }
}

fn error(line: &str) -> String {
    parse_as(&hosts(), line).unwrap_err().to_string()
}

#[test]
fn without_options_the_defaults_hold_and_the_environment_names_the_host() {
    let program = Program::Hosts {
        default_host: Some("from-environment".into()),
    };
    let Ok(Parsed::Measure(options)) = parse_as(&program, "") else {
        panic!("it is a measurement");
    };
    assert_eq!(options.hosts, [HostCommand::new("from-environment")]);
    let counts = (options.samples, options.warm_iterations, options.rounds);
    assert_eq!(counts, (200, 50, 2));
    assert_eq!(options.tool_counts, [0, 32, 128]);
    assert_eq!(options.pause, Duration::from_millis(5));
    assert!(!options.json);
    assert_eq!(options.scenarios().len(), 25);
}

#[test]
fn each_host_has_a_transport_of_its_own() {
    let three = options("--host a --transport grpc --host b --host c --transport unix");
    let transports: Vec<Transport> = three.hosts.iter().map(|host| host.transport).collect();
    assert_eq!(
        transports,
        [Transport::Grpc, Transport::Frames, Transport::Unix]
    );
    let usual = options("--transport grpc+stdio --host a --host b --transport frames");
    let transports: Vec<Transport> = usual.hosts.iter().map(|host| host.transport).collect();
    assert_eq!(transports, [Transport::GrpcStdio, Transport::Frames]);
    let program = Program::Hosts {
        default_host: Some("from-environment".into()),
    };
    let Ok(Parsed::Measure(alone)) = parse_as(&program, "--transport unix") else {
        panic!("it is a measurement");
    };
    assert_eq!(alone.hosts[0].transport, Transport::Unix);
    assert_eq!(
        error("--host a --transport carrier-pigeon"),
        "\"carrier-pigeon\" is no transport: it is frames, grpc+stdio, grpc or unix"
    );
}

#[test]
fn every_option_is_taken() {
    let options = options(
        "--host a --samples 7 --warm-iterations 0 --tool-counts 3,0 --rounds 4 --pause 0 --only warm \
         --typescript --json",
    );
    assert_eq!(options.hosts, [HostCommand::new("a")]);
    let counts = (options.samples, options.warm_iterations, options.rounds);
    assert_eq!(counts, (7, 0, 4));
    assert!(options.pause.is_zero());
    assert!(options.json);
    let names: Vec<String> = options
        .scenarios()
        .into_iter()
        .map(Scenario::name)
        .collect();
    assert_eq!(
        names,
        [
            "warm exec, 3 tools",
            "warm exec, 0 tools",
            "warm exec, 0 tools, back to back",
            "warm exec, 20 KiB script",
            "warm exec, 1 KiB without types",
            "warm exec, 1 KiB TypeScript",
            "warm exec, 20 KiB without types",
            "warm exec, 20 KiB TypeScript",
            "warm exec, 200 KiB without types",
            "warm exec, 200 KiB TypeScript",
            "warm exec, output of 64 KiB",
            "warm exec, output of 1 MiB",
        ]
    );
    assert_eq!(options.task(Scenario::Wait).samples, 2);
}

#[test]
fn arguments_belong_to_the_host_before_them_even_when_they_look_like_options() {
    let options = options("--host a --host-arg --limit --host-arg x=1 --host b --host-arg --json");
    let arguments: Vec<_> = options.hosts.iter().map(|host| &host.arguments).collect();
    assert_eq!(
        arguments,
        [
            &vec![OsString::from("--limit"), "x=1".into()],
            &vec!["--json".into()]
        ]
    );
    assert!(!options.json);
}

#[test]
fn each_wrong_use_is_named() {
    for (line, expected) in [
        (
            "",
            "no host to measure: name one with --host PATH, or set CODE_MODE_HOST",
        ),
        (
            "--host-arg x --host a",
            "--host-arg belongs to the --host before it, and there is none",
        ),
        ("--host", "--host needs a value"),
        ("--host a --only", "--only needs a value"),
        (
            "--host a --samples many",
            "--samples needs a whole number, and \"many\" is none",
        ),
        (
            "--host a --samples 99999999999999999999",
            "--samples needs a whole number, and \"99999999999999999999\" is none",
        ),
        (
            "--host a --warm-iterations -1",
            "--warm-iterations needs a whole number, and \"-1\" is none",
        ),
        (
            "--host a --tool-counts 1,,2",
            "--tool-counts needs a whole number, and \"\" is none",
        ),
        (
            "--host a --pause 0.5",
            "--pause needs a whole number, and \"0.5\" is none",
        ),
        ("--host a --samples 0", "--samples has to be at least 1"),
        ("--host a --rounds 0", "--rounds has to be at least 1"),
        ("--host a --fast", "\"--fast\" is no option"),
        ("a", "\"a\" is no option"),
    ] {
        assert_eq!(error(line), expected, "{line:?}");
    }
}

#[test]
fn an_only_that_leaves_nothing_lists_the_scenarios() {
    let error = error("--host a --only nothing --tool-counts 5");
    assert!(error.starts_with("no scenario's name contains \"nothing\""));
    assert!(error.contains("; warm exec, 5 tools;"), "{error}");
}

#[test]
fn a_host_need_not_be_text_and_a_number_must_be() {
    let strange = OsString::from_vec(vec![0xff]);
    let parse = |flag: &str| hosts().parse([OsString::from(flag), strange.clone()]);
    assert!(matches!(parse("--host"), Ok(Parsed::Measure(_))));
    assert!(matches!(
        parse("--samples"),
        Err(UsageError::NotText { .. })
    ));
}

#[test]
fn hosts_are_no_business_of_the_program_that_measures_in_process() {
    for flag in ["--host", "--host-arg"] {
        let found = parse_as(&Program::InProcess, &format!("{flag} a"));
        let argument = OsString::from(flag);
        assert_eq!(found, Err(UsageError::Unknown { argument }));
        assert!(!Program::InProcess.usage().contains(flag));
    }
    let found = parse_as(&Program::InProcess, "--only start");
    let Ok(Parsed::Measure(options)) = found else {
        panic!("it is a measurement");
    };
    assert_eq!(options.scenarios(), [Scenario::RuntimeStart]);
}

#[test]
fn what_the_usage_text_lists_is_what_is_parsed() {
    let usage = hosts().usage();
    let lines: Vec<&str> = usage
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .collect();
    assert_eq!(lines.len(), HOST_FLAGS.len() + FLAGS.len());
    for line in lines {
        let mut words = line.split_whitespace();
        let flag = words.next().unwrap();
        let example = match words.next().unwrap() {
            "PATH" | "ARG" => "x",
            "N" | "MS" => "3",
            "N,N" => "3,4",
            "TEXT" => "exec",
            "NAME" => "grpc",
            _ => "",
        };
        let line = format!("--host a {flag} {example}");
        assert!(parse_as(&hosts(), &line).is_ok(), "{line:?}");
        if !example.is_empty() {
            let flag = flag.to_owned();
            let found = parse_as(&hosts(), &format!("--host a {flag}"));
            assert_eq!(found, Err(UsageError::MissingValue { flag }));
        }
    }
}

#[test]
fn help_is_given_whatever_else_is_asked() {
    assert_eq!(parse_as(&hosts(), "--json --help"), Ok(Parsed::Help));
}

#[test]
fn a_task_can_be_handed_to_another_process() {
    let Ok(Parsed::Measure(ours)) = parse_as(&Program::InProcess, "--pause 9 --tool-counts 17,0")
    else {
        panic!("it is a measurement");
    };
    for scenario in ours.scenarios() {
        let task = ours.task(scenario);
        let Ok(Parsed::Measure(theirs)) = Program::InProcess.parse(task.arguments()) else {
            panic!("{task:?}");
        };
        assert_eq!(theirs.only_task(), Some(task));
    }
}
