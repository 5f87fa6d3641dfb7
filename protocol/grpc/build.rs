//! Compiles the contract's `.proto` file without a `protoc`, into `OUT_DIR`.

use std::error::Error;

/// The folder that imports start from.
const ROOT: &str = "proto";
/// The one file of the contract.
const CONTRACT: &str = "proto/codex/code_mode/v1/code_mode.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let files = protox::compile([CONTRACT], [ROOT])?;
    tonic_prost_build::configure()
        // Tool inputs, results and schemas are handed on without a copy.
        .bytes(".")
        // Whoever connects brings the transport: pipes as well as sockets.
        .build_transport(false)
        .compile_fds(files)?;
    Ok(())
}
