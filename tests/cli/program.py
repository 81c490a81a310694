"""Runs the built program."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

PROGRAM = os.environ["SEER_PROGRAM"]


def run(*arguments, **environment):
    """Returns the completed process; its stdout and stderr are text."""
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})


class ModelVerbTest(unittest.TestCase):
    """What the tests of verbs that run a model share: `verb` and `model` are the subclass's."""

    verb = ""
    model = ""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, content, name="tokens.json"):
        file = self.folder / name
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(file)

    def call(self, *arguments, model=None):
        return run(self.verb, "--model", str(model or self.model), *arguments)

    def expect_refused(self, code, arguments, *words, model=None):
        done = self.call(*arguments, model=model)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        for word in words:
            self.assertIn(word, done.stderr)
