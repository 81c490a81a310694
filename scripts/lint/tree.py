"""Which files the lints look at: those that git tracks or would track."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {".git", ".venv", ".cache", "build", "__pycache__"}


def project_files(root: Path) -> list[str]:
    """Paths relative to root, sorted. Without git (a tarball) every file outside build folders counts."""
    try:
        listing = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."],
            check=True, capture_output=True, text=True).stdout
        paths = [path for path in listing.split("\0") if path]
    except (OSError, subprocess.CalledProcessError):
        paths = []
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name not in NOT_OURS]
            paths += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(path for path in set(paths) if (root / path).is_file())


def read_text(path: Path) -> str | None:
    """The file's text, or None where it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def report(name: str, checked: int, problems: list[str]) -> int:
    """Prints the problems and returns the exit code. A lint that looked at nothing has failed, too."""
    for problem in problems:
        print(problem)
    if checked == 0:
        print(f"{name}: found nothing to check")
    print(f"{name}: {checked} checked, {len(problems)} problems", file=sys.stderr)
    return 1 if problems or checked == 0 else 0
