"""lm-evaluation-harness's interface to a model, answered by `seer batch`."""

import json
import logging
from pathlib import Path

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.utils import simple_parse_args_string
from tqdm import tqdm

from seer_lm_eval.program import SeerError, SeerProgram

# Below lm_eval's, so that its verbosity counts.
logger = logging.getLogger("lm_eval.seer")

# What lm_eval passes on from its own command line and Seer has no use for: it computes one request at a time.
IGNORED = ("batch_size", "max_batch_size", "trust_remote_code")


def _is_true(value):
    """A model argument, which lm_eval's command line may hand over as text."""
    if isinstance(value, str):
        if value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise ValueError(f"expected True or False, got {value!r}")
    return bool(value)


@register_model("seer")
class SeerLM(LM):
    """A model under a selection policy.

    model             folder of the model, or org/name of a model in the cache
    gates, policy     as of `seer generate`; without them attention is dense. lm_eval splits its arguments at commas: a
                      policy may have ; in their place
    min_context       prompts of fewer tokens are dense
    device, dtype     cpu, cuda, cuda:N; float32, bfloat16, float16
    max_length        tokens of a request; longer contexts are cut on the left
    add_bos_token     False: text gets no special tokens, such as begin-of-text
    prefix_token_id   what a text's first token is predicted from
    max_gen_toks      new tokens where a task does not say how many
    threads, prefill_chunk, attention   as of `seer generate`
    program           the program `seer`; else $SEER_PROGRAM, else the one on the PATH
    """

    def __init__(self, model=None, gates=None, policy=None, min_context=None, device=None, dtype=None,
                 max_length=None, add_bos_token=True, prefix_token_id=None, max_gen_toks=256, threads=None,
                 prefill_chunk=None, attention=None, program=None, pretrained=None, **others):
        super().__init__()
        unknown = sorted(set(others) - set(IGNORED))
        if unknown:
            raise ValueError(f"model arguments of seer: unknown {', '.join(unknown)}")
        self._model = model or pretrained
        if not self._model:
            raise ValueError("model arguments of seer: model= is missing, a model's folder or org/name")
        if policy is not None:
            policy = str(policy).replace(";", ",")
        flags = ["--model", str(self._model)]
        named = {"gates": gates, "policy": policy, "min-context": min_context, "device": device, "dtype": dtype,
                 "max-length": max_length, "prefix-token": prefix_token_id, "threads": threads,
                 "prefill-chunk": prefill_chunk, "attention": attention}
        for name, value in named.items():
            if value is not None:
                flags += [f"--{name}", str(value)]
        if not _is_true(add_bos_token):
            flags.append("--no-special")
        self._max_gen_toks = int(max_gen_toks)
        self._program = SeerProgram(flags, program)
        self._requests = 0
        self._density_sum = 0.0
        self._truncated = 0

    @classmethod
    def create_from_arg_obj(cls, arg_dict, additional_config=None):
        """As lm_eval's, but a device among the model arguments is no clash with the command line's."""
        others = {name: value for name, value in (additional_config or {}).items() if value is not None}
        return cls(**{**others, **arg_dict})

    @classmethod
    def create_from_arg_string(cls, arg_string, additional_config=None):
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @property
    def max_length(self):
        return self._program.info["max_length"]

    @property
    def tokenizer_name(self):
        return str(self._model).replace("/", "__")

    def chat_template(self, chat_template=False):
        """The text of the template, which lm_eval notes in its results; the program reads it by itself."""
        if chat_template is False or chat_template is None:
            return None
        if isinstance(chat_template, str):
            raise ValueError(f"chat template '{chat_template}': seer takes the model's default one alone")
        folder = Path(self._model)
        if (folder / "chat_template.jinja").is_file():
            return (folder / "chat_template.jinja").read_text()
        try:
            template = json.loads((folder / "tokenizer_config.json").read_text()).get("chat_template")
        except OSError:
            return ""  # a model of the cache, whose folder the program knows
        return template if isinstance(template, str) else json.dumps(template)

    def apply_chat_template(self, chat_history, add_generation_prompt=True):
        request = {"kind": "chat", "messages": chat_history, "add_generation_prompt": add_generation_prompt,
                   "continue_final_message": not add_generation_prompt}
        return self._program.ask(request)["text"]

    def loglikelihood(self, requests, disable_tqdm=False):
        def answer(context, continuation):
            found = self._count({"kind": "loglikelihood", "context": context, "continuation": continuation})
            return found["logprob"], found["greedy"]

        return self._answers("loglikelihood", requests, answer, disable_tqdm)

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        def answer(text):
            return self._count({"kind": "loglikelihood_rolling", "text": text})["logprob"]

        return self._answers("loglikelihood_rolling", requests, answer, disable_tqdm)

    def generate_until(self, requests, disable_tqdm=False):
        def answer(prompt, settings):
            return self._count({"kind": "generate", "prompt": prompt, **self._generation(settings)})["text"]

        return self._answers("generate_until", requests, answer, disable_tqdm)

    def get_model_info(self):
        """What lm_eval puts into its results' `config`."""
        info = self._program.info
        return {"seer_version": info["version"], "seer_model": info["model"], "seer_policy": info["policy"],
                "seer_requests": self._requests, "seer_requests_truncated": self._truncated,
                "seer_mean_density": self.mean_density}

    @property
    def mean_density(self):
        """Of the requests so far, each with the same weight: the share of visible blocks that were computed."""
        return self._density_sum / self._requests if self._requests else None

    def _generation(self, settings):
        """A request's fields for the `generation_kwargs` of a task."""
        settings = dict(settings)
        until = settings.pop("until", None) or []
        fields = {"stop": [stop for stop in ([until] if isinstance(until, str) else until) if stop]}
        numbers = [settings.pop(name, None)
                   for name in ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")]
        fields["max_new_tokens"] = int(next((n for n in numbers if n is not None), self._max_gen_toks))
        temperature = float(settings.pop("temperature", None) or 0)
        do_sample = settings.pop("do_sample", None)
        if do_sample is None:
            do_sample = temperature > 0
        sampling = {name: settings.pop(name, None) for name in ("top_k", "top_p", "min_p", "seed")}
        if do_sample:
            fields["temperature"] = temperature or 1.0
            fields.update({name: value for name, value in sampling.items() if value is not None})
            # Repeats of a document shall differ.
            fields["seed"] = fields.get("seed", 0) + self._requests
        penalty = settings.pop("repetition_penalty", None)
        if penalty is not None:
            fields["repetition_penalty"] = penalty
        if settings:
            raise ValueError(f"generation settings that seer does not have: {', '.join(sorted(settings))}")
        return fields

    def _count(self, request):
        answer = self._program.ask(request)
        self._requests += 1
        self._density_sum += answer["density"]
        self._truncated += bool(answer.get("truncated"))
        return answer

    def _answers(self, method, requests, answer, disable_tqdm):
        truncated, found = self._truncated, []
        for request in tqdm(requests, desc=f"seer: {method}", disable=disable_tqdm):
            try:
                result = answer(*request.args)
            except SeerError as error:
                where = f"{request.task_name}, document {request.doc_id}" if request.task_name else "a request"
                raise SeerError(f"{where}: {error}") from None
            found.append(result)
            self.cache_hook.add_partial(method, request.args, result)
        if self._truncated > truncated:
            logger.warning("%d of %d contexts were cut on the left to %d tokens", self._truncated - truncated,
                           len(requests), self.max_length)
        if requests:
            logger.info("policy %s: mean density %.4f", self._program.info["policy"], self.mean_density)
        return found
