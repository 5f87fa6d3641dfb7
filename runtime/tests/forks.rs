// SPDX-License-Identifier: Apache-2.0
//! What only cells in processes of their own can promise.

mod processes;
mod support;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{CellStatus, ExecuteRequest, SessionError, StartedCell};
use code_mode_fork::ABNORMAL_DEATHS_OF_A_ZYGOTE;
use code_mode_runtime::{
    Cells, Confinement, Forked, Jit, Program, Runtime, RuntimeConfig, Starter,
};
use code_mode_testsuite::{Call, Fixture, NoTools, json, texts_of, tool, within};
use pretty_assertions::assert_eq;
use processes::{alone, cell_processes, children, is_dead, kill, until, zygote};
use support::{forked, runtime};

const FORKED: bool = true;

async fn fixture(config: RuntimeConfig) -> Fixture {
    Fixture::on(Arc::new(runtime(config, None))).await
}

/// The error text of a script, and its texts.
async fn failed(fixture: &Fixture, source: &str) -> (String, Vec<String>) {
    let response = fixture.run(source).await;
    let texts = texts_of(&response);
    match response.status {
        CellStatus::Completed {
            error_text: Some(error),
        } => (error, texts),
        other => panic!("{source} gave {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_no_thread_survives_end_their_cell_alone() {
    let _alone = alone().await;
    let mut config = RuntimeConfig::default();
    config.cell_limits.cpu_time = Some(Duration::from_secs(1));
    let fixture = fixture(config).await;
    let neighbour = fixture.start("text(await tools.gate())").await;
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Tool { .. }))
        .await;
    for source in [
        "'a'.repeat(2 ** 28).split('')",
        "new Array(1e9).fill(0)",
        "const m = new Map(); for (let i = 0; i < 2e6; i++) m.set(i, new Map([[i, i]])); text(m)",
        "const s = 'x'.repeat(1e6); JSON.stringify(new Array(10000).fill(s))",
        "const a = []; for (;;) a.push(new Intl.DateTimeFormat('de'))",
    ] {
        let source = format!("text('so far'); store('kept', 1); notify('told'); {source}");
        let (error, texts) = failed(&fixture, &source).await;
        assert!(
            error.contains("LimitError") || error.contains("ProcessError"),
            "{source} gave {error}"
        );
        assert_eq!(
            texts.first().map(String::as_str),
            Some("so far"),
            "{source}"
        );
        assert_eq!(
            fixture.texts("text(load('kept')); store('kept', 0)").await,
            ["1"],
            "{source}"
        );
    }
    let told = |call: &&Call| matches!(call, Call::Notification { .. });
    assert_eq!(fixture.recorder.calls().iter().filter(told).count(), 5);
    fixture.recorder.open_gate();
    let response = within(neighbour.first_response).await;
    let response = response.expect("the neighbour goes on");
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_whose_process_is_killed_says_so_and_keeps_what_it_said() {
    let _alone = alone().await;
    let fixture = fixture(RuntimeConfig {
        ready_isolates: 0,
        ..RuntimeConfig::default()
    })
    .await;
    let source =
        "text('one'); store('k', [1]); notify('n'); tools.hang(); await new Promise(() => {})";
    let cell = fixture.start(source).await;
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Tool { .. }))
        .await;
    let [pid] = cell_processes()[..] else {
        panic!("there is one cell");
    };
    kill(pid);
    let response = within(cell.first_response).await.expect("it answers");
    assert_eq!(texts_of(&response), ["one"]);
    let CellStatus::Completed {
        error_text: Some(error),
    } = response.status
    else {
        panic!("{:?}", response.status);
    };
    assert_eq!(
        error,
        "ProcessError: it was killed (SIGKILL), perhaps because the machine has no memory left; \
         the cell was ended (side effects: possible)"
    );
    assert_eq!(fixture.texts("text(load('k'))").await, ["[1]"]);
    until(|| cell_processes().is_empty().then_some(())).await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_zygote_is_replaced_and_running_cells_do_not_notice() {
    let _alone = alone().await;
    let fixture = fixture(RuntimeConfig::default()).await;
    let running = fixture.start("text(await tools.gate())").await;
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Tool { .. }))
        .await;
    for _ in 0..3 {
        kill(until(zygote).await);
        for _ in 0..10 {
            assert_eq!(fixture.texts("text('next')").await, ["next"]);
        }
    }
    fixture.recorder.open_gate();
    let response = within(running.first_response).await.expect("it goes on");
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    fixture.end().await;
}

/// What procfs says of a process under this name.
fn status_of(pid: i32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(line.trim_start_matches(name).trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zygote_is_confined_too_and_its_cells_once_more() {
    let _alone = alone().await;
    let fixture = fixture(RuntimeConfig {
        ready_isolates: 0,
        ..RuntimeConfig::default()
    })
    .await;
    let cell = fixture
        .start("tools.hang(); await new Promise(() => {})")
        .await;
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Tool { .. }))
        .await;
    let filters_of = |pid: i32| -> u32 {
        let filters = status_of(pid, "Seccomp_filters:").expect("Linux 5.9 or newer");
        filters.parse().expect("a number")
    };
    // Whoever runs the tests may be filtered already.
    let own = filters_of(i32::try_from(std::process::id()).expect("a process"));
    let zygote = until(zygote).await;
    assert_eq!(filters_of(zygote), own + 1);
    let [pid] = cell_processes()[..] else {
        panic!("there is one cell");
    };
    assert_eq!(filters_of(pid), own + 2);
    for pid in [zygote, pid] {
        assert_eq!(status_of(pid, "NoNewPrivs:").as_deref(), Some("1"));
    }
    drop(cell);
    fixture.end().await;
}

/// Starts as many cells as wear a zygote out if they die, and gives their processes too.
async fn mortal_cells(fixture: &Fixture) -> (Vec<StartedCell>, Vec<i32>) {
    let deaths = usize::try_from(ABNORMAL_DEATHS_OF_A_ZYGOTE).expect("a small number");
    let mut cells = Vec::new();
    for _ in 0..deaths {
        cells.push(
            fixture
                .start("tools.hang(); await new Promise(() => {})")
                .await,
        );
    }
    let pids = until(|| Some(cell_processes()).filter(|pids| pids.len() == deaths)).await;
    (cells, pids)
}

async fn kill_all((cells, pids): (Vec<StartedCell>, Vec<i32>)) {
    pids.into_iter().for_each(kill);
    for cell in cells {
        let response = within(cell.first_response).await.expect("it answers");
        let CellStatus::Completed {
            error_text: Some(error),
        } = response.status
        else {
            panic!("{:?}", response.status);
        };
        assert!(error.starts_with("ProcessError: "), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zygote_is_worn_out_by_deaths_of_its_own_children_alone() {
    let _alone = alone().await;
    let fixture = fixture(RuntimeConfig {
        ready_isolates: 0,
        ..RuntimeConfig::default()
    })
    .await;
    let children_of_the_first = mortal_cells(&fixture).await;
    let first = until(zygote).await;
    kill(first);
    let second = until(|| zygote().filter(|pid| *pid != first)).await;
    kill_all(children_of_the_first).await;
    let children_of_the_second = mortal_cells(&fixture).await;
    assert_eq!(zygote(), Some(second));
    kill_all(children_of_the_second).await;
    until(|| zygote().filter(|pid| *pid != second)).await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_cells_have_the_same_random_numbers() {
    let _alone = alone().await;
    const CELLS: usize = 1_000;
    let fixture = fixture(RuntimeConfig::default()).await;
    let mut seen = HashSet::new();
    for number in 0..CELLS {
        if number == CELLS / 2 {
            kill(until(zygote).await);
        }
        let texts = fixture
            .texts("text([1, 2, 3, 4].map(() => Math.random()).join())")
            .await;
        for value in texts.iter().flat_map(|text| text.split(',')) {
            assert!(seen.insert(value.to_owned()), "{value} came twice");
        }
    }
    assert_eq!(seen.len(), 4 * CELLS);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_zygotes_own_scripts_leave_nothing_behind() {
    let _alone = alone().await;
    let fixture = fixture(RuntimeConfig::default()).await;
    let source = "text(Object.getOwnPropertyNames(tools)); text('warm_up' in tools); text(load('k')); \
                  text(Object.keys(globalThis)); text(ALL_TOOLS.some(t => t.name === 'warm_up'))";
    let texts = fixture.texts(source).await;
    assert!(!texts[0].contains("warm_up"), "{texts:?}");
    let globals = r#"["ALL_TOOLS"]"#;
    assert_eq!(texts[1..], ["false", "undefined", globals, "false"]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn confined_cells_have_dates_locales_typed_arrays_and_a_deep_stack() {
    let _alone = alone().await;
    let fixture = fixture(RuntimeConfig::default()).await;
    for source in [
        "text(new Date().toString()); text(new Date().toLocaleString('ja', { timeZone: 'Asia/Tokyo' }))",
        "text(new Intl.DateTimeFormat('ar-EG', { dateStyle: 'full' }).format(0))",
        "text([...new Intl.Segmenter('th', { granularity: 'word' }).segment('สวัสดีชาวโลก')].length)",
        "text(new Intl.Collator('de').compare('ä', 'z')); text('İ'.toLocaleLowerCase('tr'))",
        "text(new Intl.DisplayNames('fr', { type: 'region' }).of('JP'))",
        "text(new Float64Array(1e6).fill(1.5).reduce((a, b) => a + b))",
        "text(new BigUint64Array(16).map((_, i) => BigInt(i)).join())",
        "text(new ArrayBuffer(8, { maxByteLength: 1 << 20 }).resize(1 << 16))",
        "const f = n => n ? f(n - 1) + 1 : 0; text(f(5000))",
        "const f = () => f() + 1; try { f() } catch (e) { text(e.name) }",
        "let s = 0; for (let i = 0; i < 5e7; i++) s += i % 7; text(s)",
        "text(/^(a|b)+$/.test('ab'.repeat(1000))); text('x'.repeat(1e6).replaceAll('x', 'yz').length)",
        "const a = Array.from({ length: 3e5 }, (_, i) => ({ i })); text(a.sort((x, y) => y.i - x.i)[0].i)",
        "text(eval('1 + 1')); text(new Function('return 2')()); text(await new Promise(r => setTimeout(r, 5, 'later')))",
        "const w = new WeakRef({}); const r = new FinalizationRegistry(() => {}); r.register({}, 1); text('weak')",
        "text(typeof structuredClone)",
    ] {
        let response = fixture.run(source).await;
        assert_eq!(
            response.status,
            CellStatus::Completed { error_text: None },
            "{source}"
        );
        assert!(!response.content_items.is_empty(), "{source}");
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_stored_values_are_asked_for_and_remembered() {
    let _alone = alone().await;
    let fixture = fixture(RuntimeConfig::default()).await;
    let values: BTreeMap<_, _> = (0..500)
        .map(|n| {
            (
                format!("k{n}"),
                json(&format!("\"{}\"", "v".repeat(100 + n))),
            )
        })
        .collect();
    within(fixture.session.import_store(values))
        .await
        .expect("they fit");
    let source = "text(load('k7').length); text(load('k499').length); text(load('none'));
        store('k7', 1); text(load('k7')); text(load('k499').length)";
    assert_eq!(
        fixture.texts(source).await,
        ["107", "599", "undefined", "1", "599"]
    );
    assert_eq!(fixture.texts("text(load('k7'))").await, ["1"]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_reach_a_script_that_looks_at_them() {
    let _alone = alone().await;
    let fixture = fixture(RuntimeConfig::default()).await;
    let mut request = Fixture::request("text(ALL_TOOLS)");
    let mut described = tool("a-b");
    described.description = "what it does".to_owned();
    request.tools = [described].into();
    let cell = fixture.execute(request).await.expect("it is admitted");
    let response = within(cell.first_response).await.expect("it answers");
    assert_eq!(
        texts_of(&response),
        [r#"[{"name":"a_b","description":"what it does"}]"#]
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spinning_cells_are_reaped_when_they_are_terminated() {
    let _alone = alone().await;
    const CELLS: usize = 64;
    let fixture = fixture(RuntimeConfig::default()).await;
    let mut cells = Vec::new();
    for _ in 0..CELLS {
        cells.push(fixture.start("yield_control(); for (;;);").await);
    }
    for cell in cells {
        within(cell.first_response).await.expect("it yields");
        let response = fixture.terminate(&cell.cell_id).await;
        assert_eq!(
            response.expect("it is terminated").status,
            CellStatus::Terminated
        );
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_the_runtime_is_gone() {
    let _alone = alone().await;
    let before = children();
    let runtime = runtime(RuntimeConfig::default(), None);
    let fixture = Fixture::on(Arc::new(runtime)).await;
    fixture.texts("text(1)").await;
    fixture.end().await;
    let left = || children().into_iter().any(|pid| !before.contains(&pid));
    until(|| (!left()).then_some(())).await;
}

/// How soon the kernel ends a process for its memory.
fn oom_score(pid: i32) -> i32 {
    let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("procfs");
    score.trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_takes_a_cell_before_a_zygote_and_that_before_the_host() {
    let _alone = alone().await;
    let fixture = fixture(RuntimeConfig {
        ready_isolates: 0,
        ..RuntimeConfig::default()
    })
    .await;
    let cell = fixture.start("text(await tools.gate())").await;
    let is_call = |call: &Call| matches!(call, Call::Tool { .. });
    fixture.recorder.wait_for(is_call).await;
    let [pid] = cell_processes()[..] else {
        panic!("there is one cell");
    };
    let zygote = until(zygote).await;
    let host = i32::try_from(std::process::id()).expect("a process");
    assert!(oom_score(host) < oom_score(zygote));
    assert!(oom_score(zygote) < oom_score(pid));
    // What a terminal sends to all that belong to it ends none of them either.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        for pid in [zygote, pid] {
            // SAFETY: the call takes two numbers; the process is a child of this one.
            unsafe { libc::kill(pid, signal) };
        }
    }
    fixture.recorder.open_gate();
    let response = within(cell.first_response).await.expect("it goes on");
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    assert_eq!(fixture.texts("text('next')").await, ["next"]);
    assert_eq!(until(processes::zygote).await, zygote);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_goes_on_when_the_thread_that_has_started_it_ends() {
    let _alone = alone().await;
    let runtime = runtime(
        RuntimeConfig {
            ready_isolates: 0,
            ..RuntimeConfig::default()
        },
        None,
    );
    let session = runtime.open(None, Arc::new(NoTools)).expect("it opens");
    let (sender, mut answer) = tokio::sync::mpsc::unbounded_channel();
    let starter = session.clone();
    std::thread::spawn(move || {
        let source = "await new Promise(end => setTimeout(end, 20)); text('on')";
        let cell = starter.admit(Fixture::request(source)).expect("admitted");
        cell.start(Box::new(move |response| {
            sender.send(response).expect("the test waits");
        }));
    })
    .join()
    .expect("it does not panic");
    let response = within(answer.recv()).await.expect("it answers");
    assert_eq!(texts_of(&response.expect("it goes on")), ["on"]);
    within(session.shutdown()).await;
}

/// A host that runs a cell, has others ready, and is killed. It says in a file which processes it has.
fn be_a_host(path: &std::ffi::OsStr) -> ! {
    // The processes live as long as this thread.
    let cells = forked(Confinement::BestEffort);
    let tasks = tokio::runtime::Runtime::new().expect("there are threads");
    tasks.block_on(async {
        let config = RuntimeConfig {
            cells,
            ..RuntimeConfig::default()
        };
        let handle = tokio::runtime::Handle::current();
        let runtime = Runtime::new(config, handle, None).expect("it starts");
        let fixture = Fixture::on(Arc::new(runtime)).await;
        let cell = fixture.start("yield_control(); for (;;);").await;
        within(cell.first_response).await.expect("it yields");
        // The spinning one, and some that wait for the next.
        until(|| (cell_processes().len() > 2).then_some(())).await;
        let pids: Vec<String> = children().iter().map(i32::to_string).collect();
        let whole = format!("{} end", pids.join(" "));
        std::fs::write(path, whole).expect("written");
        std::future::pending::<()>().await;
    });
    unreachable!("nothing ends this but a kill");
}

#[test]
fn no_process_outlives_a_host_that_is_killed() {
    const ROLE: &str = "CODE_MODE_TEST_HOST";
    const NAME: &str = "no_process_outlives_a_host_that_is_killed";
    if let Some(path) = std::env::var_os(ROLE) {
        be_a_host(&path);
    }
    let wait = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _alone = wait.block_on(alone());
    let path = std::env::temp_dir().join(format!("code_mode_forks_{}", std::process::id()));
    let mut host = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", NAME])
        .env(ROLE, &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("this test starts itself");
    let pids: Vec<i32> = wait.block_on(until(|| {
        let text = std::fs::read_to_string(&path).ok()?;
        let pids = text.strip_suffix(" end")?;
        pids.split(' ').map(|pid| pid.parse().ok()).collect()
    }));
    assert!(pids.len() > 4, "a starter, a zygote and cells: {pids:?}");
    host.kill().expect("killed");
    host.wait().expect("reaped");
    wait.block_on(until(|| pids.iter().copied().all(is_dead).then_some(())));
    std::fs::remove_file(&path).expect("it was there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_whose_task_is_dropped_loses_its_process_and_ends() {
    let _alone = alone().await;
    let before = children();
    let config = RuntimeConfig {
        cells: forked(Confinement::BestEffort),
        ..RuntimeConfig::default()
    };
    let (sender, mut answer) = tokio::sync::mpsc::unbounded_channel();
    let (runtime, session) = within(off_the_tasks(move || {
        let tasks = tokio::runtime::Runtime::new().expect("there are threads");
        let runtime = Runtime::new(config, tasks.handle().clone(), None).expect("it starts");
        let session = runtime.open(None, Arc::new(NoTools)).expect("it opens");
        let source = "text('kept'); yield_control(); await new Promise(() => {})";
        let cell = session
            .admit(Fixture::request(source))
            .expect("it is admitted");
        let id = cell.id().clone();
        let (yielded, has_yielded) = std::sync::mpsc::channel();
        cell.start(Box::new(move |response| {
            yielded.send(response).expect("the test waits");
        }));
        let first = has_yielded.recv().expect("it is told");
        assert_eq!(texts_of(&first.expect("it runs")), ["kept"]);
        let observer = move |response| sender.send(response).expect("the test waits");
        session
            .observe(&id, None, Box::new(observer))
            .expect("it runs");
        drop(tasks);
        (runtime, session)
    }))
    .await;
    let answer = within(answer.recv()).await.expect("it is told");
    let error = answer.expect_err("nothing runs it any more");
    assert!(
        matches!(&error, SessionError::RuntimeLost { cause, .. } if cause.contains("dropped")),
        "{error}"
    );
    assert_eq!(error.side_effects(), code_mode_api::SideEffects::Possible);
    assert_eq!(runtime.figures().active_cells, 0);
    within(session.shutdown()).await;
    drop((runtime, session));
    let left = || children().into_iter().any(|pid| !before.contains(&pid));
    until(|| (!left()).then_some(())).await;
}

/// Runs what waits, on a thread that no task needs.
async fn off_the_tasks<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run)
        .await
        .expect("it does not panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_zygote_a_cell_fails_with_the_cause_and_nothing_has_run() {
    let _alone = alone().await;
    // A program that is no zygote ends at once.
    let starter = Starter::start(&Program::At("/bin/true".into()));
    let config = RuntimeConfig {
        cells: Cells::Forks(Forked {
            starter: Arc::new(starter.expect("it can be executed")),
            confinement: Confinement::BestEffort,
            jit: Jit::On,
        }),
        ..RuntimeConfig::default()
    };
    let handle = tokio::runtime::Handle::current();
    let runtime = Runtime::new(config, handle, None).expect("it starts");
    let fixture = Fixture::on(Arc::new(runtime)).await;
    let cell = fixture
        .execute(ExecuteRequest::new("text(1)"))
        .await
        .expect("it is admitted");
    let response = within(cell.first_response).await;
    let Err(error @ SessionError::RuntimeLost { .. }) = response else {
        panic!("{response:?}");
    };
    assert_eq!(error.side_effects(), code_mode_api::SideEffects::None);
    assert!(error.to_string().contains("zygote"), "{error}");
    fixture.end().await;
}
