"""The operators of a decoder layer from Python: values against PyTorch's own, and opcheck."""

import pytest
import torch

ops = torch.ops.seer
gemv = ops.gemv
rms_norm = ops.rms_norm
rope = ops.rope
swiglu = ops.swiglu

DTYPES = [torch.float32, torch.bfloat16, torch.float64]
CHECKS = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]


def assert_close(actual, expected):
    tolerance = 0.02 if actual.dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_values(dtype):
    torch.manual_seed(0)
    x, weight, bias = (torch.randn(s, dtype=dtype) for s in [(3, 100), (77, 100), (77,)])
    assert_close(gemv(x, weight, bias), torch.nn.functional.linear(x, weight, bias))
    assert_close(gemv(x, weight), torch.nn.functional.linear(x, weight))
    assert_close(rms_norm(x, weight[0], 1e-6), torch.nn.functional.rms_norm(x, (100,), weight[0], 1e-6))
    gate, up = x.chunk(2, dim=-1)
    assert_close(swiglu(x), torch.nn.functional.silu(gate) * up)


def test_rope_is_a_rotation():
    torch.manual_seed(0)
    x = torch.randn(9, 2, 32, dtype=torch.float64)
    angles = torch.randn(9, 16)
    out = torch.empty_like(x)
    rope(x, angles.cos(), angles.sin(), out)
    pairs = torch.complex(x[..., :16], x[..., 16:]) * torch.polar(torch.ones(9, 1, 16), angles[:, None]).to(torch.complex128)
    torch.testing.assert_close(out, torch.cat([pairs.real, pairs.imag], -1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 5])
def test_opcheck(dtype, rows):
    x, weight = torch.randn(rows, 24, dtype=dtype), torch.randn(10, 24, dtype=dtype)
    for bias in (None, torch.randn(10, dtype=dtype)):
        torch.library.opcheck(gemv.default, (x, weight, bias), test_utils=CHECKS)
    torch.library.opcheck(rms_norm.default, (x, weight[0], 1e-5), test_utils=CHECKS)
    heads = torch.randn(rows, 4, 24, dtype=dtype)[:, 1:3]
    torch.library.opcheck(rms_norm.default, (heads, weight[0], 1e-5), test_utils=CHECKS)
    torch.library.opcheck(swiglu.default, (x,), test_utils=CHECKS)
    angles = torch.randn(rows, 12)
    torch.library.opcheck(rope.default, (heads, angles.cos(), angles.sin(), torch.empty_like(heads)), test_utils=CHECKS)


def test_gradients():
    x, weight = torch.randn(5, 24, dtype=torch.float64), torch.randn(24, dtype=torch.float64)
    heads = torch.randn(5, 4, 24, dtype=torch.float64)[:, 1:3]
    for tensor in (x, heads):
        assert torch.autograd.gradcheck(lambda x, w: rms_norm(x, w, 1e-5), (leaf(tensor), leaf(weight)))
    assert torch.autograd.gradcheck(swiglu, (leaf(x),))
    # Gradients that are expanded, and for one argument alone.
    only = leaf(weight)
    rms_norm(x, only, 1e-5).sum().backward()
    expected = leaf(weight)
    torch.nn.functional.rms_norm(x, (24,), expected, 1e-5).sum().backward()
    torch.testing.assert_close(only.grad, expected.grad)
    with pytest.raises(RuntimeError, match="not implemented|derivative"):
        torch.autograd.gradgradcheck(swiglu, (leaf(x),))


def leaf(tensor):
    return tensor.clone().requires_grad_(True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck_of_gradients(dtype):
    x, weight = torch.randn(5, 24, dtype=dtype), torch.randn(24, dtype=dtype)
    for grad, rows in [(x, x), (torch.randn(5, 2, 24, dtype=dtype), torch.randn(5, 4, 24, dtype=dtype)[:, 1:3])]:
        torch.library.opcheck(ops.rms_norm_backward.default, (grad, rows, weight, 1e-5), test_utils=CHECKS)
    torch.library.opcheck(ops.swiglu_backward.default, (x[:, :12], x), test_utils=CHECKS)
    torch.library.opcheck(rms_norm.default, (leaf(x), leaf(weight), 1e-5), test_utils=CHECKS)
    torch.library.opcheck(swiglu.default, (leaf(x),), test_utils=CHECKS)


def test_gradient_says_that_there_is_none():
    with pytest.raises(RuntimeError, match="not implemented|derivative"):
        gemv(torch.randn(1, 8), torch.randn(4, 8, requires_grad=True)).sum().backward()
