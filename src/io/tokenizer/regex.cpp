#include "io/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdexcept>
#include <string>

#include "io/tokenizer/pattern.h"

namespace seer::tok {
namespace {

constexpr std::size_t kLongestPattern = 1 << 16;
constexpr std::uint32_t kMatchLimit = 20'000'000;  // backtracking steps of one match
constexpr std::uint32_t kDepthLimit = 1'000'000;
constexpr std::uint32_t kHeapLimit = 64 << 10;  // KiB
constexpr std::size_t kJitStack = std::size_t{32} << 20;

std::string message_of(int error) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct Regex::Code {
  explicit Code(std::string_view pattern) {
    if (pattern.size() > kLongestPattern) {
      throw std::runtime_error("a pattern of " + std::to_string(pattern.size()) +
                               " bytes, more than the limit of " + std::to_string(kLongestPattern));
    }
    const std::string text = to_pcre2(pattern);
    const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
        pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    pcre2_set_bsr(context.get(), PCRE2_BSR_UNICODE);
    int error = 0;
    PCRE2_SIZE offset = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                         PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                         &offset, context.get());
    if (code == nullptr) throw std::runtime_error(message_of(error));
    pcre2_jit_compile(
        code,
        PCRE2_JIT_COMPLETE);  // where it is not available the interpreter runs, with the same limits
  }
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  pcre2_code* code = nullptr;
};

struct Regex::Scratch::State {
  explicit State(const pcre2_code* code)
      : data(pcre2_match_data_create_from_pattern(code, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(std::size_t{32} << 10, kJitStack, nullptr)) {
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_depth_limit(context, kDepthLimit);
    pcre2_set_heap_limit(context, kHeapLimit);
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

Regex::Regex(std::string_view pattern) : code_(std::make_unique<Code>(pattern)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Regex::Scratch::Scratch(const Regex& regex) : state_(std::make_unique<State>(regex.code_->code)) {}
Regex::Scratch::Scratch(Scratch&&) noexcept = default;
Regex::Scratch& Regex::Scratch::operator=(Scratch&&) noexcept = default;
Regex::Scratch::~Scratch() = default;

std::optional<TextSpan> Regex::find(std::string_view text, std::size_t from,
                                    Scratch& scratch) const {
  const Scratch::State& state = *scratch.state_;
  const int result = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()),
                                 text.size(), from, PCRE2_NO_UTF_CHECK, state.data, state.context);
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) {
    throw std::runtime_error("the split pattern failed at byte " + std::to_string(from) +
                             " of a text of " + std::to_string(text.size()) +
                             " bytes: " + message_of(result));
  }
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(state.data);
  if (offsets[0] > offsets[1] || offsets[0] < from) {
    throw std::runtime_error("the split pattern matches backwards at byte " + std::to_string(from));
  }
  return TextSpan{offsets[0], offsets[1]};
}

}  // namespace seer::tok
