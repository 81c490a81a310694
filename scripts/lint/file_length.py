#!/usr/bin/env python3
"""Fails where a file has grown past 500 lines, or is named for no job in particular."""

import re
import sys
from pathlib import Path

import tree

MAX_LINES = 500
WRITTEN_BY_HAND = re.compile(r"\.(h|cpp|cuh|cu|in|py|sh|cmake|md|yml|toml)$|(^|/)(CMakeLists\.txt|Makefile)$")
# Names that collect whatever comes by.
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "stuff"}


def check(root: Path) -> tuple[int, list[str]]:
    checked, problems = 0, []
    for path in tree.project_files(root):
        if Path(path).name.split(".")[0].lower() in VAGUE_NAMES:
            problems.append(f"{path}: name the file for its job")
        if not WRITTEN_BY_HAND.search(path):
            continue
        checked += 1
        lines = len((tree.read_text(root / path) or "").splitlines())
        if lines > MAX_LINES:
            problems.append(f"{path}: {lines} lines, at most {MAX_LINES}: split it by job")
    return checked, problems


if __name__ == "__main__":
    sys.exit(tree.report("file_length", *check(tree.ROOT)))
