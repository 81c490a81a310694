#include "io/tokenizer/pretokenizer.h"

#include <algorithm>
#include <utility>

#include "io/tokenizer/utf8.h"

namespace seer::tok {
namespace {

struct Part {
  std::size_t begin;
  std::size_t end;
  bool is_match;
};

using MatchSink = FunctionRef<void(TextSpan)>;

// As Oniguruma's own iteration: an empty match right behind a match does not count, and the search goes on behind the
// next character.
void each_match(const Regex& regex, Regex::Scratch& scratch, std::string_view text,
                MatchSink sink) {
  std::size_t from = 0;
  std::optional<std::size_t> last_end;
  while (from <= text.size()) {
    const auto match = regex.find(text, from, scratch);
    if (!match) return;
    if (match->begin == match->end && match->end == last_end) {
      if (from >= text.size()) return;
      next_code_point(text, from);
      continue;
    }
    from = match->end;
    last_end = match->end;
    sink(*match);
  }
}

void each_match(const std::string& needle, std::string_view text, MatchSink sink) {
  for (std::size_t at = 0; (at = text.find(needle, at)) != std::string_view::npos;
       at += needle.size()) {
    sink({at, at + needle.size()});
  }
}

void each_match(KnownPattern pattern, std::string_view text, MatchSink sink) {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = end_of_piece(pattern, text, begin);
    sink({begin, end});
    begin = end;
  }
}

void each_match(const SplitStep& step, std::optional<Regex::Scratch>& scratch,
                std::string_view text, MatchSink sink) {
  if (const auto* known = std::get_if<KnownPattern>(&step.pattern)) {
    each_match(*known, text, sink);
  } else if (const auto* regex = std::get_if<Regex>(&step.pattern)) {
    each_match(*regex, *scratch, text, sink);
  } else {
    each_match(std::get<std::string>(step.pattern), text, sink);
  }
}

// The matches and what is between them, joined as the behaviour says.
std::vector<Part> joined_parts(const SplitStep& step, std::optional<Regex::Scratch>& scratch,
                               std::string_view text) {
  std::vector<Part> parts;
  std::size_t done = 0;
  each_match(step, scratch, text, [&](TextSpan match) {
    if (done < match.begin) parts.push_back({done, match.begin, step.invert});
    parts.push_back({match.begin, match.end, !step.invert});
    done = match.end;
  });
  if (done < text.size()) parts.push_back({done, text.size(), step.invert});

  std::vector<Part> joined;
  bool before = false;  // whether the part before was a match
  const auto add = [&](const Part& part, bool join, std::size_t Part::*edge) {
    if (join && !joined.empty()) {
      joined.back().*edge = part.*edge;
    } else {
      joined.push_back(part);
    }
    before = part.is_match;
  };
  switch (step.behavior) {
    case SplitBehavior::kIsolated: return parts;
    case SplitBehavior::kRemoved:
      std::erase_if(parts, [](const Part& part) { return part.is_match; });
      return parts;
    case SplitBehavior::kContiguous:
      for (const Part& part : parts) add(part, part.is_match == before, &Part::end);
      return joined;
    case SplitBehavior::kMergedWithPrevious:
      for (const Part& part : parts) add(part, part.is_match && !before, &Part::end);
      return joined;
    case SplitBehavior::kMergedWithNext:
      for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
        add(*part, part->is_match && !before, &Part::begin);
      }
      std::reverse(joined.begin(), joined.end());
      return joined;
  }
  return parts;
}

void split_step(const SplitStep& step, std::optional<Regex::Scratch>& scratch,
                std::string_view text, PieceSink sink) {
  if (step.behavior == SplitBehavior::kIsolated) {  // what almost all do; needs no list
    std::size_t done = 0;
    each_match(step, scratch, text, [&](TextSpan match) {
      if (done < match.begin) sink(text.substr(done, match.begin - done));
      if (match.begin < match.end) sink(text.substr(match.begin, match.end - match.begin));
      done = match.end;
    });
    if (done < text.size()) sink(text.substr(done));
    return;
  }
  for (const Part& part : joined_parts(step, scratch, text)) {
    if (part.begin < part.end) sink(text.substr(part.begin, part.end - part.begin));
  }
}

}  // namespace

PreTokenizer::PreTokenizer(std::vector<Step> steps) : steps_(std::move(steps)) {}

PreTokenizer::Scratch::Scratch(const PreTokenizer& pretokenizer) {
  for (const Step& step : pretokenizer.steps_) {
    const auto* split = std::get_if<SplitStep>(&step);
    const Regex* regex = split == nullptr ? nullptr : std::get_if<Regex>(&split->pattern);
    regexes.push_back(regex == nullptr ? std::nullopt
                                       : std::optional<Regex::Scratch>(std::in_place, *regex));
  }
}

void PreTokenizer::split(std::string_view text, Scratch& scratch, PieceSink sink) const {
  if (!text.empty()) run(0, text, scratch, sink);
}

void PreTokenizer::run(std::size_t step, std::string_view text, Scratch& scratch,
                       PieceSink sink) const {
  if (step == steps_.size()) {
    sink(text);
    return;
  }
  const auto next = [&](std::string_view piece) { run(step + 1, piece, scratch, sink); };
  if (const auto* split = std::get_if<SplitStep>(&steps_[step])) {
    split_step(*split, scratch.regexes[step], text, next);
  } else if (text.front() == ' ') {
    next(text);
  } else {
    std::string prefixed(1, ' ');
    prefixed.append(text);
    next(prefixed);
  }
}

}  // namespace seer::tok
