"""lm-evaluation-harness on Seer's model, against its own on transformers: the same log-likelihoods, texts and scores."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="lm_eval is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "python/seer_lm_eval"
PROGRAM = os.environ.get("SEER_PROGRAM") or str(REPOSITORY / "build" / "seer")
MODEL = str(REPOSITORY / "models/books-19m-32k")
TASKS = Path(__file__).parent / "lm_eval_tasks"
NAMES = ["seer_choice", "seer_continuation", "seer_rolling"]
SPARSE = {"policy": "streaming:ratio=0.3;sink=1", "min_context": 100}

sys.path.insert(0, str(PACKAGE))

import lm_eval  # noqa: E402
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

import seer_lm_eval  # noqa: E402


def evaluate(model, names=NAMES, **settings):
    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    return lm_eval.simple_evaluate(model=model, tasks=list(names), task_manager=manager, log_samples=True,
                                   bootstrap_iters=0, **settings)


def seer(**arguments):
    return evaluate("seer", model_args={"model": MODEL, "program": PROGRAM, "threads": 2, **arguments})


def answers(results, name):
    """What the model said of each document, in order."""
    samples = sorted(results["samples"][name], key=lambda sample: (sample["doc_id"], sample["filter"]))
    return [sample["resps"] for sample in samples]


def hugging_face(**arguments):
    return HFLM(pretrained=MODEL, device="cpu", dtype="float32", batch_size=1, **arguments)


def instance(kind, *arguments):
    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)


@pytest.fixture(scope="module", params=[None, 120], ids=["whole", "cut to 120 tokens"])
def both(request):
    length = {} if request.param is None else {"max_length": request.param}
    return seer(**length), evaluate(hugging_face(**length)), request.param


def test_log_likelihoods_are_those_of_transformers(both):
    ours, theirs, _ = both
    found, expected = answers(ours, "seer_choice"), answers(theirs, "seer_choice")
    assert len(found) == 8
    for one, other in zip(found, expected):
        for [(logprob, greedy)], [(wanted, is_greedy)] in zip(one, other):
            assert logprob == pytest.approx(wanted, abs=1e-3)
            assert greedy == is_greedy
    found, expected = answers(ours, "seer_rolling"), answers(theirs, "seer_rolling")
    assert len(found) == 4
    for [[logprob]], [[wanted]] in zip(found, expected):
        assert logprob == pytest.approx(wanted, abs=1e-3)


def test_texts_are_those_of_transformers(both):
    ours, theirs, _ = both
    found = answers(ours, "seer_continuation")
    assert found == answers(theirs, "seer_continuation")
    assert any(text for [[text]] in found)


def test_scores_are_those_of_transformers(both):
    ours, theirs, _ = both
    for name in NAMES:
        for metric, value in theirs["results"][name].items():
            if isinstance(value, float) and math.isfinite(value):
                assert ours["results"][name][metric] == pytest.approx(value, abs=1e-6, rel=1e-5), (name, metric)
    assert 0 < ours["results"]["seer_choice"]["acc,none"] <= 1


def test_results_say_what_was_computed(both):
    config, length = both[0]["config"], both[2]
    assert config["seer_policy"] == "dense"
    assert config["seer_mean_density"] == 1
    # A choice has a request of its own.
    assert config["seer_requests"] == 8 * 3 + 5 + 4
    assert (config["seer_requests_truncated"] > 0) == (length is not None)


def test_sparse_policies_change_what_they_should():
    dense, sparse = seer(), seer(**SPARSE)
    assert sparse["config"]["seer_policy"] == "streaming:ratio=0.3,sink=1"
    assert sparse["config"]["seer_mean_density"] < 0.95
    found, expected = answers(sparse, "seer_rolling"), answers(dense, "seer_rolling")
    assert abs(found[0][0][0] - expected[0][0][0]) > 1e-2
    assert found[3] == expected[3]  # shorter than min_context


@pytest.mark.parametrize("context, continuation", [
    ("", "The sea was calm"), ("", "<|begin_of_text|>The sea"), ("She looked at the ", "sea."), ("One\n\n", "Two"),
    ("<|begin_of_text|>She looked", " up"), ("Caf\u00e9\u3000\u2003", "au lait"), (" ", "sea"), ("word" * 30, "s")])
@pytest.mark.parametrize("settings", [{}, {"add_bos_token": False}, {"prefix_token_id": 1}])
def test_odd_contexts(models, context, continuation, settings):
    if context == " " and settings == {"add_bos_token": False}:
        pytest.skip("a context without tokens, which the harness's own model does not take")
    ours, theirs = models(settings)
    requests = [instance("loglikelihood", context, continuation)]
    [(found, greedy)], [(expected, is_greedy)] = ours.loglikelihood(requests), theirs.loglikelihood(requests)
    assert found == pytest.approx(expected, abs=1e-3)
    assert greedy == is_greedy
    requests = [instance("loglikelihood_rolling", context + continuation)]
    assert ours.loglikelihood_rolling(requests) == pytest.approx(theirs.loglikelihood_rolling(requests), abs=1e-3)


@pytest.fixture(scope="module")
def models():
    made = {}

    def get(settings):
        key = str(settings)
        if key not in made:
            made[key] = (seer_lm_eval.SeerLM(model=MODEL, program=PROGRAM, **settings), hugging_face(**settings))
        return made[key]

    return get


def test_sampling_differs_between_repeats_and_is_repeatable():
    def sample():
        model = seer_lm_eval.SeerLM(model=MODEL, program=PROGRAM)
        settings = {"do_sample": True, "temperature": 1.0, "top_p": 0.95, "max_gen_toks": 12, "until": ["\n\n\n"]}
        return model.generate_until([instance("generate_until", "Once upon a time", settings)] * 3)

    texts = sample()
    assert len(set(texts)) > 1
    assert sample() == texts


def test_chat_template_is_that_of_transformers(tmp_path):
    for file in Path(MODEL).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config["chat_template"] = (
        "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] | trim }}\n"
        "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = seer_lm_eval.SeerLM(model=str(tmp_path), program=PROGRAM)
    theirs = HFLM(pretrained=str(tmp_path), device="cpu", dtype="float32", batch_size=1)
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    begun = [*chat, {"role": "assistant", "content": "My answer is "}]
    assert ours.apply_chat_template(chat) == theirs.apply_chat_template(chat)
    assert (ours.apply_chat_template(begun, add_generation_prompt=False)
            == theirs.apply_chat_template(begun, add_generation_prompt=False))
    assert ours.chat_template(True) == theirs.chat_template(True)
    with pytest.raises(ValueError, match="default one alone"):
        ours.chat_template("tool_use")
    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    texts = [answers(lm_eval.simple_evaluate(model=model, tasks=["seer_continuation"], task_manager=manager,
                                             apply_chat_template=True, bootstrap_iters=0), "seer_continuation")
             for model in (ours, theirs)]
    assert texts[0] == texts[1]


def test_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "seer_lm_eval", "run", "--model", "seer", "--model_args",
         f"model={MODEL},program={PROGRAM},policy={SPARSE['policy']},min_context=100,device=cpu",
         "--tasks", "seer_choice", "--include_path", str(TASKS), "--output_path", str(tmp_path / "out.json")],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)})
    assert done.returncode == 0, done.stderr
    assert "seer_choice" in done.stdout
    [file] = tmp_path.rglob("*.json")
    config = json.loads(file.read_text())["config"]
    assert config["seer_policy"] == "streaming:ratio=0.3,sink=1"
    assert 0 < config["seer_mean_density"] < 1


@pytest.mark.parametrize("arguments, words", [
    ({}, "model= is missing"), ({"model": MODEL, "sinks": 1}, "unknown sinks"),
    ({"model": MODEL, "add_bos_token": "no"}, "True or False"),
    ({"model": MODEL, "policy": "streaming:ratios=1"}, "ratios"), ({"model": "/nowhere"}, "/nowhere"),
    ({"model": MODEL, "gates": "/nowhere"}, "/nowhere")])
def test_refused_arguments(arguments, words):
    with pytest.raises((ValueError, seer_lm_eval.SeerError), match=words):
        seer_lm_eval.SeerLM(program=PROGRAM, **arguments)


def test_refused_settings_and_requests():
    model = seer_lm_eval.SeerLM(model=MODEL, program=PROGRAM, max_length=50)
    with pytest.raises(ValueError, match="num_beams"):
        model.generate_until([instance("generate_until", "a", {"num_beams": 4})])
    with pytest.raises(seer_lm_eval.SeerError, match="less than the maximum length of 50"):
        model.generate_until([instance("generate_until", "a", {"max_gen_toks": 50})])
    with pytest.raises(seer_lm_eval.SeerError, match="tokens are too many"):
        model.loglikelihood([instance("loglikelihood", "a", " word" * 60)])
    assert model.loglikelihood_rolling([instance("loglikelihood_rolling", "still here")])[0] < 0
