"""The golden chat templates rendered by Jinja itself, as transformers sets it up.

tests/io/chat_template_test.cpp holds Seer to the same file. Run as a program, this rewrites the file's outputs.
"""

import json
from pathlib import Path

import pytest

jinja2 = pytest.importorskip("jinja2")
from jinja2.ext import Extension  # noqa: E402
from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: E402

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "chat_templates"
CASES = json.loads((FOLDER / "cases.json").read_text(encoding="utf-8"))


class Generation(Extension):
    """{% generation %} prints its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    @staticmethod
    def _body(caller):
        return caller()


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def render(case):
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                extensions=[Generation, "jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    text = (FOLDER / case["template"]).read_text(encoding="utf-8") if "template" in case else case["text"]
    return environment.from_string(text).render(**{"tools": None, "documents": None, **case["variables"]})


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_golden_output_is_jinjas(case):
    if "error" in case:
        with pytest.raises(Exception, match=case["error"] or None):
            render(case)
    else:
        assert render(case) == case["output"]


if __name__ == "__main__":
    for golden in CASES:
        if "error" not in golden:
            golden["output"] = render(golden)
    (FOLDER / "cases.json").write_text(json.dumps(CASES, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
