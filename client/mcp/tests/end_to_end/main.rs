// SPDX-License-Identifier: Apache-2.0
//! The whole front end: a client of the SDK, the real host, and servers as processes.

mod faults;
mod http;
mod policy;
mod support;
mod work;
