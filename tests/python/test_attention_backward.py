"""The gradients of block_sparse_attention from Python, against PyTorch's autograd in float64."""

import math

import pytest
import torch
from attention_oracle import dense_mask, inputs, num_blocks, random_mask, visible_tokens

ops = torch.ops.seer
attention = ops.block_sparse_attention

# atol and rtol of gradients of order 1: float32 sums, and the roundings of inputs and outputs to bfloat16.
TOLERANCE = {torch.float32: (2e-5, 2e-4), torch.bfloat16: (4e-2, 3e-2), torch.float64: (1e-6, 1e-6)}


def masked_softmax_attention(q, k, v, visible, scale=None):
    """(out, lse) in float64 with plain operations; a row that sees nothing is (0, -inf)."""
    scale = 1 / math.sqrt(q.shape[3]) if scale is None else scale
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    scores = scale * q @ k.transpose(2, 3)
    sees = visible.any(3, keepdim=True)
    scores = scores.masked_fill(~visible & sees, -math.inf)  # no row without a finite score
    lse = scores.logsumexp(3)
    probabilities = (scores - lse.unsqueeze(3)).exp().masked_fill(~visible, 0)
    return probabilities @ v, lse.masked_fill(~sees.squeeze(3), -math.inf)


def gradients(function, tensors, weight_of_out, weight_of_lse):
    """Of (out * weight_of_out + visible lse * weight_of_lse).sum()."""
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    out, lse = function(*leaves)
    loss = (out * weight_of_out.to(out.dtype)).sum()
    loss = loss + (lse.masked_fill(lse == -math.inf, 0) * weight_of_lse.to(lse.dtype)).sum()
    return torch.autograd.grad(loss, leaves)


def check_gradients(q, k, v, block_mask, block_size=64, is_causal=True, scale=None):
    weight_of_out = torch.randn(q.shape, dtype=torch.float64).to(q.dtype)
    weight_of_lse = torch.randn(q.shape[:3])
    visible = visible_tokens(q, k, block_mask, block_size, is_causal)
    expected = gradients(
        lambda *x: masked_softmax_attention(*x, visible, scale),
        [x.double() for x in (q, k, v)], weight_of_out, weight_of_lse)
    actual = gradients(
        lambda *x: attention(*x, block_mask, block_size, is_causal, scale),
        (q, k, v), weight_of_out, weight_of_lse)
    atol, rtol = TOLERANCE[q.dtype]
    for name, grad, truth, of in zip("qkv", actual, expected, (q, k, v)):
        assert grad.dtype == of.dtype and grad.shape == of.shape
        # Sums over the heads of a group and over many rows: absolute errors grow with the largest.
        size = max(1.0, truth.abs().max().item()) if truth.numel() else 1.0
        torch.testing.assert_close(grad.double(), truth, atol=atol * size, rtol=rtol, msg=lambda m: f"grad_{name}: {m}")


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("block_size", [16, 64])
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize(
    "q_len,kv_len", [(1, 1), (63, 63), (64, 64), (65, 65), (150, 150), (70, 200), (200, 70), (1, 300)])
def test_gradients(dtype, block_size, is_causal, q_len, kv_len):
    q, k, v = inputs(q_len, kv_len, dtype, batch=2, q_heads=6, kv_heads=2, head_dim=32)
    for mask in (None, random_mask(q_len, kv_len, block_size, batch=2, heads=6),
                 random_mask(q_len, kv_len, block_size, heads=2, density=0.2)):
        check_gradients(q, k, v, mask, block_size, is_causal)


@pytest.mark.parametrize("head_dim", [1, 7, 64, 80, 128, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_head_dims(head_dim, dtype):
    q, k, v = inputs(130, 130, dtype, q_heads=2, kv_heads=1, head_dim=head_dim)
    check_gradients(q, k, v, random_mask(130, 130, heads=2), scale=0.2)


@pytest.mark.parametrize("q_heads,kv_heads", [(1, 1), (3, 1), (8, 2), (7, 1), (6, 2)])
def test_groups(q_heads, kv_heads):
    q, k, v = inputs(100, 100, q_heads=q_heads, kv_heads=kv_heads)
    for heads in {1, kv_heads, q_heads}:
        check_gradients(q, k, v, random_mask(100, 100, 32, heads=heads), 32)


@pytest.mark.parametrize("scale", [-0.3, 0.0, 1.0])
def test_scales(scale):
    check_gradients(*inputs(100, 100), None, scale=scale)


def test_gradcheck():
    q, k, v = (x.requires_grad_() for x in inputs(37, 50, torch.float64, 1, 2, 1, 5))
    mask = random_mask(37, 50, 16, heads=2, density=0.6)
    # Through out alone: lse is float32, too coarse for steps of 1e-6.
    assert torch.autograd.gradcheck(lambda *x: attention(*x, mask, 16)[0], (q, k, v))


def test_only_one_output_is_used():
    q, k, v = (x.requires_grad_() for x in inputs(70, 70, torch.float64))
    visible = visible_tokens(q, k)
    for index in (0, 1):
        actual = torch.autograd.grad(attention(q, k, v, None)[index].sum(), (q, k, v))
        truth = torch.autograd.grad(
            masked_softmax_attention(q, k, v, visible)[index].sum(), (q, k, v), allow_unused=True)
        for grad, expected in zip(actual, truth):
            expected = torch.zeros_like(grad) if expected is None else expected
            torch.testing.assert_close(grad, expected, atol=1e-5, rtol=1e-5)


def test_only_one_input_requires_a_gradient():
    q, k, v = inputs(70, 70)
    k.requires_grad_()
    attention(q, k, v, None)[0].sum().backward()
    assert k.grad is not None and q.grad is None and v.grad is None


def test_second_derivative_raises():
    q, k, v = (x.requires_grad_() for x in inputs(70, 70))
    (grad,) = torch.autograd.grad(attention(q, k, v, None)[0].square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="derivative for seer::block_sparse_attention_backward is not implemented"):
        grad.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_opcheck(dtype):
    q, k, v = inputs(130, 130, dtype, q_heads=4, kv_heads=2)
    mask = random_mask(130, 130, heads=4) | torch.eye(3, dtype=torch.bool)
    with_grad = [x.clone().requires_grad_() for x in (q, k, v)]
    torch.library.opcheck(attention.default, (*with_grad, mask))
    torch.library.opcheck(attention.default, (*with_grad, None, 64, False, 0.3))
    out, lse = attention(q, k, v, mask)
    for grad_lse in (None, torch.randn_like(lse)):
        torch.library.opcheck(ops.block_sparse_attention_backward.default,
                              (torch.randn_like(out), grad_lse, q, k, v, out, lse, mask))


def test_strided_views():
    q, k, v = (torch.randn(2, 100, heads, 64).transpose(1, 2) for heads in (4, 2, 2))
    check_gradients(q, k, v, random_mask(100, 100, heads=2))
    leaves = [x.requires_grad_() for x in (q, k, v)]
    grads = torch.autograd.grad(attention(*leaves, None)[0].sum(), leaves)
    assert [x.stride() for x in grads] == [x.stride() for x in leaves]
    torch.library.opcheck(attention.default, (*leaves, None))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_training_step(dynamic):
    def loss(q, k, v, mask):
        out, lse = attention(q * 1.5, k, v, mask)
        return (out.sin() * 2).sum() + lse.cos().sum()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for length in (130, 140):
        q, k, v = (x.requires_grad_() for x in inputs(length, length))
        mask = dense_mask(length, length)
        expected = torch.autograd.grad(loss(q, k, v, mask), (q, k, v))
        actual = torch.autograd.grad(compiled(q, k, v, mask), (q, k, v))
        for grad, truth in zip(actual, expected):
            torch.testing.assert_close(grad, truth, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("q_len,kv_len", [(0, 0), (0, 70), (70, 0)])
def test_empty(dtype, q_len, kv_len):
    leaves = [x.requires_grad_() for x in inputs(q_len, kv_len, dtype)]
    grads = torch.autograd.grad(attention(*leaves, None)[0].sum(), leaves)
    assert all(grad.shape == leaf.shape and not grad.any() for grad, leaf in zip(grads, leaves))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_hidden_blocks_are_not_read(dtype):
    q, k, v = inputs(200, 200, dtype, q_heads=2, kv_heads=1)
    mask = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    mask[:, :, 0, 0] = mask[:, 1, 3, 0] = mask[:, 0, 3, 3] = True  # rows 1 and 2 keep nothing
    hidden = slice(64, 192)
    k[:, :, hidden] = math.nan
    v[:, :, hidden] = math.inf
    leaves = [x.requires_grad_() for x in (q, k, v)]
    grad_out = torch.randn_like(q)
    grad_out[:, :, hidden] = math.nan  # of rows that see nothing
    grads = torch.autograd.grad(attention(*leaves, mask)[0], leaves, grad_out)
    for grad in grads:
        assert grad.isfinite().all()
        assert not grad[:, :, hidden].any()
        assert grad[:, :, :64].any() and grad[:, :, 192:].any()


BAD_ARGUMENTS = [
    (dict(grad_out=torch.zeros(1, 2, 70, 32)), r"grad_out: expected sizes .* of q, \[1, 2, 70, 64\], got \[1, 2, 70, 32\]"),
    (dict(grad_out=torch.zeros(1, 2, 70, 64).double()), r"grad_out: expected dtype Float, got Double"),
    (dict(out=torch.zeros(2, 70, 64)), r"out: expected 4 dimensions .*, got 3"),
    (dict(lse=torch.zeros(1, 2, 70).double()), r"lse: expected dtype Float, got Double"),
    (dict(lse=torch.zeros(1, 2, 71)), r"lse: expected sizes .*got \[1, 2, 71\]"),
    (dict(grad_lse=torch.zeros(1, 2, 71)), r"grad_lse: expected sizes .*got \[1, 2, 71\]"),
    (dict(k=torch.zeros(1, 1, 70, 32)), r"k: expected head_dim 64"),
]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("bad,message", BAD_ARGUMENTS)
def test_errors_name_the_argument(device, bad, message):
    q, k, v = inputs(70, 70)
    out, lse = attention(q, k, v, None)
    arguments = dict(grad_out=out, grad_lse=lse, q=q, k=k, v=v, out=out, lse=lse, block_mask=None) | bad
    arguments = {name: x if x is None else x.to(device) for name, x in arguments.items()}
    with pytest.raises(RuntimeError, match=message):
        ops.block_sparse_attention_backward(**arguments)


def test_same_bits_for_every_number_of_threads():
    q, k, v = inputs(300, 300, q_heads=4, kv_heads=2)
    mask = random_mask(300, 300, heads=4)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            leaves = [x.clone().requires_grad_() for x in (q, k, v)]
            results.append(torch.autograd.grad(attention(*leaves, mask)[0].square().sum(), leaves))
    finally:
        torch.set_num_threads(threads)
    for grads in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(grads, results[0]))
