// SPDX-License-Identifier: Apache-2.0
//! `code_mode` on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use pretty_assertions::assert_eq;

use super::support::{Fixture, GUARD};

/// What erases the progress line.
const ERASE_LINE: &str = "\r\u{1b}[2K";

/// A program on a terminal of its own.
struct Terminal {
    child: Child,
    screen: File,
    pieces: mpsc::Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let (mut ours, mut theirs) = (-1, -1);
        let (name, settings, size) = (
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        );
        // SAFETY: both pointers are valid for writing one integer; the null ones ask for defaults.
        let opened = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, name, settings, size) };
        assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the call has just made both descriptors, and nobody else owns them.
        let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
        command
            .stdin(Stdio::from(theirs.try_clone().unwrap()))
            .stdout(Stdio::from(theirs.try_clone().unwrap()))
            .stderr(Stdio::from(theirs))
            .env("TERM", "xterm");
        // SAFETY: both calls are safe between fork and exec; descriptor 0 is the terminal by then.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        // The command holds this side's copies of the program's end.
        drop(command);
        let screen = File::from(ours);
        let pieces = pieces_of(screen.try_clone().unwrap());
        Self {
            child,
            screen,
            pieces,
            shown: String::new(),
        }
    }

    fn type_in(&mut self, text: &str) {
        self.screen.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until this is shown, and forgets everything up to it.
    fn wait_for(&mut self, wanted: &str) {
        let deadline = Instant::now() + GUARD;
        loop {
            if let Some(at) = self.shown.find(wanted) {
                self.shown.drain(..at + wanted.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.pieces.recv_timeout(left) {
                Ok(piece) => self.shown.push_str(&String::from_utf8_lossy(&piece)),
                Err(error) => panic!("{error}: no {wanted:?} in {:?}", self.shown),
            }
        }
    }

    fn echoes(&self) -> bool {
        let mut settings = std::mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the pointer is valid for writing one `termios`, which is all that the call does.
        let got = unsafe { libc::tcgetattr(self.screen.as_raw_fd(), settings.as_mut_ptr()) };
        assert_eq!(got, 0);
        // SAFETY: a result of 0 says that the call has filled the whole structure.
        unsafe { settings.assume_init() }.c_lflag & libc::ECHO != 0
    }

    /// The exit status, once everything that was shown has been read.
    fn finish(mut self) -> (Option<i32>, String) {
        while let Ok(piece) = self.pieces.recv_timeout(GUARD) {
            self.shown.push_str(&String::from_utf8_lossy(&piece));
        }
        (
            self.child.wait().unwrap().code(),
            std::mem::take(&mut self.shown),
        )
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // An error means that the program has ended, as it does in a test that passes.
        let _ = self.child.kill();
    }
}

fn pieces_of(mut screen: File) -> mpsc::Receiver<Vec<u8>> {
    let (pieces, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut piece = [0; 4096];
        // Reading fails once the program's end is closed.
        while let Ok(read @ 1..) = screen.read(&mut piece) {
            if pieces.send(piece[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The command without the process group of its own that it has elsewhere; a session of its own
/// takes its place.
fn on_terminal(fixture: &Fixture, arguments: &[&str]) -> Terminal {
    let from = fixture.command(arguments);
    let mut command = Command::new(from.get_program());
    command
        .args(from.get_args())
        .current_dir(fixture.folder.path());
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Terminal::start(command)
}

#[test]
fn ctrl_c_ends_the_cell_and_not_the_prompt() {
    let fixture = Fixture::new();
    let mut terminal = on_terminal(&fixture, &["repl"]);
    terminal.wait_for("> ");
    terminal.type_in("text('up'); await new Promise(() => {});\r");
    terminal.wait_for("\r\nup\r\n");
    terminal.type_in("\u{3}");
    terminal.wait_for("terminated: interrupted by Ctrl-C");
    terminal.wait_for("> ");
    terminal.type_in("1 + 1\r");
    terminal.wait_for("\u{1b}[33m2\u{1b}[0m\r\n");
    terminal.wait_for("> ");
    terminal.type_in("\u{4}");
    assert_eq!(terminal.finish().0, Some(0));
    let history = fixture.folder.path().join(".local/state/code_mode/history");
    assert!(std::fs::read_to_string(history).unwrap().contains("1 + 1"));
}

#[test]
fn names_are_completed_and_an_entry_has_several_lines() {
    let fixture = Fixture::new();
    fixture.tools(&[("get-it", "echo 20")]);
    let mut terminal = on_terminal(
        &fixture,
        &["repl", "--tools", "tools.json", "--color", "never"],
    );
    terminal.wait_for("> ");
    terminal.type_in("const total = await tools.g\t(\r");
    terminal.wait_for("get_it(");
    terminal.type_in(")\r");
    terminal.wait_for("> ");
    terminal.type_in("to\t");
    terminal.wait_for("to");
    terminal.type_in("t\t + 1\r");
    terminal.wait_for("\r\n21\r\n");
    terminal.wait_for("> ");
    terminal.type_in(".exit\r");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn the_store_is_saved_and_tools_end_when_the_terminal_goes() {
    let fixture = Fixture::new();
    let mut terminal = on_terminal(&fixture, &["repl", "--store", "store.json"]);
    terminal.wait_for("> ");
    terminal.type_in("store('n', 1); text('up'); await new Promise(() => {});\r");
    terminal.wait_for("\r\nup\r\n");
    let id = libc::pid_t::try_from(terminal.child.id()).unwrap();
    // SAFETY: `kill` takes no pointers; the child was not waited for, so the number is still its own.
    assert_eq!(unsafe { libc::kill(id, libc::SIGHUP) }, 0);
    assert_eq!(terminal.child.wait().unwrap().code(), Some(129));
    let kept = std::fs::read_to_string(fixture.folder.path().join("store.json")).unwrap();
    assert_eq!(kept, "{\n  \"n\": 1\n}\n");
}

#[test]
fn the_terminal_is_usable_again_when_the_program_ends_at_the_prompt() {
    let fixture = Fixture::new();
    let mut terminal = on_terminal(&fixture, &["repl"]);
    terminal.wait_for("> ");
    assert!(!terminal.echoes());
    let id = libc::pid_t::try_from(terminal.child.id()).unwrap();
    // SAFETY: `kill` takes no pointers; the child was not waited for, so the number is still its own.
    assert_eq!(unsafe { libc::kill(id, libc::SIGTERM) }, 0);
    assert_eq!(terminal.child.wait().unwrap().code(), Some(143));
    assert!(terminal.echoes());
}

#[test]
fn a_long_script_shows_its_progress_and_leaves_nothing_of_it() {
    let fixture = Fixture::new();
    fixture.gate();
    fixture.tools(&[("wait", "cat gate")]);
    fixture.file("a.js", "await tools.wait(); text('done');");
    let mut terminal = on_terminal(&fixture, &["run", "a.js", "--tools", "tools.json"]);
    terminal.wait_for("tool calls: 1 open, 0 done; wait ");
    fixture.file("gate", "\n");
    terminal.wait_for(&format!("{ERASE_LINE}done\r\n"));
    assert_eq!(terminal.finish(), (Some(0), String::new()));
}

#[test]
fn an_installation_asks_before_it_changes_a_file() {
    let fixture = Fixture::new();
    let path = fixture.file(".claude.json", "{}\n");
    for (answer, status, changed) in [("n\r", Some(1), false), ("y\r", Some(0), true)] {
        let mut terminal = on_terminal(&fixture, &["mcp", "install", "claude-code"]);
        terminal.wait_for("\"code_mode\"");
        terminal.wait_for("Change it? [y/N]");
        terminal.type_in(answer);
        assert_eq!(terminal.finish().0, status);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.contains("code_mode"), changed, "{text}");
    }
}
