// SPDX-License-Identifier: Apache-2.0
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;

/// Guards against a hang; nothing here takes a fraction of it.
const GUARD: Duration = Duration::from_secs(30);

fn shell(script: &str) -> ProviderConfig {
    ProviderConfig::new("/bin/sh")
        .argument("-c")
        .argument(script)
}

async fn output_of(config: &ProviderConfig) -> String {
    let mut link = start(config).await.expect("the program starts");
    let mut text = String::new();
    timeout(GUARD, link.output.read_to_string(&mut text))
        .await
        .expect("in time")
        .expect("text");
    text
}

async fn exit_of(link: &mut Link) -> Exit {
    let exit = timeout(GUARD, link.process.exit.wait_for(Option::is_some)).await;
    (*exit.expect("in time").expect("told")).expect("an exit")
}

async fn process_is_gone(pid: u32) -> bool {
    let path = format!("/proc/{pid}");
    let gone = async {
        while std::path::Path::new(&path).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(GUARD, gone).await.is_ok()
}

#[tokio::test]
async fn bytes_pass_both_ways_and_the_exit_is_told() {
    let mut link = start(&shell("cat; exit 7"))
        .await
        .expect("the shell starts");
    link.input.write_all(b"hello").await.expect("written");
    link.input.flush().await.expect("flushed");
    link.input = Box::new(tokio::io::sink());
    let mut text = String::new();
    link.output.read_to_string(&mut text).await.expect("read");
    assert_eq!(text, "hello");
    assert_eq!(
        exit_of(&mut link).await.to_string(),
        "it exited with status 7"
    );
}

#[tokio::test]
async fn both_pipes_take_a_large_payload_once_they_have_passed_one() {
    let bytes = usize::try_from(pipes::PIPE_BYTES).expect("a size");
    let usual = pipes::USUAL_PIPE_BYTES;
    let script = format!(
        "dd if=/dev/zero bs={usual} count=1 2>/dev/null; read word; head -c {bytes} /dev/zero && exit 7"
    );
    let mut talking = start(&shell(&script)).await.expect("the shell starts");
    // A pipe that is full is made larger when it is read, and then nobody need read what comes.
    let mut first = vec![0; usual];
    let read = timeout(GUARD, talking.output.read(&mut first));
    assert_eq!(read.await.expect("in time").expect("read"), usual);
    talking.input.write_all(b"on\n").await.expect("written");
    assert_eq!(
        exit_of(&mut talking).await.to_string(),
        "it exited with status 7"
    );
    let mut deaf = start(&shell("exec sleep 1000"))
        .await
        .expect("the shell starts");
    timeout(GUARD, deaf.input.write_all(&vec![0; bytes]))
        .await
        .expect("there is room")
        .expect("written");
    deaf.process.kill();
    exit_of(&mut deaf).await;
}

#[tokio::test]
async fn a_killed_host_leaves_neither_a_zombie_nor_its_own_children() {
    let mut link = start(&shell("sleep 1000 & echo $!; wait"))
        .await
        .expect("the shell starts");
    let mut byte = [0; 32];
    let read = link
        .output
        .read(&mut byte)
        .await
        .expect("the grandchild's id");
    let grandchild: u32 = String::from_utf8_lossy(&byte[..read])
        .trim()
        .parse()
        .expect("a process id");
    let pid = link.process.pid.expect("a process id");
    link.process.kill();
    assert_eq!(
        exit_of(&mut link).await,
        Exit(ExitStatusExt::from_raw(libc::SIGKILL))
    );
    assert!(process_is_gone(pid).await, "the host must be reaped");
    // The grandchild is reaped by whoever adopts it; a zombie no longer runs.
    let status = std::fs::read_to_string(format!("/proc/{grandchild}/status")).unwrap_or_default();
    assert!(
        !status.contains("State:\tS"),
        "the grandchild must not run on: {status}"
    );
}

#[tokio::test]
async fn dropping_a_link_kills_the_host_at_once() {
    let link = start(&shell("exec sleep 1000"))
        .await
        .expect("the shell starts");
    let pid = link.process.pid.expect("a process id");
    drop(link);
    assert!(process_is_gone(pid).await);
}

#[test]
fn a_host_is_reaped_although_its_runtime_has_shut_down() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let link = runtime
        .block_on(start(&shell("exec sleep 1000")))
        .expect("the shell starts");
    let pid = link.process.pid.expect("a process id");
    runtime.shutdown_background();
    drop(link);
    let checker = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    assert!(checker.expect("a runtime").block_on(process_is_gone(pid)));
}

#[tokio::test]
async fn only_the_three_standard_descriptors_are_inherited() {
    let file = std::fs::File::open("/dev/null").expect("a file");
    // SAFETY: clearing close-on-exec of a descriptor that this test owns touches no memory.
    let cleared = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) };
    assert_eq!(cleared, 0);
    let mut listing: Vec<_> = output_of(&shell("exec ls /proc/self/fd"))
        .await
        .lines()
        .map(str::to_owned)
        .collect();
    listing.sort();
    // Descriptor 3 is the folder that `ls` itself reads.
    assert_eq!(listing, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn resource_limits_are_in_force_in_the_host() {
    let mut config = shell("ulimit -n; ulimit -c; ulimit -d");
    config.resource_limits = ResourceLimits {
        core_file_bytes: Some(0),
        open_files: Some(77),
        data_bytes: Some(1 << 30),
    };
    assert_eq!(output_of(&config).await, "77\n0\n1048576\n");
}

#[tokio::test]
async fn the_environment_is_empty_by_default() {
    let text = output_of(&ProviderConfig::new("/usr/bin/env")).await;
    assert_eq!(text, "");
}

#[tokio::test]
async fn the_host_starts_in_its_working_folder() {
    let mut config = shell("pwd -P");
    config.working_folder = Some("/usr".into());
    assert_eq!(output_of(&config).await, "/usr\n");
}

#[tokio::test]
async fn a_missing_program_is_named_with_what_to_do() {
    let error = start(&ProviderConfig::new("/no/such/host"))
        .await
        .err()
        .expect("an error");
    let text = error.to_string();
    assert!(
        text.contains("/no/such/host") && text.contains("build or install it"),
        "{text}"
    );
    let error = start(&ProviderConfig::new("no-such-host"))
        .await
        .err()
        .expect("an error");
    assert!(
        error.to_string().contains("neither a path nor in PATH"),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_working_folder_is_named_and_not_the_program() {
    let mut config = shell("exit 0");
    config.working_folder = Some("/no/such/folder".into());
    let error = start(&config).await.err().expect("an error").to_string();
    assert!(error.contains("working folder /no/such/folder"), "{error}");
    assert!(!error.contains("build or install it"), "{error}");
}

#[tokio::test]
async fn a_program_that_may_not_be_executed_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let error = start(&ProviderConfig::new(file.path()))
        .await
        .err()
        .expect("an error");
    assert!(error.to_string().contains("make it executable"), "{error}");
}

#[tokio::test]
async fn standard_error_is_kept_for_the_error_text() {
    let mut link = start(&shell("echo one >&2; echo two >&2; exit 1"))
        .await
        .expect("starts");
    exit_of(&mut link).await;
    timeout(GUARD, link.process.stderr.ended())
        .await
        .expect("in time");
    assert_eq!(link.process.stderr.text(), "one\ntwo");
}
