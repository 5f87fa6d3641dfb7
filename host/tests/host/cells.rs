// SPDX-License-Identifier: Apache-2.0
//! The cells of the built program: what scripts see of it, and the processes that run them.

use serde_json::Value;

use crate::program::{Host, hello, host, next, open, request, waiting_for_a_tool};
use crate::support::execute;

/// What a script puts out that says where it believes to be.
const WHERE: &str = "text(Intl.DateTimeFormat().resolvedOptions().timeZone); \
    text(new Date(0).toString()); text((1234.5).toLocaleString())";

/// What the one script of a host has come to.
fn first_result(arguments: &[&str], source: &str) -> Value {
    let mut host = Host::ready(arguments);
    host.send(&request(1, &execute(&[], source)));
    next(&mut host.output).unwrap();
    let mut first = next(&mut host.output).unwrap();
    first["result"]["value"]["Result"].take()
}

#[test]
fn scripts_see_the_time_zone_and_the_locale_that_were_asked_for() {
    let arguments = ["--time-zone", "Asia/Tokyo", "--locale", "de-DE"];
    let result = first_result(&arguments, WHERE);
    let texts: Vec<&str> = result["content_items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts[0], "Asia/Tokyo");
    assert!(
        texts[1].starts_with("Thu Jan 01 1970 09:00:00 GMT+0900"),
        "{texts:?}"
    );
    assert_eq!(texts[2], "1.234,5");
}

#[test]
fn a_time_zone_or_locale_that_there_is_not_runs_no_cell_and_says_so() {
    // Each takes its time to be sure that there is no zygote.
    let hosts = [
        ("--time-zone", "Europe/Nowhere", "Europe/Nowhere"),
        ("--locale", "xq-XQ", "unknown locale xq-XQ"),
    ]
    .map(|(argument, name, reason)| {
        let mut host = Host::ready(&[argument, name]);
        host.send(&request(1, &execute(&[], "text(1)")));
        (host, reason)
    });
    for (mut host, reason) in hosts {
        next(&mut host.output).unwrap();
        let first = next(&mut host.output).unwrap();
        assert_eq!(first["result"]["status"], "error", "{first}");
        let message = first["result"]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn scripts_run_without_machine_code() {
    let result = first_result(&["--jit", "off"], "text(/b+/.exec('abbc')[0])");
    assert_eq!(result["content_items"][0]["text"], "bb", "{result}");
}

/// The processes of a host that have this name.
fn processes_of(host: &Host, wanted: &str) -> Vec<i32> {
    let pid = host.child.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .filter(|pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.trim() == wanted)
        })
        .collect()
}

/// The processes of a host's cells.
fn cells_of(host: &Host) -> Vec<i32> {
    processes_of(host, "cm-cell")
}

#[test]
fn a_cells_process_has_bounds_one_descriptor_and_nothing_of_the_hosts_environment() {
    let mut command = host();
    command
        .args(["--limit", "ready-isolates=0"])
        .env_clear()
        .env("SECRET_OF_THE_HOST", "s3cret")
        .env("TZ", "Asia/Tokyo");
    let mut host = Host::from(command);
    let waits = execute(&["gate"], "text(await tools.gate())");
    for message in [hello(), open(), request(1, &waits)] {
        host.send(&message);
    }
    while next(&mut host.output).unwrap()["type"] != "delegate/request" {}
    let [cell] = cells_of(&host)[..] else {
        panic!("there is one cell: {:?}", cells_of(&host));
    };
    let limits = std::fs::read_to_string(format!("/proc/{cell}/limits")).unwrap();
    for (name, bound) in [
        ("Max core file size", 0_u64),
        ("Max file size", 0),
        ("Max processes", 0),
        ("Max open files", 1),
        #[cfg(not(address_sanitizer))]
        ("Max data size", 256 << 20),
    ] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        let columns: Vec<&str> = line.unwrap().split_whitespace().collect();
        assert_eq!(columns[..2], vec![bound.to_string(); 2], "{name}: {limits}");
    }
    // Of a process that cannot be dumped these are root's.
    let descriptors = std::fs::read_dir(format!("/proc/{cell}/fd"));
    assert!(descriptors.is_err() || descriptors.is_ok_and(|all| all.count() == 1));
    let counters = "__LLVM_PROFILE_RT_INIT_ONCE=__LLVM_PROFILE_RT_INIT_ONCE\0";
    let environment_of = |pid: i32| {
        std::fs::read_to_string(format!("/proc/{pid}/environ")).map(|all| all.replace(counters, ""))
    };
    for pid in ["cm-starter", "cm-zygote"].map(|name| processes_of(&host, name)[0]) {
        // A cell is a fork of the zygote.
        assert_eq!(environment_of(pid).unwrap(), "TZ=Asia/Tokyo\0");
    }
    assert!(environment_of(cell).is_err() || environment_of(cell).unwrap() == "TZ=Asia/Tokyo\0");
}

#[test]
fn the_log_says_whose_script_a_process_was_that_has_died() {
    // Without processes that wait ahead of need there is one: the cell's.
    let (mut host, _) = waiting_for_a_tool(&["--limit", "ready-isolates=0"]);
    let [cell] = cells_of(&host)[..] else {
        panic!("there is one cell: {:?}", cells_of(&host));
    };
    // A signal that says of itself that something is wrong, and that nobody handles.
    // SAFETY: the call takes two numbers; the process waits for a tool.
    assert_eq!(unsafe { libc::kill(cell, libc::SIGILL) }, 0);
    while next(&mut host.output).unwrap()["type"] != "cell/closed" {}
    drop(host.input.take());
    let (status, stderr) = host.end();
    assert_eq!(status, Some(0));
    for part in [
        "the process of a cell failed",
        "session=s1",
        "cell=1",
        "exec_call=",
        "SIGILL",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}
