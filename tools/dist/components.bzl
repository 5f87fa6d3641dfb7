# SPDX-License-Identifier: Apache-2.0
"""What is linked into programs: crates by rustc's own account, V8's parts by the files that they are compiled from."""

load("@rules_rust//rust:rust_common.bzl", "CrateInfo", "DepInfo")

_PartsInfo = provider(
    doc = "Which parts of V8's source tree a C++ library is made of.",
    fields = {"parts": "A depset of names, `REPOSITORY` or `REPOSITORY/third_party/NAME`."},
)

# Along these attributes one C++ target becomes part of another: also those that name what a generator reads.
_EDGES = [
    "deps",
    "hdrs",
    "implementation_deps",
    "srcs",
    "textual_hdrs",
]

_FOLDER = "third_party/"

def _repository(label):
    """The repository's own name, without those of the module and the extension that made it."""
    return label.workspace_name.split("~")[-1]

def _part(file):
    """The part that a file belongs to: the first folder in `third_party`, or the repository itself."""
    path = file.short_path
    repository = _repository(file.owner)
    at = path.find(_FOLDER)
    if at < 0:
        return repository
    return "{}/third_party/{}".format(repository, path[at + len(_FOLDER):].split("/")[0])

def _parts_impl(_target, ctx):
    parts = {}
    transitive = []
    for attribute in _EDGES:
        for file in getattr(ctx.rule.files, attribute, []):
            if file.owner.workspace_name:
                parts[_part(file)] = True
        for dependency in getattr(ctx.rule.attr, attribute, None) or []:
            if type(dependency) == "Target" and _PartsInfo in dependency:
                transitive.append(dependency[_PartsInfo].parts)
    return [_PartsInfo(parts = depset(parts.keys(), transitive = transitive))]

_parts = aspect(
    implementation = _parts_impl,
    doc = "Collects the parts of V8's source tree that a C++ library is compiled from.",
    attr_aspects = _EDGES,
)

def _linked_components_impl(ctx):
    crates = {}
    for program in ctx.attr.programs:
        for crate in program[DepInfo].transitive_crates.to_list():
            # Procedural macros run in the compiler and are not linked.
            if crate.type == "proc-macro":
                continue
            label = crate.owner
            if label.workspace_name:
                crates[_repository(label)] = True
            elif label.package == ctx.attr.v8.label.package:
                crates[ctx.attr.v8_crate] = True
    parts = ctx.attr.v8[_PartsInfo].parts.to_list()
    output = ctx.actions.declare_file(ctx.label.name + ".json")
    ctx.actions.write(output, json.encode_indent({
        "crates": sorted(crates.keys()),
        "parts": sorted(parts),
        "version": ctx.attr.version,
    }, indent = "  ") + "\n")
    return [DefaultInfo(files = depset([output]))]

linked_components = rule(
    implementation = _linked_components_impl,
    doc = "Writes a JSON file that names what is linked into the programs.",
    attrs = {
        "programs": attr.label_list(mandatory = True, providers = [CrateInfo, DepInfo]),
        "v8": attr.label(aspects = [_parts], doc = "The C++ library of V8.", mandatory = True),
        "version": attr.string(doc = "The version of the product.", mandatory = True),
        "v8_crate": attr.string(doc = "The crate, NAME-VERSION, whose library is in V8's package.", mandatory = True),
    },
)
