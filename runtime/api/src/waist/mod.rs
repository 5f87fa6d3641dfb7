// SPDX-License-Identifier: Apache-2.0
//! The waist: asks go down and events come up through one interface without a future in it.
//!
//! What runs cells implements [`Sessions`]; whatever carries them to a client, a door, consumes it.
//! A door asks ([`Session::ask`]), is told by its [`Bell`] that an [`Outbox`] holds events, and takes
//! them when it can pass them on. Not taking them is the back-pressure: a cell's own thread waits for
//! room before it speaks ([`Outbox::wait_for_room`]), and nobody else ever waits.

mod ask;
mod budget;
mod event;
mod outbox;
mod pool;
mod sessions;

pub use ask::{Answer, Ask, AskId, CallId, Values};
pub use budget::{Budget, Full, Held};
pub use event::{Event, MINIMUM_EVENT_BYTES};
pub use outbox::{Bell, Credit, Outbox, OutboxOwner, Ringer, Stopped, Taken, Taking};
pub use pool::Pool;
pub use sessions::{Session, Sessions};
