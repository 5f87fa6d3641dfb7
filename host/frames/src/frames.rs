// SPDX-License-Identifier: Apache-2.0
//! Frames in the order in which they go out, of which the first may be written in part.

use std::collections::VecDeque;
use std::io::IoSlice;

use code_mode_api::waist::Credit;
use code_mode_protocol::EncodedFrame;

/// Frames handed to the operating system in one write (Linux takes at most 1,024 pieces).
pub(crate) const FRAMES_PER_WRITE: usize = 256;

/// Frames that are not wholly written.
#[derive(Default)]
pub(crate) struct Frames {
    /// Each with what its event counts for until the frame is written.
    frames: VecDeque<(EncodedFrame, Option<Credit>)>,
    /// How much of the first frame is written, in bytes; less than its length.
    offset: usize,
}

/// Frames that a write has brought to their end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// How many.
    pub(crate) frames: usize,
    /// What they took in all, in bytes.
    pub(crate) bytes: usize,
}

impl Frames {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Adds a frame behind all others.
    pub(crate) fn push(&mut self, frame: EncodedFrame, credit: Option<Credit>) {
        self.frames.push_back((frame, credit));
    }

    /// Adds frames behind all others. Nothing of them must be written yet.
    pub(crate) fn append(&mut self, mut later: Self) {
        debug_assert_eq!(
            later.offset, 0,
            "only the first frame can be written in part"
        );
        self.frames.append(&mut later.frames);
    }

    /// What to write next, at most [`FRAMES_PER_WRITE`] frames of it.
    pub(crate) fn slices(&self) -> Vec<IoSlice<'_>> {
        let whole = self.frames.iter().take(FRAMES_PER_WRITE);
        let mut slices: Vec<IoSlice<'_>> = whole
            .map(|(frame, _)| IoSlice::new(frame.as_bytes()))
            .collect();
        if let Some(first) = slices.first_mut() {
            first.advance(self.offset);
        }
        slices
    }

    /// Takes note that this many bytes more are written, and lets the frames go that are done.
    pub(crate) fn advance(&mut self, mut count: usize) -> Written {
        let mut written = Written::default();
        while let Some((frame, _)) = self.frames.front() {
            let length = frame.wire_bytes();
            if count < length - self.offset {
                self.offset += count;
                break;
            }
            count -= length - self.offset;
            self.offset = 0;
            self.frames.pop_front();
            written.frames += 1;
            written.bytes += length;
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use code_mode_protocol::{AgreedCapabilities, DelegateRequestId, HostMessage};

    use super::*;

    fn frame(id: i64) -> EncodedFrame {
        let id = DelegateRequestId::new(id);
        let message = HostMessage::DelegateCancel { id };
        EncodedFrame::encode(&message, &AgreedCapabilities::none()).unwrap()
    }

    #[test]
    fn whatever_a_write_takes_the_next_one_goes_on_there() {
        let all = [
            frame(1).as_bytes(),
            frame(2).as_bytes(),
            frame(3).as_bytes(),
        ]
        .concat();
        for step in 1..=all.len() {
            let mut frames = Frames::default();
            (1..=3).for_each(|id| frames.push(frame(id), None));
            let (mut out, mut total) = (Vec::new(), Written::default());
            while !frames.is_empty() {
                let ready = frames
                    .slices()
                    .iter()
                    .fold(Vec::new(), |all, slice| [&all, &slice[..]].concat());
                let count = step.min(ready.len());
                out.extend_from_slice(&ready[..count]);
                let written = frames.advance(count);
                total.frames += written.frames;
                total.bytes += written.bytes;
            }
            assert_eq!(out, all, "{step} bytes at a time");
            assert_eq!(
                total,
                Written {
                    frames: 3,
                    bytes: all.len()
                }
            );
        }
    }

    #[test]
    fn one_write_takes_no_more_pieces_than_the_operating_system_does() {
        let mut frames = Frames::default();
        (0..2 * FRAMES_PER_WRITE as i64).for_each(|id| frames.push(frame(id), None));
        assert_eq!(frames.slices().len(), FRAMES_PER_WRITE);
    }

    #[test]
    fn a_rest_stays_in_front_of_what_came_later() {
        let mut frames = Frames::default();
        frames.push(frame(1), None);
        assert_eq!(frames.advance(5), Written::default());
        let mut later = Frames::default();
        later.push(frame(2), None);
        frames.append(later);
        let slices = frames.slices();
        assert_eq!(&*slices[0], &frame(1).as_bytes()[5..]);
        assert_eq!(&*slices[1], frame(2).as_bytes());
    }
}
