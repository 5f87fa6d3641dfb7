// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;

use super::*;
use crate::fake_session::FakeProvider;
use crate::output::testing::kept_printer;
use crate::reporter::View;

const MEMINFO: &str = "MemTotal:  8000000 kB\nMemAvailable:  2097152 kB\n";
const LIMITS: &str = "Max address space         unlimited            unlimited            bytes\n";

#[test]
fn a_check_is_one_line_with_what_to_do_when_it_fails() {
    let line = |check: &str, result: &Checked| super::line(check, result, false);
    assert_eq!(line("ICU", &Ok("fine".into())), "ok   ICU           fine");
    assert_eq!(
        line("handshake", &Err(failed("no\n  answer", "ask again"))),
        "FAIL handshake     no | answer; what to do: ask again"
    );
    assert_eq!(
        line("memory", &Err(doubtful("little", "free some"))),
        "warn memory        little; what to do: free some"
    );
}

#[test]
fn a_check_is_one_json_object_for_programs() {
    assert_eq!(
        json_of("ICU", &Ok("fine\n".into())),
        json!({"check": "ICU", "status": "ok", "detail": "fine"})
    );
    assert_eq!(
        json_of("handshake", &Err(failed("no answer", "ask again"))),
        json!({
            "check": "handshake", "status": "fail", "detail": "no answer", "remedy": "ask again",
        })
    );
    assert_eq!(
        json_of("memory", &Err(doubtful("little", "free some")))["status"],
        "warn"
    );
}

#[test]
fn memory_is_judged_by_what_is_free_and_by_the_address_space() {
    assert_eq!(
        judge_memory(MEMINFO, LIMITS),
        Ok("2048.0 MiB free, addresses unlimited".into())
    );
    let little = judge_memory("MemAvailable: 1024 kB\n", LIMITS).unwrap_err();
    assert_eq!(
        (little.problem.as_str(), little.fatal),
        ("only 1.0 MiB are free", false)
    );
    let limits = "Max address space   4000000000  unlimited  bytes\n";
    let limited = judge_memory(MEMINFO, limits).unwrap_err();
    assert_eq!(
        limited.problem,
        "the address space is limited to 4000000000 bytes"
    );
    assert!(limited.fatal);
    assert!(!judge_memory("", LIMITS).unwrap_err().fatal);
}

#[test]
fn a_host_of_another_build_is_doubtful_only() {
    let own = "0.1.0 (0123456789ab)";
    assert_eq!(
        check_build(own, "code_mode_host 0.1.0 (0123456789ab)\nV8 1.2\n"),
        Ok(own.into())
    );
    for (other, said) in [
        ("code_mode_host 0.1.0\nV8 1.2\n", "the host is 0.1.0,"),
        ("code_mode_host 0.2.0 (0123456789ab)", "the host is 0.2.0 "),
        ("another 0.1.0", "the host calls itself"),
        ("", "the host calls itself"),
    ] {
        let complaint = check_build(own, other).unwrap_err();
        assert!(complaint.problem.starts_with(said), "{}", complaint.problem);
        assert!(!complaint.fatal);
    }
}

#[test]
fn the_sandbox_is_what_the_host_says() {
    assert_eq!(check_sandbox("V8 15.2 (sandbox on)"), Ok("on".into()));
    assert_eq!(check_sandbox("sandbox: enabled\n"), Ok("on".into()));
    assert!(check_sandbox("sandbox off").unwrap_err().fatal);
    assert!(!check_sandbox("code_mode_host 1").unwrap_err().fatal);
}

#[test]
fn a_host_without_extensions_is_doubtful_only() {
    let all: Vec<String> = CAPABILITIES
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert!(check_capabilities(&all).is_ok());
    let complaint = check_capabilities(&all[1..]).unwrap_err();
    assert_eq!(
        complaint.problem,
        "the host lacks code_mode/limits-v1 (limits per script)"
    );
    assert!(!complaint.fatal);
}

#[tokio::test]
async fn a_host_that_answers_wrongly_fails_every_check_that_runs_scripts() {
    let (printer, stdout, _stderr) = kept_printer(false);
    let reporter = Reporter::new(printer, View::default());
    let mut doctor = Doctor {
        reporter: &reporter,
        json: false,
        status: Status::Completed,
    };
    // The fake session knows no JavaScript.
    let provider = Arc::new(FakeProvider::default());
    check_session(&mut doctor, provider, None, Guard::absent()).await;
    assert_eq!(doctor.status, Status::ScriptFailed);
    reporter.printer().flush().await;
    let lines: Vec<String> = stdout
        .text()
        .lines()
        .map(|line| line.chars().take(18).collect())
        .collect();
    assert_eq!(
        lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>(),
        [
            "FAIL births",
            "FAIL ICU",
            "FAIL tool call",
            "FAIL ten execs",
            "FAIL heap limit",
            "FAIL CPU limit"
        ]
    );
}

#[tokio::test]
async fn a_program_that_is_no_host_is_said_so() {
    let complaint = version_of(Path::new("/bin/false")).await.unwrap_err();
    assert!(
        complaint
            .problem
            .starts_with("--version failed with exit status: 1")
    );
    let complaint = version_of(Path::new("/nonexistent/host"))
        .await
        .unwrap_err();
    assert!(complaint.problem.starts_with("it cannot be started"));
}

#[test]
fn a_confinement_is_judged_by_what_the_host_tried() {
    let judge = |status: i32, stdout: &str, stderr: &str| {
        use std::os::unix::process::ExitStatusExt;
        judge_confinement(&Output {
            // As wait gives it.
            status: std::process::ExitStatus::from_raw(status << 8),
            stdout: stdout.into(),
            stderr: stderr.into(),
        })
    };
    assert_eq!(
        judge(0, "read a file: failed\nit holds\n", ""),
        Ok("it holds".to_owned())
    );
    let old = judge(0, "lacking: Landlock\nread a file: failed\nit holds\n", "");
    assert!(
        matches!(old, Err(Complaint { fatal: false, .. })),
        "{old:?}"
    );
    let broken = judge(1, "fork: SUCCEEDED\nread a file: failed\n", "");
    let Err(Complaint {
        problem,
        fatal: true,
        ..
    }) = &broken
    else {
        panic!("{broken:?}");
    };
    assert_eq!(problem, "fork: SUCCEEDED");
    let refused = judge(1, "", "no processes");
    assert!(
        matches!(&refused, Err(Complaint { problem, fatal: true, .. }) if problem == "no processes"),
        "{refused:?}"
    );
    let unknown = judge(2, "", "unknown argument");
    assert!(
        matches!(unknown, Err(Complaint { fatal: false, .. })),
        "{unknown:?}"
    );
}

#[test]
fn births_are_told_with_where_cells_run_and_threads_are_doubtful() {
    let first = Duration::from_micros(20_500);
    let at_once = AtOnce {
        cells: 16,
        all_after: Duration::from_millis(9),
    };
    let times = "the first after 20.5 ms, 16 at one time after 9.0 ms";
    let forked = |zygotes| CellsRun::Forked { zygotes, cells: 4 };
    for (zygotes, told) in [(1, "1 zygote"), (2, "2 zygotes")] {
        assert_eq!(
            judge_births(Some(forked(zygotes)), first, at_once),
            Ok(format!("cells are forked ({told}, 4 ready ahead), {times}"))
        );
    }
    let threads = CellsRun::Threads { cells: 3 };
    let complaint = judge_births(Some(threads), first, at_once).unwrap_err();
    assert_eq!(
        complaint.problem,
        format!("cells are threads of the host (3 ready ahead), {times}")
    );
    assert!(!complaint.fatal);
    assert_eq!(judge_births(None, first, at_once), Ok(times.to_owned()));
}

#[tokio::test]
async fn where_no_cell_is_born_the_other_scripts_are_not_tried() {
    let (printer, stdout, _stderr) = kept_printer(false);
    let reporter = Reporter::new(printer, View::default());
    let mut doctor = Doctor {
        reporter: &reporter,
        json: true,
        status: Status::Completed,
    };
    let provider = FakeProvider {
        never_born: Some("the machine is too busy".to_owned()),
        ..FakeProvider::default()
    };
    let executed = Arc::clone(&provider.executed);
    check_session(&mut doctor, Arc::new(provider), None, Guard::absent()).await;
    assert_eq!(doctor.status, Status::ScriptFailed);
    reporter.printer().flush().await;
    let lines: Vec<Value> = stdout
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&lines[0]["check"], &lines[0]["status"]),
        (&json!("births"), &json!("fail"))
    );
    let detail = lines[0]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("the first cell was not born: "),
        "{detail}"
    );
    assert!(detail.contains("the machine is too busy"), "{detail}");
    let rest: Vec<_> = lines[1..]
        .iter()
        .map(|line| line["check"].as_str().unwrap())
        .collect();
    assert_eq!(rest, CHECKS_WITH_SCRIPTS);
    assert!(lines[1..].iter().all(|line| line["status"] == "skip"));
    assert_eq!(executed.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_host_is_looked_at_until_it_has_made_ready_what_it_keeps_ready_or_long_enough() {
    let begun = tokio::time::Instant::now();
    let mut looks = 0;
    let found = settled(|| {
        looks += 1;
        let cells = looks.min(3);
        Some(CellsRun::Threads { cells })
    });
    assert_eq!(found.await, Some(CellsRun::Threads { cells: 3 }));
    assert_eq!((looks, begun.elapsed()), (4, 3 * LOOK_PAUSE));

    looks = 0;
    let found = settled(|| {
        looks += 1;
        Some(CellsRun::Threads { cells: looks })
    });
    assert_eq!(found.await, Some(CellsRun::Threads { cells: MOST_LOOKS }));
    assert_eq!(looks, MOST_LOOKS);
    assert_eq!(settled(|| None).await, None);
}
