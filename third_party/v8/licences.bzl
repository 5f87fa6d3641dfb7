# SPDX-License-Identifier: Apache-2.0
"""Whose the parts of V8's archive are: the crate that carries V8's source leaves the licence files out.

The notices of //dist are made from this table. Its keys are what the build finds among the sources of the archive; a
part that is compiled and not listed here fails the build, and so does one that is listed and no longer compiled.
"""

def _part(name, licence, copyright):
    return [name, licence, copyright]

_LLVM = "Apache-2.0 WITH LLVM-exception"

# Key: the repository and the folder in its `third_party`. Value: works, each with its licence and its holders.
V8_PARTS = {
    "abseil-cpp": [_part("abseil-cpp", "Apache-2.0", "The Abseil Authors, Google Inc.")],
    "highway": [_part("highway", "Apache-2.0 OR BSD-3-Clause", "Google LLC, Arm Limited")],
    "v8": [
        _part("V8", "BSD-3-Clause", "the V8 project authors, Google Inc."),
        _part("V8: parts from Chromium", "BSD-3-Clause", "The Chromium Authors"),
        _part("V8: the assemblers, from Strongtalk", "BSD-3-Clause", "1994-2006 Sun Microsystems Inc."),
        _part("V8: mathematical functions, from fdlibm", "SunPro", "1993 by Sun Microsystems, Inc."),
        _part("V8: parts from WebKit", "BSD-3-Clause", "2007, 2008 Apple Inc., Google Inc."),
        _part("V8: algorithms of big integers", "BSD-3-Clause", "The Go Authors, the Dart project authors"),
        _part("V8: exact summation, from xsum", "MIT", "2015, 2018, 2021 Radford M. Neal"),
        _part("rusty_v8: the binding", "MIT", "the Deno authors"),
    ],
    "v8/third_party/dragonbox": [
        _part("dragonbox", _LLVM + " OR BSL-1.0", "2020-2024 Junekey Jeon"),
    ],
    "v8/third_party/fast_float": [
        _part("fast_float", "MIT OR Apache-2.0 OR BSL-1.0", "2021 The fast_float authors"),
    ],
    "v8/third_party/fp16": [
        _part("FP16", "MIT", "2017 Facebook Inc., Georgia Institute of Technology, 2019 Google LLC"),
    ],
    "v8/third_party/icu": [
        _part("ICU", "Unicode-3.0", "2016-2026 Unicode, Inc.; 1995-2016 International Business Machines Corporation and others"),
    ],
    "v8/third_party/inspector_protocol": [
        _part("inspector_protocol", "BSD-3-Clause", "The Chromium Authors"),
    ],
    "v8/third_party/libc++": [
        _part("libc++", _LLVM, "the LLVM project's contributors"),
        _part("libc++: numbers to text", "BSL-1.0", "Microsoft Corporation, Ulf Adams"),
    ],
    "v8/third_party/libc++abi": [_part("libc++abi", _LLVM, "the LLVM project's contributors")],
    "v8/third_party/llvm-libc": [_part("llvm-libc", _LLVM, "the LLVM project's contributors")],
    "v8/third_party/rapidhash-v8": [_part("rapidhash", "BSD-2-Clause", "2024 Nicolas De Carli")],
    "v8/third_party/simdutf": [_part("simdutf", "Apache-2.0 OR MIT", "2021 The simdutf authors")],
    "v8/third_party/siphash": [_part("SipHash", "CC0-1.0", "2016 Jean-Philippe Aumasson")],
    "v8/third_party/utf8-decoder": [
        _part("Flexible and Economical UTF-8 Decoder", "MIT", "2008-2009 Bjoern Hoehrmann"),
    ],
    "v8/third_party/v8": [
        _part("V8: sorting, from Python", "Python-2.0.1", "2001-2020 Python Software Foundation"),
        _part("V8: half precision, from FP16", "MIT", "2017 Facebook Inc., Georgia Institute of Technology"),
    ],
}
