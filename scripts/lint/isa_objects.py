#!/usr/bin/env python3
"""Fails where a library holds AVX code outside the functions that are chosen at run time.

One source file is compiled for several instruction sets. If an inline function of the standard library or of
LibTorch gets compiled for AVX-512 on the way, the linker may keep that copy for the whole program, which then
crashes on an older processor. So: AVX2 and AVX-512 instructions may stand only in functions whose name carries
the instruction set, as Highway's namespaces N_AVX2 and N_AVX3... do.

Usage: isa_objects.py LIBRARY...     (.a, .o or .so, x86-64, not stripped)
"""

import re
import subprocess
import sys
from collections.abc import Iterable

import tree

BASELINE, AVX2, AVX512 = 0, 2, 3
LEVEL_NAME = {AVX2: "AVX or AVX2", AVX512: "AVX-512"}

FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\s+(?:(?:lock|rep|repz|repnz|notrack|bnd|data16|cs)\s+)*(\S+)\s*(.*)$")
NEEDS_AVX512 = re.compile(r"%zmm|%k[0-7]\b|%[xy]mm(1[6-9]|2\d|3[01])\b")
NEEDS_AVX2 = re.compile(r"%ymm")
VECTOR_REGISTER = re.compile(r"%[xyz]mm")


def allowed_level(function: str) -> int:
    """The instruction set that the function's (demangled) name carries."""
    if re.search(r"N_AVX3|N_AVX10|avx512", function, re.IGNORECASE):
        return AVX512
    return AVX2 if re.search(r"N_AVX2|avx2", function, re.IGNORECASE) else BASELINE


def used_level(mnemonic: str, operands: str) -> int:
    """The instruction set that one instruction needs."""
    if NEEDS_AVX512.search(operands):
        return AVX512
    if NEEDS_AVX2.search(operands) or mnemonic == "vzeroupper":
        return AVX2
    # On xmm registers only the leading v tells AVX from SSE.
    return AVX2 if mnemonic.startswith("v") and VECTOR_REGISTER.search(operands) else BASELINE


def check_listing(lines: Iterable[str], library: str) -> tuple[int, list[str]]:
    """Reads what `objdump -d -C --no-show-raw-insn` prints. Counts the functions with wide code."""
    function, allowed = "", AVX512
    wide_functions, found = set(), {}
    for line in lines:
        if match := FUNCTION.match(line.rstrip("\n")):
            function, allowed = match.group(1), allowed_level(match.group(1))
        elif match := INSTRUCTION.match(line):
            mnemonic, operands = match.group(1), match.group(2).split(" <")[0]
            used = used_level(mnemonic, operands)
            if used > BASELINE:
                wide_functions.add(function)
            if used > allowed and function not in found:
                found[function] = (f"{library}: {function}: '{mnemonic} {operands.strip()}' needs "
                                   f"{LEVEL_NAME[used]}, which its name does not carry")
    return len(wide_functions), list(found.values())


def check_library(library: str) -> tuple[int, list[str]]:
    with subprocess.Popen(["objdump", "-d", "-C", "--no-show-raw-insn", library],
                          stdout=subprocess.PIPE, text=True, errors="replace") as listing:
        wide, problems = check_listing(listing.stdout, library)
    if listing.returncode != 0:
        problems.append(f"{library}: objdump failed")
    elif wide == 0:
        problems.append(f"{library}: no AVX code at all; is this the library with the kernels?")
    return wide, problems


def main(libraries: list[str]) -> int:
    if not libraries:
        print(__doc__, file=sys.stderr)
        return 2
    results = [check_library(library) for library in libraries]
    return tree.report("isa_objects (functions with AVX code)", sum(wide for wide, _ in results),
                       [problem for _, problems in results for problem in problems])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
