// SPDX-License-Identifier: Apache-2.0
//! What host, starter and zygote say to each other over their control channels.

use code_mode_engine::platform::Jit;
use rustix::process::Pid;

/// What the host tells a zygote first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setup {
    /// The host's process.
    pub(crate) host: u32,
    /// The bound of V8's heap, bytes: what the operator lets a cell have.
    pub(crate) heap_bytes: u64,
    /// What a cell's process may have of memory that is its own, bytes.
    pub(crate) data_bytes: u64,
    /// How a cell's process is confined.
    pub(crate) confinement: Confinement,
    /// Whether V8 makes machine code of scripts.
    pub(crate) jit: Jit,
}

/// How the process of a cell is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// By all that the kernel offers; what it lacks is logged once and done without.
    BestEffort,
    /// By all that there is; where the kernel lacks something, no cell is run.
    Strict,
    /// Not at all. For valgrind, sanitizers and debuggers, and for proving that tests of the
    /// confinement can fail.
    None,
}

/// What a starter or a zygote tells the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// The zygote's process; with its descriptor.
    Started(Pid),
    /// The zygote is ready to fork; what of the confinement the kernel lacks.
    Ready(String),
    /// A child; with the host's end of its stream and its descriptor.
    Born(Pid),
    /// What was asked for cannot be had, and why.
    Failed(String),
    /// Something for the log.
    Noted(String),
}

/// What a zygote is ordered to do: to bear another child, which rehearses.
pub(crate) const BEAR: &[u8] = b"bear";

/// As [`BEAR`], for a cell that waits: to rehearse first would take longer than it saves.
pub(crate) const BEAR_AT_ONCE: &[u8] = b"now";

/// The one order that a starter takes: another zygote, whose end of the channel comes with it.
pub(crate) const START: &[u8] = b"start";

impl Setup {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.host.to_le_bytes());
        bytes.extend_from_slice(&self.heap_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.data_bytes.to_le_bytes());
        bytes.push(match self.confinement {
            Confinement::BestEffort => 0,
            Confinement::Strict => 1,
            Confinement::None => 2,
        });
        bytes.push(match self.jit {
            Jit::On => 1,
            Jit::Off => 0,
        });
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (host, rest) = bytes.split_first_chunk()?;
        let (heap_bytes, rest) = rest.split_first_chunk()?;
        let (data_bytes, rest) = rest.split_first_chunk()?;
        let &[confinement, jit] = rest else {
            return None;
        };
        let confinement = match confinement {
            0 => Confinement::BestEffort,
            1 => Confinement::Strict,
            2 => Confinement::None,
            _ => return None,
        };
        let jit = match jit {
            0 => Jit::Off,
            1 => Jit::On,
            _ => return None,
        };
        Some(Self {
            host: u32::from_le_bytes(*host),
            heap_bytes: u64::from_le_bytes(*heap_bytes),
            data_bytes: u64::from_le_bytes(*data_bytes),
            confinement,
            jit,
        })
    }
}

impl Report {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let numbered = |kind: u8, pid: Pid| {
            let mut bytes = vec![kind];
            bytes.extend_from_slice(&pid.as_raw_nonzero().get().to_le_bytes());
            bytes
        };
        let told = |kind: u8, text: &str| {
            let mut bytes = vec![kind];
            let room = crate::channel::MESSAGE_BYTES - bytes.len();
            let end = text.floor_char_boundary(room.min(text.len()));
            bytes.extend_from_slice(text.get(..end).unwrap_or_default().as_bytes());
            bytes
        };
        match self {
            Self::Started(pid) => numbered(b's', *pid),
            Self::Ready(lacking) => told(b'r', lacking),
            Self::Born(pid) => numbered(b'b', *pid),
            Self::Failed(reason) => told(b'f', reason),
            Self::Noted(what) => told(b'n', what),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let pid = || Pid::from_raw(i32::from_le_bytes(*rest.first_chunk()?));
        let text = || String::from_utf8_lossy(rest).into_owned();
        match kind {
            b's' => Some(Self::Started(pid()?)),
            b'r' => Some(Self::Ready(text())),
            b'b' => Some(Self::Born(pid()?)),
            b'f' => Some(Self::Failed(text())),
            b'n' => Some(Self::Noted(text())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for (confinement, jit) in [
            (Confinement::BestEffort, Jit::On),
            (Confinement::Strict, Jit::Off),
            (Confinement::None, Jit::On),
        ] {
            let setup = Setup {
                host: 7,
                heap_bytes: 1 << 40,
                data_bytes: 3,
                confinement,
                jit,
            };
            assert_eq!(Setup::decode(&setup.encode()), Some(setup));
        }
        let pid = Pid::from_raw(12345).expect("a process number");
        for report in [
            Report::Started(pid),
            Report::Ready(String::new()),
            Report::Born(pid),
            Report::Failed("no memory".to_owned()),
            Report::Noted("as it should be".to_owned()),
        ] {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
    }

    #[test]
    fn a_reason_is_cut_to_the_room_of_a_message() {
        let report = Report::Failed("ü".repeat(crate::channel::MESSAGE_BYTES));
        assert!(report.encode().len() <= crate::channel::MESSAGE_BYTES);
        assert!(matches!(
            Report::decode(&report.encode()),
            Some(Report::Failed(_))
        ));
    }

    #[test]
    fn nonsense_is_no_message() {
        for bytes in [&[][..], b"x", b"b", b"b123"] {
            assert_eq!(Report::decode(bytes), None, "{bytes:?}");
            assert_eq!(Setup::decode(bytes), None, "{bytes:?}");
        }
    }
}
