# SPDX-License-Identifier: Apache-2.0
"""How V8's own libc++ is found and configured, for the compiler and for bindgen alike."""

def libcxx_flags(v8):
    """The flags that make V8's libc++ the C++ standard library.

    Args:
        v8: the folder of V8's source tree, as actions see it.

    Returns:
        Flags for clang, in the order in which libc++ wants its folders searched.
    """
    flags = ["-nostdinc++"]
    for folder in [
        "buildtools/third_party/libc++",
        "third_party/libc++/src/include",
        "third_party/libc++abi/src/include",
    ]:
        flags += ["-isystem", v8 + "/" + folder]
    return flags + [
        # V8's sandbox relies on a standard library that checks its bounds.
        "-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_EXTENSIVE",
        "-D_LIBCPP_DISABLE_VISIBILITY_ANNOTATIONS",
        "-D_LIBCXXABI_DISABLE_VISIBILITY_ANNOTATIONS",
        "-D_LIBCPP_INSTRUMENTED_WITH_ASAN=0",
    ]
