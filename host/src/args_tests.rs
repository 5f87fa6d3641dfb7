// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use pretty_assertions::assert_eq;

use super::*;

fn parse(arguments: &[&str]) -> Result<Args, UsageError> {
    Args::parse(arguments.iter().map(|&argument| argument.to_owned()), None)
}

#[track_caller]
fn refused(arguments: &[&str], message: &str) {
    let error = parse(arguments).err().expect("the arguments are refused");
    assert_eq!(
        error.to_string(),
        format!("{message}; see code_mode_host --help")
    );
}

#[test]
fn no_arguments_mean_serving_with_every_default() {
    let args = parse(&[]).unwrap();
    assert_eq!(args.command, Command::Serve);
    assert_eq!(args.log_format, LogFormat::Text);
    assert_eq!(args.config.timings, V1Timings::None);
}

#[test]
fn the_arguments_of_the_manifests_are_taken_and_a_host_drains_before_it_is_killed() {
    let manifest = include_str!("../fleet/kubernetes.yaml");
    // One in each line of a list, and no other list has such lines.
    let lines = manifest.lines().map(str::trim_start);
    let arguments: Vec<&str> = lines
        .filter_map(|line| line.strip_prefix("- "))
        .filter(|item| item.starts_with("--"))
        .collect();
    let listening = parse(&arguments).unwrap().listening;
    // Clients come from other machines.
    assert!(listening.tls.is_some() && listening.tokens.is_some() && !listening.insecure);
    assert_eq!(listening.tcp.len(), 1);
    assert!(listening.metrics.is_some(), "the probes ask for the page");
    let grace = manifest
        .lines()
        .find_map(|line| line.trim().strip_prefix("terminationGracePeriodSeconds: "))
        .map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
    assert!(listening.drain.is_some() && listening.drain < grace);
}

#[test]
fn what_scripts_are_and_see_is_the_operators_choice() {
    assert!(parse(&[]).unwrap().config.runtime.typescript);
    let off = parse(&["--typescript", "off"]).unwrap();
    assert!(!off.config.runtime.typescript);
    assert!(!parse(&[]).unwrap().config.runtime.exact_integers);
    let on = parse(&["--exact-integers", "on"]).unwrap();
    assert!(on.config.runtime.exact_integers);
    refused(
        &["--exact-integers=yes"],
        "--exact-integers cannot be \"yes\": it is on or off",
    );
    let globals = |arguments: &[&str]| parse(arguments).unwrap().config.runtime.globals;
    assert_eq!(globals(&[]), Globals::Contract);
    assert_eq!(globals(&["--globals", "web"]), Globals::Web);
    refused(
        &["--globals=all"],
        "unknown globals \"all\": they are contract or web",
    );
    refused(
        &["--typescript=no"],
        "--typescript cannot be \"no\": it is on or off",
    );
}

#[test]
fn every_option_is_understood_in_both_spellings() {
    for arguments in [
        &["--listen", "stdio", "--log-format", "json", "--timings"][..],
        &["--listen=stdio", "--log-format=json", "--timings"],
    ] {
        let args = parse(arguments).unwrap();
        assert_eq!(args.command, Command::Serve);
        assert_eq!(args.log_format, LogFormat::Json);
        assert_eq!(args.config.timings, V1Timings::Both);
    }
    assert_eq!(parse(&["-h"]).unwrap().command, Command::Help);
    assert_eq!(parse(&["--version"]).unwrap().command, Command::Version);
}

#[test]
fn limits_reach_the_runtime_and_the_connection() {
    let args = parse(&[
        "--limit",
        "heap=1000",
        "--limit=cpu-time=250",
        "--limit",
        "requests=3",
    ])
    .unwrap();
    assert_eq!(args.config.runtime.cell_limits.heap_bytes, Some(1000));
    assert_eq!(
        args.config.runtime.cell_limits.cpu_time,
        Some(Duration::from_millis(250))
    );
    assert_eq!(args.config.limits.requests_in_flight, 3);
}

#[test]
fn setting_each_limit_to_its_default_changes_nothing() {
    let mut config = HostConfig::default();
    let untouched = format!("{:?}", config.limits);
    for limit in LIMITS {
        set_limit(&mut config, &format!("{}={}", limit.name, limit.default)).unwrap();
    }
    assert_eq!(format!("{:?}", config.limits), untouched);
    let limits_of = |config: &HostConfig| {
        let limits = &config.runtime.cell_limits;
        runtime_limits::EffectiveLimits::of_operator(limits, usize::MAX, usize::MAX)
    };
    let cell = limits_of(&config);
    config.runtime.cell_limits = Default::default();
    assert_eq!(cell, limits_of(&config));
    assert_eq!(
        format!("{:?}", config.runtime),
        format!("{:?}", HostConfig::default().runtime)
    );
}

#[test]
fn each_limit_changes_something_and_is_in_the_help() {
    let help = help();
    for limit in LIMITS {
        let mut config = HostConfig::default();
        let before = format!("{:?}{:?}", config.limits, config.runtime);
        set_limit(
            &mut config,
            &format!("{}={}", limit.name, limit.default + 1),
        )
        .unwrap();
        assert_ne!(
            format!("{:?}{:?}", config.limits, config.runtime),
            before,
            "{}",
            limit.name
        );
        assert!(help.contains(limit.name));
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    refused(&["--frobnicate"], "unknown argument \"--frobnicate\"");
    refused(&["serve"], "unknown argument \"serve\"");
    refused(&["--listen"], "--listen needs a value");
    refused(
        &["--listen", "tcp://1"],
        "cannot listen on \"tcp://1\": it is stdio, grpc+stdio://, grpc://IP:PORT, grpc+unix:///PATH or grpc+systemd://",
    );
    refused(
        &["--log-format", "xml"],
        "unknown log format \"xml\": it is text or json",
    );
    refused(&["--timings=yes"], "--timings takes no value");
    refused(&["--limit", "heap"], "--limit \"heap\" is not NAME=VALUE");
    refused(&["--limit", "nope=1"], "unknown limit \"nope\"");
    for value in ["0", "-1", "1.5", "", "many"] {
        refused(
            &["--limit", &format!("heap={value}")],
            "--limit heap needs a whole number of bytes above 0",
        );
    }
    refused(
        &["--limit", "answer-spin=-1"],
        "--limit answer-spin needs a whole number of µs",
    );
}

#[test]
fn zero_switches_off_what_can_be_switched_off_and_nothing_else() {
    for limit in LIMITS {
        let argument = format!("{}=0", limit.name);
        let zero = set_limit(&mut HostConfig::default(), &argument);
        assert_eq!(
            zero.is_ok(),
            ["ready-isolates", "answer-spin", "kept-output"].contains(&limit.name),
            "{argument}"
        );
    }
}

#[test]
fn timings_are_chosen_by_argument_or_by_environment_and_the_argument_goes_first() {
    let parse = |arguments: &[&str], environment: Option<&str>| {
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        let environment = environment.map(str::to_owned);
        Args::parse(arguments, environment).map(|args| args.config.timings)
    };
    let duration = Ok(V1Timings::Duration);
    assert_eq!(parse(&["--v1-timings", "duration"], None), duration);
    assert_eq!(parse(&[], Some("duration")), duration);
    assert_eq!(parse(&["--v1-timings=duration"], Some("both")), duration);
    assert_eq!(
        parse(&["--v1-timings=none"], Some("both")),
        Ok(V1Timings::None)
    );
    for (arguments, environment, source) in [
        (&["--v1-timings=all"][..], None, "--v1-timings"),
        (&[][..], Some("all"), V1_TIMINGS),
    ] {
        let error = parse(arguments, environment).expect_err("the value is unknown");
        assert_eq!(
            error.to_string(),
            format!(
                "unknown timings \"all\" in {source}: they are none, duration or both; see \
                 code_mode_host --help"
            )
        );
    }
}

#[test]
fn what_scripts_see_of_their_surroundings_can_be_set_for_cells_in_processes() {
    let args = parse(&[
        "--time-zone",
        "America/Argentina/Buenos_Aires",
        "--locale=zh-Hant-TW",
        "--jit",
        "off",
    ])
    .unwrap();
    assert_eq!(args.jit, Jit::Off);
    let region = Region {
        time_zone: Some("America/Argentina/Buenos_Aires".to_owned()),
        locale: Some("zh-Hant-TW".to_owned()),
    };
    assert_eq!(args.region, region);
    refused(
        &["--time-zone", "../etc/passwd"],
        "--time-zone \"../etc/passwd\" is no name: an example is Europe/Berlin",
    );
    refused(
        &["--locale", ""],
        "--locale \"\" is no name: an example is de-DE",
    );
    refused(&["--jit", "yes"], "--jit \"yes\" is neither on nor off");
    for arguments in [
        &["--cells", "threads", "--locale", "de"][..],
        &["--jit", "off", "--cells", "threads"],
    ] {
        refused(
            arguments,
            "--jit, --time-zone and --locale need cells in processes of their own",
        );
    }
}
