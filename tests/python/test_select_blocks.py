"""torch.ops.seer.select_blocks against torch's own sort."""

import math
import os

import pytest
import torch

torch.ops.load_library(os.environ["SEER_OPS_LIBRARY"])
select_blocks = torch.ops.seer.select_blocks

LENGTHS = [(0, 0), (1, 1), (63, 63), (64, 64), (65, 65), (65, 0), (1, 1000), (100, 777), (777, 100), (1500, 1500)]


def visible_blocks(q_len, kv_len, block_size):
    """From the definition: query i sees the keys j <= i + kv_len - q_len."""
    sees = torch.arange(kv_len)[None] <= torch.arange(q_len)[:, None] + kv_len - q_len
    rows, columns = math.ceil(q_len / block_size), math.ceil(kv_len / block_size)
    padded = torch.zeros(rows * block_size, columns * block_size, dtype=torch.bool)
    padded[:q_len, :kv_len] = sees
    return padded.view(rows, block_size, columns, block_size).any(3).any(1)


def top_blocks(scores, visible, k):
    order = scores.masked_fill(~visible, -math.inf).sort(dim=-1, descending=True, stable=True).indices
    return torch.zeros_like(visible).expand(scores.shape).scatter(3, order[..., :k], True) & visible


def mass_blocks(scores, visible, mass):
    values, order = scores.double().masked_fill(~visible, 0).sort(dim=-1, descending=True, stable=True)
    before = values.cumsum(-1) - values
    keep = (before < mass * values.sum(-1, keepdim=True)) & (values > 0)
    if keep.numel():
        keep[..., 0] = True
    return torch.zeros(scores.shape, dtype=torch.bool).scatter(3, order, keep) & visible


def make_scores(q_len, kv_len, block_size, dtype, kind):
    shape = (2, 3, math.ceil(q_len / block_size), math.ceil(kv_len / block_size))
    torch.manual_seed(q_len + kv_len)
    logits = torch.randn(shape) * 2
    if kind == "ties":
        return (logits.abs().floor() / 4).to(dtype)
    return logits.softmax(-1).to(dtype) if kind == "probabilities" else logits.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("block_size", [16, 32, 64, 128])
@pytest.mark.parametrize(("q_len", "kv_len"), LENGTHS)
def test_matches_torch(dtype, block_size, q_len, kv_len):
    visible = visible_blocks(q_len, kv_len, block_size)
    num_kv_blocks = visible.size(1)
    for kind in ("logits", "probabilities", "ties"):
        scores = make_scores(q_len, kv_len, block_size, dtype, kind)
        expected = {"dense": visible.expand(scores.shape)}
        for ratio in (0.05, 0.1, 0.5, 1.0):
            k = max(1, int((1 - math.sqrt(1 - ratio)) * num_kv_blocks))
            expected[f"gate:ratio={ratio}"] = top_blocks(scores, visible, k)
        for budget in (1, 64, 300, 10**9):
            expected[f"gate:budget={budget}"] = top_blocks(scores, visible, max(1, budget // block_size))
        for threshold in (0.0, 5e-4, 0.02):
            limit = torch.tensor(threshold, dtype=torch.promote_types(dtype, torch.float32))
            expected[f"gate:threshold={threshold}"] = (scores.to(limit.dtype) > limit) & visible
        if kind != "logits":
            for mass in (0.1, 0.5, 0.95):
                expected[f"gate:mass={mass}"] = mass_blocks(scores, visible, mass)
        for policy, mask in expected.items():
            assert torch.equal(select_blocks(scores, policy, q_len, kv_len, block_size), mask), (policy, kind)


def test_always_kept_blocks():
    q_len, kv_len, block_size = 1000, 1200, 32
    visible = visible_blocks(q_len, kv_len, block_size)
    scores = make_scores(q_len, kv_len, block_size, torch.float32, "probabilities")
    columns = torch.arange(visible.size(1))
    count = visible.sum(1, keepdim=True)
    sink, local = columns < 2, (columns >= count - 3) & visible
    dense_rows = torch.arange(visible.size(0))[:, None] >= visible.size(0) - 4
    plain = select_blocks(scores, "gate:ratio=0.1", q_len, kv_len, block_size)
    kept = select_blocks(scores, "gate:ratio=0.1,sink=2,local=3,dense_rows=4", q_len, kv_len, block_size)
    assert torch.equal(kept, (plain | sink | local | dense_rows) & visible)


def test_density_is_near_the_ratio_and_never_above_its_blocks():
    scores = make_scores(64 * 512, 64 * 512, 64, torch.float32, "logits")
    visible = visible_blocks(512, 512, 1)
    for ratio in (0.05, 0.1, 0.5):
        mask = select_blocks(scores, f"gate:ratio={ratio}", 64 * 512, 64 * 512, 64)
        density = mask.float().sum((2, 3)) / visible.sum()
        assert torch.allclose(density, torch.full_like(density, ratio), atol=0.01)


@pytest.mark.parametrize("policy", ["dense", "gate:ratio=0.3", "gate:threshold=0.05", "gate:mass=0.5,sink=1"])
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_opcheck(policy, dtype, requires_grad):
    for q_len, kv_len in ((1, 1), (130, 400)):
        scores = make_scores(q_len, kv_len, 64, dtype, "probabilities").requires_grad_(requires_grad)
        torch.library.opcheck(select_blocks.default, (scores, policy, q_len, kv_len, 64))


def test_compiled_with_dynamic_lengths():
    def select(scores, q_len, kv_len):
        return ~select_blocks(scores, "gate:ratio=0.3", q_len, kv_len, 64)

    compiled = torch.compile(select, backend="aot_eager", dynamic=True, fullgraph=True)
    for q_len, kv_len in ((200, 300), (1000, 1000), (65, 4000)):
        scores = make_scores(q_len, kv_len, 64, torch.float32, "logits")
        assert torch.equal(compiled(scores, q_len, kv_len), select(scores, q_len, kv_len))


def test_the_mask_requires_no_gradient():
    assert not select_blocks(torch.rand(1, 1, 2, 2, requires_grad=True), "gate:ratio=0.5", 128, 128, 64).requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": torch.rand(2, 4, 5)}, r"scores: expected 4 dimensions \[batch, heads, query blocks, key blocks\], got 3"),
        ({"block_size": 8}, "block_size=8: expected 16, 32, 64 or 128"),
        ({"q_len": -1}, "q_len=-1: expected a length >= 0"),
        ({"kv_len": -1}, "kv_len=-1: expected a length >= 0"),
        ({"q_len": 300}, r"scores: expected 5 query blocks \(q_len=300 in blocks of 64\), got 4"),
        ({"kv_len": 256}, r"scores: expected 4 key blocks \(kv_len=256 in blocks of 64\), got 5"),
        ({"scores": torch.rand(1, 2, 5, 4).transpose(2, 3)}, "scores: expected a contiguous last dimension"),
        ({"policy": "gate:ratio=1.5"}, r"policy 'gate:ratio=1.5': ratio=1.5 is out of range \(expected 0 < ratio <= 1\)"),
        ({"policy": "streaming:ratio=0.5"}, "policy 'streaming:ratio=0.5': source streaming does not choose from gate scores"),
        ({"policy": "gate:density=0.1"}, "policy 'gate:density=0.1': density needs the adapter's calibration table"),
        ({"policy": "gate:mass=0.5,start_layer=3"}, "policy 'gate:mass=0.5,start_layer=3': start_layer=3 is decided by the model"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_errors(change, message, device):
    arguments = {"scores": torch.rand(1, 2, 4, 5), "policy": "dense", "q_len": 256, "kv_len": 300, "block_size": 64} | change
    arguments["scores"] = arguments["scores"].to(device)
    with pytest.raises(RuntimeError, match="select_blocks: " + message):
        select_blocks(**arguments)


@pytest.mark.parametrize(
    ("policy", "value", "message"),
    [
        ("gate:ratio=0.5", math.nan, r"scores\[0, 1, 2, 1\]=nan: expected no NaN among the visible scores"),
        ("gate:threshold=0.5", math.nan, r"scores\[0, 1, 2, 1\]=nan: expected no NaN among the visible scores"),
        ("gate:mass=0.5", math.nan, r"scores\[0, 1, 2, 1\]=nan: mass takes finite probabilities >= 0"),
        ("gate:mass=0.5", -0.5, r"scores\[0, 1, 2, 1\]=-0.5: .* \(pass the softmax of the logits\)"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_bad_scores_are_named(policy, value, message, dtype):
    scores = torch.rand(1, 2, 4, 5, dtype=dtype)
    scores[0, 1, 2, 1] = value
    with pytest.raises(RuntimeError, match="select_blocks: " + message):
        select_blocks(scores, policy, 256, 300, 64)
    scores[0, 1, 2, 1] = 0.5
    scores[0, 0, 0, 4] = value  # after the query: not looked at
    select_blocks(scores, policy, 256, 300, 64)
