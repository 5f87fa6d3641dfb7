# SPDX-License-Identifier: Apache-2.0
"""The switch of V8's sandbox, which the C++ build, the Rust crate and Cargo must agree on, set here alone."""

# The in-process sandbox: a script that corrupts V8's heap still cannot reach the host's memory.
# It implies pointer compression and the external code space. This is the default of the flag
# `--@v8//:v8_enable_sandbox`.
V8_SANDBOX = True

_FEATURES = ["use_custom_libcxx"]
_SANDBOX_FEATURES = [
    "v8_enable_pointer_compression",
    "v8_enable_sandbox",
]

# Features of the Rust crate `v8` for Cargo, which knows no flags of Bazel.
V8_CRATE_FEATURES = _FEATURES + (_SANDBOX_FEATURES if V8_SANDBOX else [])

def v8_crate_features():
    """Features of the Rust crate `v8` that belong to the V8 of this build: they follow its flags."""
    return _FEATURES + select({
        "@v8//:is_v8_enable_sandbox": _SANDBOX_FEATURES,
        "//conditions:default": [],
    }) + select({
        # V8's handle scopes have one field more then.
        "@v8//:is_v8_enable_v8_checks": ["v8_enable_v8_checks"],
        "//conditions:default": [],
    })
