"""The attention operators as Python sees them: numbers, layouts, contracts."""

import math

import pytest
import torch
from attention_oracle import (
    assert_float32_close,
    assert_out_close,
    block_map,
    check_block_sparse_attention,
    dense_mask,
    inputs,
    num_blocks,
    probabilities,
    random_mask,
    sdpa,
    visible_tokens,
)

ops = torch.ops.seer
DTYPES = [torch.float32, torch.bfloat16, torch.float64]
LENGTHS = [(1, 1), (63, 63), (64, 64), (65, 65), (200, 200), (1, 300), (65, 300), (130, 20), (70, 1)]
HEADS = [(3, 3), (3, 1), (8, 2), (7, 1), (16, 2)]  # query:key ratios 1, 3, 4, 7, 8


# --- block_sparse_attention: numbers ---------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("q_len,kv_len", LENGTHS)
def test_all_blocks_equal_dense_attention(q_len, kv_len, is_causal, dtype):
    q, k, v = inputs(q_len, kv_len, dtype, batch=2)
    check_block_sparse_attention(q, k, v, dense_mask(q_len, kv_len), is_causal=is_causal)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("q_len,kv_len", LENGTHS)
def test_random_blocks(q_len, kv_len, is_causal, dtype):
    q, k, v = inputs(q_len, kv_len, dtype, batch=2, q_heads=4, kv_heads=2)
    mask = random_mask(q_len, kv_len, batch=2, heads=4)
    check_block_sparse_attention(q, k, v, mask, is_causal=is_causal)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("q_heads,kv_heads", HEADS)
def test_head_ratios(q_heads, kv_heads, dtype):
    q, k, v = inputs(130, 130, dtype, batch=2, q_heads=q_heads, kv_heads=kv_heads)
    mask = random_mask(130, 130, batch=2, heads=q_heads)
    check_block_sparse_attention(q, k, v, mask)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head_dim", [1, 7, 40, 80, 96, 128, 256, 512])
def test_head_dims(head_dim, dtype):
    q, k, v = inputs(100, 140, dtype, head_dim=head_dim)
    check_block_sparse_attention(q, k, v, random_mask(100, 140, density=0.7))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block_size", [16, 32, 64, 128])
def test_block_sizes(block_size, dtype):
    q, k, v = inputs(300, 333, dtype)
    mask = random_mask(300, 333, block_size, density=0.4)
    check_block_sparse_attention(q, k, v, mask, block_size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.0, 0.02, 0.5, -0.1])
def test_scales(scale, dtype):
    q, k, v = inputs(130, 130, dtype)
    check_block_sparse_attention(q, k, v, random_mask(130, 130), scale=scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_the_diagonal(dtype):
    q, k, v = inputs(200, 200, dtype)
    check_block_sparse_attention(q, k, v, torch.eye(4, dtype=torch.bool)[None, None])


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_block_at_all(dtype):
    q, k, v = inputs(130, 130, dtype)
    out, lse = ops.block_sparse_attention(q, k, v, torch.zeros(1, 1, 3, 3, dtype=torch.bool))
    assert (out == 0).all() and (lse == -math.inf).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "batch,heads,q_len,kv_len",
    [(0, 2, 70, 70), (2, 0, 70, 70), (2, 2, 0, 70), (2, 2, 70, 0), (2, 2, 0, 0)],
)
def test_empty_inputs(batch, heads, q_len, kv_len, dtype):
    q, k, v = inputs(q_len, kv_len, dtype, batch, q_heads=heads, kv_heads=heads)
    out, lse = ops.block_sparse_attention(q, k, v, dense_mask(q_len, kv_len))
    assert out.shape == q.shape and (out == 0).all()
    assert lse.shape == q.shape[:3] and (lse == -math.inf).all()

    out, lse, blocks = ops.attention_with_block_map(q, k, v)
    assert out.shape == q.shape and (out == 0).all()
    assert lse.shape == q.shape[:3] and (lse == -math.inf).all()
    assert blocks.shape == (batch, heads, num_blocks(q_len, 64), num_blocks(kv_len, 64))

    out, pooled = ops.attn_with_pooling(q, k, v, True, 1.0)
    assert out.shape == q.shape and (out == 0).all() and pooled.shape == blocks.shape


@pytest.mark.parametrize("dtype", DTYPES)
def test_unselected_blocks_do_not_leak(dtype):
    q, k, v = inputs(256, 256, dtype)
    poisoned_k, poisoned_v = k.clone(), v.clone()
    poisoned_k[:, :, 64:128] = math.nan
    poisoned_v[:, :, 64:128] = math.inf
    mask = dense_mask(256, 256)
    mask[:, :, [0, 1, 3], 1] = False  # only query block 2 reads the poisoned key block
    clean, clean_lse = ops.block_sparse_attention(q, k, v, mask)
    out, lse = ops.block_sparse_attention(q, poisoned_k, poisoned_v, mask)
    for rows in (slice(0, 128), slice(192, 256)):
        assert torch.equal(out[:, :, rows], clean[:, :, rows])
        assert torch.equal(lse[:, :, rows], clean_lse[:, :, rows])
    assert out[:, :, 128:192].isnan().all()


# --- block_sparse_attention: forms of the mask and of the tensors ----------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("heads", [1, 2, 6])
@pytest.mark.parametrize("batch", [1, 2])
def test_mask_is_shared_over_batch_and_heads(batch, heads, dtype):
    q, k, v = inputs(130, 130, dtype, batch=2, q_heads=6, kv_heads=2)
    check_block_sparse_attention(q, k, v, random_mask(130, 130, batch=batch, heads=heads))


@pytest.mark.parametrize("dtype", DTYPES)
def test_expanded_and_sliced_masks(dtype):
    q, k, v = inputs(130, 130, dtype, batch=2, q_heads=6, kv_heads=2)
    expanded = random_mask(130, 130).expand(2, 6, 3, 3)
    assert expanded.stride()[:2] == (0, 0)
    check_block_sparse_attention(q, k, v, expanded)
    rows_shared = random_mask(1, 130, batch=2, heads=6).expand(2, 6, 3, 3)
    check_block_sparse_attention(q, k, v, rows_shared)
    sliced = random_mask(400, 400, batch=4, heads=6)[::2, :, ::2, 1:4][:, :, :3]
    check_block_sparse_attention(q, k, v, sliced)


def length_major(tensor):
    """The same values, as a transposed view of a contiguous [batch, length, heads, head_dim]."""
    return tensor.transpose(1, 2).contiguous().transpose(1, 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transposed_views_are_read_in_place_and_out_keeps_the_layout(dtype):
    q, k, v = inputs(130, 200, dtype, batch=2, q_heads=6, kv_heads=2)
    mask = random_mask(130, 200, batch=2, heads=6)
    expected = ops.block_sparse_attention(q, k, v, mask)
    strided = check_block_sparse_attention(length_major(q), length_major(k), length_major(v), mask)
    assert torch.equal(strided[0], expected[0]) and torch.equal(strided[1], expected[1])
    assert strided[0].transpose(1, 2).is_contiguous()
    assert expected[0].is_contiguous()

    for op, arguments in [(ops.attention_with_block_map, ()), (ops.attn_with_pooling, (True, 0.1))]:
        assert op(length_major(q), k, v, *arguments)[0].transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("dtype", DTYPES)
def test_slices_of_a_fused_projection(dtype):
    fused = torch.randn(2, 100, 6 + 2 + 2, 64, dtype=dtype).transpose(1, 2)
    q, k, v = fused.split([6, 2, 2], 1)
    assert not q.is_contiguous()
    out, _ = check_block_sparse_attention(q, k, v, random_mask(100, 100))
    assert out.is_contiguous()  # q is not dense, so there is no layout to keep


@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_are_not_modified(dtype):
    tensors = inputs(130, 130, dtype)
    mask = random_mask(130, 130)
    copies = [tensor.clone() for tensor in tensors]
    mask_copy = mask.clone()
    ops.block_sparse_attention(*tensors, mask)
    ops.attention_with_block_map(*tensors)
    ops.attn_with_pooling(*tensors, True, 0.1)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(tensors, copies))
    assert torch.equal(mask, mask_copy)
    assert all(tensor._version == 0 for tensor in tensors)


# --- attention_with_block_map and attn_with_pooling ------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("q_len,kv_len", LENGTHS)
def test_block_map(q_len, kv_len, is_causal, dtype):
    q, k, v = inputs(q_len, kv_len, dtype, batch=2, q_heads=6, kv_heads=2)
    out, lse, blocks = ops.attention_with_block_map(q, k, v, is_causal=is_causal)
    softmax, expected_lse = probabilities(q, k, visible_tokens(q, k, is_causal=is_causal))
    assert_out_close(out, softmax @ v.double().repeat_interleave(3, 1))
    assert_float32_close(lse, expected_lse, dtype)
    expected = block_map(softmax, 64)
    assert_float32_close(blocks, expected, dtype)
    assert blocks.is_contiguous()
    assert (blocks[expected == 0] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block_size", [16, 32, 128])
def test_block_map_of_other_block_sizes(block_size, dtype):
    q, k, v = inputs(200, 260, dtype)
    blocks = ops.attention_with_block_map(q, k, v, block_size, True, 0.2)[2]
    softmax, _ = probabilities(q, k, visible_tokens(q, k), 0.2)
    assert_float32_close(blocks, block_map(softmax, block_size), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("q_len,kv_len", LENGTHS)
def test_attn_with_pooling(q_len, kv_len, is_causal, dtype):
    q, k, v = inputs(q_len, kv_len, dtype, batch=2, q_heads=6, kv_heads=2)
    out, pooled = ops.attn_with_pooling(q, k, v, is_causal, 0.3)
    expected_out, _, blocks = ops.attention_with_block_map(q, k, v, 64, is_causal, 0.3)
    assert torch.equal(out, expected_out)
    assert pooled.dtype == torch.float32 and pooled.is_contiguous()
    sums = blocks.double().sum(3, keepdim=True)
    torch.testing.assert_close(pooled.double(), blocks / sums.masked_fill(sums == 0, 1))
    row_sums = pooled.double().sum(3)
    torch.testing.assert_close(row_sums, (sums > 0).squeeze(3).double(), atol=1e-6, rtol=0)


# --- The same bits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_on_every_run_and_for_any_number_of_threads(dtype):
    q, k, v = inputs(300, 300, dtype, batch=2, q_heads=4, kv_heads=2)
    mask = random_mask(300, 300, batch=2, heads=4)

    def all_results():
        return [
            *ops.block_sparse_attention(q, k, v, mask),
            *ops.attention_with_block_map(q, k, v),
            *ops.attn_with_pooling(q, k, v, True, 0.1),
        ]

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = all_results()
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert all(torch.equal(a, b) for a, b in zip(all_results(), expected))
    finally:
        torch.set_num_threads(threads)


# --- Against PyTorch's own kernel in the same precision --------------------------------------------


def test_not_less_exact_than_sdpa():
    q, k, v = inputs(500, 500, torch.float32, q_heads=4, kv_heads=4, head_dim=128)
    exact = sdpa(q, k, v, visible_tokens(q, k))
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    ours, _ = ops.block_sparse_attention(q, k, v, dense_mask(500, 500))
    their_error = (theirs - exact).abs().max()
    assert (ours - exact).abs().max() <= 4 * their_error
