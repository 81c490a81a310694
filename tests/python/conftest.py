"""Loads the operators: SEER_OPS_LIBRARY names the library, build/libseer_ops.so is the default."""

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[2]
OPS_LIBRARY = Path(os.environ.get("SEER_OPS_LIBRARY") or REPOSITORY / "build" / "libseer_ops.so")


def pytest_configure(config):
    if not OPS_LIBRARY.is_file():
        pytest.exit(f"{OPS_LIBRARY}: no such file; build it or set SEER_OPS_LIBRARY", returncode=2)
    torch.ops.load_library(str(OPS_LIBRARY))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def ops_library():
    """The library's path, for tests that load it into a process of their own."""
    return str(OPS_LIBRARY)
