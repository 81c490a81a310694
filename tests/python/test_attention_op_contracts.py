"""What surrounds the attention operators: schemas, errors, autograd, torch.compile, threads."""

import math
import os
import subprocess
import sys

import pytest
import torch
import torch._dynamo.testing
from attention_oracle import dense_mask, inputs, random_mask

ops = torch.ops.seer
DTYPES = [torch.float32, torch.bfloat16, torch.float64]


def calls(q, k, v, mask):
    """Each operator with its required arguments."""
    return {
        "block_sparse_attention": (ops.block_sparse_attention.default, (q, k, v, mask)),
        "attention_with_block_map": (ops.attention_with_block_map.default, (q, k, v)),
        "attn_with_pooling": (ops.attn_with_pooling.default, (q, k, v, True, 0.1)),
    }


NAMES = ["block_sparse_attention", "attention_with_block_map", "attn_with_pooling"]

SCHEMAS = [
    "seer::block_sparse_attention(Tensor q, Tensor k, Tensor v, Tensor? block_mask, "
    "int block_size=64, bool is_causal=True, float? scale=None) -> (Tensor out, Tensor lse)",
    "seer::attention_with_block_map(Tensor q, Tensor k, Tensor v, int block_size=64, "
    "bool is_causal=True, float? scale=None) -> (Tensor out, Tensor lse, Tensor block_map)",
    "seer::attn_with_pooling(Tensor q, Tensor k, Tensor v, bool is_causal, float scale, "
    "int block_size=64) -> (Tensor out, Tensor pooled)",
]


@pytest.mark.parametrize("name,schema", list(zip(NAMES, SCHEMAS)))
def test_schema(name, schema):
    assert str(getattr(ops, name).default._schema) == schema


# --- Errors name the argument ----------------------------------------------------------------------


def transposed_last(tensor):
    """The same values with a last dimension that is not contiguous."""
    return tensor.transpose(2, 3).contiguous().transpose(2, 3)


# What replaces the arguments of a good call (q and mask for 4 heads of 130 tokens, k and v for 2),
# and the message expected.
Q, KV = (1, 4, 130, 64), (1, 2, 130, 64)
BAD_ATTENTION_ARGUMENTS = [
    (dict(q=torch.zeros(4, 130, 64)), r"q: expected 4 dimensions .* got 3"),
    (dict(k=torch.zeros(2, 130, 64)), r"k: expected 4 dimensions .* got 3"),
    (dict(v=torch.zeros(1, 1, 2, 130, 64)), r"v: expected 4 dimensions .* got 5"),
    (dict(q=torch.zeros(Q, dtype=torch.int64)), r"q: expected dtype float32, .* got Long"),
    (
        dict(q=torch.zeros(Q).half(), k=torch.zeros(KV).half(), v=torch.zeros(KV).half()),
        r"q: expected dtype float32, .* got Half \(float16 has kernels on CUDA only\)",
    ),
    (dict(k=torch.zeros(KV).double()), r"k: expected dtype Float \(as q\), got Double"),
    (dict(v=torch.zeros(KV).bfloat16()), r"v: expected dtype Float \(as q\), got BFloat16"),
    (dict(k=torch.zeros(2, 2, 130, 64)), r"k: expected batch 1 \(as q\), got 2"),
    (dict(v=torch.zeros(2, 2, 130, 64)), r"v: expected batch 1 \(as k\), got 2"),
    (dict(k=torch.zeros(1, 2, 130, 32)), r"k: expected head_dim 64 \(as q\), got 32"),
    (dict(v=torch.zeros(1, 2, 130, 32)), r"v: expected head_dim 64 \(as k\), got 32"),
    (dict(v=torch.zeros(1, 1, 130, 64)), r"v: expected num_kv_heads 2 \(as k\), got 1"),
    (dict(v=torch.zeros(1, 2, 129, 64)), r"v: expected kv_len 130 \(as k\), got 129"),
    (dict(q=torch.zeros(1, 5, 130, 64)), r"q: expected a multiple of the 2 heads of k, got 5"),
    (
        dict(k=torch.zeros(1, 0, 130, 64), v=torch.zeros(1, 0, 130, 64)),
        r"k: expected at least one head",
    ),
    (
        dict(q=torch.zeros(1, 4, 9, 0), k=torch.zeros(1, 2, 9, 0), v=torch.zeros(1, 2, 9, 0)),
        r"q: expected head_dim 1 to 512, got 0",
    ),
    (
        dict(q=torch.zeros(1, 4, 9, 513), k=torch.zeros(1, 2, 9, 513), v=torch.zeros(1, 2, 9, 513)),
        r"q: expected head_dim 1 to 512, got 513",
    ),
    (dict(q=transposed_last(torch.zeros(Q))), r"q: .*contiguous.*call \.contiguous\(\)"),
    (dict(k=transposed_last(torch.zeros(KV))), r"k: .*contiguous.*call \.contiguous\(\)"),
    (dict(v=transposed_last(torch.zeros(KV))), r"v: .*contiguous.*call \.contiguous\(\)"),
    (dict(k=torch.zeros(KV, device="meta")), r"k: expected device cpu \(as q\), got meta"),
    (dict(v=torch.zeros(KV, device="meta")), r"v: expected device cpu \(as q\), got meta"),
    (dict(q=torch.zeros(Q, device="meta")), r"k: expected device meta \(as q\), got cpu"),
    (dict(block_size=48), r"block_size: expected 16, 32, 64 or 128, got 48"),
    (dict(block_size=0), r"block_size: expected 16, 32, 64 or 128, got 0"),
    (dict(block_size=-64), r"block_size: expected 16, 32, 64 or 128, got -64"),
    (dict(scale=math.nan), r"scale: expected a finite float32 number, got nan"),
    (dict(scale=math.inf), r"scale: expected a finite float32 number, got inf"),
    (dict(scale=1e300), r"scale: expected a finite float32 number, got 1e\+300"),
]


@pytest.mark.parametrize("bad,message", BAD_ATTENTION_ARGUMENTS, ids=lambda x: str(x)[:40])
@pytest.mark.parametrize("name", NAMES)
def test_bad_argument(name, bad, message):
    q, k, v = inputs(130, 130, q_heads=4, kv_heads=2)
    good = dict(q=q, k=k, v=v)
    if name == "block_sparse_attention":
        good["block_mask"] = dense_mask(130, 130)
    if name == "attn_with_pooling":
        good |= dict(is_causal=True, scale=0.1)
    with pytest.raises(RuntimeError, match="^" + message):
        getattr(ops, name)(**(good | bad))


BAD_MASKS = [
    (torch.ones(3, 3, dtype=torch.bool), r"expected 4 dimensions .* got 2"),
    (torch.ones(1, 1, 3, 3), r"expected dtype bool, got Float"),
    (torch.ones(1, 1, 3, 3, dtype=torch.uint8), r"expected dtype bool, got Byte"),
    (torch.ones(3, 1, 3, 3, dtype=torch.bool), r"expected batch 1 or 2 \(as q\), got 3"),
    (torch.ones(1, 3, 3, 3, dtype=torch.bool), r"expected 1, 2 \(as k\) or 4 \(as q\) heads, got 3"),
    (torch.ones(1, 1, 4, 3, dtype=torch.bool), r"expected 3 query blocks \(q_len 130, .* got 4"),
    (torch.ones(1, 1, 3, 2, dtype=torch.bool), r"expected 3 key blocks \(kv_len 130, .* got 2"),
    (torch.ones(1, 1, 3, 3, dtype=torch.bool).mT, r".*contiguous.*call \.contiguous\(\)"),
    (torch.ones(1, 1, 3, 1, dtype=torch.bool).expand(1, 1, 3, 3), r".*contiguous"),
    (torch.ones(1, 1, 3, 3, dtype=torch.bool, device="meta"), r"expected device cpu .* got meta"),
]


@pytest.mark.parametrize("mask,message", BAD_MASKS, ids=lambda x: str(x)[:40])
def test_bad_block_mask(mask, message):
    q, k, v = inputs(130, 130, batch=2, q_heads=4, kv_heads=2)
    with pytest.raises(RuntimeError, match="^block_mask: " + message):
        ops.block_sparse_attention(q, k, v, mask)


@pytest.mark.parametrize("name", NAMES)
def test_sparse_layouts_are_refused(name):
    q, k, v = inputs(130, 130)
    op, arguments = calls(q, k.to_sparse(), v, dense_mask(130, 130))[name]
    with pytest.raises((RuntimeError, NotImplementedError)):
        op(*arguments)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_instruction_set_is_refused(name, monkeypatch):
    op, arguments = calls(*inputs(130, 130), dense_mask(130, 130))[name]
    monkeypatch.setenv("SEER_CPU_ISA", "mmx")
    with pytest.raises(RuntimeError, match="SEER_CPU_ISA=mmx"):
        op(*arguments)


# --- Autograd, Meta, torch.compile -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES[1:])  # of the first there is one: test_attention_backward.py
def test_backward_raises(name, dtype):
    tensors = inputs(70, 70, dtype)
    op, arguments = calls(*tensors, dense_mask(70, 70))[name]
    expected = op(*arguments)
    for tensor in tensors:
        tensor.requires_grad_()
    results = op(*arguments)
    assert all(torch.equal(a, b) for a, b in zip(results, expected))
    with pytest.raises(RuntimeError, match=f"derivative for seer::{name} is not implemented"):
        results[0].sum().backward()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_opcheck(name, dtype):
    tensors = inputs(130, 200, dtype, batch=2, q_heads=4, kv_heads=2)
    mask = random_mask(130, 200, batch=2, heads=4)
    op, arguments = calls(*tensors, mask)[name]
    torch.library.opcheck(op, arguments)


@pytest.mark.parametrize("name", NAMES)
def test_opcheck_of_strided_views(name):
    tensors = [
        torch.randn(2, 130, heads, 64).transpose(1, 2) for heads in (4, 2, 2)
    ]
    op, arguments = calls(*tensors, random_mask(130, 130).expand(2, 4, 3, 3))[name]
    torch.library.opcheck(op, arguments)


@pytest.mark.parametrize("name", NAMES)
def test_meta_has_the_shapes_and_strides_of_the_real_call(name):
    q, k, v = inputs(130, 200, torch.bfloat16, batch=2, q_heads=4, kv_heads=2)
    layouts = {
        "contiguous": q,
        "transposed": q.transpose(1, 2).contiguous().transpose(1, 2),
        "not dense": torch.cat([q, q], 3)[..., :64],
    }
    for this_q in layouts.values():
        op, arguments = calls(this_q, k, v, random_mask(130, 200))[name]
        # .to("meta") would forget the strides of a view with gaps.
        fakes = [
            torch.empty_strided(a.shape, a.stride(), dtype=a.dtype, device="meta")
            if isinstance(a, torch.Tensor)
            else a
            for a in arguments
        ]
        for real, fake in zip(op(*arguments), op(*fakes)):
            assert fake.device.type == "meta"
            assert (real.shape, real.stride(), real.dtype) == (
                fake.shape,
                fake.stride(),
                fake.dtype,
            )


def test_meta_allocates_nothing():
    length = 1 << 24
    q = torch.empty(1, 32, length, 128, dtype=torch.bfloat16, device="meta")
    _, lse, blocks = ops.attention_with_block_map(q, q[:, :8], q[:, :8], 128)
    assert lse.shape == (1, 32, length) and blocks.shape == (1, 32, length // 128, length // 128)


def test_meta_knows_the_element_types_of_each_device():
    for dtype in (*DTYPES, torch.float16):
        q = torch.empty(1, 2, 64, 64, dtype=dtype, device="meta")
        assert ops.attention_with_block_map(q, q, q)[0].dtype == dtype
    with pytest.raises(RuntimeError, match="^q: expected dtype float32, bfloat16, float16 or float64"):
        q = torch.empty(1, 2, 64, 64, dtype=torch.int32, device="meta")
        ops.attention_with_block_map(q, q, q)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compile_with_dynamic_lengths_compiles_once(backend):
    def step(q, k, v):
        q_blocks, kv_blocks = (q.shape[2] + 63) // 64, (k.shape[2] + 63) // 64
        mask = torch.ones(1, 1, q_blocks, kv_blocks, dtype=torch.bool, device=q.device)
        out, lse = ops.block_sparse_attention(q * 2, k, v, mask.tril(kv_blocks - q_blocks))
        teacher, _, blocks = ops.attention_with_block_map(out, k, v)
        return teacher, lse, blocks, ops.attn_with_pooling(q, k, v, True, 0.1)[1]

    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend(backend)
    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend=counter)
    for length in (130, 200, 257, 449):
        tensors = inputs(length, length + 70, q_heads=4, kv_heads=2)
        for actual, expected in zip(compiled(*tensors), step(*tensors)):
            torch.testing.assert_close(actual, expected)
    assert counter.frame_count == 1


def test_compile_takes_the_mask_as_an_argument():
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(
        ops.block_sparse_attention, fullgraph=True, dynamic=True, backend=counter
    )
    for length in (130, 300, 450):
        tensors = inputs(length, length, batch=2, q_heads=4, kv_heads=2)
        mask = random_mask(length, length, batch=2, heads=4)
        expected = ops.block_sparse_attention(*tensors, mask)
        assert all(torch.equal(a, b) for a, b in zip(compiled(*tensors, mask), expected))
    assert counter.frame_count == 1


def test_compile_reports_a_bad_shape():
    torch._dynamo.reset()
    compiled = torch.compile(ops.attention_with_block_map, dynamic=True, backend="aot_eager")
    q, k, v = inputs(130, 130, head_dim=64)
    with pytest.raises(Exception, match="v: expected kv_len"):
        compiled(q, k, v[:, :, :100])


# --- Threads ---------------------------------------------------------------------------------------

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux's /proc")

# Prints the OpenMP runtimes of the process, and how many threads it has before a call, after the
# call, and after work of PyTorch's own.
THREAD_PROBE = """
import os, sys, torch
torch.ops.load_library(sys.argv[1])
torch.set_num_threads(int(sys.argv[2]))
count = lambda: len(os.listdir("/proc/self/task"))
q = torch.ones(64).expand(1, 4, 512, 64)  # filling a larger tensor would start the threads
mask = torch.ones(1, 1, 8, 8, dtype=torch.bool)
before = count()
torch.ops.seer.block_sparse_attention(q, q, q, mask)
after = count()
torch.ones(1 << 22).add_(1)
at_the_end = count()
runtimes = {
    os.path.realpath(line.split()[-1])
    for line in open("/proc/self/maps")
    if any(name in line for name in ("libgomp", "libiomp", "libomp"))
}
print(len(runtimes), after - before, at_the_end - after)
"""


@needs_proc
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_operators_run_on_the_threads_of_pytorch(threads, ops_library):
    probe = subprocess.run(
        [sys.executable, "-c", THREAD_PROBE, ops_library, str(threads)],
        capture_output=True,
        text=True,
        check=True,
    )
    runtimes, started, started_later = map(int, probe.stdout.split())
    assert runtimes == 1
    assert started == threads - 1  # a pool of the asked size
    assert started_later == 0  # which is the one that PyTorch's own operators use
