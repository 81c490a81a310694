#include "eval/ruler/words.h"

#include <fmt/format.h>

#include <numeric>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "base/quote.h"
#include "seer/retrieval_documents.h"

namespace seer::ruler {
namespace {

constexpr std::string_view kAdjectives =
    "able amber ancient autumn azure bare basic bitter black blank blue bold brave "
    "brief bright broad broken bronze brown busy calm candid careful central certain "
    "cheap clean clear clever close cloudy coarse cold common copper coral crisp "
    "crooked curious damp dark dear deep dense distant double dry dull dusty eager "
    "early earnest eastern easy empty equal exact faint fair famous fancy fast "
    "fertile few fine firm flat foreign formal fragile free fresh frozen full gentle "
    "giant glad golden good grand gray great green half handy happy hard harsh heavy "
    "hidden high hollow honest humble hungry icy idle inner iron jolly keen kind "
    "large late lazy lean level light little local lonely long loose loud low lucky "
    "marble mellow mild modern modest narrow native neat new noble northern odd old "
    "open orange outer pale patient plain pleasant polite poor proud pure purple "
    "quick quiet rapid rare raw ready rich ripe rough round royal rural rusty sandy "
    "scarlet secret sharp short shy silent silver simple slim slow small smooth soft "
    "solid southern spare square steady steep stern stiff stony strange strict strong "
    "sudden sunny sweet swift tall tame tender thick thin tidy tiny tired tough urban "
    "useful vast violet vivid warm weary western wet white wide wild windy wise "
    "wooden yellow young";
constexpr std::string_view kNouns =
    "acorn anchor answer apple apron arch arrow attic badge bakery barley barrel "
    "basin basket beacon bean bell bench berry bird blanket boat bottle bowl branch "
    "bread bridge broom bucket button cabin cable camel camera candle canoe canyon "
    "carpet cart castle cedar cellar chair chalk cherry chest chimney circle cliff "
    "clock cloud coast coat coin comet copy corner cottage cotton cradle crane creek "
    "crown cup curtain dance desert desk dinner door dragon drawer drum eagle engine "
    "envelope farmer feather fence ferry field finger flag flour flower flute forest "
    "fork fountain fox frame garden garlic gate glass glove goose grain grape grass "
    "guitar hammer harbor harvest hat hedge helmet hill honey horse hotel house "
    "island ivory jacket jewel journal kettle key kitchen kite knife ladder lake lamp "
    "lantern lawn leaf lemon letter library lion lizard map maple market mask meadow "
    "medal melon mill mirror mitten monkey moon mountain mouse museum napkin needle "
    "nest notebook oak ocean office olive onion orchard otter oven owl paddle painter "
    "palace paper parcel parrot path pebble pencil pepper piano picture pigeon pillow "
    "pilot pine pipe planet plate pocket pond poplar potato prairie puzzle rabbit "
    "radio rain ranch raven ribbon rice ring river road robin rocket roof room rope "
    "rose ruler sail salad salmon saddle scarf school scissors shadow sheep shell "
    "ship shirt shoe shovel singer sister sled snow soap spider spoon spring stable "
    "stamp star station stone storm stove street string summer swan table tailor "
    "teacher temple tent theater thread thunder ticket tiger tower town train tree "
    "trumpet tulip tunnel turtle valley vase village violin wagon wall walnut water "
    "wheat wheel whistle willow window winter wolf wool yard zebra";

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

std::vector<std::string> read_list(const Json& json, const std::string& place) {
  constexpr std::size_t kLeast = 10;
  if (!json.is_array() || json.size() < kLeast) {
    throw std::runtime_error(fmt::format("{}: expected a list of {} words or more", place, kLeast));
  }
  std::vector<std::string> words;
  std::set<std::string> seen;
  for (const Json& item : json) {
    const std::string word = item.is_string() ? item.get<std::string>() : std::string();
    if (word.empty() || word.find_first_of(" \t\r\n") != std::string::npos) {
      throw std::runtime_error(fmt::format("{}[{}]: expected a word without blanks, got {}", place,
                                           words.size(), quote(item.dump())));
    }
    if (!seen.insert(word).second) {
      throw std::runtime_error(fmt::format("{}: {} is there twice", place, quote(word)));
    }
    words.push_back(word);
  }
  return words;
}

}  // namespace

Words load_words(const std::filesystem::path& file) {
  Words words{.adjectives = split(kAdjectives), .nouns = split(kNouns), .words = {}};
  if (file.empty()) return words;
  const Json json = read_json_file(file);
  if (!json.is_object()) {
    throw std::runtime_error(file.string() + ": expected an object {adjectives, nouns, words}");
  }
  for (const auto& [key, list] : json.items()) {
    const std::string place = file.string() + ": " + printable(key, 40);
    if (key == "adjectives") {
      words.adjectives = read_list(list, place);
    } else if (key == "nouns") {
      words.nouns = read_list(list, place);
    } else if (key == "words") {
      words.words = read_list(list, place);
    } else {
      throw std::runtime_error(place + ": unknown, expected adjectives, nouns or words");
    }
  }
  return words;
}

std::string uuid(Random& random) {
  std::uint64_t high = random.next(), low = random.next();
  high = (high & 0xffffffffffff0fff) | 0x4000;
  low = (low & 0x3fffffffffffffff) | 0x8000000000000000;
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, (high >> 16) & 0xffff,
                     high & 0xffff, low >> 48, low & 0xffffffffffff);
}

std::int64_t KeyDraw::most() const {
  if (uuids_) return std::int64_t{1} << 40;
  return static_cast<std::int64_t>(words_.adjectives.size() * words_.nouns.size() / 4 * 3);
}

std::string KeyDraw::next() {
  for (;;) {
    std::string key;
    if (uuids_) {
      key = uuid(random_);
    } else {
      const std::int64_t nouns = static_cast<std::int64_t>(words_.nouns.size());
      const std::int64_t pair =
          random_.below(static_cast<std::int64_t>(words_.adjectives.size()) * nouns);
      key = words_.adjectives[static_cast<std::size_t>(pair / nouns)] + "-" +
            words_.nouns[static_cast<std::size_t>(pair % nouns)];
    }
    if (used_.insert(key).second) return key;
  }
}

std::string ValueDraw::next() {
  for (;;) {
    std::string value = uuids_ ? uuid(random_) : std::to_string(1000000 + random_.below(9000000));
    if (used_.insert(value).second) return value;
  }
}

WordDraw::WordDraw(const Words& words, Random random) : list_(words.words), random_(random) {
  order_.resize(list_.size());
  std::iota(order_.begin(), order_.end(), 0U);
}

std::int64_t WordDraw::most() const {
  return list_.empty() ? std::int64_t{100000} : static_cast<std::int64_t>(list_.size());
}

std::string WordDraw::next() {
  if (!list_.empty()) {
    if (drawn_ == order_.size()) throw std::logic_error("ruler: more words drawn than there are");
    const auto left = static_cast<std::int64_t>(order_.size() - drawn_);
    std::swap(order_[drawn_], order_[drawn_ + static_cast<std::size_t>(random_.below(left))]);
    return list_[order_[drawn_++]];
  }
  for (;;) {
    std::string word = invented_word(WordSet::kEvaluation, random_.next());
    if (used_.insert(word).second) return word;
  }
}

}  // namespace seer::ruler
