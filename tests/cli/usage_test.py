#!/usr/bin/env python3
"""Verbs, help, version and exit codes."""

import re
import unittest

from program import run


class Usage(unittest.TestCase):
    def expect_refused(self, arguments, *words):
        done = run(*arguments)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stdout, "")
        for word in words:
            self.assertIn(word, done.stderr)

    def test_version(self):
        done = run("--version")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(re.fullmatch(r"seer \d+\.\d+\.\d+\n", done.stdout), done.stdout)

    def test_help(self):
        for arguments, words in [(["--help"], ["bench"]), (["bench", "--help"], ["attention"]),
                                 (["bench", "attention", "--help"], ["--seq", "--density", "--out"])]:
            with self.subTest(arguments=arguments):
                done = run(*arguments)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(done.stderr, "")
                for word in words:
                    self.assertIn(word, done.stdout)

    def test_verbs(self):
        self.expect_refused([], "seer: expected one of: bench")
        self.expect_refused(["benhc"], "unknown 'benhc'", "bench")
        self.expect_refused(["bench"], "seer bench: expected one of: attention")
        self.expect_refused(["bench", "atention"], "seer bench: unknown 'atention'", "attention")

    def test_flags(self):
        self.expect_refused(["--frob"], "--frob")
        self.expect_refused(["bench", "attention", "--frob"], "seer bench attention", "--frob")
        self.expect_refused(["bench", "attention", "extra"], "extra")
        self.expect_refused(["bench", "attention", "--seq"], "--seq")


if __name__ == "__main__":
    unittest.main()
