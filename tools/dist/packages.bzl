# SPDX-License-Identifier: Apache-2.0
"""From programs to packages: what `dist/BUILD.bazel` is written in.

Every file of a package is made by the programs of this folder, which take no time, user or order from where they run.
"""

load("//tools/toolchain/cc:llvm.bzl", "llvm_tool")
load(":release.bzl", "MAINTAINER", "PRODUCT", "RELEASE_TIME")

# Python of the build root, by its own library alone. Bazel does not see it change; the root's key does.
_PYTHON = "/usr/bin/python3"
_LLVM_OBJCOPY = llvm_tool("llvm-objcopy")

# Starts a program of tools/dist with its own folder in the path and nothing of the environment or the working folder.
_START = "; ".join([
    "import runpy, sys",
    "sys.path.insert(0, sys.argv[1])",
    "sys.argv = sys.argv[2:]",
    "runpy.run_path(sys.argv[0], run_name='__main__')",
])

_KEY = attr.label(allow_single_file = True, default = "//tools/toolchain/cc:root_key")

def _run_python(ctx, script, arguments, inputs, outputs, mnemonic, tools = []):
    ctx.actions.run(
        executable = _PYTHON,
        arguments = ["-B", "-I", "-c", _START, script.dirname, script.path, arguments],
        env = {"LANG": "C.UTF-8"},
        inputs = depset(ctx.files._scripts + [ctx.file._key], transitive = inputs),
        mnemonic = mnemonic,
        outputs = outputs,
        progress_message = "Packing %{output}",
        tools = tools,
    )

def _script(ctx, name):
    return [file for file in ctx.files._scripts if file.basename == name][0]

_COMMON = {
    "_key": _KEY,
    "_scripts": attr.label(allow_files = True, default = "//tools/dist:scripts"),
}

# ---- The programs, without symbols, and the symbols ----

ProgramsInfo = provider(
    doc = "Programs in the form in which they are packed.",
    fields = {
        "programs": "A dict from name to file.",
        "symbols": "A list of files with the symbols of the same programs.",
    },
)

def _stripped_programs_impl(ctx):
    programs = {}
    symbols = []

    # Who compiled them stays: a test asks whether all of these are accounted for.
    for program in ctx.executable.host, ctx.executable.command_line:
        stripped = ctx.actions.declare_file("{}/{}".format(ctx.label.name, program.basename))
        kept = ctx.actions.declare_file("{}/{}.debug".format(ctx.label.name, program.basename))
        ctx.actions.run_shell(
            command = """set -eu
            {objcopy} --only-keep-debug "$1" "$3"
            {objcopy} --strip-all --keep-section=.comment "$1" "$2"
            """.format(objcopy = _LLVM_OBJCOPY),
            arguments = [program.path, stripped.path, kept.path],
            inputs = [program, ctx.file._key],
            mnemonic = "StripProgram",
            outputs = [stripped, kept],
        )
        programs[program.basename] = stripped
        symbols.append(kept)
    return [
        DefaultInfo(files = depset(programs.values())),
        ProgramsInfo(programs = programs, symbols = symbols),
    ]

stripped_programs = rule(
    implementation = _stripped_programs_impl,
    doc = "Parts the host and the command line from their symbols.",
    attrs = {
        "command_line": attr.label(cfg = "target", executable = True, mandatory = True),
        "host": attr.label(cfg = "target", executable = True, mandatory = True),
        "_key": _KEY,
    },
)

# ---- What the programs say about themselves ----

def _program_manual_impl(ctx):
    program = ctx.attr.programs[ProgramsInfo].programs["code_mode"]
    pages = ctx.actions.declare_directory(ctx.label.name + "_man1")
    completions = [
        ctx.actions.declare_file("{}_{}".format(ctx.label.name, shell))
        for shell in ["bash", "zsh", "fish"]
    ]
    ctx.actions.run_shell(
        command = """set -eu
        "$1" man "$2"
        "$1" completions bash > "$3"
        "$1" completions zsh > "$4"
        "$1" completions fish > "$5"
        """,
        arguments = [program.path, pages.path] + [file.path for file in completions],
        inputs = [program, ctx.file._key],
        mnemonic = "ProgramManual",
        outputs = [pages] + completions,
    )
    bash, zsh, fish = completions
    return [
        DefaultInfo(files = depset([pages] + completions)),
        TreeInfo(entries = [
            ("share/man/man1", "644", pages),
            ("share/bash-completion/completions/code_mode", "644", bash),
            ("share/zsh/site-functions/_code_mode", "644", zsh),
            ("share/fish/vendor_completions.d/code_mode.fish", "644", fish),
        ]),
    ]

program_manual = rule(
    implementation = _program_manual_impl,
    doc = "The manual pages and completions, which the command line writes itself.",
    attrs = {
        "programs": attr.label(mandatory = True, providers = [ProgramsInfo]),
        "_key": _KEY,
    },
)

# ---- Who wrote what is in them ----

def _notices_impl(ctx):
    notices = ctx.actions.declare_file("THIRD_PARTY_NOTICES")
    sbom = ctx.actions.declare_file(PRODUCT + ".spdx.json")
    parts = ctx.actions.declare_file(ctx.label.name + "_parts.json")
    ctx.actions.write(parts, ctx.attr.v8_parts)
    packages = ctx.actions.declare_file(ctx.label.name + "_packages.json")
    ctx.actions.write(packages, ctx.attr.packages)
    arguments = ctx.actions.args()
    arguments.use_param_file("@%s")
    arguments.set_param_file_format("multiline")
    for name, file in {
        "crates": ctx.file.crates,
        "licence-texts": ctx.executable._licence_texts,
        "linked": ctx.file.linked,
        "lock": ctx.file.lock,
        "notices": notices,
        "packages": packages,
        "parts": parts,
        "sbom": sbom,
    }.items():
        arguments.add(file, format = "--{}=%s".format(name))
    for name, value in {
        "product": PRODUCT,
        "time": RELEASE_TIME,
        "v8-version": ctx.attr.v8_version,
        "version": ctx.attr.version,
    }.items():
        arguments.add(value, format = "--{}=%s".format(name))
    arguments.add_all(ctx.files.licence_files, format_each = "--licence-file=%s")
    _run_python(
        ctx,
        _script(ctx, "notices.py"),
        arguments,
        inputs = [depset(
            ctx.files.licence_files + [ctx.file.crates, ctx.file.linked, ctx.file.lock, packages, parts],
        )],
        mnemonic = "Notices",
        outputs = [notices, sbom],
        tools = [ctx.attr._licence_texts[DefaultInfo].files_to_run],
    )
    return [
        DefaultInfo(files = depset([notices, sbom])),
        TreeInfo(entries = [
            ("share/doc/{}/{}".format(PRODUCT, file.basename), "644", file)
            for file in [notices, sbom]
        ]),
    ]

third_party_notices = rule(
    implementation = _notices_impl,
    doc = "THIRD_PARTY_NOTICES and the SPDX document. Fails when something linked cannot be accounted for.",
    attrs = _COMMON | {
        "crates": attr.label(allow_single_file = True, mandatory = True),
        "licence_files": attr.label(mandatory = True),
        "linked": attr.label(allow_single_file = True, mandatory = True),
        "lock": attr.label(allow_single_file = True, mandatory = True),
        "packages": attr.string(doc = "JSON: the packages of the build root that are linked or packed.", mandatory = True),
        "v8_parts": attr.string(doc = "JSON: what each part of V8's source tree is.", mandatory = True),
        "v8_version": attr.string(mandatory = True),
        "version": attr.string(mandatory = True),
        "_licence_texts": attr.label(cfg = "exec", default = "//tools/dist/helpers:licence_texts", executable = True),
    },
)

# ---- The product as it is installed ----

TreeInfo = provider(
    doc = "Files with their places below a prefix such as /usr.",
    fields = {"entries": "A list of tuples: destination, mode, file or folder."},
)

def _product_tree_impl(ctx):
    programs = ctx.attr.programs[ProgramsInfo].programs
    entries = [("bin/" + name, "755", file) for name, file in programs.items()]
    for part in ctx.attr.parts:
        entries += part[TreeInfo].entries
    for target, folder in ctx.attr.documents.items():
        for file in target.files.to_list():
            path = file.short_path
            strip = ctx.attr.strip_prefixes.get(folder, "")
            mode = "755" if file.extension == "sh" else "644"
            entries.append(("{}/{}".format(folder, path.removeprefix(strip)), mode, file))
    return [
        DefaultInfo(files = depset([file for _, _, file in entries])),
        TreeInfo(entries = entries),
    ]

product_tree = rule(
    implementation = _product_tree_impl,
    doc = "The whole product: programs, what is made from them, and documents as they stand in the source tree.",
    attrs = {
        "documents": attr.label_keyed_string_dict(allow_files = True, doc = "Files, and the folder that they go to."),
        "parts": attr.label_list(providers = [TreeInfo]),
        "programs": attr.label(mandatory = True, providers = [ProgramsInfo]),
        "strip_prefixes": attr.string_dict(doc = "For a folder: what is cut off the paths of files that go there."),
    },
)

# ---- Packages ----

def _package_impl(ctx):
    output = ctx.actions.declare_file(ctx.attr.file_name)
    arguments = ctx.actions.args()
    arguments.add(ctx.attr.kind)
    arguments.use_param_file("@%s")
    arguments.set_param_file_format("multiline")
    arguments.add(output, format = "--output=%s")
    for name, value in {
        "maintainer": MAINTAINER,
        "product": PRODUCT,
        "time": RELEASE_TIME,
        "version": ctx.attr.version,
    }.items():
        arguments.add(value, format = "--{}=%s".format(name))
    inputs = []
    if ctx.attr.tree:
        for destination, mode, file in ctx.attr.tree[TreeInfo].entries:
            arguments.add_all([file], expand_directories = False, format_each = "--file={}={}=%s".format(destination, mode))
            inputs.append(file)
    sources = ctx.attr.programs[ProgramsInfo].symbols if ctx.attr.programs else ctx.files.srcs
    arguments.add_all(sources, expand_directories = False, format_each = "--source=%s")
    inputs += sources
    arguments.add_all(ctx.attr.system_files, format_each = "--source=%s")
    arguments.add_all(["{}={}".format(name, path) for name, path in ctx.attr.rights.items()], format_each = "--rights=%s")
    for name in ["readme", "pyproject", "package_json"]:
        file = getattr(ctx.file, name)
        if file:
            arguments.add(file, format = "--{}=%s".format(name.replace("_", "-")))
            inputs.append(file)
    _run_python(ctx, _script(ctx, "pack.py"), arguments, [depset(inputs)], [output], "Pack")
    return [DefaultInfo(files = depset([output]))]

package_file = rule(
    implementation = _package_impl,
    doc = "One package.",
    attrs = _COMMON | {
        "file_name": attr.string(mandatory = True),
        "kind": attr.string(doc = "What pack.py knows it as.", mandatory = True),
        "package_json": attr.label(allow_single_file = True),
        "programs": attr.label(doc = "Programs whose symbols are packed.", providers = [ProgramsInfo]),
        "pyproject": attr.label(allow_single_file = True),
        "readme": attr.label(allow_single_file = True),
        "rights": attr.string_dict(doc = "For an image: the copyright files of the packages of its libraries."),
        "srcs": attr.label_list(allow_files = True, doc = "Sources of a library."),
        "system_files": attr.string_list(doc = "For an image: libraries of the sysroot, by path."),
        "tree": attr.label(providers = [TreeInfo]),
        "version": attr.string(mandatory = True),
    },
)

def _typescript_impl(ctx):
    output = ctx.actions.declare_directory(ctx.label.name)
    ctx.actions.run(
        executable = ctx.executable._compiler,
        arguments = [output.path] + [file.path for file in ctx.files.srcs],
        inputs = ctx.files.srcs + [ctx.file._key],
        mnemonic = "TypeScript",
        outputs = [output],
    )
    return [DefaultInfo(files = depset([output]))]

typescript = rule(
    implementation = _typescript_impl,
    doc = "A folder with the JavaScript and the declarations of some modules of TypeScript.",
    attrs = {
        "srcs": attr.label_list(allow_files = [".ts"], mandatory = True),
        "_compiler": attr.label(cfg = "exec", default = "//tools/dist/helpers:typescript", executable = True),
        "_key": _KEY,
    },
)
