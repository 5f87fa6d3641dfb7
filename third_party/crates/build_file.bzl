# SPDX-License-Identifier: Apache-2.0
"""From the graph of `cargo metadata` to BUILD files. Pure functions: they read and write nothing."""

def _repository_name(package):
    # A build number as in 1.0.0+abc has a plus sign, which a repository's name may not have.
    return "{}-{}".format(package["name"], package["version"]).replace("+", "-")

def _relative(path, package):
    return path.removeprefix(package["manifest_path"].removesuffix("Cargo.toml"))

def _target(package, kinds):
    """Finds the one target of the given kinds, or None."""
    for target in package["targets"]:
        if [kind for kind in target["kind"] if kind in kinds]:
            return target
    return None

def _library(package):
    return _target(package, ["lib", "rlib", "dylib", "cdylib", "staticlib", "proc-macro"])

def _is_proc_macro(package):
    return "proc-macro" in _library(package)["kind"]

def _label(package):
    return "@crates//:{}-{}".format(package["name"], package["version"])

def _version_variables(version):
    major, minor, rest = version.split("+")[0].split(".", 2)
    patch, _, pre = rest.partition("-")
    return {
        "CARGO_PKG_VERSION": version,
        "CARGO_PKG_VERSION_MAJOR": major,
        "CARGO_PKG_VERSION_MINOR": minor,
        "CARGO_PKG_VERSION_PATCH": patch,
        "CARGO_PKG_VERSION_PRE": pre,
    }

def _dependencies(node, packages, kind):
    """Splits one kind of dependencies into the attributes of a Rust rule.

    Args:
        node: the crate's node in the resolved graph.
        packages: all packages by id.
        kind: None for the library's dependencies, "build" for the build script's.

    Returns:
        A struct of `deps`, `proc_macro_deps` (sorted labels), `aliases` (label to the name that the crate's source
        uses, for renamed ones only) and `link_deps` (those that link a native library).
    """
    deps, proc_macro_deps, aliases, link_deps = [], [], {}, []
    for dep in node["deps"]:
        if kind not in [dep_kind["kind"] for dep_kind in dep["dep_kinds"]]:
            continue
        package = packages[dep["pkg"]]
        label = _label(package)
        if _is_proc_macro(package):
            proc_macro_deps.append(label)
        else:
            deps.append(label)
        if package["links"]:
            link_deps.append(label)
        if dep["name"] != _library(package)["name"].replace("-", "_"):
            aliases[label] = dep["name"]
    return struct(
        deps = sorted(deps),
        proc_macro_deps = sorted(proc_macro_deps),
        aliases = aliases,
        link_deps = sorted(link_deps),
    )

def crate_graph(metadata):
    """Turns the metadata into one struct for each third-party crate.

    Args:
        metadata: what `cargo metadata --format-version=1` printed, decoded.

    Returns:
        A struct whose `crates` lists, in the order of Cargo's graph, structs of `name`, `version`, `repository`,
        `direct` (whether a workspace member depends on it), `proc_macro`, `attributes` (of the library's rule),
        `build_script` (of its build script's rule, or None) and `facts` (what a notice says about it).
    """
    packages = {package["id"]: package for package in metadata["packages"]}
    direct = {}
    for node in metadata["resolve"]["nodes"]:
        if packages[node["id"]]["source"] == None:
            direct.update({dep["pkg"]: True for dep in node["deps"]})

    crates = []
    for node in metadata["resolve"]["nodes"]:
        package = packages[node["id"]]
        library = _library(package)
        if package["source"] == None or not library:
            continue
        normal = _dependencies(node, packages, None)
        script = _target(package, ["custom-build"])
        build_script = None
        if script:
            build = _dependencies(node, packages, "build")
            build_script = dict(
                aliases = build.aliases,
                # A script that compiles C or assembly does so in an action's own folder, which debug information would
                # tell, and the program's build id with it. The runner puts the folder's path in the place of ${pwd}.
                build_script_env = {"CFLAGS": "-ffile-prefix-map=$${pwd}=."},
                crate_features = node["features"],
                crate_root = _relative(script["src_path"], package),
                deps = build.deps,
                edition = script["edition"],
                link_deps = normal.link_deps,
                links = package["links"],
                pkg_name = package["name"],
                proc_macro_deps = build.proc_macro_deps,
                # rules_rust sets these when the script runs; Cargo sets them when it is compiled, too.
                rustc_env = _version_variables(package["version"]),
                version = package["version"],
            )
        crates.append(struct(
            name = package["name"],
            version = package["version"],
            repository = _repository_name(package),
            direct = package["id"] in direct,
            proc_macro = _is_proc_macro(package),
            attributes = dict(
                aliases = normal.aliases,
                crate_features = node["features"],
                crate_name = library["name"].replace("-", "_"),
                crate_root = _relative(library["src_path"], package),
                deps = normal.deps,
                edition = library["edition"],
                proc_macro_deps = normal.proc_macro_deps,
                version = package["version"],
            ),
            build_script = build_script,
            facts = dict(
                authors = package["authors"],
                license = package["license"],
                name = package["name"],
                repository = _repository_name(package),
                url = package["repository"],
                version = package["version"],
            ),
        ))
    return struct(crates = crates)

def _call(function, attributes, raw):
    """Writes one rule call. Empty values are left out; `raw` values are Starlark already."""
    lines = [function + "("]
    values = {key: json.encode_indent(value, prefix = "    ", indent = "    ") for key, value in attributes.items() if value}
    values.update(raw)
    for key in sorted(values):
        lines.append("    {} = {},".format(key, values[key]))
    return "\n".join(lines + [")", ""])

# Whatever a crate brings along may be included by its sources or read by its build script.
_SOURCES = "glob([\"**/*.rs\"])"
_DATA = "glob([\"**\"], exclude = [\"**/*.rs\", \"BUILD.bazel\", \"REPO.bazel\"], allow_empty = True)"

# Whatever the authors have written about rights, in whichever folder.
_LICENCE_FILES = [
    "**/{}*".format(stem)
    for stem in ["COPYING", "COPYRIGHT", "LICENCE", "LICENSE", "License", "NOTICE", "UNLICENSE", "license"]
]

def crate_build_file(crate):
    """Writes the BUILD file of one crate.

    Args:
        crate: one of the `crates` of `crate_graph`.

    Returns:
        The text.
    """
    rule = "rust_proc_macro" if crate.proc_macro else "rust_library"
    attributes = dict(
        crate.attributes,
        name = crate.name,
        # Their warnings are not ours to mend.
        rustc_flags = ["--cap-lints=allow"],
    )
    blocks = [
        "\"\"\"{} {}, from Cargo.lock. Written by //third_party/crates:crates.bzl.\"\"\"\n".format(crate.name, crate.version),
        "load(\"@rules_rust//cargo:defs.bzl\", \"cargo_build_script\")",
        "load(\"@rules_rust//rust:defs.bzl\", \"{}\")\n".format(rule),
        "package(default_visibility = [\"//visibility:public\"])\n",
    ]
    if crate.build_script:
        attributes["deps"] = [":build_script"] + attributes["deps"]
        blocks.append(_call(
            "cargo_build_script",
            dict(crate.build_script, name = "build_script", rustc_flags = ["--cap-lints=allow"]),
            {"srcs": _SOURCES, "data": _DATA, "compile_data": _DATA},
        ))
    blocks.append(_call(rule, attributes, {"srcs": _SOURCES, "compile_data": _DATA}))
    blocks.append(_call("filegroup", {"name": "licence_files"}, {
        "srcs": "glob({}, exclude = [\"**/*.rs\"], allow_empty = True)".format(json.encode(_LICENCE_FILES)),
    }))
    return "\n".join(blocks)
