# SPDX-License-Identifier: Apache-2.0
"""Third-party crates as Bazel repositories, straight from Cargo's own resolution.

The module extension asks `cargo metadata` (of the build root, offline, `--locked`) for the resolved graph of the
workspace and declares

* one repository per crate version, unpacked from the `.crate` file in CARGO_HOME after a check against the
  sha256 in Cargo.lock, with a BUILD file written from the graph;
* the repository `crates`, which has `@crates//:NAME` for each direct dependency of a workspace member and
  `@crates//:NAME-VERSION` for every crate.

No generated BUILD file is kept anywhere, so none can go stale: a change of Cargo.lock or of a member's Cargo.toml
runs the extension again. `tools/crates/fetch` fills CARGO_HOME before Bazel starts; nothing here uses a network.
"""

load(":archive.bzl", "extract_crate", "fail_without_cargo_home", "locked_crates")
load(":build_file.bzl", "crate_build_file", "crate_graph")

# The one platform that we build on and for.
_TRIPLE = "x86_64-unknown-linux-gnu"

# Crates whose library comes from this workspace instead.
# Key: the crate's name. Value: the label that `@crates//:NAME` then means.
_OVERRIDES = {
    # Its build script downloads or compiles V8; ours is compiled by Bazel, and this library links to that.
    "v8": "@@//third_party/v8:v8",
}

def _crate_repository_impl(repository_ctx):
    attributes = repository_ctx.attr
    extract_crate(
        repository_ctx,
        struct(name = attributes.crate, version = attributes.version, sha256 = attributes.sha256),
    )

    # A crate that also builds under Bazel has BUILD files of its own, which would split ours into packages.
    removed = repository_ctx.execute([
        "find",
        ".",
        "(",
        "-name",
        "BUILD",
        "-o",
        "-name",
        "BUILD.bazel",
        "-o",
        "-name",
        "MODULE.bazel",
        "-o",
        "-name",
        "WORKSPACE*",
        ")",
        "-delete",
    ])
    if removed.return_code != 0:
        fail("Failed to remove the BUILD files of {}: {}".format(attributes.crate, removed.stderr))
    repository_ctx.file("BUILD.bazel", repository_ctx.attr.build_file_content)

_crate_repository = repository_rule(
    implementation = _crate_repository_impl,
    doc = "One crate of Cargo's cache, with the BUILD file that the extension wrote for it.",
    attrs = {
        "build_file_content": attr.string(mandatory = True),
        "crate": attr.string(mandatory = True),
        "sha256": attr.string(mandatory = True),
        "version": attr.string(mandatory = True),
    },
)

def _hub_repository_impl(repository_ctx):
    lines = [
        "\"\"\"Every crate of Cargo.lock by name. Written by //third_party/crates:crates.bzl.\"\"\"",
        "",
        "package(default_visibility = [\"//visibility:public\"])",
    ]
    for name, actual in repository_ctx.attr.aliases.items():
        lines += ["", "alias(", "    name = \"{}\",".format(name), "    actual = \"{}\",".format(actual), ")"]
    lines += ["", "filegroup(", "    name = \"licence_files\",", "    srcs = ["]
    lines += ["        \"{}\",".format(label) for label in repository_ctx.attr.licence_files]
    lines += ["    ],", ")", "", "exports_files([\"crates.json\"])"]
    repository_ctx.file("BUILD.bazel", "\n".join(lines) + "\n")

    # Bazel hands on the bytes that Cargo printed; encoding them again would spoil the names of authors.
    repository_ctx.file("crates.json", repository_ctx.attr.facts, legacy_utf8 = False)
    repository_ctx.file("overridden.bzl", "\n".join([
        "\"\"\"What Cargo resolved for the crates that this workspace builds itself.\"\"\"",
        "",
        "# Key: the crate's name. Value: the attributes that a rust_library over its sources needs.",
        # A canonical label means the same in whichever repository the rule is written.
        "OVERRIDDEN = {}".format(repository_ctx.attr.overridden.replace("@crates//", "@@{}//".format(repository_ctx.name))),
        "",
    ]))

_hub_repository = repository_rule(
    implementation = _hub_repository_impl,
    doc = "The repository `crates`: aliases, the resolved attributes of the overridden crates, and who wrote which.",
    attrs = {
        "aliases": attr.string_dict(mandatory = True),
        "facts": attr.string(mandatory = True),
        "licence_files": attr.string_list(mandatory = True),
        "overridden": attr.string(mandatory = True),
    },
)

def _cargo_metadata(module_ctx):
    """Runs `cargo metadata` and makes Bazel watch what it reads.

    Args:
        module_ctx: the extension's context.

    Returns:
        The decoded metadata.
    """
    cargo_home = module_ctx.getenv("CARGO_HOME")
    if not cargo_home:
        fail_without_cargo_home("CARGO_HOME is not set")
    manifest = module_ctx.path(Label("//:Cargo.toml"))
    module_ctx.watch(manifest)
    result = module_ctx.execute(
        [
            "/usr/bin/cargo",
            "metadata",
            "--format-version=1",
            "--locked",
            "--offline",
            "--filter-platform=" + _TRIPLE,
            "--manifest-path={}".format(manifest),
        ],
        environment = {"CARGO_HOME": cargo_home},
    )
    if result.return_code != 0:
        fail("\n".join([
            "cargo metadata failed:",
            result.stderr,
            "If the manifests were changed, renew Cargo.lock with `cargo update --workspace` and commit it.",
            "If a crate is missing, run tools/crates/fetch (tools/bazel does when Cargo.lock has changed).",
        ]))
    metadata = json.decode(result.stdout)
    for package in metadata["packages"]:
        if package["source"] == None:
            module_ctx.watch(package["manifest_path"])
    return metadata

def _crates_impl(module_ctx):
    locked = locked_crates(module_ctx.read(Label("//:Cargo.lock")))
    checksums = {"{} {}".format(crate.name, crate.version): crate.sha256 for crate in locked}
    graph = crate_graph(_cargo_metadata(module_ctx))

    aliases = {}
    overridden = {}
    facts = []
    licence_files = []
    for crate in graph.crates:
        if crate.name in _OVERRIDES:
            actual = _OVERRIDES[crate.name]
            overridden[crate.name] = crate.attributes
        else:
            licence_files.append("@{}//:licence_files".format(crate.repository))
            actual = "@{}//:{}".format(crate.repository, crate.name)
            _crate_repository(
                name = crate.repository,
                build_file_content = crate_build_file(crate),
                crate = crate.name,
                sha256 = checksums["{} {}".format(crate.name, crate.version)],
                version = crate.version,
            )
        facts.append(dict(crate.facts, sha256 = checksums["{} {}".format(crate.name, crate.version)]))
        aliases["{}-{}".format(crate.name, crate.version)] = actual
        if crate.direct:
            if crate.name in aliases:
                fail("The workspace's members use two versions of {}; let them agree on one.".format(crate.name))
            aliases[crate.name] = actual
    _hub_repository(
        name = "crates",
        aliases = aliases,
        facts = json.encode_indent(facts, indent = " "),
        licence_files = licence_files,
        overridden = json.encode_indent(overridden, indent = "    ").replace("null", "None"),
    )
    return module_ctx.extension_metadata(reproducible = True)

crates = module_extension(
    implementation = _crates_impl,
    doc = "Declares `@crates` and one repository for each crate of Cargo.lock.",
)
