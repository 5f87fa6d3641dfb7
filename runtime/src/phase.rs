// SPDX-License-Identifier: Apache-2.0
//! The states of a cell and the steps between them; the only place where a state changes.

/// Where a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has its id and its slot; nothing runs.
    Admitted,
    /// Its script runs, or waits for tools and timers.
    Running,
    /// Its script has ended; undelivered notifications hold the result back.
    Finishing,
    /// It was asked to terminate; its V8 thread has not ended yet.
    Stopping,
    /// It has ended and nobody has had its result.
    Ended,
    /// Its result was handed out.
    Delivered,
}

/// What happens to a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The embedder starts it.
    Start,
    /// Its script has run to its end or was stopped.
    ScriptEnded,
    /// Somebody asks for its termination.
    Terminate,
    /// Its outcome is known and nothing holds it back.
    Complete,
    /// The V8 thread of a cell that is being terminated has ended.
    ThreadStopped,
    /// Its V8 thread failed.
    Lose,
    /// Its result is handed out.
    Deliver,
    /// Its result comes back unread.
    Return,
}

impl Phase {
    /// The state after a step, or `None` when this state has no such step.
    pub(crate) fn after(self, step: Step) -> Option<Self> {
        use Phase::{Admitted, Delivered, Ended, Finishing, Running, Stopping};
        match (self, step) {
            (Admitted, Step::Start) => Some(Running),
            (Running, Step::ScriptEnded) => Some(Finishing),
            // A script that ends while it is being terminated changes nothing: it counts as
            // terminated once its thread is gone.
            (Stopping, Step::ScriptEnded) => Some(Stopping),
            (Running | Finishing, Step::Terminate) => Some(Stopping),
            (Finishing, Step::Complete) | (Stopping, Step::ThreadStopped) => Some(Ended),
            (Running | Finishing | Stopping, Step::Lose) => Some(Ended),
            (Ended, Step::Deliver) => Some(Delivered),
            (Delivered, Step::Return) => Some(Ended),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, Step};

    const PHASES: [Phase; 6] = [
        Phase::Admitted,
        Phase::Running,
        Phase::Finishing,
        Phase::Stopping,
        Phase::Ended,
        Phase::Delivered,
    ];
    const STEPS: [Step; 8] = [
        Step::Start,
        Step::ScriptEnded,
        Step::Terminate,
        Step::Complete,
        Step::ThreadStopped,
        Step::Lose,
        Step::Deliver,
        Step::Return,
    ];

    #[test]
    fn exactly_the_documented_steps_are_possible() {
        let possible: Vec<_> = PHASES
            .into_iter()
            .flat_map(|phase| STEPS.map(|step| (phase, step, phase.after(step))))
            .filter_map(|(phase, step, after)| after.map(|after| (phase, step, after)))
            .collect();
        assert_eq!(
            possible,
            [
                (Phase::Admitted, Step::Start, Phase::Running),
                (Phase::Running, Step::ScriptEnded, Phase::Finishing),
                (Phase::Running, Step::Terminate, Phase::Stopping),
                (Phase::Running, Step::Lose, Phase::Ended),
                (Phase::Finishing, Step::Terminate, Phase::Stopping),
                (Phase::Finishing, Step::Complete, Phase::Ended),
                (Phase::Finishing, Step::Lose, Phase::Ended),
                (Phase::Stopping, Step::ScriptEnded, Phase::Stopping),
                (Phase::Stopping, Step::ThreadStopped, Phase::Ended),
                (Phase::Stopping, Step::Lose, Phase::Ended),
                (Phase::Ended, Step::Deliver, Phase::Delivered),
                (Phase::Delivered, Step::Return, Phase::Ended),
            ]
        );
    }

    #[test]
    fn a_delivered_cell_makes_no_step_but_to_get_its_result_back() {
        let possible = STEPS
            .into_iter()
            .filter(|step| Phase::Delivered.after(*step).is_some());
        assert_eq!(possible.collect::<Vec<_>>(), [Step::Return]);
    }
}
