#!/usr/bin/env python3
"""Checks a Debian source package and unpacks it.

In: fields.dsc, path of the .dsc; fields.into, folder for what is in it. Out: fields.source and
fields.version, fields.folder that was made, fields.files, how many files are in it.
"""

import hashlib
import os
import shutil
import tarfile
import tempfile

import skynet

# Codes of the faults, all final.
NOT_A_PACKAGE = 10
DAMAGED = 11
DANGEROUS = 12


def read_dsc(path):
    """Returns the fields of a .dsc, each with its lines; a signature around them is passed over."""
    fields, last = {}, None
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    if lines and lines[0] == "-----BEGIN PGP SIGNED MESSAGE-----":
        lines = lines[lines.index("") + 1 : lines.index("-----BEGIN PGP SIGNATURE-----")]
    for line in lines:
        if line[:1] in (" ", "\t") and last:
            fields[last].append(line.strip())
        elif ":" in line:
            last, value = line.split(":", 1)
            fields[last] = [value.strip()] if value.strip() else []
    return fields


def check(folder, line):
    """Checks one line of Checksums-Sha256; returns the file's path."""
    expected, size, name = line.split()
    if "/" in name or name in (".", ".."):
        raise skynet.Final(f"{name} leads out of the package", DANGEROUS)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        # An upload may still be on its way.
        raise skynet.Retry(f"{name} is not there yet")
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    if os.path.getsize(path) != int(size) or digest.hexdigest() != expected:
        raise skynet.Final(f"{name} is not what the .dsc says", DAMAGED)
    return path


def is_inside(path, folder):
    """Tells whether a path, its links followed, lies in a folder."""
    return (os.path.realpath(path) + "/").startswith(os.path.realpath(folder) + "/")


def look_at(member, path, folder):
    """Refuses what would be written elsewhere, and links that lead there."""
    place = os.path.dirname(os.path.join(folder, member.name))
    is_known = member.isfile() or member.isdir() or member.issym()
    if not is_known or member.name.startswith("/") or not is_inside(place, folder):
        raise skynet.Final(f"{member.name} in {path} is dangerous", DANGEROUS)
    if member.issym():
        # Behind a name .. depends on what that name will be.
        way = member.linkname.split("/")
        while way and way[0] == "..":
            way.pop(0)
        if ".." in way or not is_inside(os.path.join(place, member.linkname), folder):
            raise skynet.Final(f"{member.name} in {path} leads out of it", DANGEROUS)


def unpack(path, folder, item):
    """Unpacks an archive; of the upstream's its only folder is `folder`."""
    has_folder = ".debian.tar" not in os.path.basename(path)
    # Newer Pythons check once more, if asked.
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(path) as archive:
        for member in archive:
            item.check()
            parts = [part for part in member.name.split("/") if part != "."]
            if ".." in parts:
                raise skynet.Final(f"{member.name} in {path} is dangerous", DANGEROUS)
            if has_folder and parts[:1] != [""]:
                parts = parts[1:]
            if parts:
                member.name = "/".join(parts)
                look_at(member, path, folder)
                archive.extract(member, folder, **safely)


@skynet.participant
def source_package(item):
    fields = item.fields
    for name in ("dsc", "into"):
        if not fields.get(name) or not isinstance(fields[name], str):
            raise skynet.Final(f"field {name} is missing, or no path")
    try:
        dsc = read_dsc(fields.dsc)
        source, version = dsc["Source"][0], dsc["Version"][0]
        sums = dsc["Checksums-Sha256"]
    except FileNotFoundError:
        raise skynet.Retry(f"{fields.dsc} is not there yet")
    except (KeyError, IndexError, ValueError) as error:
        raise skynet.Final(f"{fields.dsc} is no .dsc: {error}", NOT_A_PACKAGE)
    if "/" in source + version:
        raise skynet.Final(f"{source} {version} is no name", DANGEROUS)
    archives = [check(os.path.dirname(fields.dsc), line) for line in sums]
    # The upstream part first: debian/ goes into it.
    archives = sorted((a for a in archives if ".tar" in a), key=lambda a: ".debian.tar" in a)
    made = tempfile.mkdtemp(prefix=".unpacking-", dir=fields.into)
    try:
        for number, path in enumerate(archives):
            item.progress(number / len(archives), os.path.basename(path))
            unpack(path, made, item)
        fields.folder = os.path.join(fields.into, f"{source}-{version}")
        # The work may have been done before.
        shutil.rmtree(fields.folder, ignore_errors=True)
        os.chmod(made, 0o755)
        os.rename(made, fields.folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    fields.source, fields.version = source, version
    fields.files = sum(len(files) for _, _, files in os.walk(fields.folder))
    print(f"{source} {version}: {fields.files} files")


if __name__ == "__main__":
    skynet.run()
