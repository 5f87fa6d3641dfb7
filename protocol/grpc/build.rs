// SPDX-License-Identifier: Apache-2.0
//! Compiles the `.proto` files without a `protoc`, into `OUT_DIR`.

use std::error::Error;

/// The folder that imports start from.
const ROOT: &str = "proto";
/// The contract, and what our hosts offer beside it.
const FILES: [&str; 2] = [
    "proto/codex/code_mode/v1/code_mode.proto",
    "proto/code_mode/v1/extensions.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let files = protox::compile(FILES, [ROOT])?;
    tonic_prost_build::configure()
        // Tool inputs, results and schemas are handed on without a copy.
        .bytes(".")
        // Whoever connects brings the transport: pipes as well as sockets.
        .build_transport(false)
        .compile_fds(files)?;
    Ok(())
}
