// SPDX-License-Identifier: Apache-2.0
//! Cells as processes: forks of a zygote, each with an isolate that is ready, confined and alone.
//!
//! # Purpose
//! A [`Nursery`] gives a [`Child`] for each cell: a process that has everything ready and waits for
//! its one script. The [`Link`] to it carries what the script does to whoever runs the cell, and the
//! answers back. Whatever happens in the process ends with it.
//!
//! # Life cycle
//! A [`Starter`] is started once in a process, from a program that calls [`entry`] first of all. A
//! nursery has it start a *zygote*, which sets V8 up, makes an isolate, and is then forked for each cell.
//! Once it has borne its first child, which somebody is likely to wait for, it warms the isolate up with
//! scripts of our own. Some children wait ready; each is used once. A zygote is
//! replaced now and then, and when it dies; running cells do not notice.
//!
//! # Threads
//! Starter, zygotes and cells have one thread each. All are children of the host: it knows them by
//! descriptors, reaps them, and the kernel ends them when the thread that started the starter ends.
//! The host's side runs as tasks of a Tokio runtime; nothing of it blocks.
//!
//! # Limits
//! See the constants of [`nursery`](Nursery), [`Lifespan`], [`CellMemory`] and the bounds that a [`Run`] carries. What a
//! process sends is read within [`LinkReader::set_bounds`].
//!
//! # Safety
//! What a process says is not trusted: a message that is none, or one that is too long, is an error
//! after which the process is to be killed. The confinement is in `confine.rs`.

pub mod attempts;
mod calls;
mod cell;
mod channel;
mod check;
mod confine;
mod confine_host;
mod contained;
mod control;
mod entry;
mod huge_text;
mod life;
mod lifespan;
mod link;
mod memory;
mod nursery;
mod probe;
mod starter;
mod stream;
mod warm_up;
mod watch;
mod wire;
mod zygote;

pub use calls::KernelCall;
pub use check::{Checked, Outcome, check_confinement};
pub use confine_host::{HostNeeds, REFUSALS_TOLD, confine_host};
pub use control::Confinement;
pub use entry::{entry, entry_with_probe};
pub use life::{Exit, Process};
pub use lifespan::{ABNORMAL_DEATHS_OF_A_ZYGOTE, AGE_OF_A_ZYGOTE, BIRTHS_OF_A_ZYGOTE, Lifespan};
pub use link::{Child, Link, LinkError, LinkReader};
pub use memory::CellMemory;
pub use nursery::{
    BIRTH_DEADLINE, BirthError, FIRST_PAUSE, LONGEST_PAUSE, Nursery, NurseryConfig, ORDERED_BIRTHS,
    ZYGOTE_DEADLINE,
};
pub use probe::Probe;
pub use starter::{Program, Region, Starter};
pub use wire::{DeathNote, FromCell, Nonsense, OfferedTool, Received, Run, ToCell};
