"""Precompiled headers, and the flags that a header and its users must share."""

load("@rules_cc//cc:find_cc_toolchain.bzl", "find_cc_toolchain", "use_cc_toolchain")
load("@rules_cc//cc/common:cc_common.bzl", "cc_common")
load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")

# What every file of V8 is compiled with.
V8_COPTS = [
    # V8 is upstream's; its warnings are noise here.
    "-w",
    "-std=c++20",
    "-fconstexpr-steps=2000000",
    "-fno-strict-aliasing",
    "-fno-exceptions",
    "-fno-rtti",
    # Nothing is looked up by name at run time: fewer relocations, smaller programs.
    "-fvisibility=hidden",
    "-fvisibility-inlines-hidden",
    "-DV8_INTL_SUPPORT",
    "-DICU_UTIL_DATA_IMPL=ICU_UTIL_DATA_STATIC",
    # src/regexp uses an ICU constructor that is explicit otherwise.
    "-DUNISTR_FROM_CHAR_EXPLICIT=",
]

def pch_copts(pch):
    """The flags of a file that starts from the precompiled header `pch`."""
    return V8_COPTS + ["-include-pch", "$(execpath {})".format(pch)]

def _cc_pch_impl(ctx):
    toolchain = find_cc_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )
    headers = cc_common.merge_cc_infos(
        cc_infos = [dep[CcInfo] for dep in ctx.attr.deps],
    ).compilation_context
    output = ctx.actions.declare_file(ctx.label.name + ".pch")
    variables = cc_common.create_compile_variables(
        feature_configuration = features,
        cc_toolchain = toolchain,
        source_file = ctx.file.hdr.path,
        output_file = output.path,
        user_compile_flags = ctx.fragments.cpp.copts + ctx.fragments.cpp.cxxopts + ctx.attr.copts + [
            "-x",
            "c++-header",
            # The same bytes each time; Bazel sees to it that users are never older than the header.
            "-Xclang",
            "-fno-pch-timestamp",
            # Templates are instantiated once here and not in each user: half of the gain.
            "-fpch-instantiate-templates",
        ],
        include_directories = headers.includes,
        quote_include_directories = headers.quote_includes,
        system_include_directories = headers.system_includes,
        preprocessor_defines = headers.defines,
        use_pic = False,
    )
    action = "c++-compile"
    ctx.actions.run(
        executable = cc_common.get_tool_for_action(
            feature_configuration = features,
            action_name = action,
        ),
        arguments = cc_common.get_memory_inefficient_command_line(
            feature_configuration = features,
            action_name = action,
            variables = variables,
        ),
        # clang records its working folder in the header; this name means the same in every sandbox.
        env = cc_common.get_environment_variables(
            feature_configuration = features,
            action_name = action,
            variables = variables,
        ) | {"PWD": "/proc/self/cwd"},
        inputs = depset(
            [ctx.file.hdr],
            transitive = [headers.headers, depset(ctx.files.compiler_files)],
        ),
        outputs = [output],
        mnemonic = "CppPch",
        progress_message = "Precompiling %{label}",
    )
    return [DefaultInfo(files = depset([output]))]

cc_pch = rule(
    implementation = _cc_pch_impl,
    attrs = {
        "compiler_files": attr.label_list(
            allow_files = True,
            doc = "What the compiler itself reads besides the headers of `deps`.",
        ),
        "copts": attr.string_list(
            doc = "Exactly the flags of the header's users, without -include-pch.",
        ),
        "deps": attr.label_list(
            doc = "Exactly the dependencies of the header's users.",
            providers = [CcInfo],
        ),
        "hdr": attr.label(
            allow_single_file = True,
            doc = "The header to compile.",
        ),
        # The older way to find the toolchain, which find_cc_toolchain still asks for.
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    doc = "Compiles a C++ header once for all files that start with it.",
    fragments = ["cpp"],
    toolchains = use_cc_toolchain(),
)

def _files_with_ending_impl(ctx):
    return [DefaultInfo(files = depset([
        file
        for file in ctx.files.srcs
        if file.extension in ctx.attr.endings and file.basename not in ctx.attr.exclude
    ]))]

files_with_ending = rule(
    implementation = _files_with_ending_impl,
    attrs = {
        "endings": attr.string_list(
            doc = "File name endings without the dot.",
            mandatory = True,
        ),
        "exclude": attr.string_list(
            doc = "Names of files to leave out.",
        ),
        "srcs": attr.label_list(
            allow_files = True,
            doc = "The files to choose from.",
        ),
    },
    doc = "The files of other targets that have one of some endings.",
)

def _archive_impl(ctx):
    toolchain = find_cc_toolchain(ctx)
    libraries = []
    for dep in ctx.attr.deps:
        for linker_input in dep[CcInfo].linking_context.linker_inputs.to_list():
            for library in linker_input.libraries:
                file = library.pic_static_library or library.static_library
                if file:
                    libraries.append(file)
    output = ctx.actions.declare_file(ctx.attr.archive_name)
    arguments = ctx.actions.args()
    arguments.add("qcsDL")
    arguments.add(output)
    arguments.add_all(libraries, uniquify = True)
    ctx.actions.run(
        executable = toolchain.ar_executable,
        arguments = [arguments],
        inputs = depset(libraries, transitive = [toolchain.all_files]),
        outputs = [output],
        mnemonic = "CppMergeArchives",
        progress_message = "Merging %{output}",
    )
    return [DefaultInfo(files = depset([output]))]

cc_merged_archive = rule(
    implementation = _archive_impl,
    attrs = {
        "archive_name": attr.string(
            doc = "The file's name.",
            mandatory = True,
        ),
        "deps": attr.label_list(
            doc = "The libraries whose objects, with those of all they depend on, go into the archive.",
            providers = [CcInfo],
        ),
        # The older way to find the toolchain, which find_cc_toolchain still asks for.
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    doc = "One archive of all objects of some libraries.",
    toolchains = use_cc_toolchain(),
)
