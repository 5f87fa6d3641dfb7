// SPDX-License-Identifier: Apache-2.0
//! A host program that listens, for tests over hosts at addresses.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::host_program;

/// A host that listens at one address. It ends with this value, and with the test's process.
#[derive(Debug)]
pub struct ListeningHost {
    child: Child,
    address: String,
}

impl ListeningHost {
    /// Starts the host program under test with arguments that have it listen at one address, and waits until it
    /// does.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        let (sender, started) = mpsc::channel();
        // The kernel ends the host with the thread that has started it, which so outlives every test.
        thread::spawn(move || {
            // The test may be over.
            let _ = sender.send(command.spawn());
            loop {
                thread::park();
            }
        });
        let started = started.recv().expect("the thread lives");
        let mut child = started.expect("the host starts");
        let output = child.stdout.take().expect("it is a pipe");
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        read.expect("the host says where it listens");
        let address = line.trim().to_owned();
        Self { child, address }
    }

    /// Where it listens, as it has announced it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Kills it as `kill -9` does, and waits until it has ended.
    pub fn kill(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for ListeningHost {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(host_program());
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // SAFETY: between fork and exec the closure makes one system call with constants, allocates nothing and takes
    // no lock.
    unsafe {
        command.pre_exec(|| {
            match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
    command
}
