#!/usr/bin/env python3
"""The memory estimate of seer info against the measured peak of seer generate."""

import os
import sys
import tempfile
import unittest
from pathlib import Path

from program import PROGRAM

SOURCE = Path(os.environ["SEER_SOURCE_DIR"])
sys.path.insert(0, str(SOURCE / "bench/support"))
from peak_memory import generate_peak  # noqa: E402
from random_model import write_random_model  # noqa: E402

BOOKS = SOURCE / "models/books-19m-32k"


class MemoryEstimate(unittest.TestCase):
    def expect_near(self, found):
        # What is asked of the estimate.
        self.assertLess(abs(found["estimate"] / found["peak"] - 1), 0.10, found)

    def test_bundled_model(self):
        for context, dtype in ((2048, "float32"), (8192, "float32"), (2048, "bfloat16"), (8192, "bfloat16")):
            with self.subTest(context=context, dtype=dtype):
                found = generate_peak(PROGRAM, BOOKS, context, dtype)
                self.expect_near(found)
                # LibTorch for CPUs is in the 300 MB; what the libraries of one for CUDA take besides is not the program's.
                libraries = max(0, found["baseline"] - 145e6)
                self.assertLess(found["peak"] - libraries, found["weights"] + found["cache"] + 300e6)

    def test_a_larger_model(self):
        with tempfile.TemporaryDirectory() as folder:
            write_random_model(folder, {"hidden_size": 1536, "intermediate_size": 4096, "num_hidden_layers": 8,
                                        "num_attention_heads": 12, "num_key_value_heads": 4, "head_dim": 128,
                                        "vocab_size": 32000})
            for dtype in ("float32", "bfloat16"):
                with self.subTest(dtype=dtype):
                    self.expect_near(generate_peak(PROGRAM, folder, 2048, dtype))


if __name__ == "__main__":
    unittest.main()
