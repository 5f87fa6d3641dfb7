// SPDX-License-Identifier: Apache-2.0
//! What a host program runs its cells in, as the kernel of this machine tells it.
//!
//! The names are those that the host gives its processes and threads so that people can read them in a list of
//! processes. A host of another make, or behind something that runs it elsewhere, shows none of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The name of the processes that cells are forked from.
const ZYGOTE: &str = "cm-zygote";

/// The name of the processes of cells, those that wait ahead of need included.
const CELL: &str = "cm-cell";

/// The name of the thread that makes the threads of cells; there is none where cells are processes.
const KEEPER: &str = "cell-keeper";

/// The name of the threads of cells, those that wait ahead of need included.
const CELL_THREAD: &str = "cell-ready";

/// Processes that are looked at for one host. Its cells are some hundred at the most, so more are not its own.
const MAX_PROCESSES: usize = 4_096;

/// Where the cells of a host run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellsRun {
    /// In processes, forked from so many zygotes.
    Forked {
        /// Processes that cells are forked from: two while one takes the other's place.
        zygotes: usize,
        /// Processes of cells that run or wait ahead of need.
        cells: usize,
    },
    /// On threads of the host.
    Threads {
        /// Threads of cells that run or wait ahead of need.
        cells: usize,
    },
}

/// What was seen of a host's processes.
#[derive(Debug, Default)]
struct Seen {
    zygotes: usize,
    cells: usize,
    keepers: usize,
    cell_threads: usize,
}

/// Looks where the host runs its cells that was started as this process, or below it; `None` when nothing of that
/// can be seen.
pub fn look(process_id: u32) -> Option<CellsRun> {
    match Seen::from(process_id, MAX_PROCESSES) {
        Seen {
            zygotes: 0,
            keepers: 0,
            ..
        } => None,
        Seen {
            zygotes: 0,
            cell_threads: cells,
            ..
        } => Some(CellsRun::Threads { cells }),
        Seen { zygotes, cells, .. } => Some(CellsRun::Forked { zygotes, cells }),
    }
}

impl Seen {
    /// What can be seen of this process and those below it, of so many at the most.
    fn from(process_id: u32, most: usize) -> Self {
        let mut seen = Self::default();
        let mut known = BTreeSet::from([process_id]);
        let mut next = vec![process_id];
        while let Some(process) = next.pop() {
            for child in seen.add(process) {
                if known.len() < most && known.insert(child) {
                    next.push(child);
                }
            }
        }
        seen
    }

    /// Takes note of a process, and gives its children. What ends while it is looked at has ended before.
    fn add(&mut self, process: u32) -> Vec<u32> {
        match name_of(Path::new(&format!("/proc/{process}/comm"))).as_deref() {
            Some(ZYGOTE) => self.zygotes += 1,
            Some(CELL) => self.cells += 1,
            _ => {}
        }
        let mut children = Vec::new();
        let threads = fs::read_dir(format!("/proc/{process}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let thread = thread.path();
            match name_of(&thread.join("comm")).as_deref() {
                Some(KEEPER) => self.keepers += 1,
                Some(CELL_THREAD) => self.cell_threads += 1,
                _ => {}
            }
            let below = fs::read_to_string(thread.join("children")).unwrap_or_default();
            children.extend(below.split_whitespace().flat_map(str::parse::<u32>));
        }
        children
    }
}

fn name_of(path: &Path) -> Option<String> {
    let name = fs::read_to_string(path).ok()?;
    Some(name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc;
    use std::thread;

    use pretty_assertions::assert_eq;

    use super::*;

    /// A program that waits for the end of its input, once it has done what the script says.
    fn waiting(folder: &Path, script: &str) -> Child {
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("{script}\necho ready\nread line")])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        child
    }

    fn end(mut program: Child) {
        drop(program.stdin.take());
        program.wait().unwrap();
    }

    #[test]
    fn processes_below_the_one_that_was_started_tell_that_cells_are_forked() {
        let folder = tempfile::tempdir().unwrap();
        for name in [ZYGOTE, CELL] {
            std::os::unix::fs::symlink("/bin/sh", folder.path().join(name)).unwrap();
        }
        // Each says that it is there before the next is started.
        let script = format!(
            "exec 3<&0\nmkfifo said\nfor name in {ZYGOTE} {CELL} {CELL}; do\n\
             ./$name -c 'echo; read line' <&3 >said &\nread line <said\ndone"
        );
        let host = waiting(folder.path(), &script);
        let forked = CellsRun::Forked {
            zygotes: 1,
            cells: 2,
        };
        assert_eq!(look(host.id()), Some(forked));
        // The host itself and one more.
        let part = Seen::from(host.id(), 2);
        assert_eq!(part.zygotes + part.cells, 1);
        end(host);
    }

    #[test]
    fn a_program_with_nothing_of_a_host_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let other = waiting(folder.path(), "");
        assert_eq!(look(other.id()), None);
        end(other);
    }

    #[test]
    fn threads_are_known_by_the_one_that_makes_them() {
        let (ready, is_ready) = mpsc::channel();
        thread::scope(|scope| {
            let mut ends = Vec::new();
            for name in [KEEPER, CELL_THREAD, CELL_THREAD] {
                let (end, ended) = mpsc::channel::<()>();
                let ready = ready.clone();
                let named = thread::Builder::new().name(name.to_owned());
                let body = move || {
                    ready.send(()).unwrap();
                    // The other end is dropped.
                    let _ = ended.recv();
                };
                named.spawn_scoped(scope, body).unwrap();
                is_ready.recv().unwrap();
                ends.push(end);
            }
            let mut seen = Seen::default();
            seen.add(std::process::id());
            assert_eq!((seen.keepers, seen.cell_threads), (1, 2));
        });
    }
}
