"""The operators on a GPU from Python: registrations, CUDA graphs, errors. Values are gpu_ops_test's business."""

import os

import pytest
import torch
from attention_oracle import inputs, random_mask

ops = torch.ops.seer
ATTENTION = ["block_sparse_attention", "attention_with_block_map", "attn_with_pooling"]
ROW_CHECKS = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]


def missing_gpu():
    """Why the kernels cannot run here, or None."""
    if not torch._C._dispatch_has_kernel_for_dispatch_key("seer::block_sparse_attention", "CUDA"):
        return "this build has no CUDA kernels"
    if not torch.cuda.is_available():
        return "no GPU"
    if torch.cuda.get_device_capability() != (9, 0):
        return f"{torch.cuda.get_device_name()} is no Hopper GPU"
    return None


@pytest.fixture(autouse=True)
def gpu():
    if missing := missing_gpu():
        if os.environ.get("SEER_REQUIRE_GPU") == "1":
            pytest.fail(f"SEER_REQUIRE_GPU=1, but {missing}")
        pytest.skip(missing)


def attention_calls(dtype=torch.bfloat16, q_len=130, kv_len=200):
    q, k, v = (t.cuda() for t in inputs(q_len, kv_len, dtype, batch=2, q_heads=4, kv_heads=2))
    mask = random_mask(q_len, kv_len, batch=2, heads=4).cuda()
    return {
        "block_sparse_attention": (ops.block_sparse_attention.default, (q, k, v, mask)),
        "attention_with_block_map": (ops.attention_with_block_map.default, (q, k, v)),
        "attn_with_pooling": (ops.attn_with_pooling.default, (q, k, v, True, 0.1)),
    }


def row_calls(dtype=torch.bfloat16):
    x, heads = torch.randn(5, 64, dtype=dtype).cuda(), torch.randn(5, 3, 32, dtype=dtype).cuda()
    cos = torch.rand(5, 16).cuda()
    return {
        "gemv": (ops.gemv.default, (x, x, x[0, :5])),
        "rms_norm": (ops.rms_norm.default, (x, x[0], 1e-5)),
        "rope": (ops.rope.default, (heads, cos, cos, torch.empty_like(heads))),
        "swiglu": (ops.swiglu.default, (x,)),
        "rms_norm_backward": (ops.rms_norm_backward.default, (x, x, x[0], 1e-5)),
        "swiglu_backward": (ops.swiglu_backward.default, (x[:, :32], x)),
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_agrees_with_the_processor(name, dtype):
    op, arguments = attention_calls(dtype)[name]
    on_cpu = [a.cpu() if isinstance(a, torch.Tensor) else a for a in arguments]
    on_cpu[:3] = [tensor.float() for tensor in on_cpu[:3]]
    for actual, expected in zip(op(*arguments), op(*on_cpu)):
        torch.testing.assert_close(actual.cpu().float(), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", ATTENTION)
def test_opcheck_of_attention(name):
    torch.library.opcheck(*attention_calls()[name])


@pytest.mark.parametrize("name", ["gemv", "rms_norm", "rope", "swiglu", "rms_norm_backward", "swiglu_backward"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_opcheck_of_row_layers(name, dtype):
    torch.library.opcheck(*row_calls(dtype)[name], test_utils=ROW_CHECKS)


@pytest.mark.parametrize("name", ATTENTION + ["gemv", "rms_norm", "swiglu", "rms_norm_backward", "swiglu_backward"])
def test_is_captured_by_a_cuda_graph(name):
    """A capture fails where something waits for the GPU or allocates beside LibTorch's allocator."""
    op, arguments = (attention_calls() | row_calls())[name]
    expected = op(*arguments)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        actual = op(*arguments)
    for _ in range(2):
        graph.replay()
        for a, b in zip(actual, expected):
            assert torch.equal(a, b)


def test_backward_raises():
    op, arguments = attention_calls()["attention_with_block_map"]
    for tensor in arguments[:3]:
        tensor.requires_grad_()
    with pytest.raises(RuntimeError, match="derivative for seer::attention_with_block_map is not implemented"):
        op(*arguments)[0].sum().backward()


def test_errors_name_the_argument():
    q, k, v = (t.cuda() for t in inputs(130, 130, torch.bfloat16))
    with pytest.raises(RuntimeError, match="^q: expected dtype bfloat16 or float16 on CUDA, got Float"):
        ops.attention_with_block_map(q.float(), k.float(), v.float())
    with pytest.raises(RuntimeError, match=r"^k: expected device cuda:0 \(as q\), got cpu"):
        ops.attention_with_block_map(q, k.cpu(), v)
    with pytest.raises(RuntimeError, match="^block_size: expected 64 or 128 on CUDA, got 16"):
        ops.attention_with_block_map(q, k, v, 16)
