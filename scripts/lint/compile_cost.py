#!/usr/bin/env python3
"""Fails where a CUDA file costs more to compile than its budget: 30 s of processor time and 2 GB of memory.

A kernel that has outgrown it wants fewer template parameters or a file for each instance (cmake/cuda.cmake).
Files are compiled anew, without ccache, one at a time. What is counted is processor time and not time on the clock, so
that other work on the machine matters little; that little is why a test may only fail at twice the time.

Usage: compile_cost.py BUILD_FOLDER [TEXT...]    of BUILD_FOLDER/compile_commands.json the .cu files whose path holds
                                                 one of the texts; all without any
"""

import json
import os
import shlex
import sys
import tempfile
from pathlib import Path

SECONDS = 30.0
MEGABYTES = 2000.0
SLACK_OF_SECONDS = 2.0


def cuda_commands(build: Path, texts: list[str]) -> list[dict]:
    """The entries of compile_commands.json that are asked for."""
    entries = json.loads((build / "compile_commands.json").read_text())
    return [entry for entry in entries if entry["file"].endswith(".cu")
            and (not texts or any(text in entry["file"] for text in texts))]


def redirected(command: str, output: str) -> list[str]:
    """The command with another output and without a compiler cache before it."""
    words = shlex.split(command)
    if Path(words[0]).name in ("ccache", "sccache"):
        words = words[1:]
    words[words.index("-o") + 1] = output
    return words


def cost_of(words: list[str], folder: str) -> tuple[int, float, float]:
    """Runs a command. Returns its exit code, its and its children's processor seconds, and the largest one's megabytes."""
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            os.execvp(words[0], words)
        finally:
            os._exit(127)
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def problem_with(code: int, seconds: float, megabytes: float) -> str | None:
    if code != 0:
        return f"the compiler ended with exit code {code}"
    if seconds > SECONDS * SLACK_OF_SECONDS:
        return f"{seconds:.1f} s of processor time to compile, expected {SECONDS:.0f} at most"
    if megabytes > MEGABYTES:
        return f"{megabytes:.0f} MB of memory to compile, expected {MEGABYTES:.0f} at most"
    return None


def main(arguments: list[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    build, texts = Path(arguments[0]), arguments[1:]
    commands = cuda_commands(build, texts)
    problems = 0 if commands else 1
    if not commands:
        print(f"compile_cost: no .cu file in {build}/compile_commands.json has one of {texts} in its path")
    with tempfile.TemporaryDirectory() as scratch:
        for entry in commands:
            code, seconds, megabytes = cost_of(redirected(entry["command"], scratch + "/object.o"), entry["directory"])
            wrong = problem_with(code, seconds, megabytes)
            note = f": {wrong}" if wrong else ": over 30 s" if seconds > SECONDS else ""
            print(f"{seconds:6.1f} s {megabytes:6.0f} MB  {entry['file']}{note}", flush=True)
            problems += wrong is not None
    print(f"compile_cost: {len(commands)} compiled, {problems} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
