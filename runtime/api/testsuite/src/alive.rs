// SPDX-License-Identifier: Apache-2.0
//! A pipe that tells when processes that nobody waits for have gone.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use crate::PATIENCE;

/// What may be read before the test asks: that the processes run, and that they have gone.
const LINES: usize = 2;

/// A named pipe. Its end tells that every process that held it open for writing has gone.
#[derive(Debug)]
pub struct Alive {
    path: PathBuf,
    lines: mpsc::Receiver<Option<String>>,
}

impl Alive {
    /// Makes the pipe `alive` in a folder.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(folder: &Path) -> Self {
        let path = folder.join("alive");
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo starts").success());
        let (sender, lines) = mpsc::sync_channel(LINES);
        let pipe = path.clone();
        thread::spawn(move || read(&pipe, &sender));
        Self { path, lines }
    }

    /// A shell script whose child, and so no process that anybody waits for, holds the pipe for as long as it lives.
    pub fn script(&self) -> String {
        format!(
            "(exec >'{}'; echo up; exec sleep 1000) & wait",
            self.path.display()
        )
    }

    /// Waits until that child runs.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`].
    pub fn wait_until_up(&self) {
        assert_eq!(self.next().as_deref(), Some("up"));
    }

    /// Waits until every process that held the pipe has gone.
    ///
    /// # Panics
    /// When one still holds it after [`PATIENCE`].
    pub fn wait_until_gone(&self) {
        assert_eq!(self.next(), None);
    }

    fn next(&self) -> Option<String> {
        let next = self.lines.recv_timeout(PATIENCE);
        next.expect("the processes tell that they run or have gone")
    }
}

fn read(pipe: &Path, lines: &mpsc::SyncSender<Option<String>>) {
    // Opening waits for the first writer.
    let pipe = File::open(pipe).expect("it was made");
    for line in BufReader::new(pipe).lines() {
        // A test that has failed listens no more.
        let _ = lines.send(Some(line.expect("a line of text")));
    }
    let _ = lines.send(None);
}
