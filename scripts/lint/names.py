#!/usr/bin/env python3
"""Fails where a tracked file names a folder of somebody's machine or the host of a package registry.

Both work for their author only: a registry is the business of the user's pip or apt configuration.
"""

import re
import sys
from pathlib import Path

import tree

FORBIDDEN = {
    "a folder of one machine": re.compile(r"(?<![\w.~-])/(home|Users|work|root)/\w"),
    "a package registry's host": re.compile(
        r"\b(pypi[.]org|pythonhosted[.]org|download[.]pytorch[.]org|anaconda[.]org|npmjs[.](org|com)|crates[.]io|"
        r"(deb|security|snapshot|ftp)[.]debian[.]org|(archive|security)[.]ubuntu[.]com|"
        r"developer[.]download[.]nvidia[.]com|ghcr[.]io|docker[.]io)\b"),
}


def check(root: Path) -> tuple[int, list[str]]:
    checked, problems = 0, []
    for path in tree.project_files(root):
        text = tree.read_text(root / path)
        if text is None:
            continue
        checked += 1
        for number, line in enumerate(text.splitlines(), start=1):
            for what, pattern in FORBIDDEN.items():
                if match := pattern.search(line):
                    problems.append(f"{path}:{number}: '{match.group(0)}' is {what}")
    return checked, problems


if __name__ == "__main__":
    sys.exit(tree.report("names", *check(tree.ROOT)))
