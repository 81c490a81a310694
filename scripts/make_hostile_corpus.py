#!/usr/bin/env python3
"""Writes the hostile files of fuzz/corpus again: make_hostile_corpus.py [FOLDER].

The files are committed; run this after a change here. Names beginning with "ok-" mark files that must be accepted.
Other targets' corpora are written by hand.
"""

import json
import struct
import sys
from pathlib import Path

JSON = {
    "ok-object": b'{"a": [1, 2.5, null, true, "\xc3\xa9"]}',
    "ok-depth-64": b"[" * 64 + b"]" * 64,
    "empty": b"",
    "truncated": b'{"a": [1, 2',
    "two-values": b"{} {}",
    "trailing-comma": b"[1,]",
    "duplicate-key": b'{"a": 1, "b": {"c": 1, "c": 2}}',
    "duplicate-key-escaped": b'{"a": 1, "\\u0061": 2}',
    "depth-65": b"[" * 65 + b"]" * 65,
    "depth-3000": b'{"a":' * 3000,
    "invalid-utf8": b'{"a": "\xff\xfe"}',
    "overlong-utf8": b'{"a": "\xc0\xaf"}',
    "lone-surrogate": b'{"a": "\\ud800"}',
    "zero-byte-ends-text": b'{"a": 1}\0{"a": 2}',
    "control-character-key": b'{"\\u001b[31m": 1, "\\u001b[31m": 2}',
    "number-out-of-range": b'{"a": 1e999}',
    "long-bad-string": b'{"a": "' + b"x" * 3000 + b"\x7f\xff",
    "nan": b'{"a": NaN}',
    "comment": b'{"a": 1} // no JSON',
}


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "fuzz" / "corpus"
    for target, files in {"json": JSON}.items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / target / name).write_bytes(content)


if __name__ == "__main__":
    main()
