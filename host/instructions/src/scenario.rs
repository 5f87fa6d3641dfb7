// SPDX-License-Identifier: Apache-2.0
//! What is measured.

/// What a scenario repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Execs of `text('x')`, one after the other.
    Execs {
        /// How many tools each exec enables.
        tools: u32,
    },
    /// Sequential calls of one tool in one cell.
    Calls {
        /// The length of the string that goes to the tool and comes back, bytes.
        bytes: u32,
    },
}

/// One figure: what a repetition of some work costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// The figure's name in the baseline, without spaces.
    pub name: &'static str,
    /// What is repeated.
    pub work: Work,
    /// Repetitions of the run that is subtracted: enough for the pool of isolates to be full.
    pub few: u32,
    /// Repetitions of the run that it is subtracted from. An isolate that one run has made ahead of
    /// need and the other has not costs some 4.6 million instructions: many repetitions share that.
    pub many: u32,
}

/// All that is measured; about half a minute on an idle machine.
pub const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "exec_0_tools",
        work: Work::Execs { tools: 0 },
        few: 20,
        many: 120,
    },
    Scenario {
        name: "exec_128_tools",
        work: Work::Execs { tools: 128 },
        few: 20,
        many: 120,
    },
    Scenario {
        name: "tool_call",
        work: Work::Calls { bytes: 1 },
        few: 400,
        many: 2400,
    },
    Scenario {
        name: "echo_64_kib",
        work: Work::Calls { bytes: 64 << 10 },
        few: 20,
        many: 120,
    },
];

/// A cell to run: its source and the number of its tools, which are called `tool0`, `tool1`, ….
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) source: String,
    pub(crate) tools: u32,
}

impl Work {
    /// The cells that do this work so many times; each gives the text `x` in the end.
    pub(crate) fn cells(self, repetitions: u32) -> Vec<Cell> {
        match self {
            Self::Execs { tools } => {
                let cell = Cell {
                    source: "text('x')".to_owned(),
                    tools,
                };
                vec![cell; repetitions as usize]
            }
            Self::Calls { bytes } => vec![Cell {
                source: format!(
                    "const a = 'x'.repeat({bytes}); \
                     for (let i = 0; i < {repetitions}; i++) {{ \
                       const answer = await tools.tool0({{ a }}); \
                       if (answer.a.length !== {bytes}) throw new Error('not an echo'); \
                     }} \
                     text('x')"
                ),
                tools: 1,
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn execs_are_cells_of_their_own_and_calls_share_one() {
        let execs = Work::Execs { tools: 3 }.cells(5);
        assert_eq!(execs.len(), 5);
        assert!(execs.iter().all(|cell| cell.tools == 3));
        let calls = Work::Calls { bytes: 7 }.cells(5);
        assert_eq!(calls.len(), 1);
        assert!(calls[0].source.contains("repeat(7)"));
        assert!(calls[0].source.contains("i < 5;"));
    }

    #[test]
    fn every_scenario_has_repetitions_to_divide_by() {
        for scenario in SCENARIOS {
            assert!(scenario.few < scenario.many, "{}", scenario.name);
        }
    }
}
