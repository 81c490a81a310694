#!/usr/bin/env python3
"""seer generate: continuations, streaming, conversation, and what is refused."""

import json
import os
import signal
import subprocess
import unittest
from pathlib import Path

from program import PROGRAM, ModelVerbTest

SOURCE = Path(os.environ["SEER_SOURCE_DIR"])
PARITY = SOURCE / "tests/golden/parity"
BOOKS = SOURCE / "models/books-19m-32k"


class Generate(ModelVerbTest):
    verb = "generate"
    model = BOOKS

    def json_of(self, *arguments, model=None):
        done = self.call("--json", *arguments, model=model)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_greedy_is_the_references(self):
        for name in "llama31", "llama-yarn", "qwen2", "qwen3":
            with self.subTest(name=name):
                reference = json.loads((PARITY / name / "reference.json").read_text())
                greedy = reference["greedy"]
                tokens = self.write(reference["cases"][greedy["prompt_case"]])
                count = str(len(greedy["new_ids"]))
                found = self.json_of("--tokens", tokens, "--max-new-tokens", count,
                                     model=PARITY / name)
                self.assertEqual(found["new_ids"], greedy["new_ids"])
                done = self.call("--tokens", tokens, "--max-new-tokens", count,
                                     model=PARITY / name)
                self.assertEqual([int(word) for word in done.stdout.split()], greedy["new_ids"])

    def test_text_streams_what_json_holds(self):
        prompt = ["--prompt", "It was a dark and", "--max-new-tokens", "20"]
        found = self.json_of(*prompt)
        self.assertGreater(len(found["text"]), 10)
        self.assertEqual(found["finish"], "length")
        self.assertGreater(found["tokens_per_second"], 0)
        done = self.call(*prompt)
        self.assertEqual(done.stdout, found["text"] + "\n")
        self.assertRegex(done.stderr, r"first token after [\d.]+ s; 20 new tokens, [\d.]+ tokens/s")
        file = self.write("It was a dark and", "prompt.txt")
        self.assertEqual(self.json_of("--prompt-file", file, "--max-new-tokens", "20")["text"],
                         found["text"])

    def test_stop_strings(self):
        prompt = ["--prompt", "It was a dark and", "--max-new-tokens", "30"]
        text = self.json_of(*prompt)["text"]
        stop = text[12:17]  # across tokens, most likely
        found = self.json_of(*prompt, "--stop", "no such text", "--stop", stop)
        self.assertEqual(found["finish"], "stop")
        self.assertEqual(found["text"], text[:text.index(stop)])

    def test_sampling_follows_the_seed(self):
        flags = ["--prompt", "She said", "--max-new-tokens", "12", "--temperature", "1.2", "--top-k",
                 "50", "--top-p", "0.95", "--min-p", "0.01", "--repetition-penalty", "1.1"]
        first = self.json_of(*flags, "--seed", "5")["new_ids"]
        self.assertEqual(first, self.json_of(*flags, "--seed", "5")["new_ids"])
        self.assertNotEqual(first, self.json_of(*flags, "--seed", "6")["new_ids"])

    def chat_model(self):
        """The bundled model with a template of its own."""
        model = self.folder / "chat"
        model.mkdir()
        for file in BOOKS.iterdir():
            if file.name != "tokenizer_config.json":
                (model / file.name).symlink_to(file)
        config = json.loads((BOOKS / "tokenizer_config.json").read_text())
        config["chat_template"] = (
            "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n"
            "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}")
        (model / "tokenizer_config.json").write_text(json.dumps(config))
        return model

    def test_chat(self):
        model = self.chat_model()
        done = subprocess.run(
            [PROGRAM, "generate", "--model", str(model), "--chat", "--system", "Be brief.", "--json",
             "--max-new-tokens", "8"],
            input="Hello\n\nAnd then?\n", capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        first, second = [json.loads(line) for line in done.stdout.splitlines()]
        plain = "system: Be brief.\nuser: Hello\nassistant: "
        # The tokenizer puts BOS before plain text; a template writes its own, this one none.
        self.assertEqual(self.json_of("--prompt", plain, "--max-new-tokens", "1")["prompt_tokens"],
                         first["prompt_tokens"] + 1)
        self.assertGreater(second["reused_tokens"], first["prompt_tokens"] - 3)
        once = self.json_of("--chat", "--system", "Be brief.", "--prompt", "Hello",
                            "--max-new-tokens", "8", model=model)
        self.assertEqual(once["text"], first["text"])

    def test_interrupt(self):
        with subprocess.Popen(
                [PROGRAM, "generate", "--model", str(BOOKS), "--prompt", "Once upon a time",
                 "--max-new-tokens", "30000", "--temperature", "1"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self.assertEqual(len(process.stdout.read(60)), 60)  # many tokens: a rate is known
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertIn(b"tokens/s", errors)

    def test_refused(self):
        prompt = ["--prompt", "a"]
        self.expect_refused(2, [], "--prompt", "--tokens", "--chat")
        self.expect_refused(2, [*prompt, "--prompt-file", "b"], "expected one of")
        self.expect_refused(2, [*prompt, "--system", "b"], "--chat")
        self.expect_refused(2, [*prompt, "--top-p", "0.5"], "--temperature")
        self.expect_refused(2, [*prompt, "--temperature", "-1"], "temperature -1")
        self.expect_refused(2, [*prompt, "--temperature", "1", "--top-p", "0"], "top-p 0")
        self.expect_refused(2, [*prompt, "--max-new-tokens", "0"], "max new tokens")
        self.expect_refused(2, [*prompt, "--stop", ""], "stop")
        self.expect_refused(1, prompt, "tokenizer.json", model=PARITY / "qwen2")
        self.expect_refused(1, ["--prompt-file", str(self.folder)], "folder")
        empty = self.folder / "empty.json"
        empty.write_text("[]")
        self.expect_refused(1, ["--tokens", str(empty)], "no tokens")


if __name__ == "__main__":
    unittest.main()
