# SPDX-License-Identifier: Apache-2.0
"""The one macro that makes a Rust package."""

load("@rules_rust//cargo:defs.bzl", "cargo_build_script")
load("@rules_rust//rust:defs.bzl", "rust_binary", "rust_doc_test", "rust_library", "rust_test")
load("//tools/fuzz:fuzz.bzl", "fuzz_target")
load(":cargo.bzl", "MEMBERS", "cargo_package_manifest")
load(":lints.bzl", "lint_flags")
load(":rust_checks.bzl", "clippy_test", "rustfmt_test")

def _stems(pattern):
    """Lists the files of a glob without folder and suffix."""
    return [path.split("/")[-1].removesuffix(".rs") for path in native.glob([pattern], allow_empty = True)]

# What only the link of a program gets: an id by which a crash finds the symbols of its build.
_BINARY_FLAGS = ["-Clink-arg=-Wl,--build-id=sha1"]

# Without the second optimisation across the units that a crate is compiled in: up to two fifths of the time of compiling.
_NO_THIN_LTO = ["-Clto=off"]

# Tests are compiled more often than they run for long: no optimisation, over libraries as they are shipped, is a third of
# the time that a little takes (docs/build.md). What a unit test compiles is its crate's own code, with the checks that a
# shipped build has not.
_TEST_FLAGS = ["-Copt-level=0"] + _NO_THIN_LTO
_UNIT_TEST_FLAGS = _TEST_FLAGS + ["-Cdebug-assertions=on", "-Coverflow-checks=on"]

# A program counts which of its lines are run, in a file that it maps (%c in the file's name), so what a killed host has
# run counts too: that is what the relocation is for.
_COUNTER_FLAGS = [
    "-Cinstrument-coverage",
    "-Cllvm-args=-runtime-counter-relocation",
    "-Copt-level=1",
    "-Cstrip=none",
    # Processes of cells are told where that file is.
    "--cfg=coverage",
]

def _counters():
    return select({
        "//tools:lines_are_counted": _COUNTER_FLAGS,
        "//conditions:default": [],
    })

def _stamp():
    """With --stamp, programs alone learn the revision; a library that knew it would be compiled for each one."""
    return select({
        "//tools:stamped": {
            "CODE_MODE_STAMPED_VERSION": native.module_version() + " ({STABLE_CODE_MODE_REVISION})",
        },
        "//conditions:default": {},
    })

def rust_crate(
        name,
        deps = [],
        dev_deps = [],
        build_deps = [],
        binaries = {},
        binary_deps = [],
        binary_data = [],
        test_data = [],
        test_env = {},
        test_size = "small",
        test_tags = [],
        fuzz_seeds = {},
        fuzz_runs = {},
        cargo_features = {},
        thin_lto = True,
        visibility = ["//visibility:public"]):
    """Declares everything about one Rust package, laid out as Cargo lays it out.

    Targets, for `name = "host"` in the folder `host`:

    * `:host`, the library from `src/lib.rs`; its crate is called `code_mode_host`;
    * `:host_FEATURE` for each of `cargo_features`, the same library with it; `tests/FEATURE.rs` tests that one;
    * each of `binaries`, over the library and its dependencies;
    * `:host_unit_test`, `:host_doc_test`, and `:NAME_test` for each `tests/NAME.rs` or `tests/NAME/main.rs`; any other
      folder in `tests/` holds modules that those share;
    * `:host_build_script`, from `build.rs` if there is one, which runs before the library is compiled;
    * `:FILE_bench`, a plain binary, for each `benches/FILE.rs`;
    * `:FILE_fuzz`, a program for libFuzzer, for each `fuzz/FILE.rs`, and `:FILE_fuzz_test`, a short run of it; it may
      have a dictionary in `fuzz/FILE.dict`;
    * `:host_fmt_test` and `:host_clippy_test`, over all of the above;
    * `:cargo_manifest`, the text of the package's Cargo.toml.

    Integration tests find each binary by `env!("CARGO_BIN_EXE_NAME")`, as under Cargo; here that path is relative to
    the folder that a test starts in.

    Args:
        name: the last part of the package's folder.
        deps: labels of the libraries that the package uses: `@crates//:NAME` or another member, as `//protocol`.
        dev_deps: labels of those that only tests and benches use.
        build_deps: labels of those that only the build script uses.
        binaries: a dict from each binary's name to its source file, which is not part of the library.
        binary_deps: labels of those that only the binaries use. Cargo cannot say so; its library has them too.
        binary_data: files and programs that the binaries look for beside themselves.
        test_data: files and programs that the tests need, in tests and benches.
        test_env: environment variables of the tests; `$(rootpath LABEL)` of `test_data` is expanded.
        test_size: Bazel's size of the unit and integration tests.
        test_tags: Bazel's tags of the integration tests.
        fuzz_seeds: a dict from stems of `fuzz/FILE.rs` to patterns of the files that fuzzing begins with.
        fuzz_runs: a dict from such stems to how many inputs the test tries, where the usual number takes too long.
        cargo_features: a dict from the name of each Cargo feature to the labels that only it needs.
        thin_lto: whether the library is optimised across the units that it is compiled in. Where much is generic and
            nothing is hot, as in a front end, that takes long and gains nothing.
        visibility: who may use the library and the binaries.
    """
    folder = native.package_name()
    if folder not in MEMBERS:
        fail("Add {} to MEMBERS in //tools:cargo.bzl".format(folder))
    if name != folder.split("/")[-1]:
        fail("The library of {} must be called after its folder".format(folder))
    crate = MEMBERS[folder]
    uncounted_flags = lint_flags() + ([] if thin_lto else _NO_THIN_LTO)
    flags = uncounted_flags + _counters()
    library_srcs = native.glob(["src/**/*.rs"], exclude = binaries.values())

    # Whatever else lies in the package may be included by its sources, or read by its tests.
    not_sources = ["**/*.rs", "BUILD.bazel", "Cargo.toml"]
    library_data = native.glob(["**"], exclude = not_sources + ["benches/**", "fuzz/**", "tests/**"], allow_empty = True)
    fixtures = native.glob(["**"], exclude = not_sources, allow_empty = True)
    test_roots = native.glob(["tests/*.rs", "tests/*/main.rs"], allow_empty = True)
    benches = _stems("benches/*.rs")
    fuzz_targets = _stems("fuzz/*.rs")
    common = dict(
        rustc_env = {"CARGO_PKG_NAME": crate},
        rustc_flags = flags,
        version = native.module_version(),
    )

    # What it writes is the library's alone, so no other target names it.
    build_script = native.glob(["build.rs"], allow_empty = True)
    if build_script:
        cargo_build_script(
            name = name + "_build_script",
            srcs = build_script,
            crate_root = build_script[0],
            data = library_data,
            deps = build_deps,
            edition = "2024",
            pkg_name = crate,
            # It runs in the build, and in no test.
            rustc_flags = uncounted_flags,
            version = common["version"],
        )

    rust_library(
        name = name,
        srcs = library_srcs,
        compile_data = library_data,
        crate_name = crate,
        deps = deps + [name + "_build_script" for _ in build_script],
        visibility = visibility,
        **common
    )
    for feature, feature_deps in cargo_features.items():
        rust_library(
            name = name + "_" + feature,
            srcs = library_srcs,
            compile_data = library_data,
            crate_features = [feature],
            crate_name = crate,
            deps = deps + feature_deps + [name + "_build_script" for _ in build_script],
            visibility = visibility,
            **common
        )
    for binary, path in binaries.items():
        rust_binary(
            name = binary,
            srcs = [path],
            crate_root = path,
            data = binary_data,
            deps = [name] + deps + binary_deps,
            visibility = visibility,
            rustc_env = common["rustc_env"] | _stamp(),
            rustc_flags = flags + _BINARY_FLAGS,
            version = common["version"],
        )

    rust_test(
        name = name + "_unit_test",
        size = test_size,
        crate = name,
        data = fixtures + test_data,
        deps = dev_deps,
        env = test_env,
        rustc_env = common["rustc_env"],
        rustc_flags = flags + _UNIT_TEST_FLAGS,
    )
    rust_doc_test(
        name = name + "_doc_test",
        crate = name,
        deps = dev_deps,
    )

    tests = [name + "_unit_test"]
    for root in test_roots:
        stem = root.removeprefix("tests/").removesuffix(".rs").removesuffix("/main").removesuffix("_test")
        tests.append(stem + "_test")
        rust_test(
            name = tests[-1],
            size = test_size,
            srcs = native.glob(["tests/*/**/*.rs"], exclude = [root], allow_empty = True) + [root],
            compile_data = fixtures,
            crate_features = [stem] if stem in cargo_features else [],
            crate_root = root,
            data = fixtures + binaries.keys() + test_data,
            deps = [name + "_" + stem if stem in cargo_features else name] + deps + dev_deps,
            env = test_env,
            rustc_env = common["rustc_env"] | {
                "CARGO_BIN_EXE_" + binary: "$(rootpath {})".format(binary)
                for binary in binaries
            },
            rustc_flags = flags + _TEST_FLAGS,
            tags = test_tags,
            version = common["version"],
        )
    for stem in benches:
        rust_binary(
            name = stem + "_bench",
            testonly = True,
            srcs = ["benches/{}.rs".format(stem)],
            crate_root = "benches/{}.rs".format(stem),
            data = test_data,
            deps = [name] + deps + dev_deps,
            **common
        )

    for stem in fuzz_targets:
        fuzz_target(
            name = stem + "_fuzz",
            src = "fuzz/{}.rs".format(stem),
            # What must hold for any bytes, tests say as well.
            srcs = native.glob(["fuzz/*/**/*.rs", "tests/*/**/*.rs"], exclude = test_roots, allow_empty = True),
            deps = [name] + deps,
            dictionary = (native.glob(["fuzz/{}.dict".format(stem)], allow_empty = True) or [None])[0],
            runs = fuzz_runs.get(stem),
            seeds = native.glob(fuzz_seeds.get(stem, []), allow_empty = True),
            **common
        )

    rustfmt_test(
        name = name + "_fmt_test",
        size = "small",
        srcs = native.glob(["**/*.rs"]),
        roots = ["src/lib.rs"] + build_script + binaries.values() + test_roots + native.glob(["benches/*.rs", "fuzz/*.rs"], allow_empty = True),
    )
    clippy_test(
        name = name + "_clippy_test",
        size = "small",
        targets = [name] + [name + "_" + feature for feature in cargo_features] + binaries.keys() + tests + [stem + "_bench" for stem in benches] + [stem + "_fuzz" for stem in fuzz_targets],
    )

    cargo_package_manifest(
        name = "cargo_manifest",
        benches = benches,
        binaries = binaries,
        build_deps = build_deps,
        deps = deps + binary_deps,
        dev_deps = dev_deps,
        features = cargo_features,
    )
    native.exports_files(["Cargo.toml"], visibility = ["//tools:__pkg__"])
