// Variable tracking: chains of assignments among noise.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "eval/ruler/draft.h"
#include "eval/ruler/noise.h"
#include "eval/ruler/prompts.h"

namespace seer::ruler {
namespace {

struct Assignment {
  Place place;
  std::string line;
};

struct Chains {
  std::vector<Assignment> assignments;  // in the order of the text
  std::string value;                    // of the first chain
  std::vector<std::string> variables;   // that have it
};

// `names` are those that were given already.
Chains draw_chains(std::int64_t chains, std::int64_t hops, std::set<std::string>& names,
                   Random& random) {
  constexpr int kNameLength = 5;
  Chains result;
  std::set<std::string> values;
  for (std::int64_t chain = 0; chain < chains; ++chain) {
    std::string value;
    do value = std::to_string(10000 + random.below(90000));
    while (!values.insert(value).second);
    // Sorted, so that a variable has its value before it is used.
    std::vector<Place> places;
    for (std::int64_t i = 0; i <= hops; ++i) places.push_back(Place::draw(random));
    std::sort(places.begin(), places.end(),
              [](const Place& a, const Place& b) { return a.fraction < b.fraction; });
    std::string last;
    for (std::int64_t i = 0; i <= hops; ++i) {
      std::string name;
      do {
        name.clear();
        for (int j = 0; j < kNameLength; ++j) name += static_cast<char>('A' + random.below(26));
      } while (!names.insert(name).second);
      const std::string right = i == 0 ? value : "VAR " + last;
      result.assignments.push_back(
          {places[static_cast<std::size_t>(i)], fmt::format("VAR {} = {}", name, right)});
      if (chain == 0) result.variables.push_back(name);
      last = name;
    }
    if (chain == 0) result.value = value;
  }
  std::stable_sort(
      result.assignments.begin(), result.assignments.end(),
      [](const Assignment& a, const Assignment& b) { return a.place.fraction < b.place.fraction; });
  return result;
}

std::string text_of(const Chains& chains, std::int64_t sentences) {
  std::vector<std::pair<std::int64_t, std::string>> inserted;
  for (const Assignment& assignment : chains.assignments) {
    inserted.emplace_back(assignment.place.among(noise_gaps(sentences)), assignment.line);
  }
  return noise_with(sentences, inserted);
}

// A unit is a sentence of noise.
class VariableTracking : public Draft {
 public:
  VariableTracking(const DraftSource& source, Random random) {
    constexpr std::int64_t kExampleSentences = 25;
    filler_lead += '\n';
    Random example_random = random.split(1);
    std::set<std::string> names;
    const Chains solved =
        draw_chains(source.options.chains, source.options.hops, names, example_random);
    ask(solved);
    const FilledPrompt filled = fill(source.form, *this);
    std::string answer;
    for (const std::string& name : solved.variables) answer += " " + name;
    std::string prefix = filled.answer_prefix;
    while (!prefix.empty() && prefix.back() == ' ') prefix.pop_back();
    const char* const between = source.form.is_built_in ? " " : "";
    example = filled.before + text_of(solved, kExampleSentences) + filled.after + between + prefix +
              answer + "\n\n";
    chains_ = draw_chains(source.options.chains, source.options.hops, names, random);
    ask(chains_);
    references = chains_.variables;
  }

  std::string context(std::int64_t units) override { return text_of(chains_, units); }

 private:
  void ask(const Chains& chains) {
    query = chains.value;
    answers = static_cast<std::int64_t>(chains.variables.size());
  }

  Chains chains_;
};

}  // namespace

std::unique_ptr<Draft> draft_vt(const DraftSource& source, Random random) {
  return std::make_unique<VariableTracking>(source, random);
}

}  // namespace seer::ruler
