"""What the attention operators must return, written out in float64 with PyTorch alone."""

import math

import torch

# (atol, rtol) of out, and of lse and block maps, which stay float32. Values and scores are of
# order 1.
OUT_TOLERANCE = {
    torch.float32: (2e-5, 2e-5),
    torch.bfloat16: (2e-2, 2e-2),
    torch.float64: (1e-12, 1e-12),
}
FLOAT32_TOLERANCE = {
    torch.float32: (2e-5, 2e-5),
    torch.bfloat16: (5e-3, 5e-3),
    torch.float64: (1e-6, 1e-6),
}


def inputs(q_len, kv_len, dtype=torch.float32, batch=1, q_heads=2, kv_heads=1, head_dim=64):
    """q, k, v of normal values, contiguous."""
    q = torch.randn(batch, q_heads, q_len, head_dim, dtype=dtype)
    k = torch.randn(batch, kv_heads, kv_len, head_dim, dtype=dtype)
    v = torch.randn(batch, kv_heads, kv_len, head_dim, dtype=dtype)
    return q, k, v


def num_blocks(length, block_size):
    return -(-length // block_size)


def dense_mask(q_len, kv_len, block_size=64):
    return torch.ones(
        1, 1, num_blocks(q_len, block_size), num_blocks(kv_len, block_size), dtype=torch.bool
    )


def random_mask(q_len, kv_len, block_size=64, batch=1, heads=1, density=0.5):
    shape = (batch, heads, num_blocks(q_len, block_size), num_blocks(kv_len, block_size))
    return torch.rand(shape) < density


def visible_tokens(q, k, block_mask=None, block_size=64, is_causal=True):
    """Which keys each query sees: bool [batch, q heads, q_len, kv_len]."""
    batch, q_heads, q_len, _ = q.shape
    kv_heads, kv_len = k.shape[1], k.shape[2]
    visible = torch.ones(batch, q_heads, q_len, kv_len, dtype=torch.bool)
    if is_causal:
        visible &= torch.ones(q_len, kv_len, dtype=torch.bool).tril(kv_len - q_len)
    if block_mask is not None:
        if block_mask.shape[1] == kv_heads:
            block_mask = block_mask.repeat_interleave(q_heads // kv_heads, 1)
        rows = block_mask.repeat_interleave(block_size, 2)[:, :, :q_len]
        visible &= rows.repeat_interleave(block_size, 3)[:, :, :, :kv_len]
    return visible


def probabilities(q, k, visible, scale=None):
    """(softmax, logsumexp) in float64 over visible keys; a row that sees none is (0, -inf)."""
    scale = 1 / math.sqrt(q.shape[3]) if scale is None else scale
    k = k.double().repeat_interleave(q.shape[1] // k.shape[1], 1)
    scores = scale * q.double() @ k.transpose(2, 3)
    scores = scores.masked_fill(~visible, -math.inf)
    lse = scores.logsumexp(3)
    return (scores - lse.masked_fill(lse == -math.inf, 0).unsqueeze(3)).exp(), lse


def block_map(softmax, block_size):
    """The maximum of each block: [batch, heads, query blocks, key blocks]."""
    q_len, kv_len = softmax.shape[2:]
    pad = (0, -kv_len % block_size, 0, -q_len % block_size)
    softmax = torch.nn.functional.pad(softmax, pad)
    return torch.nn.functional.max_pool2d(softmax, block_size)


def sdpa(q, k, v, visible, scale=None):
    """PyTorch's own attention, in float64."""
    return torch.nn.functional.scaled_dot_product_attention(
        q.double(), k.double(), v.double(), attn_mask=visible, scale=scale, enable_gqa=True
    )


def assert_out_close(out, expected):
    atol, rtol = OUT_TOLERANCE[out.dtype]
    torch.testing.assert_close(out.double(), expected.double(), atol=atol, rtol=rtol)


def assert_float32_close(actual, expected, dtype):
    """For lse and block maps of inputs of `dtype`."""
    assert actual.dtype == torch.float32
    atol, rtol = FLOAT32_TOLERANCE[dtype]
    torch.testing.assert_close(actual.double(), expected.double(), atol=atol, rtol=rtol)


def check_block_sparse_attention(q, k, v, block_mask, block_size=64, is_causal=True, scale=None):
    """Holds one call against PyTorch, rows without keys included; returns (out, lse)."""
    out, lse = torch.ops.seer.block_sparse_attention(
        q, k, v, block_mask, block_size, is_causal, scale
    )
    assert out.shape == q.shape and out.dtype == q.dtype
    assert lse.shape == q.shape[:3] and lse.is_contiguous()

    visible = visible_tokens(q, k, block_mask, block_size, is_causal)
    sees = visible.any(3)
    # SDPA has no answer for a row without keys: let it see all, and take the row out again.
    expected = sdpa(q, k, v, visible | ~sees.unsqueeze(3), scale) if k.shape[2] else q.double()
    assert_out_close(out, expected.masked_fill(~sees.unsqueeze(3), 0))
    assert (out[~sees] == 0).all()
    if k.shape[2]:
        assert_float32_close(lse, probabilities(q, k, visible, scale)[1], q.dtype)
    assert (lse[~sees] == -math.inf).all()
    return out, lse
