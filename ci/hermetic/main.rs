// SPDX-License-Identifier: Apache-2.0
//! Prints a line by way of Rust's standard library, linked by the C++ toolchain.

fn main() {
    println!("built from Rust");
}
