#!/usr/bin/env python3
"""Fails where a header does not compile by itself, because it leans on what its includer included before.

Usage: headers.py COMPILER FOLDER... [-- FLAGS]    checks FOLDER/**/*.h; files named *-inl.h are Highway's
                                                   once-per-target files and are left out
"""

import subprocess
import sys
from pathlib import Path

import tree


def check(root: Path, compiler: str, folders: list[str], flags: list[str]) -> tuple[int, list[str]]:
    checked, problems = 0, []
    for path in tree.project_files(root):
        if not path.endswith(".h") or path.endswith("-inl.h") or not path.startswith(tuple(f + "/" for f in folders)):
            continue
        checked += 1
        command = [compiler, "-std=c++20", "-fsyntax-only", "-Wno-pragma-once-outside-header", "-x", "c++", "-Isrc",
                   "-Iinclude", *flags, path]
        result = subprocess.run(command, cwd=root, capture_output=True, text=True)
        if result.returncode != 0:
            problems.append(f"{path}: does not compile alone:\n{result.stderr.rstrip()}")
    return checked, problems


def main(arguments: list[str]) -> int:
    split = arguments.index("--") if "--" in arguments else len(arguments)
    if split < 2:
        print(__doc__, file=sys.stderr)
        return 2
    compiler, *folders = arguments[:split]
    return tree.report("headers", *check(tree.ROOT, compiler, folders, arguments[split + 1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
