# SPDX-License-Identifier: Apache-2.0
"""The C++ toolchain's configuration: clang and lld, Debian 12 sysroot, V8's own libc++."""

load("@bazel_tools//tools/build_defs/cc:action_names.bzl", "ACTION_NAMES")
load(
    "@rules_cc//cc:cc_toolchain_config_lib.bzl",
    "feature",
    "flag_group",
    "flag_set",
    "tool_path",
    "with_feature_set",
)
load("@rules_cc//cc/common:cc_common.bzl", "cc_common")
load("//tools:versions.bzl", "LLVM", "SYSROOT_GCC")
load(":libcxx.bzl", "libcxx_flags")
load(":llvm.bzl", "CLANG_RESOURCES", "llvm_tool")

_SYSROOT = "/opt/sysroot"
_GCC_INSTALL = _SYSROOT + "/usr/lib/gcc/x86_64-linux-gnu/" + SYSROOT_GCC

_CPP = [
    ACTION_NAMES.cpp_compile,
    ACTION_NAMES.cpp_header_parsing,
    ACTION_NAMES.linkstamp_compile,
]
_COMPILE = _CPP + [
    ACTION_NAMES.c_compile,
    ACTION_NAMES.assemble,
    ACTION_NAMES.preprocess_assemble,
]
_LINK = [
    ACTION_NAMES.cpp_link_executable,
    ACTION_NAMES.cpp_link_dynamic_library,
    ACTION_NAMES.cpp_link_nodeps_dynamic_library,
]

# What is asked of the undefined-behaviour sanitizer: what Chromium's own builds of V8 are clean of, less division by zero in
# floating point, which is defined.
_UNDEFINED = ",".join([
    "bool",
    "bounds",
    "builtin",
    "integer-divide-by-zero",
    "null",
    "object-size",
    "return",
    "returns-nonnull-attribute",
    "shift-exponent",
    "signed-integer-overflow",
    "unreachable",
    "vla-bound",
])

# Line tables are most of a program that has them.
_SMALL_LINE_TABLES = ["-Wl,--compress-debug-sections=zlib"]

def _flags(actions, flags, mode = None):
    return flag_set(
        actions = actions,
        flag_groups = [flag_group(flags = flags)],
        with_features = [with_feature_set(features = [mode])] if mode else [],
    )

def _impl(ctx):
    # The folder of V8's source tree as actions see it.
    v8 = ctx.attr.libcxx_headers.label.workspace_root
    target = [
        "--target=x86_64-unknown-linux-gnu",
        "--sysroot=" + _SYSROOT,
        "--gcc-install-dir=" + _GCC_INSTALL,
    ]
    default_compile = feature(
        name = "default_compile_flags",
        enabled = True,
        flag_sets = [
            _flags(_COMPILE, target + [
                # Rust programs are position independent; one kind of object file serves all.
                "-fPIC",
                "-fno-omit-frame-pointer",
                # The same bytes on every machine and in every folder.
                "-no-canonical-prefixes",
                "-ffile-prefix-map=/proc/self/cwd=.",
                "-Wno-builtin-macro-redefined",
                "-D__DATE__=\"redacted\"",
                "-D__TIMESTAMP__=\"redacted\"",
                "-D__TIME__=\"redacted\"",
            ]),
            # V8's own libc++ serves all C++ here: the sandbox wants its hardening, and the system's
            # C++ library, whose version would be the machine's, is never linked.
            _flags(_CPP, libcxx_flags(v8)),
            _flags(_COMPILE, ["-O0"], "fastbuild"),
            # V8 with its checks, without any optimisation, takes minutes for what a test waits seconds for.
            _flags(_COMPILE, ["-O1", "-gline-tables-only"], "dbg"),
            _flags(_COMPILE, ["-O2", "-DNDEBUG", "-ffunction-sections", "-fdata-sections"], "opt"),
        ],
    )
    default_link = feature(
        name = "default_link_flags",
        enabled = True,
        flag_sets = [
            _flags(_LINK, target + [
                "-fuse-ld=lld",
                "--ld-path=" + llvm_tool("ld.lld"),
                "-no-canonical-prefixes",
                "-nostdlib++",
                "-lm",
                "-ldl",
                "-Wl,-z,relro,-z,now",
                "-Wl,--build-id=none",
            ]),
            _flags(_LINK, ["-Wl,--gc-sections"], "opt"),
            # Each test is a program with V8 in it, and there are some eighty.
            _flags(_LINK, _SMALL_LINE_TABLES, "dbg"),
        ],
    )
    return cc_common.create_cc_toolchain_config_info(
        ctx = ctx,
        abi_libc_version = "glibc-2.36",
        abi_version = "local",
        compiler = "clang",
        cxx_builtin_include_directories = [
            CLANG_RESOURCES + "/include",
            "/usr/lib/clang/%s/include" % LLVM,
            _SYSROOT + "/usr/include",
            # Precompiled headers record their parts under this name, the same in every sandbox.
            "/proc/self/cwd",
        ],
        features = [
            default_compile,
            default_link,
            # No `supports_pic`: -fPIC is always on, so nothing is compiled twice.
            feature(name = "opt"),
            feature(name = "dbg"),
            feature(name = "fastbuild"),
            # Asked for by `--features`, together with what .bazelrc says of Rust. More optimisation takes twice as long to
            # compile and finds less.
            feature(
                name = "asan",
                flag_sets = [
                    _flags(_COMPILE, ["-fsanitize=address", "-O1", "-gline-tables-only"]),
                    _flags(_LINK, ["-fsanitize=address"] + _SMALL_LINE_TABLES),
                ],
            ),
            feature(
                name = "ubsan",
                flag_sets = [
                    _flags(_COMPILE, ["-fsanitize=" + _UNDEFINED, "-O1", "-gline-tables-only"]),
                    # clang tells of a check that it cannot make without optimisation, while it links as well.
                    _flags(_LINK, ["-fsanitize=" + _UNDEFINED, "-O1"] + _SMALL_LINE_TABLES),
                ],
            ),
        ],
        host_system_name = "x86_64-unknown-linux-gnu",
        target_cpu = "k8",
        target_libc = "glibc",
        target_system_name = "x86_64-unknown-linux-gnu",
        tool_paths = [
            tool_path(name = name, path = llvm_tool(tool))
            for name, tool in [
                ("ar", "llvm-ar"),
                ("cpp", "clang-cpp"),
                ("dwp", "llvm-dwp"),
                ("gcc", "clang"),
                ("gcov", "llvm-cov"),
                ("ld", "ld.lld"),
                ("nm", "llvm-nm"),
                ("objcopy", "llvm-objcopy"),
                ("objdump", "llvm-objdump"),
                ("strip", "llvm-strip"),
            ]
        ],
        toolchain_identifier = "clang-%s-bookworm" % LLVM,
    )

cc_toolchain_config = rule(
    implementation = _impl,
    attrs = {
        "libcxx_headers": attr.label(
            doc = "The headers of V8's libc++; only their place is used here.",
            mandatory = True,
        ),
    },
    doc = "Describes clang of the build root to Bazel, with the modes opt, dbg and fastbuild, and two sanitizers.",
    provides = [CcToolchainConfigInfo],
)
