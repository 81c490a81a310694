#!/usr/bin/env python3
"""seer batch: answers against the other verbs' numbers, bad requests, and how it ends; and the adapter's child process."""

import importlib.util
import json
import os
import random
import signal
import subprocess
import unittest
from pathlib import Path

from program import PROGRAM, ModelVerbTest, run

SOURCE = Path(os.environ["SEER_SOURCE_DIR"])
QWEN3 = SOURCE / "tests/golden/parity/qwen3"
BOOKS = SOURCE / "models/books-19m-32k"
BOS = 0
SENTENCES = ("The ship lay at anchor in the bay, and the men sang as they mended the nets. "
             "When evening came the old captain told them of the storm that had taken his brother. ")


def adapter_program():
    """The adapter's module that runs the program, which needs no lm_eval."""
    file = SOURCE / "python/seer_lm_eval/seer_lm_eval/program.py"
    spec = importlib.util.spec_from_file_location("seer_lm_eval_program", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BatchTest(ModelVerbTest):
    verb = "batch"
    model = BOOKS

    def lines_of(self, text, *flags, model=None):
        """The answers to the lines of a text."""
        done = subprocess.run([PROGRAM, "batch", "--model", str(model or self.model), *flags], input=text,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def ask(self, requests, *flags, model=None):
        numbered = [{"id": i, **request} for i, request in enumerate(requests)]
        answers = self.lines_of("".join(json.dumps(request) + "\n" for request in numbered), *flags, model=model)
        self.assertEqual([answer["id"] for answer in answers], list(range(len(requests))))
        return answers

    def json_of(self, *arguments):
        done = run(*arguments, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def ids_of(self, text, *flags):
        return self.json_of("tokenize", "--model", str(self.model), "--text", text, *flags)["ids"]

    def start(self):
        """A program that has answered one request and waits for the next."""
        process = subprocess.Popen([PROGRAM, "batch", "--model", str(BOOKS)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.__exit__, None, None, None)
        process.stdin.write('{"kind": "info"}\n')
        process.stdin.flush()
        self.assertIn("max_length", json.loads(process.stdout.readline()))
        return process


def pair(context, continuation):
    return {"kind": "loglikelihood", "context_tokens": context, "continuation_tokens": continuation}


class Likelihood(BatchTest):
    def test_is_that_of_seer_score(self):
        tokens = [(7 * i * i) % 500 for i in range(150)]
        score = self.json_of("score", "--model", str(QWEN3), "--tokens", self.write(tokens), "--positions", "99")
        total = -score["nll_mean"] * 149
        top = score["positions"]["99"]
        requests = [pair(tokens[:1], tokens[1:]), pair(tokens[:1], tokens[1:60]), pair(tokens[:60], tokens[60:]),
                    pair(tokens[:100], [top["top5"][0]]), pair(tokens[:100], [top["top5"][1]])]
        whole, first, second, likeliest, next_one = self.ask(requests, model=QWEN3)
        self.assertAlmostEqual(whole["logprob"] / total, 1, delta=1e-6)
        self.assertAlmostEqual((first["logprob"] + second["logprob"]) / total, 1, delta=1e-6)
        self.assertEqual([whole["tokens"], first["tokens"], second["tokens"]], [149, 59, 90])
        for answer, i in (likeliest, 0), (next_one, 1):
            self.assertAlmostEqual(answer["logprob"], top["top5_logits"][i] - top["logsumexp"], delta=1e-4)
            self.assertEqual(answer["greedy"], i == 0)
            self.assertEqual(answer["density"], 1)
            self.assertFalse(answer["truncated"])

    def test_is_the_references(self):
        reference = json.loads((QWEN3 / "reference.json").read_text())
        cases = [case for case in reference["cases"] if case["nll_mean"] is not None]
        self.assertGreater(len(cases), 0)
        answers = self.ask([pair(case["input_ids"][:1], case["input_ids"][1:]) for case in cases], model=QWEN3)
        for case, answer in zip(cases, answers):
            nll = -answer["logprob"] / (len(case["input_ids"]) - 1)
            self.assertAlmostEqual(nll / case["nll_mean"], 1, delta=1e-5)

    def test_greedy_continuation(self):
        prompt = self.ids_of("It was a dark and")
        [made] = self.ask([{"kind": "generate", "prompt_tokens": prompt, "max_new_tokens": 6}])
        changed = [*made["new_ids"][:5], made["new_ids"][5] ^ 1]
        right, wrong = self.ask([pair(prompt, made["new_ids"]), pair(prompt, changed)])
        self.assertTrue(right["greedy"])
        self.assertFalse(wrong["greedy"])

    def test_texts_become_the_tokens_of_both(self):
        cases = [("She looked at the", " sea."), ("She looked at the ", "sea."), ("One\n\n", "Two"),
                 ("", "The sea"), ("Caf\u00e9\u3000", "au lait"), ("<|begin_of_text|>She", " said")]
        requests, expected = [], []
        for context, continuation in cases:
            requests.append({"kind": "loglikelihood", "context": context, "continuation": continuation})
            before = self.ids_of(context.rstrip()) if context else [BOS]
            if context.startswith("<|begin"):
                before = before[1:]
            whole = [BOS, *self.ids_of((context + continuation).replace("<|begin_of_text|>", ""), "--no-special")]
            expected.append(pair(before, whole[len(before):]))
        for context, of_text, of_tokens in zip(cases, self.ask(requests), self.ask(expected)):
            self.assertEqual(of_text, of_tokens, context)

    def test_long_contexts_are_cut_on_the_left(self):
        tokens = [(11 * i) % 500 for i in range(60)]
        cut, short, fits, last = self.ask(
            [pair(tokens[:50], tokens[50:]), pair(tokens[39:50], tokens[50:]), pair(tokens[:11], tokens[11:21]),
             pair(tokens[:3], tokens[3:23])], "--max-length", "20", model=QWEN3)
        self.assertTrue(cut["truncated"])
        self.assertFalse(short["truncated"])
        self.assertEqual(cut["logprob"], short["logprob"])
        self.assertFalse(fits["truncated"])
        self.assertTrue(last["truncated"])
        # The model's own maximum: the last token is predicted only.
        full = [1] * 1024
        answers = self.ask([pair(full, [2]), pair([3, *full], [2]), pair([1], full), pair(full, [2, 2])], model=QWEN3)
        self.assertEqual([answer["truncated"] for answer in answers], [False, True, False, True])
        self.assertEqual(answers[0]["logprob"], answers[1]["logprob"])

    def test_rolling(self):
        ids = self.ids_of(SENTENCES * 2)
        self.assertEqual(ids[0], BOS)
        rolling = {"kind": "loglikelihood_rolling"}
        whole, same, other, none = self.ask([{**rolling, "text": SENTENCES * 2}, {**rolling, "text_tokens": ids},
                                             pair([BOS], ids), {**rolling, "text_tokens": []}])
        # The tokenizer's begin-of-text is a token of the text.
        self.assertEqual(whole["tokens"], len(ids))
        self.assertAlmostEqual(whole["logprob"], other["logprob"], delta=1e-3)
        self.assertEqual(whole["logprob"], same["logprob"])
        self.assertEqual((none["logprob"], none["tokens"]), (0, 0))
        [plain], [named] = (self.ask([{**rolling, "text": SENTENCES * 2}], *flags)
                            for flags in (["--no-special"], ["--no-special", "--prefix-token", "5"]))
        self.assertEqual(plain["tokens"], len(ids) - 1)
        [expected] = self.ask([pair([5], ids[1:])])
        self.assertAlmostEqual(named["logprob"], expected["logprob"], delta=1e-3)

        # Windows of 16: full ones behind each other, and the last with all the context that there may be.
        count, text = 16, [BOS, *ids]
        windows = []
        for first in range(1, len(text), count):
            last = min(first + count, len(text))
            begin = max(0, last - count - 1)
            windows.append(pair(text[begin:first], text[first:last]))
        self.assertNotEqual((len(text) - 1) % count, 0)
        parts = self.ask(windows)
        [rolled] = self.ask([{**rolling, "text_tokens": ids}], "--max-length", str(count))
        self.assertEqual(rolled["tokens"], len(ids))
        self.assertAlmostEqual(rolled["logprob"], sum(part["logprob"] for part in parts), delta=1e-3)


class Policies(BatchTest):
    FLAGS = ["--policy", "streaming:ratio=0.3", "--min-context", "128"]

    def test_density_is_that_of_seer_score(self):
        rng = random.Random(1)
        tokens = [rng.randrange(3, 8000) for _ in range(701)]
        # What runs is all but the last token.
        score = self.json_of("score", "--model", str(BOOKS), "--tokens", self.write(tokens[:-1]), *self.FLAGS)
        self.assertLess(score["density"], 0.7)
        long, short, again, made = self.ask(
            [pair(tokens[:1], tokens[1:]), pair(tokens[:1], tokens[1:100]), pair(tokens[:1], tokens[1:]),
             {"kind": "generate", "prompt_tokens": tokens[:-1], "max_new_tokens": 3}], *self.FLAGS)
        self.assertAlmostEqual(long["density"], score["density"], delta=1e-9)
        self.assertEqual(made["density"], long["density"])
        self.assertEqual(short["density"], 1)
        self.assertEqual({**again, "id": 0}, long)
        # As many blocks, and so the same choice.
        [fewer] = self.ask([pair(tokens[:1], tokens[1:-1])], *self.FLAGS)
        self.assertAlmostEqual(fewer["logprob"] / (-699 * score["nll_mean"]), 1, delta=1e-6)
        [dense] = self.ask([pair(tokens[:1], tokens[1:])])
        self.assertGreater(abs(dense["logprob"] - long["logprob"]), 1e-3)
        [info] = self.ask([{"kind": "info"}], *self.FLAGS)
        self.assertEqual(info["policy"], "streaming:ratio=0.3")
        self.assertEqual((info["max_length"], info["prefix_token"]), (32768, BOS))


class Generation(BatchTest):
    def test_is_that_of_seer_generate(self):
        prompt = "It was a dark and"
        flags = ["--temperature", "1.1", "--top-p", "0.9", "--top-k", "40", "--seed", "7"]
        expected = [self.json_of("generate", "--model", str(BOOKS), "--prompt", prompt, "--max-new-tokens", "16", *more)
                    for more in ([], flags)]
        stop = expected[0]["text"][9:14]
        request = {"kind": "generate", "prompt": prompt, "max_new_tokens": 16}
        sampling = {"temperature": 1.1, "top_p": 0.9, "top_k": 40, "seed": 7}
        greedy, sampled, stopped, tokens = self.ask(
            [request, {**request, **sampling}, {**request, "stop": ["no such text", stop]},
             {"kind": "generate", "prompt_tokens": self.ids_of(prompt), "max_new_tokens": 16}])
        for found, wanted in (greedy, expected[0]), (sampled, expected[1]), (tokens, expected[0]):
            for key in "text", "new_ids", "finish":
                self.assertEqual(found[key], wanted[key])
            self.assertEqual(found["tokens"], 16)
            self.assertFalse(found["truncated"])
        self.assertEqual(stopped["finish"], "stop")
        self.assertEqual(stopped["text"], expected[0]["text"][:expected[0]["text"].index(stop)])

    def test_long_prompts_are_cut_on_the_left(self):
        tokens = [(11 * i) % 500 for i in range(60)]
        request = {"kind": "generate", "max_new_tokens": 5}
        cut, short, none = self.ask([{**request, "prompt_tokens": tokens}, {**request, "prompt_tokens": tokens[-15:]},
                                     {"kind": "generate", "prompt_tokens": tokens, "max_new_tokens": 20}],
                                    "--max-length", "20", model=QWEN3)
        self.assertEqual(cut["new_ids"], short["new_ids"])
        self.assertEqual((cut["truncated"], short["truncated"]), (True, False))
        self.assertIn("max_new_tokens: expected less than the maximum length of 20, got 20", none["error"])

    def test_chat(self):
        model = self.folder / "chat"
        model.mkdir()
        for file in BOOKS.iterdir():
            if file.name != "tokenizer_config.json":
                (model / file.name).symlink_to(file)
        config = json.loads((BOOKS / "tokenizer_config.json").read_text())
        config["chat_template"] = (
            "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n"
            "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}")
        (model / "tokenizer_config.json").write_text(json.dumps(config))
        user, started = {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "I am "}
        chat = {"kind": "chat", "messages": [user]}
        asked, plain, continued, both, wrong = self.ask(
            [chat, {**chat, "add_generation_prompt": False},
             {**chat, "messages": [user, started], "continue_final_message": True},
             {**chat, "add_generation_prompt": True, "continue_final_message": True},
             {**chat, "messages": [{"role": "user"}]}], model=model)
        self.assertEqual(asked["text"], "<|begin_of_text|>user: Hello\nassistant: ")
        self.assertEqual(plain["text"], "<|begin_of_text|>user: Hello\n")
        self.assertEqual(continued["text"], "<|begin_of_text|>user: Hello\nassistant: I am ")
        self.assertIn("either", both["error"])
        self.assertIn("messages[0]", wrong["error"])
        [none] = self.ask([chat])  # the bundled model has no template
        self.assertIn("chat_template", none["error"])


class BadInput(BatchTest):
    def test_bad_requests_are_answered_and_the_next_goes_on(self):
        good = {"kind": "loglikelihood", "context": "The", "continuation": " sea"}
        generate = {"kind": "generate", "prompt": "The", "max_new_tokens": 1}
        cases = [
            ({}, "kind: is missing"), ({"kind": "score"}, 'loglikelihood, loglikelihood_rolling, generate or chat, got "score"'),
            ({"kind": 3}, "kind: expected text, got 3"), ({**good, "context": None}, "context: expected text, got null"),
            ({"kind": "loglikelihood", "context": "a"}, "continuation: is missing"),
            ({**good, "continuation": ""}, "continuation: no tokens"), ({**good, "contex": 1}, '"contex"'),
            ({**good, "context_tokens": [1]}, '"context"'), (pair([1], [8192]), "8192"), (pair([1], [-1]), "id -1"),
            (pair([1], [1.5]), "continuation_tokens[0]: expected a token id, got 1.5"), (pair([], [1]), "context: no tokens"),
            (pair([1], [2**64]), "continuation_tokens[0]"), (pair("a", [1]), "context_tokens: expected a list of token ids"),
            ({"kind": "loglikelihood_rolling", "text": ["a"]}, "text: expected text"),
            ({**generate, "max_new_tokens": 0}, "max new tokens"), ({**generate, "stop": "x"}, "stop: expected a list of texts"),
            ({**generate, "stop": [1]}, "stop[0]"), ({**generate, "stop": [""]}, "stop"),
            ({**generate, "temperature": "1"}, "temperature: expected a number"), ({**generate, "temperature": -1}, "temperature -1"),
            ({**generate, "top_p": 2, "temperature": 1}, "top-p 2"), ({**generate, "seed": 1.5}, "seed: expected an integer"),
            ({**generate, "prompt_tokens": [1]}, "either prompt or prompt_tokens"), ({"kind": "generate"}, "prompt: is missing"),
            ({"kind": "info", "verbose": True}, '"verbose"'), ({"kind": "chat", "messages": []}, "messages"),
        ]
        answers = self.ask([request for case, _ in cases for request in (case, good)])
        for (case, words), bad, then in zip(cases, answers[::2], answers[1::2]):
            with self.subTest(case=case):
                self.assertEqual(set(bad), {"id", "error"})
                self.assertIn(words, bad["error"])
                self.assertEqual(then["logprob"], answers[1]["logprob"])

    def test_malformed_lines(self):
        lines = ['{"kind": "info", "id": "first"}', "{", "", "[1]", '"text"', '{"id": 1} {"id": 2}', '{"id": "\\ud800"}',
                 '{"kind": "info", "id": {"a": [1]}}', '{"kind": "info"}']
        answers = self.lines_of("\n".join(lines))  # the last without an end
        self.assertEqual([answer["id"] for answer in answers], ["first", None, None, None, None, None, {"a": [1]}, None])
        for answer, number in zip(answers[1:6], (2, 4, 5, 6, 7)):
            self.assertIn(f"line {number}: expected", answer["error"])
        self.assertIn("version", answers[-1])

    def test_no_utf8(self):
        done = subprocess.run([PROGRAM, "batch", "--model", str(BOOKS)],
                              input=b'{"kind": "loglikelihood_rolling", "text": "\xff"}\n{"kind": "info"}\n',
                              capture_output=True, check=False)
        first, second = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertIn("line 1", first["error"])
        self.assertIn("version", second)

    def test_model_without_a_tokenizer(self):
        text, tokens = self.ask([{"kind": "loglikelihood_rolling", "text": "a"}, pair([1], [2])], model=QWEN3)
        self.assertIn("tokenizer.json", text["error"])
        self.assertLess(tokens["logprob"], 0)

    def test_nothing_asked(self):
        self.assertEqual(self.lines_of(""), [])

    def test_wrong_usage(self):
        self.expect_refused(2, ["--max-length", "0"], "--max-length 0", "1 to 32768")
        self.expect_refused(2, ["--max-length", "40000"], "--max-length 40000")
        self.expect_refused(2, ["--prefix-token", "9000"], "--prefix-token 9000", "0 to 8191")
        self.expect_refused(2, ["--prefix-token", "a"], "an integer")
        self.expect_refused(2, ["--policy", "gate:ratio=0.1"], "gate")
        self.expect_refused(1, [], "config.json", model=self.folder)


class HowItEnds(BatchTest):
    def test_interrupt_between_requests(self):
        process = self.start()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        self.assertEqual((process.returncode, output), (130, ""), errors)

    def test_interrupt_in_a_request(self):
        process = self.start()
        process.stdin.write(json.dumps({"kind": "generate", "prompt": "Once", "max_new_tokens": 30000,
                                        "temperature": 1}) + "\n" + '{"kind": "info"}\n')
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        self.assertEqual((process.returncode, output), (130, ""), errors)


class AdapterProgram(BatchTest):
    """python/seer_lm_eval's child process."""

    def setUp(self):
        super().setUp()
        self.module = adapter_program()

    def open(self, *flags, model=BOOKS):
        return self.module.SeerProgram(["--model", str(model), *flags], PROGRAM)

    def expect_error(self, words, call):
        with self.assertRaises(self.module.SeerError) as caught:
            call()
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_answers_and_refusals(self):
        with self.open("--max-length", "99") as program:
            self.assertEqual(program.info["max_length"], 99)
            self.assertLess(program.ask({"kind": "loglikelihood", "context": "The", "continuation": " sea"})["logprob"], 0)
            self.expect_error(["refused", "'x'", "kind"], lambda: program.ask({"kind": "x"}))
            self.assertIn("version", program.ask({"kind": "info"}))
            process = program._process
        self.assertEqual(process.returncode, 0)
        self.expect_error(["closed"], lambda: program.ask({"kind": "info"}))

    def test_a_killed_program(self):
        program = self.open()
        program._process.kill()
        self.expect_error(["ended by signal 9"], lambda: program.ask({"kind": "info"}))
        self.expect_error(["closed"], lambda: program.ask({"kind": "info"}))

    def test_a_program_that_does_not_start(self):
        self.expect_error(["exit code 1", "config.json"], lambda: self.open(model=self.folder))
        self.expect_error(["exit code 2", "--max-length"], lambda: self.open("--max-length", "0"))
        self.expect_error(["no program 'no-such-seer'"], lambda: self.module.SeerProgram([], "no-such-seer"))


if __name__ == "__main__":
    unittest.main()
