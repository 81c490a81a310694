#!/usr/bin/env python3
"""seer generate --chat with templates in the manner of Llama 3 and Qwen, on a tiny random model."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from program import PROGRAM, run

SOURCE = Path(os.environ["SEER_SOURCE_DIR"])
sys.path.insert(0, str(SOURCE / "bench/support"))
from random_model import write_random_model  # noqa: E402

# What the templates of the two families lean on: white space control, trim, set, slices, namespaces, loops backwards,
# tests for none and defined, string methods and the date.
LLAMA = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%Y") %}{%- else %}{%- set date_string = "?" %}{%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set heading = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set heading = "" %}
{%- endif %}
{{- "<|start|>system<|end|>\\n\\n" }}
{%- if tools is not none %}{{- "Tools" }}{%- endif %}
{{- "Since " + ("2" if date_string|length == 4 else "0") + "000\\n\\n" + heading + "<|eot|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
    {%- elif message.tool_calls | length > 1 %}
        {{- raise_exception("one call at a time") }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start|>assistant<|end|>\\n\\n' }}
{%- endif %}
"""
QWEN = """{%- if messages[0].role == 'system' %}
    {{- '<|start|>system\\n' + messages[0].content + '<|eot|>\\n' }}
{%- endif %}
{%- set found = namespace(looking=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if found.looking and message.role == "user" and message.content is string and not(message.content.startswith('<r>') and message.content.endswith('</r>')) %}
        {%- set found.looking = false %}
        {%- set found.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|start|>' + message.role + '\\n' + message.content + '<|eot|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- if '</think>' in content %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|start|>' + message.role + '\\n' + content.strip('\\n') }}
        {%- if message.tool_calls %}{{- '(calls)' }}{%- endif %}
        {{- '<|eot|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""


def llama_prompt(system, *turns):
    text = f"<s><|start|>system<|end|>\n\nSince 2000\n\n{system}<|eot|>"
    for role, content in turns:
        text += f"<|start|>{role}<|end|>\n\n{content.strip()}<|eot|>"
    return text + "<|start|>assistant<|end|>\n\n"


def qwen_prompt(system, *turns):
    text = f"<|start|>system\n{system}<|eot|>\n" if system else ""
    for role, content in turns:
        text += f"<|start|>{role}\n{content.strip(chr(10)) if role == 'assistant' else content}<|eot|>\n"
    return text + "<|start|>assistant\n"


class Chat(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def model(self, tokenizer_name, template):
        model = self.folder / tokenizer_name
        tokenizer = json.loads((SOURCE / f"tests/golden/tokenizer/{tokenizer_name}.json").read_text())["tokenizer"]
        added = tokenizer["added_tokens"]
        for content in ("<|start|>", "<|end|>", "<|eot|>"):
            added.append({**added[0], "id": max(token["id"] for token in added) + 1, "content": content})
        write_random_model(model, {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                                   "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
                                   "vocab_size": added[-1]["id"] + 1, "eos_token_id": 421})
        (model / "tokenizer.json").write_text(json.dumps(tokenizer))
        (model / "tokenizer_config.json").write_text(json.dumps(
            {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": template}))
        return model

    def chat(self, model, *arguments, lines=""):
        done = subprocess.run([PROGRAM, "generate", "--model", str(model), "--chat", "--json", *arguments],
                              input=lines, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def continued(self, model, text, count):
        """The ids after a text in which special tokens stand as such."""
        ids = json.loads(run("tokenize", "--model", str(model), "--no-special", "--json", "--text", text).stdout)["ids"]
        tokens = self.folder / "tokens.json"
        tokens.write_text(json.dumps(ids))
        done = run("generate", "--model", str(model), "--tokens", str(tokens), "--json", "--max-new-tokens", str(count))
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_prompts_are_the_templates(self):
        for name, template, prompt in (("llama3", LLAMA, llama_prompt), ("qwen2", QWEN, qwen_prompt)):
            model = self.model(name, template)
            for system in ("", "Be brief."):
                with self.subTest(name=name, system=system):
                    flags = ["--system", system] if system else []
                    first, second = self.chat(model, *flags, "--max-new-tokens", "7", lines="Hello \n\nAnd then?\n")
                    turns = [("user", "Hello "), ("assistant", first["text"]), ("user", "And then?")]
                    for answer, count in ((first, 1), (second, 3)):
                        expected = self.continued(model, prompt(system, *turns[:count]), 7)
                        self.assertEqual(answer["new_ids"], expected["new_ids"])
                        self.assertEqual(answer["prompt_tokens"], expected["prompt_tokens"])
                    self.assertGreater(second["reused_tokens"], 0)

    def test_any_end_token_of_generation_config_ends_a_turn(self):
        model = self.model("llama3", LLAMA)
        [whole] = self.chat(model, "--prompt", "Hello", "--max-new-tokens", "12")
        self.assertEqual(whole["finish"], "length")
        end = whole["new_ids"][5]
        (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [421, end]}))
        first, second = self.chat(model, "--max-new-tokens", "12", lines="Hello\nHello\n")
        self.assertEqual(first["finish"], "end")
        self.assertEqual(first["new_ids"], whole["new_ids"][:whole["new_ids"].index(end) + 1])
        self.assertGreater(second["prompt_tokens"], first["prompt_tokens"])

    def test_ctrl_c(self):
        model = self.model("qwen2", QWEN)
        (model / "generation_config.json").write_text(json.dumps({"eos_token_id": []}))
        for lines, waits_for in ((b"Hello\n", 20), (b"", 0)):
            with self.subTest(lines=lines):
                command = [PROGRAM, "generate", "--model", str(model), "--chat", "--max-new-tokens", "60000",
                           "--temperature", "1"]
                with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE) as process:
                    process.stdin.write(lines)
                    process.stdin.flush()
                    if waits_for == 0:  # until it stands at its prompt for a line, with the signal's handler set
                        status = Path(f"/proc/{process.pid}/status")
                        while process.poll() is None and not self.catches_interrupt(status):
                            time.sleep(0.01)
                    start = process.stdout.read(waits_for)
                    process.send_signal(signal.SIGINT)
                    rest, errors = process.communicate()
                self.assertEqual(process.returncode, 130, errors)
                self.assertNotIn(b"terminate", errors)
                self.assertNotIn(b"Exception", errors)
                if waits_for:
                    self.assertGreaterEqual(len(start + rest), waits_for)
                    self.assertIn(b"tokens/s", errors)

    @staticmethod
    def catches_interrupt(status):
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
        return int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1 == 1

    def test_what_is_missing_is_named(self):
        model = self.model("llama3", "{{ messages[0].content | unknown_filter }}")
        for template, words in (("{{ messages[0].content | unknown_filter }}", "unknown_filter"),
                                ("{{ raise_exception('System role not supported') }}", "System role not supported"),
                                (None, "chat_template")):
            config = {"chat_template": template} if template else {}
            (model / "tokenizer_config.json").write_text(json.dumps(config))
            with self.subTest(template=template):
                done = run("generate", "--model", str(model), "--chat", "--prompt", "Hello")
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn(words, done.stderr)
                self.assertIn("tokenizer_config.json", done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
