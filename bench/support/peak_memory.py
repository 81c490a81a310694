"""The peak of a program's resident memory, and of `seer generate` beside what `seer info` estimates."""

import json
import os
import random
import subprocess
import tempfile
from pathlib import Path


def run_with_peak(arguments):
    """(exit code, peak in bytes, standard error). The peak counts mapped pages of files too.

    The system's figure is never below the caller's own peak, as a new process starts as a copy of it: keep that small.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        return process.returncode, usage.ru_maxrss * 1024, errors.read().decode(errors="replace")


def generate_peak(program, model, context, dtype, prefill_chunk=2048, new_tokens=4):
    """`context` tokens in all: a random prompt and `new_tokens`. Returns what was estimated and measured."""
    flags = ["--model", str(model), "--dtype", dtype, "--prefill-chunk", str(prefill_chunk)]
    info = subprocess.run([program, "info", *flags, "--context", str(context), "--json"], check=True,
                          capture_output=True, text=True)
    memory = json.loads(info.stdout)["memory"]
    config = json.loads((Path(model) / "config.json").read_text())
    generator = random.Random(1)
    # The last new token is not run through the model.
    prompt = [generator.randrange(config["vocab_size"]) for _ in range(context - new_tokens + 1)]
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens.json"
        tokens.write_text(json.dumps(prompt))
        code, peak, errors = run_with_peak([program, "generate", *flags, "--tokens", str(tokens),
                                            "--max-new-tokens", str(new_tokens)])
    if code != 0:
        raise RuntimeError(f"seer generate ended with {code}: {errors}")
    return {"model": Path(model).name, "context": context, "dtype": dtype, "prefill_chunk": prefill_chunk,
            "weights": memory["weights"], "cache": memory["cache"], "baseline": memory["baseline"],
            "estimate": memory["total"], "peak": peak, "estimate_over_peak": round(memory["total"] / peak, 3)}
