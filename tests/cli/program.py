"""Runs the built program."""

import os
import subprocess

PROGRAM = os.environ["SEER_PROGRAM"]


def run(*arguments, **environment):
    """Returns the completed process; its stdout and stderr are text."""
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})
