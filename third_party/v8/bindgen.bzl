# SPDX-License-Identifier: Apache-2.0
"""The Rust declarations of V8's C binding, made by bindgen from the headers and defines of the build itself."""

load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")
load("//tools/toolchain/cc:libcxx.bzl", "libcxx_flags")
load("//tools/toolchain/cc:llvm.bzl", "CLANG_RESOURCES", "LLVM_LIBRARIES")

# What the crate's own build script asks of bindgen.
_OPTIONS = [
    "--generate-cstr",
    "--rustified-enum=.*UseCounterFeature",
    "--rustified-enum=.*ModuleImportPhase",
    "--rustified-enum=.*Intercepted",
    "--bitfield-enum=.*GCType",
    "--bitfield-enum=.*GCCallbackFlags",
    "--allowlist-item=v8__.*",
    "--allowlist-item=cppgc__.*",
    "--allowlist-item=RustObj",
    "--allowlist-item=memory_span_t",
    "--allowlist-item=const_memory_span_t",
    "--allowlist-item=ExternalConstOneByteStringResource",
    "--blocklist-item=cppgc.*Visitor",
    "--blocklist-item=RustObj.*Trace",
    # Nobody reads the file, and rustfmt is not needed to make it.
    "--formatter=none",
]

def _v8_bindgen_impl(ctx):
    headers = ctx.attr.headers[CcInfo].compilation_context
    v8 = ctx.attr.headers.label.workspace_root
    output = ctx.actions.declare_file(ctx.label.name + ".rs")
    arguments = ctx.actions.args()
    arguments.add_all(_OPTIONS)
    arguments.add("--output", output)
    arguments.add(ctx.file.header)
    arguments.add("--")
    arguments.add_all(["-x", "c++", "-std=c++20", "-fno-exceptions", "-fno-rtti", "-w"])
    arguments.add_all(["--target=x86_64-unknown-linux-gnu", "--sysroot=/opt/sysroot"])

    # libc++ before clang's own headers, which it includes in turn.
    arguments.add_all(libcxx_flags(v8))
    arguments.add("-resource-dir=" + CLANG_RESOURCES)
    arguments.add_all(headers.defines, before_each = "-D", format_each = "%s")
    arguments.add_all(headers.includes, format_each = "-I%s")
    arguments.add_all(headers.quote_includes, format_each = "-iquote%s")
    arguments.add_all(headers.system_includes, format_each = "-isystem%s")
    ctx.actions.run(
        executable = "/usr/bin/bindgen",
        arguments = [arguments],
        env = {"LIBCLANG_PATH": LLVM_LIBRARIES},
        inputs = depset(
            [ctx.file.header] + ctx.files.compiler_files,
            transitive = [headers.headers],
        ),
        outputs = [output],
        mnemonic = "V8Bindgen",
        progress_message = "Generating V8's Rust declarations",
    )
    return [DefaultInfo(files = depset([output]))]

v8_bindgen = rule(
    implementation = _v8_bindgen_impl,
    attrs = {
        "compiler_files": attr.label_list(
            allow_files = True,
            doc = "What the C++ parser itself reads besides the headers.",
        ),
        "header": attr.label(
            allow_single_file = True,
            doc = "The binding's header.",
            mandatory = True,
        ),
        "headers": attr.label(
            doc = "The headers, include folders and defines that the library was compiled with.",
            mandatory = True,
            providers = [CcInfo],
        ),
    },
    doc = "Generates `NAME.rs` from the binding's header.",
)
