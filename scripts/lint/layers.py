#!/usr/bin/env python3
"""Fails where an #include crosses the layers of ARCHITECTURE.md ("Who may include what")."""

import re
import sys
from pathlib import Path

import tree

# Folder -> the folders whose headers it may include besides its own. "seer" stands for include/seer.
LAYERS = {
    "base": [],
    "kernels": ["base"],
    "ops": ["base", "kernels", "seer"],
    "gate": ["base", "io", "seer"],
    "selection": ["base", "seer"],
    "attention": ["base", "gate", "selection", "io", "seer"],
    "io": ["base", "seer"],
    "model": ["base", "attention", "gate", "selection", "io", "seer"],
    "parallel": ["base", "seer"],
    "training": ["base", "model", "attention", "gate", "selection", "io", "seer"],
    "distill": ["base", "training", "model", "attention", "gate", "selection", "io", "seer"],
    "finetune": ["base", "training", "model", "attention", "gate", "selection", "io", "seer"],
    "eval": ["base", "model", "attention", "gate", "selection", "io", "seer"],
    "cli": ["seer", "bench"],
    "seer": [],
    "bench": ["base", "kernels", "seer"],
}
WITHOUT_LIBTORCH = {"base", "kernels"}
# Of a kernel's folder the other layers see these alone.
KERNEL_INTERFACE = {"params.h", "reference.h", "cpu.h", "cuda.h", "plan.h"}
# Where CUDA's own headers may be included besides .cuh and .cu files.
CUDA_FOLDERS = ("src/ops/cuda/",)
# The one file that calls NCCL; builds without its header have without_nccl.cpp in its place.
NCCL_FILE = "src/parallel/nccl_backend.cpp"

SOURCE = re.compile(r"\.(h|cpp|cuh|cu)(\.in)?$")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.MULTILINE)
LIBTORCH = re.compile(r"^(ATen|torch|c10|caffe2)/")
CUDA = re.compile(r"^(cuda|cuda_\w+|cublas\w*|nccl|nvrtc|cooperative_groups|device_launch_parameters)\.h$|"
                  r"^(cuda|cute|cutlass|cub|nvtx3|c10/cuda|ATen/cuda)/")


def layer_of(path: str) -> str | None:
    """The layer of a file of the tree; None where the table does not apply to it."""
    for pattern in (r"src/([^/]+)/", r"include/(seer)/", r"(bench)/"):
        if match := re.match(pattern, path):
            return match.group(1)
    return None


def layer_of_include(include: str) -> str | None:
    first = include.split("/")[0]
    return first if "/" in include and first in LAYERS else None


def check_include(path: str, layer: str, include: str) -> str | None:
    """What is wrong with this include, or None."""
    device_code = re.search(r"\.(cuh|cu)(\.in)?$", path) is not None
    is_allowed = device_code or path.startswith(CUDA_FOLDERS) or (path == NCCL_FILE and include == "nccl.h")
    if CUDA.match(include) and not is_allowed:
        return "CUDA's headers belong into .cuh, .cu and ops/cuda files, nccl.h into parallel/nccl_backend.cpp"
    if include.endswith(".cuh") and not device_code:
        return "only .cuh and .cu files may include a .cuh"
    if LIBTORCH.match(include) and layer in WITHOUT_LIBTORCH:
        return f"{layer} knows no LibTorch"
    target = layer_of_include(include)
    if target is None or target == layer:
        return None
    if target not in LAYERS[layer]:
        allowed = ", ".join(LAYERS[layer]) or "nothing"
        return f"{layer} may include {allowed} besides itself, not {target}"
    if target == "kernels" and Path(include).name not in KERNEL_INTERFACE:
        return f"of a kernel only {', '.join(sorted(KERNEL_INTERFACE))} may be included from {layer}"
    return None


def check(root: Path) -> tuple[int, list[str]]:
    checked, problems = 0, []
    for path in tree.project_files(root):
        layer = layer_of(path)
        if layer is None or not SOURCE.search(path):
            continue
        if layer not in LAYERS:
            problems.append(f"{path}: folder '{layer}' is not in the table of layers")
            continue
        checked += 1
        text = tree.read_text(root / path) or ""
        for match in INCLUDE.finditer(text):
            include = match.group(1)
            wrong = check_include(path, layer, include)
            if wrong is None and include.startswith("../"):
                wrong = "name headers from the root of src, not by ../"
            if wrong:
                line = text.count("\n", 0, match.start()) + 1
                problems.append(f"{path}:{line}: #include {include}: {wrong}")
    return checked, problems


if __name__ == "__main__":
    sys.exit(tree.report("layers", *check(tree.ROOT)))
