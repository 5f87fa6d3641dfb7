// SPDX-License-Identifier: Apache-2.0
//! What the kernel says of the host and of its cells.

use std::fs;
use std::path::PathBuf;

/// The name that the processes of cells give themselves.
const CELL_NAME: &str = "cm-cell";

/// One look at a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Resident memory of the host's process, KiB.
    pub(crate) resident_kib: u64,
    /// Descriptors that the host's process has open.
    pub(crate) descriptors: usize,
    /// Threads of the host's process.
    pub(crate) threads: usize,
    /// Processes of the host: cells, those that wait to become cells, and those that make them.
    pub(crate) processes: usize,
}

/// A host's process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched(pub(crate) u32);

impl Watched {
    /// Looks at the host now.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn read(self) -> std::io::Result<Reading> {
        let rollup = fs::read_to_string(self.path("smaps_rollup"))?;
        let resident = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let resident =
            resident.and_then(|size| size.trim().strip_suffix("kB")?.trim().parse().ok());
        Ok(Reading {
            resident_kib: resident.unwrap_or_default(),
            descriptors: fs::read_dir(self.path("fd"))?.count(),
            threads: fs::read_dir(self.path("task"))?.count(),
            processes: self.children().len(),
        })
    }

    /// A process of one of the host's cells, or of one that is ready to become one; `choice` says which.
    pub(crate) fn cell(self, choice: u64) -> Option<u32> {
        let is_cell = |child: &u32| {
            let name = fs::read_to_string(format!("/proc/{child}/comm"));
            name.is_ok_and(|name| name.trim_end() == CELL_NAME)
        };
        let cells: Vec<u32> = self.children().into_iter().filter(is_cell).collect();
        let choice = usize::try_from(choice).unwrap_or_default();
        cells.get(choice.checked_rem(cells.len())?).copied()
    }

    /// The processes whose parent is the host. A thread that ends meanwhile has none.
    fn children(self) -> Vec<u32> {
        let Ok(threads) = fs::read_dir(self.path("task")) else {
            return Vec::new();
        };
        let lists = threads.flatten();
        let lists =
            lists.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        lists
            .flat_map(|list| {
                let numbers = list.split_whitespace();
                numbers
                    .filter_map(|number| number.parse().ok())
                    .collect::<Vec<u32>>()
            })
            .collect()
    }

    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_descriptors_and_threads() {
        let reading = Watched(std::process::id()).read().expect("it is there");
        assert!(reading.resident_kib > 100, "{reading:?}");
        assert!(reading.descriptors > 2, "{reading:?}");
        assert!(reading.threads > 0, "{reading:?}");
        assert_eq!(Watched(std::process::id()).cell(7), None);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(Watched(u32::MAX).read().is_err());
    }
}
