"""torch.ops.seer.pool_blocks against torch's own reductions."""

import os

import pytest
import torch

torch.ops.load_library(os.environ["SEER_OPS_LIBRARY"])
pool_blocks = torch.ops.seer.pool_blocks


def expected_pooling(x, block_size, kinds):
    blocks = x.split(block_size, dim=2) if x.size(2) else []
    reduce = {
        "max": lambda block: block.amax(2),
        "min": lambda block: block.amin(2),
        # float64 is not narrowed; the others are summed in float32 and rounded once.
        "avg": lambda block: block.to(torch.promote_types(x.dtype, torch.float32)).mean(2),
    }
    pooled = [
        torch.cat([reduce[kind](block).to(x.dtype) for kind in ("max", "min", "avg") if kind in kinds], -1)
        for block in blocks
    ]
    if not pooled:
        count = sum(kind in kinds for kind in reduce)
        return x.new_empty(x.size(0), x.size(1), 0, x.size(3) * count)
    return torch.stack(pooled, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("block_size", [1, 4, 16, 32, 64, 128])
@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 333])
def test_matches_torch(dtype, block_size, length):
    torch.manual_seed(length)
    x = torch.randn(2, length, 3, 80).to(dtype).transpose(1, 2)
    for kinds in ("max", "min", "avg", "maxmin", "max,avg", "minavg", "maxminavg"):
        tolerance = {torch.float32: 1e-6, torch.bfloat16: 1 / 128, torch.float64: 1e-12}[dtype]
        exact = "avg" not in kinds
        torch.testing.assert_close(
            pool_blocks(x, block_size, kinds),
            expected_pooling(x, block_size, kinds),
            rtol=0 if exact else tolerance,
            atol=0 if exact else 1e-6,
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_nan_spreads_as_in_torch(dtype):
    torch.manual_seed(0)
    x = torch.randn(1, 2, 200, 72)
    x[torch.rand_like(x) < 0.01] = float("nan")
    x[torch.rand_like(x) < 0.01] = float("inf")
    x[torch.rand_like(x) < 0.01] = -float("inf")
    x = x.to(dtype)
    torch.testing.assert_close(
        pool_blocks(x, 64, "maxmin"), expected_pooling(x, 64, "maxmin"), rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("length", [1, 130])
def test_opcheck(dtype, requires_grad, length):
    checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
    if not requires_grad:  # there is no backward to trace
        checks.append("test_aot_dispatch_dynamic")
    x = torch.randn(2, length, 3, 24, dtype=dtype).transpose(1, 2)
    for sample in (x, x.contiguous()):
        arguments = (sample.detach().requires_grad_(requires_grad), 64, "max,avg")
        torch.library.opcheck(pool_blocks.default, arguments, test_utils=checks)


def test_compiled_with_dynamic_lengths():
    compiled = torch.compile(lambda x: pool_blocks(x, 64, "maxavg") * 2, backend="aot_eager", dynamic=True, fullgraph=True)
    for length in (1, 64, 65, 1000):
        x = torch.randn(1, 2, length, 16)
        torch.testing.assert_close(compiled(x), pool_blocks(x, 64, "maxavg") * 2, rtol=0, atol=0)


def test_backward_says_that_there_is_none():
    x = torch.randn(1, 1, 64, 8, requires_grad=True)
    with pytest.raises(RuntimeError, match="derivative for seer::pool_blocks is not implemented"):
        pool_blocks(x, 64, "avg").sum().backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.randn(2, 64, 8)}, r"x: expected 4 dimensions \[batch, heads, length, head_dim\], got 3"),
        ({"block_size": 48}, "block_size=48: expected a power of two from 1 to 128"),
        ({"kinds": "mean"}, "kinds='mean': expected one or more of max, min, avg"),
        ({"kinds": "max,max"}, "kinds='max,max': expected one or more of max, min, avg, each once"),
        ({"x": torch.randn(1, 2, 8, 64).transpose(2, 3)}, r"x: expected a contiguous last dimension, got strides \["),
        ({"x": torch.randn(1, 2, 64, 8).half()}, "x: expected float32, bfloat16 or float64, got Half"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_errors(change, message, device):
    arguments = {"x": torch.randn(1, 2, 64, 8), "block_size": 64, "kinds": "max"} | change
    if device == "meta" and "got Half" in message:
        pytest.skip("the accepted dtypes depend on the device")
    arguments["x"] = arguments["x"].to(device)
    with pytest.raises(RuntimeError, match="pool_blocks: " + message):
        pool_blocks(**arguments)
