// SPDX-License-Identifier: Apache-2.0
//! The names of calls into the kernel, for logs and errors.

use std::fmt;

/// A call into the kernel, by its number; shown with its name where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelCall(pub i64);

impl KernelCall {
    /// The name of the call; `None` for a number that no call of this architecture has.
    pub fn name(self) -> Option<&'static str> {
        let number = usize::try_from(self.0).ok()?;
        syscalls::Sysno::new(number).map(|call| call.name())
    }
}

impl fmt::Display for KernelCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = self;
        match self.name() {
            Some(name) => write!(f, "{name}, number {number}"),
            None => write!(f, "number {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_names_and_nonsense_has_none() {
        assert_eq!(KernelCall(libc::SYS_openat).name(), Some("openat"));
        assert_eq!(
            KernelCall(libc::SYS_socket).to_string(),
            "socket, number 41"
        );
        for number in [-1, 100_000, i64::MAX] {
            assert_eq!(KernelCall(number).to_string(), format!("number {number}"));
        }
    }
}
