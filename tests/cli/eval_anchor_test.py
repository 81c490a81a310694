#!/usr/bin/env python3
"""Dense perplexity of the bundled model on books that are not in the tree, against the figure that another
implementation got under the same protocol."""

import json
import os
import unittest
from pathlib import Path

from program import run

SOURCE = Path(os.environ["SEER_SOURCE_DIR"])
SHARED = SOURCE.parent / "shared"
BOOKS = SHARED / "data/books/valid"


@unittest.skipUnless(BOOKS.is_dir(), f"no texts in {BOOKS}")
class Anchor(unittest.TestCase):
    def test_dense_and_streaming(self):
        anchors = json.loads((SHARED / "anchors/quality-books-19m-32k.json").read_text())
        done = run("eval", "ppl", "--model", str(SOURCE / "models/books-19m-32k"), "--text", str(BOOKS),
                   "--context", "8192", "--dtype", "bfloat16", "--policy", "dense;streaming:ratio=0.1")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [row.split() for row in done.stdout.splitlines()[1:]]
        for row, method, nz in zip(rows, ("dense", "streaming sink+local"), (1, 0.1)):
            [anchor] = [line for line in anchors
                        if line["method"] == method and line["S"] == 8192 and line["nz"] == nz]
            # Another implementation's bfloat16 rounds elsewhere.
            self.assertAlmostEqual(float(row[5]), anchor["ppl_valid"], delta=0.1)
            self.assertAlmostEqual(float(row[7]), anchor["density"], delta=0.0001)
            self.assertAlmostEqual(float(row[8]), anchor["mass_recall"], delta=0.01)


if __name__ == "__main__":
    unittest.main()
