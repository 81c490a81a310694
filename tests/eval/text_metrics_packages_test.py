#!/usr/bin/env python3
"""Random texts, other ones than in tests/golden: the C++ scores against those of the Python packages, where installed.

Usage: text_metrics_packages_test.py TEXT_METRICS_TEST GENERATOR    ends with 77 where a package is missing
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main(program, generator):
    missing = [name for name in ("rouge", "fuzzywuzzy", "Levenshtein") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: this Python has no {', '.join(missing)} (pip install rouge fuzzywuzzy python-Levenshtein)")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, 4):
            golden = Path(folder) / "text_metrics.json"
            subprocess.run([sys.executable, generator, str(golden), str(seed)], check=True)
            subprocess.run([program, "--gtest_filter=TextMetrics.*"], check=True,
                           env={**os.environ, "SEER_TEXT_METRICS_GOLDEN": str(golden)})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
