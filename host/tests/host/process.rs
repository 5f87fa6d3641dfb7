// SPDX-License-Identifier: Apache-2.0
//! The built program: its streams, its arguments, and how it ends.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Output, Stdio};
use std::time::Instant;

use code_mode_host::EXIT_DEADLINE;
use serde_json::{Value, json};

use crate::program::{Host, finish, hello, host, next, open, request, waiting_for_a_tool};
use crate::support::{SLACK, execute, frame};

#[test]
fn help_and_version_are_printed_and_unknown_arguments_are_usage_errors() {
    let help = finish(host().arg("--help"));
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(text.contains("Usage: code_mode_host") && text.contains("--limit NAME=VALUE"));

    let version = finish(host().arg("--version"));
    assert!(version.status.success());
    let text = String::from_utf8(version.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("code_mode_host "), "{text}");
    assert!(lines[1].starts_with("V8 ") && lines[1].len() > 8, "{text}");
    assert_eq!(lines[2], "sandbox on");

    for arguments in [
        &["--frobnicate"][..],
        &["--listen", "tcp"],
        &["--limit", "heap=x"],
    ] {
        let refused = finish(host().args(arguments));
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(refused.stdout.is_empty());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--help"));
    }
}

#[test]
fn an_empty_input_is_a_clean_end() {
    let output = finish(&mut host());
    assert!(output.status.success());
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[test]
fn the_end_of_input_ends_a_spinning_cell_and_the_process_cleanly_and_in_time() {
    let mut host = Host::ready(&[]);
    host.send(&request(1, &execute(&[], "for (;;) {}")));
    assert_eq!(
        next(&mut host.output).unwrap()["result"]["value"]["cellId"],
        "1"
    );
    let start = Instant::now();
    drop(host.input.take());
    let (status, stderr) = host.end();
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(
        start.elapsed() < EXIT_DEADLINE + SLACK,
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_violation_ends_the_process_in_time_with_the_reason_on_standard_error() {
    let mut host = Host::ready(&[]);
    host.send(&request(1, &execute(&[], "for (;;) {}")));
    assert_eq!(
        next(&mut host.output).unwrap()["result"]["value"]["cellId"],
        "1"
    );
    let start = Instant::now();
    host.send(&hello());
    let (status, stderr) = host.end();
    assert_eq!(status, Some(3));
    assert!(stderr.contains("protocol violation by the client: a second connection/hello"));
    assert!(
        start.elapsed() < EXIT_DEADLINE + SLACK,
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_client_that_reads_nothing_does_not_keep_a_failed_host_alive() {
    let mut host = Host::ready(&[]);
    host.send(&request(1, &execute(&[], "text('x'.repeat(4 << 20))")));
    host.send(&request(2, &execute(&[], "for (;;) {}")));
    let start = Instant::now();
    host.send(&hello());
    let (status, _) = host.end();
    assert_eq!(status, Some(3));
    assert!(
        start.elapsed() < EXIT_DEADLINE + SLACK,
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn the_reason_is_told_whatever_the_log_filter_says_and_in_the_format_asked_for() {
    for (filter, format) in [
        ("off", "text"),
        ("warn", "json"),
        ("no such filter!", "text"),
    ] {
        let mut child = host()
            .args(["--log-format", format])
            .env("RUST_LOG", filter)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(&[1, 0, 0, 0, b'{'])
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains("protocol violation by the client"),
            "{filter}: {stderr}"
        );
        if format == "json" {
            let line: Value = serde_json::from_str(stderr.lines().next().unwrap()).unwrap();
            assert_eq!(line["level"], "ERROR");
        }
    }
}

#[test]
fn descriptor_1_is_standard_error_so_that_nothing_else_writes_into_the_frames() {
    let host = Host::ready(&[]);
    let descriptor =
        |number: u32| std::fs::read_link(format!("/proc/{}/fd/{number}", host.child.id())).unwrap();
    assert_eq!(descriptor(1), descriptor(2));
}

#[test]
fn limits_of_the_command_line_are_in_force() {
    let mut host = Host::ready(&["--limit", "source=5"]);
    host.send(&request(1, &execute(&[], "text('too long')")));
    let answer = next(&mut host.output).unwrap();
    let message = answer["result"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("the limit of 5 source bytes is reached"),
        "{message}"
    );
}

#[test]
fn timings_are_sent_with_the_flag_only() {
    for (arguments, timings) in [(&[][..], false), (&["--timings"][..], true)] {
        let mut host = Host::ready(arguments);
        host.send(&request(1, &execute(&[], "text(1)")));
        next(&mut host.output).unwrap();
        let first = next(&mut host.output).unwrap();
        let result = &first["result"]["value"]["Result"];
        assert_eq!(result["code_mode_host_duration_ns"].is_u64(), timings);
    }
}

#[test]
fn files_and_sockets_serve_as_well_as_pipes() {
    let shutdown = request(2, &json!({"method": "session/shutdown", "sessionId": "s1"}));
    let session = [frame(&hello()), frame(&open()), frame(&shutdown)].concat();
    let last = |mut output: Box<dyn Read>| {
        let frames: Vec<Value> = std::iter::from_fn(|| next(&mut output)).collect();
        assert_eq!(frames.len(), 3, "{frames:?}");
        assert_eq!(frames[2]["result"]["value"]["type"], "session/closed");
    };

    let mut input = tempfile::tempfile().unwrap();
    input.write_all(&session).unwrap();
    input.rewind().unwrap();
    let mut output = tempfile::tempfile().unwrap();
    let status = host().stdin(input).stdout(file(&output)).status().unwrap();
    assert!(status.success());
    output.rewind().unwrap();
    last(Box::new(output));

    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let output: OwnedFd = theirs.try_clone().unwrap().into();
    let mut child = host()
        .stdin(OwnedFd::from(theirs))
        .stdout(output)
        .spawn()
        .unwrap();
    ours.write_all(&session).unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(child.wait().unwrap().success());
    last(Box::new(ours));
}

fn file(file: &File) -> File {
    file.try_clone().unwrap()
}

#[test]
fn spans_are_told_on_standard_error_if_they_are_asked_for_and_frames_stay_alone_on_the_output() {
    for (filter, format, told) in [
        (None, "text", false),
        (Some("code_mode::timing=debug"), "text", true),
        (Some("code_mode::timing=debug"), "json", true),
        (Some("code_mode::timing=info"), "text", false),
    ] {
        let mut command = host();
        command.args(["--log-format", format]);
        if let Some(filter) = filter {
            command.env("RUST_LOG", filter);
        }
        let mut host = Host::from(command);
        for message in [hello(), open(), request(1, &execute(&[], "text(1)"))] {
            host.send(&message);
        }
        let types: Vec<Value> = (0..5)
            .map(|_| next(&mut host.output).unwrap()["type"].take())
            .collect();
        assert_eq!(
            types,
            [
                "connection/ready",
                "operation/response",
                "operation/response",
                "execute/initialResponse",
                "cell/closed"
            ]
        );
        drop(host.input.take());
        let (status, stderr) = host.end();
        assert_eq!(status, Some(0));
        let encoded = |line: &&str| {
            ["encode", "close", "bytes", "time.busy", "time.idle"]
                .iter()
                .all(|part| line.contains(part))
        };
        let count = stderr.lines().filter(encoded).count();
        assert_eq!(count, if told { 5 } else { 0 }, "{filter:?}: {stderr}");
        assert!(told || stderr.is_empty(), "{filter:?}: {stderr}");
    }
}

#[test]
fn the_confinement_of_cells_can_be_checked_and_the_check_can_fail() {
    let checked = finish(host().arg("--check-confinement"));
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success(), "{text}");
    assert!(
        text.contains("read a file: ended at its call (openat, number 257)"),
        "{text}"
    );
    assert!(!text.contains("SUCCEEDED"), "{text}");

    let open = finish(host().args(["--check-confinement", "--confine", "none"]));
    let text = String::from_utf8(open.stdout).unwrap();
    assert_eq!(open.status.code(), Some(1), "{text}");
    assert!(text.contains("read a file: SUCCEEDED"), "{text}");
    assert!(text.contains("fork: SUCCEEDED"), "{text}");
}

/// What comes of a host that finds no Landlock in its kernel.
fn without_landlock(arguments: &[&str]) -> Output {
    use std::os::unix::process::CommandExt;
    // Of the filter's own machine (`linux/bpf_common.h`).
    const LOAD: u16 = 0x20;
    const JUMP_UNLESS_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let call = u32::try_from(libc::SYS_landlock_create_ruleset).unwrap();
    let unknown = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    // The number of a call is the first thing that a filter can load.
    let mut filter = [
        step(LOAD, 0, 0),
        step(JUMP_UNLESS_EQUAL, 1, call),
        step(RETURN, 0, unknown),
        step(RETURN, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let deny = move || {
        let program = libc::sock_fprog {
            len: 4,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: the first call takes numbers; the second reads the program, which has as many steps as it
        // says, and both live until it returns.
        let denied = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                ) == 0
        };
        match denied {
            true => Ok(()),
            false => Err(std::io::Error::last_os_error()),
        }
    };
    let mut command = host();
    // SAFETY: between the fork and the exec the closure makes calls into the kernel alone.
    unsafe { command.args(arguments).pre_exec(deny) };
    finish(&mut command)
}

#[test]
fn where_the_kernel_lacks_something_a_strict_host_refuses_and_others_say_so_once() {
    let strict = without_landlock(&["--confine", "strict"]);
    let told = String::from_utf8(strict.stderr).unwrap();
    assert_eq!(strict.status.code(), Some(2), "{told}");
    let reason = "strict confinement needs what this kernel lacks: Landlock";
    assert!(told.contains(reason), "{told}");

    let serving = without_landlock(&[]);
    let told = String::from_utf8(serving.stderr).unwrap();
    assert_eq!(serving.status.code(), Some(0), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("lacking=\"Landlock\""), "{told}");

    let checked = without_landlock(&["--check-confinement"]);
    let told = String::from_utf8(checked.stdout).unwrap();
    assert!(told.starts_with("lacking: Landlock\n"), "{told}");
}

#[test]
fn every_thread_of_a_host_is_confined_unless_it_was_asked_not_to_be() {
    let of = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    // Whoever runs the tests may be confined already.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let (own_filter, own_privileges) = (of(&own, "Seccomp:"), of(&own, "NoNewPrivs:"));
    for (arguments, filtered, privileges) in [
        (&[][..], "2", "1"),
        (&["--confine", "none"][..], &*own_filter, &*own_privileges),
    ] {
        let mut host = Host::ready(arguments);
        // By then it has all its threads.
        host.send(&request(1, &execute(&[], "text(1)")));
        for _ in 0..3 {
            next(&mut host.output).unwrap();
        }
        let tasks = format!("/proc/{}/task", host.child.id());
        let tasks: Vec<_> = std::fs::read_dir(tasks).unwrap().collect();
        assert!(tasks.len() > 1, "{tasks:?}");
        for task in tasks {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            assert_eq!(of(&status, "Seccomp:"), filtered, "{arguments:?}: {status}");
            assert_eq!(
                of(&status, "NoNewPrivs:"),
                privileges,
                "{arguments:?}: {status}"
            );
        }
        drop(host.input.take());
        let (status, stderr) = host.end();
        assert_eq!(status, Some(0), "{stderr}");
        assert_eq!(stderr.is_empty(), arguments.is_empty(), "{stderr}");
    }
}

#[test]
fn scripts_of_a_host_reach_no_native_code_by_the_names_of_attempts() {
    let mut host = Host::ready(&[]);
    let source = "text(load('attempt: fork: 1 2 3 4 /'))";
    host.send(&request(1, &execute(&[], source)));
    next(&mut host.output).unwrap();
    let first = next(&mut host.output).unwrap();
    let items = &first["result"]["value"]["Result"]["content_items"];
    assert_eq!(items[0]["text"], "undefined", "{first}");
}

/// Sends a signal to the host alone, or to all processes of its group.
fn signal(host: &Host, whom: Whom, signal: libc::c_int) {
    let pid = host.child.id().cast_signed();
    let pid = match whom {
        Whom::Host => pid,
        Whom::Group => -pid,
    };
    // SAFETY: the call takes two numbers; the host is a child that was not reaped, in a group of its own.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

#[derive(Clone, Copy)]
enum Whom {
    Host,
    Group,
}

#[test]
fn a_host_that_is_told_to_end_begins_nothing_new_and_lets_cells_come_to_their_end() {
    for (whom, number) in [
        (Whom::Host, libc::SIGTERM),
        (Whom::Group, libc::SIGINT),
        (Whom::Group, libc::SIGTERM),
    ] {
        let (mut host, call) = waiting_for_a_tool(&["--drain", "3600"]);
        signal(&host, whom, number);
        // What is asked before the host has heard the signal is still begun.
        let mut id = 2;
        let refusal = loop {
            let open = json!({"method": "session/open", "sessionId": format!("other {id}")});
            host.send(&request(id, &open));
            let answer = next(&mut host.output).unwrap();
            if answer["result"]["status"] == "error" {
                break answer;
            }
            id += 1;
        };
        let message = refusal["result"]["message"].as_str().unwrap();
        assert!(message.contains("begins nothing new"), "{message}");
        host.send(&request(id + 1, &execute(&[], "text(1)")));
        let answer = next(&mut host.output).unwrap();
        assert_eq!(answer["result"]["status"], "error", "{answer}");

        let result = json!({"status": "ok", "value": {"type": "tool/result", "result": "late"}});
        host.send(&json!({"type": "delegate/response", "id": call, "result": result}));
        let first = next(&mut host.output).unwrap();
        let items = &first["result"]["value"]["Result"]["content_items"];
        assert_eq!(items[0]["text"], "late", "{first}");
        assert_eq!(next(&mut host.output).unwrap()["type"], "cell/closed");
        assert_eq!(next(&mut host.output), None);
        assert_eq!(host.end(), (Some(0), String::new()));
    }
}

#[test]
fn cells_that_outlast_the_time_of_a_drain_are_terminated_and_the_client_is_told() {
    // A second signal ends the time as well.
    for (seconds, signals) in [("0", 1), ("3600", 2)] {
        let (mut host, _) = waiting_for_a_tool(&["--drain", seconds]);
        for _ in 0..signals {
            signal(&host, Whom::Host, libc::SIGTERM);
            // Two signals that come at one time are one.
            if signals > 1 {
                let mut id = 2;
                loop {
                    let shut = json!({"method": "session/shutdown", "sessionId": "none"});
                    host.send(&request(id, &shut));
                    next(&mut host.output).unwrap();
                    let open = json!({"method": "session/open", "sessionId": format!("{id}")});
                    host.send(&request(id + 1, &open));
                    if next(&mut host.output).unwrap()["result"]["status"] == "error" {
                        break;
                    }
                    id += 2;
                }
                signal(&host, Whom::Host, libc::SIGTERM);
                break;
            }
        }
        let mut told = Vec::new();
        while let Some(message) = next(&mut host.output) {
            told.push(message);
        }
        assert!(
            told.iter()
                .any(|message| message["result"]["value"]["Terminated"]["cell_id"] == "1"),
            "{told:?}"
        );
        assert_eq!(told.last().unwrap()["type"], "cell/closed", "{told:?}");
        let (status, stderr) = host.end();
        assert_eq!(status, Some(0));
        assert!(stderr.contains("they are ended"), "{stderr}");
    }
}

#[test]
fn a_standard_error_that_nobody_reads_holds_nothing_up() {
    // Each exec logs some ten lines, a pipe holds 64 KiB, and the log waits with 1 MiB at most.
    const EXECS: i64 = 1_500;
    let mut command = host();
    command.env("RUST_LOG", "trace");
    let mut host = Host::from(command);
    for message in [hello(), open()] {
        host.send(&message);
        next(&mut host.output).unwrap();
    }
    for id in 1..=EXECS {
        host.send(&request(id, &execute(&[], "text(1)")));
        while next(&mut host.output).unwrap()["type"] != "cell/closed" {}
    }
    drop(host.input.take());
    assert_eq!(host.child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_exit_status_says_who_has_failed() {
    // A client that announces a frame and goes away has failed, but broken nothing.
    let mut cut = Host::ready(&[]);
    cut.input.as_mut().unwrap().write_all(&[9, 0]).unwrap();
    drop(cut.input.take());
    let (status, stderr) = cut.end();
    assert_eq!(status, Some(1), "{stderr}");

    let mut stalled = Host::ready(&["--limit", "stall=50", "--limit", "outgoing-bytes=1000"]);
    stalled.send(&request(1, &execute(&[], "text('x'.repeat(4 << 20))")));
    let (status, stderr) = stalled.end();
    assert_eq!(status, Some(4), "{stderr}");

    let mut overflown = Host::ready(&["--limit", "outgoing-bytes-hard=100000"]);
    overflown.send(&request(1, &execute(&[], "text('x'.repeat(4 << 20))")));
    let (status, stderr) = overflown.end();
    assert_eq!(status, Some(5), "{stderr}");
}
