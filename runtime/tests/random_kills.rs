// SPDX-License-Identifier: Apache-2.0
//! Processes of the runtime are killed at random, and every cell is answered.

mod processes;
mod support;

use std::sync::Arc;

use code_mode_api::CellStatus;
use code_mode_runtime::RuntimeConfig;
use code_mode_testsuite::{Fixture, texts_of, within};
use pretty_assertions::assert_eq;
use processes::{children, kill, name_of};
use support::runtime;

const FORKED: bool = true;

/// A number that changes with each call; its seed is fixed, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides.max(1) as u64).unwrap_or(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_at_random_every_cell_is_answered() {
    const CELLS: usize = 10_000;
    const AT_ONE_TIME: usize = 8;
    const CELLS_A_KILL: usize = 20;
    let runtime = runtime(RuntimeConfig::default(), None);
    let fixture = Fixture::on(Arc::new(runtime)).await;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut whole, mut killed, mut unborn) = (0, 0, 0);
    for batch in 0..CELLS / AT_ONE_TIME {
        let mut cells = Vec::new();
        for number in 0..AT_ONE_TIME {
            let source = if number % 2 == 0 {
                "text('x')"
            } else {
                "text(await tools.echo('x'))"
            };
            cells.push(fixture.start(source).await);
        }
        if batch % (CELLS_A_KILL / AT_ONE_TIME) == 0 {
            let all = children();
            let victim = all.get(dice.roll(all.len())).copied();
            // The starter cannot be replaced, and the kernel ends it with its host only.
            if let Some(pid) = victim
                .filter(|pid| matches!(name_of(*pid).as_deref(), Some("cm-cell" | "cm-zygote")))
            {
                kill(pid);
            }
        }
        for cell in cells {
            match within(cell.first_response).await {
                Ok(response) => match response.status {
                    CellStatus::Completed { error_text: None } => {
                        assert_eq!(texts_of(&response), ["x"]);
                        whole += 1;
                    }
                    CellStatus::Completed {
                        error_text: Some(error),
                    } => {
                        assert!(error.starts_with("ProcessError: "), "{error}");
                        killed += 1;
                    }
                    other => panic!("{other:?}"),
                },
                Err(error) => {
                    assert_eq!(error.side_effects(), code_mode_api::SideEffects::None);
                    unborn += 1;
                }
            }
        }
    }
    assert_eq!(whole + killed + unborn, CELLS / AT_ONE_TIME * AT_ONE_TIME);
    assert!(killed > 0 && whole > CELLS / 2, "{whole} {killed} {unborn}");
    fixture.end().await;
}
