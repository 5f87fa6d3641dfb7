# SPDX-License-Identifier: Apache-2.0
"""Crates as Cargo keeps them: pinned by Cargo.lock, packed in the cache in CARGO_HOME."""

def fail_without_cargo_home(what):
    """Stops the build, and says how to start it.

    Args:
        what: what is missing.
    """
    fail("{}. Start Bazel through tools/bazel, which fetches the crates and sets CARGO_HOME.".format(what))

def locked_crates(lock):
    """Reads the registry crates of Cargo.lock.

    Args:
        lock: the text of Cargo.lock.

    Returns:
        A list of structs with the `name`, the `version` and the `sha256` in hex of each crate.
    """
    crates = []
    name, version = None, None
    for line in lock.split("\n"):
        key, _, value = line.partition(" = ")
        value = value.strip("\"")
        if key == "name":
            name = value
        elif key == "version":
            version = value
        elif key == "checksum":
            crates.append(struct(name = name, version = version, sha256 = value))
    return crates

def extract_crate(repository_ctx, crate, output = "", subfolder = ""):
    """Unpacks a crate from Cargo's cache, after a check against its sha256.

    Args:
        repository_ctx: the context of the repository rule, which must name CARGO_HOME in `environ`.
        crate: what `locked_crates` says of the crate.
        output: the folder to unpack into, within the repository.
        subfolder: the part of the crate to unpack, with a slash in front; all of it by default.
    """
    cargo_home = repository_ctx.getenv("CARGO_HOME")
    if not cargo_home:
        fail_without_cargo_home("CARGO_HOME is not set")
    stem = "{}-{}".format(crate.name, crate.version)
    cache = repository_ctx.path(cargo_home).get_child("registry").get_child("cache")

    # The folder below is named after the registry and a hash of its address; one fetch makes one.
    folders = cache.readdir(watch = "no") if cache.exists else []
    archives = [folder.get_child(stem + ".crate") for folder in folders]
    archives = [archive for archive in archives if archive.exists]
    if not archives:
        fail_without_cargo_home("{}.crate is not in {}".format(stem, cache))
    repository_ctx.download_and_extract(
        url = "file://{}".format(archives[0]),
        output = output,
        sha256 = crate.sha256,
        stripPrefix = stem + subfolder,
        # The file has no ending that Bazel knows.
        type = "tar.gz",
    )
