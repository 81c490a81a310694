// The chat template of a model, rendered with messages. Limits are small, so that the fuzzer meets them.
#include <ctime>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fuzz/fuzz_target.h"
#include "io/jinja/interpreter.h"
#include "io/jinja/json_text.h"
#include "io/jinja/lexer.h"
#include "io/jinja/parser.h"
#include "io/jinja/text.h"

void seer::fuzz::parse_input(std::string_view input) {
  using namespace seer::jinja;
  if (find_invalid_utf8(input)) throw std::runtime_error("no valid UTF-8");
  const std::string text = normalize_template(input);
  const Body body = parse_template(text);
  Budget budget(
      Limits{.max_output_bytes = 1 << 20, .max_work_bytes = 16 << 20, .max_steps = 200'000});
  const Value variables = from_json(
      R"({"messages": [{"role": "system", "content": " be kind "}, {"role": "user", "content": "a\nbä中"},
          {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1.5}}}]}],
          "tools": null, "add_generation_prompt": true, "bos_token": "<s>", "n": -7})",
      "variables", budget);
  render(body, variables.as_dict().items, budget, [] { return std::tm{}; });
}
