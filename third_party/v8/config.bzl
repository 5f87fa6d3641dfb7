"""The switches of V8 that both the C++ build and the Rust crate must agree on, set here alone."""

# The in-process sandbox: a script that corrupts V8's heap still cannot reach the host's memory.
# It implies pointer compression and the external code space.
V8_SANDBOX = True

# Features of the Rust crate `v8` that follow from the switches above; Cargo.toml takes them too.
V8_CRATE_FEATURES = ["use_custom_libcxx"] + (
    ["v8_enable_pointer_compression", "v8_enable_sandbox"] if V8_SANDBOX else []
)
