"""`seer distill` and `seer finetune` under torchrun, on one machine: as one process with all sequences would train."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_cuda_ops import missing_gpu

PROGRAM = os.environ.get("SEER_PROGRAM") or str(Path(__file__).resolve().parents[2] / "build" / "seer")
MODEL = Path(__file__).parents[1] / "golden" / "parity" / "qwen3"
# Of the shapes that the kernels of a GPU take.
GPU_MODEL = Path(__file__).parents[2] / "models" / "books-19m-32k"
VOCAB = json.loads((MODEL / "config.json").read_text())["vocab_size"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--standalone", "--nproc-per-node"]
# NCCL takes a GPU once on a machine: two processes share one where it believes them to be on two, which these names say.
ON_MACHINES_OF_THEIR_OWN = ["sh", "-c", 'LOCAL_RANK=0 NCCL_HOSTID=machine-$RANK exec "$0" "$@"']
# Of the float32 sums, which one process adds in another order than several.
LOSS_TOLERANCE = 1e-5
WEIGHT_TOLERANCE = 1e-3  # of the change

VERBS = {
    "finetune": {"flags": ["--context", "96", "--policy", "gate:ratio=0.5", "--design", "Qavg4_Kmaxminavg",
                           "--block-size", "16", "--learning-rate", "1e-3"],
                 "share": "--gradient-accumulation", "file": "model.safetensors"},
    "distill": {"flags": ["--context", "96:2,128:1", "--design", "Qavg4_Kmaxminavg", "--block-size", "16", "--replay",
                          "1", "--replay-sequences", "6", "--calibration-lengths", "96", "--calibration-tokens", "96"],
                "share": "--batch-size", "file": "gates.safetensors"},
}
GPU_FLAGS = ["--device", "cuda", "--retrieval-share", "0", "--warmup-steps", "2", "--design", "Qavg4_Kmaxminavg",
             "--block-size", "64"]
GPU_VERBS = {
    "finetune": ["--context", "512", "--policy", "gate:ratio=0.5", "--gradient-accumulation"],
    "distill": ["--context", "512", "--replay", "1", "--replay-sequences", "6", "--calibration-lengths", "512",
                "--calibration-tokens", "512", "--batch-size"],
}


def load_file(path):
    """A safetensors file, in float64."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    types = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    tensors = {}
    for name, entry in json.loads(data[8:end]).items():
        if name == "__metadata__":
            continue
        first, last = (end + offset for offset in entry["data_offsets"])
        flat = torch.frombuffer(bytearray(data[first:last]), dtype=types[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"]).double()
    return tensors


@pytest.fixture(name="model", scope="module")
def fixture_model(tmp_path_factory):
    """The model with a tokenizer, and a text of tokens."""
    folder = tmp_path_factory.mktemp("model")
    shutil.copytree(MODEL, folder, dirs_exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None, "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {chr(0x100 + i): i for i in range(VOCAB)}, "merges": []}}))
    generator = random.Random(1)
    tokens = [generator.randrange(1, VOCAB)]
    while len(tokens) < 6000:
        tokens.append((tokens[-1] * 5 + generator.randrange(3)) % (VOCAB - 1) + 1)
    (folder / "text.json").write_text(json.dumps(tokens))
    return folder


def command(verb, model, out, share, *flags):
    return [PROGRAM, verb, "--model", str(model), "--text", str(model / "text.json"), "--out", str(out), "--retrieval-share",
            "0", "--warmup-steps", "2", "--threads", "1", *VERBS[verb]["flags"], VERBS[verb]["share"], str(share), *flags]


def gpu_command(verb, out, share, *flags):
    return [PROGRAM, verb, "--model", str(GPU_MODEL), "--text", str(GPU_MODEL.parents[1] / "examples" / "demo" / "train.jsonl"),
            "--out", str(out), *GPU_FLAGS, *GPU_VERBS[verb], str(share), *flags]


def train(verb, model, out, processes, share, *flags):
    """Returns the log and what was trained."""
    launcher = [*TORCHRUN, str(processes), "--"] if processes > 1 else []
    log, weights, _ = finish([*launcher, *command(verb, model, out, share, *flags)], verb, out)
    return log, weights


def finish(whole_command, verb, out, **variables):
    """Returns the log, what was trained, and what was said."""
    done = subprocess.run(whole_command, capture_output=True, text=True, check=False, timeout=120,
                          env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("seer: adapter in") + done.stderr.count("seer: model in") == 1
    log = [json.loads(line) for line in Path(f"{out}.log.jsonl").read_text().splitlines()]
    return log, load_file(out / VERBS[verb]["file"]), done.stderr


def expect_close(weights, expected, start):
    """Adam divides by the root of small numbers, so that single weights may differ by more: their norm does not."""
    for name, value in expected.items():
        change = value - start.get(name, torch.zeros(1))
        assert (weights[name] - value).norm() <= WEIGHT_TOLERANCE * change.norm(), name


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("verb", VERBS)
def test_processes_train_as_one(verb, processes, model, tmp_path):
    flags = ["--steps", "5"]
    one, expected = train(verb, model, tmp_path / "one", 1, 4, *flags)
    several, weights = train(verb, model, tmp_path / "several", processes, 4 // processes, *flags)
    assert [step["step"] for step in several] == [1, 2, 3, 4, 5]
    for step, other in zip(one, several):
        assert abs(step["loss"] / other["loss"] - 1) < LOSS_TOLERANCE
        assert step["tokens"] == other["tokens"]
        assert abs(step["gradient_norm"] / other["gradient_norm"] - 1) < 1e-3
    start = load_file(model / "model.safetensors") if verb == "finetune" else {}
    expect_close(weights, expected, start)


def pid_of(rank):
    """Of the process of this rank among those of the program."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            if (folder / "exe").resolve() == Path(PROGRAM).resolve() and f"RANK={rank}".encode() in variables:
                yield int(folder.name), variables
        except OSError:
            continue


def begin(program, mark):
    """`program` with its launcher."""
    return subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "SEER_TEST_MARK": mark})


def wait_for_checkpoint(process, out):
    state = Path(f"{out}.checkpoint") / "training.json"
    while not (state.exists() and json.loads(state.read_text())["step"] > 0):
        assert process.poll() is None, "ended before its first checkpoint"
        time.sleep(0.01)


@pytest.mark.parametrize("verb", VERBS)
def test_killed_process_is_named_and_training_resumes(verb, model, tmp_path):
    flags = ["--steps", "20", "--checkpoint-interval", "2"]
    _, expected = train(verb, model, tmp_path / "whole", 2, 1, *flags)
    out = tmp_path / "part"
    mark = str(out)
    process = begin([*TORCHRUN, "2", "--", *command(verb, model, out, 1, *flags)], mark)
    expect_loss_is_named(process, out, mark)
    _, weights = train(verb, model, out, 2, 1, *flags, "--resume")
    assert all(weights[name].equal(value) for name, value in expected.items())
    assert not Path(f"{out}.checkpoint").exists()


def expect_loss_is_named(process, out, mark):
    """Kills rank 1 after a checkpoint."""
    wait_for_checkpoint(process, out)
    killed = [pid for pid, variables in pid_of(1) if f"SEER_TEST_MARK={mark}".encode() in variables]
    assert len(killed) == 1
    os.kill(killed[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert re.search(r"seer: rank 1 is gone.*--resume", errors), errors
    assert not out.exists()


def test_interrupted_training_resumes_on_one_process(model, tmp_path):
    flags = ["--steps", "25", "--checkpoint-interval", "2"]
    _, expected = train("finetune", model, tmp_path / "whole", 1, 2, *flags)
    out = tmp_path / "part"
    process = begin([*TORCHRUN, "2", "--", *command("finetune", model, out, 1, *flags)], str(out))
    wait_for_checkpoint(process, out)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    stopped = re.search(r"seer: stopped after step (\d+); go on with --resume", errors)
    assert stopped and not out.exists(), errors
    state = json.loads((Path(f"{out}.checkpoint") / "training.json").read_text())
    assert state["step"] == int(stopped[1])
    _, weights = train("finetune", model, out, 1, 2, *flags, "--resume")
    expect_close(weights, expected, load_file(model / "model.safetensors"))


def test_other_settings_are_named(model, tmp_path):
    """Without torchrun: the first process runs the store itself."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    processes = [subprocess.Popen(command("finetune", model, tmp_path / "out", 1, "--steps", str(5 + rank)),
                                  env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank),
                                       "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for rank in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1], errors
    assert "rank 1 ended with an error: settings is " in errors[0]
    assert "seer: settings is " in errors[1] and "on rank 0" in errors[1]
    assert not Path(f"{tmp_path}/out.checkpoint").exists()


@pytest.mark.parametrize("change, words", [
    ({"RANK": "x"}, ["RANK", '"x"', "0 to 1"]),
    ({"RANK": "2"}, ["RANK", '"2"', "0 to 1"]),
    ({"RANK": None}, ["RANK", "missing", "torchrun"]),
    ({"WORLD_SIZE": None}, ["WORLD_SIZE", "missing"]),
    ({"WORLD_SIZE": "0"}, ["WORLD_SIZE", '"0"']),
    ({"MASTER_PORT": "70000"}, ["MASTER_PORT", "70000", "65535"]),
    ({"MASTER_ADDR": None}, ["MASTER_ADDR", "missing"]),
    ({"LOCAL_RANK": ""}, ["LOCAL_RANK", "missing"]),
    ({"SEER_NCCL": "yes"}, ["SEER_NCCL", '"yes"', "0 or 1"]),
])
def test_wrong_environment_is_refused(change, words, model, tmp_path):
    environment = {**os.environ, "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": "29500", **change}
    done = subprocess.run(command("finetune", model, tmp_path / "out", 1),
                          env={name: value for name, value in environment.items() if value is not None},
                          capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_group_of_one(model, tmp_path):
    """SEER_NCCL=1 asks for a group where one process needs none; on the CPU it is Gloo's."""
    _, expected = train("finetune", model, tmp_path / "alone", 1, 2, "--steps", "3")
    out = tmp_path / "group"
    program = command("finetune", model, out, 2, "--steps", "3")
    _, weights, said = finish([*TORCHRUN, "1", "--", *program], "finetune", out, SEER_NCCL="1")
    assert all(weights[name].equal(value) for name, value in expected.items())
    assert "NCCL" not in said


def need_gpu():
    missing = missing_gpu()
    if missing and os.environ.get("SEER_REQUIRE_GPU") == "1":
        pytest.fail(f"SEER_REQUIRE_GPU=1, but {missing}")
    if missing:
        pytest.skip(missing)


def on_gpus(processes):
    """The launcher. Each process has a GPU; where there is one alone, all share it, and NCCL goes by sockets."""
    shared = processes > 1 and torch.cuda.device_count() < processes
    return [*TORCHRUN, str(processes), "--", *(ON_MACHINES_OF_THEIR_OWN if shared else [])]


def train_on_gpus(verb, out, processes, share, nccl, *flags):
    """Under torchrun. Returns the log and what was trained; `nccl` is SEER_NCCL, None to leave it unset."""
    variables = {} if nccl is None else {"SEER_NCCL": nccl}
    program = gpu_command(verb, out, share, *flags)
    log, weights, said = finish([*on_gpus(processes), *program], verb, out, **variables)
    if processes > 1 or nccl == "1":
        way = r"through the host's memory \(Gloo; SEER_NCCL=0\)" if nccl == "0" else r"by NCCL 2\.\d+\.\d+"
        assert re.search(rf"seer: {processes} process(es)?; between GPUs gradients travel {way}\n", said), said
    return log, weights


def expect_same(log, weights, other_log, other_weights):
    for step, other in zip(log, other_log, strict=True):
        assert {**step, "seconds": 0} == {**other, "seconds": 0}
    assert all(weights[name].equal(value) for name, value in other_weights.items())


@pytest.mark.parametrize("verb", GPU_VERBS)
def test_group_of_one_by_nccl(verb, tmp_path):
    need_gpu()
    expect_same(*train_on_gpus(verb, tmp_path / "group", 1, 2, "1", "--steps", "5"),
                *train_on_gpus(verb, tmp_path / "alone", 1, 2, None, "--steps", "5"))


@pytest.mark.parametrize("verb", GPU_VERBS)
def test_nccl_trains_as_gloo_and_as_one(verb, tmp_path):
    """A sum of two numbers has one order only: the bits are the same either way."""
    need_gpu()
    by_nccl = train_on_gpus(verb, tmp_path / "nccl", 2, 2, None, "--steps", "8")
    expect_same(*by_nccl, *train_on_gpus(verb, tmp_path / "again", 2, 2, None, "--steps", "8"))
    expect_same(*by_nccl, *train_on_gpus(verb, tmp_path / "gloo", 2, 2, "0", "--steps", "8"))
    one, _ = train_on_gpus(verb, tmp_path / "one", 1, 4, None, "--steps", "8")
    for step, other in zip(by_nccl[0], one, strict=True):
        assert step["tokens"] == other["tokens"]
        assert step["loss"] == pytest.approx(other["loss"], rel=1e-3)  # layers compute in bfloat16


@pytest.mark.parametrize("verb", GPU_VERBS)
def test_killed_process_is_named_by_nccl_and_training_resumes(verb, tmp_path):
    need_gpu()
    flags = ["--steps", "60", "--checkpoint-interval", "10"]
    out = tmp_path / "part"
    process = begin([*on_gpus(2), *gpu_command(verb, out, 2, *flags)], str(out))
    expect_loss_is_named(process, out, str(out))
    expect_same(*train_on_gpus(verb, out, 2, 2, None, *flags, "--resume"),
                *train_on_gpus(verb, tmp_path / "whole", 2, 2, None, *flags))
