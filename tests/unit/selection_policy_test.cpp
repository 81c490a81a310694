#include "base/selection_policy.h"

#include <gtest/gtest.h>

#include <clocale>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace seer {
namespace {

std::string error_of(std::string_view text) {
  try {
    return SelectionPolicy::parse(text).to_string().append(" was accepted");
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
}

TEST(SelectionPolicy, CanonicalTextIsPrintedBackTheSame) {
  for (const char* text : {"dense",
                           "gate:ratio=0.1",
                           "gate:density=0.1",
                           "gate:threshold=5e-4",
                           "gate:mass=0.95",
                           "gate:budget=4096",
                           "oracle:ratio=0.1",
                           "streaming:ratio=0.1",
                           "meanpool:ratio=0.1",
                           "random:ratio=0.1",
                           "gate:ratio=1",
                           "gate:threshold=0",
                           "gate:threshold=1e-10",
                           "gate:threshold=2.5e-100",
                           "gate:mass=0.30000000000000004",
                           "gate:ratio=0.1,sink=1,local=2,dense_rows=3,start_layer=4",
                           "gate:budget=1,local=8",
                           "gate:budget=9223372036854775807,sink=9223372036854775807",
                           "quest:ratio=0.1",
                           "xattention:mass=0.9",
                           "xattention:threshold=0.01,sink=1,stride=8",
                           "minference:budget=512",
                           "minference:ratio=0.1,local=1,last=16",
                           "flexprefill:mass=0.9",
                           "flexprefill:density=0.1,tau=0.25",
                           "flexprefill:mass=0.9,tau=0,min_budget=0"}) {
    EXPECT_EQ(SelectionPolicy::parse(text).to_string(), text);
  }
}

TEST(SelectionPolicy, OtherSpellingsArePrintedCanonically) {
  const std::vector<std::pair<std::string, std::string>> spellings = {
      {"gate:sink=1,ratio=0.1", "gate:ratio=0.1,sink=1"},
      {"gate:start_layer=4,local=2,mass=0.5", "gate:mass=0.5,local=2,start_layer=4"},
      {"gate:ratio=0.10,sink=0", "gate:ratio=0.1"},
      {"gate:threshold=0.0005", "gate:threshold=5e-4"},
      {"gate:threshold=5E-04", "gate:threshold=5e-4"},
      {"gate:budget=064", "gate:budget=64"},
      {"xattention:stride=16,mass=0.9", "xattention:mass=0.9"},
      {"xattention:stride=8,mass=0.9,sink=1", "xattention:mass=0.9,sink=1,stride=8"},
      {"minference:last=64,ratio=0.1", "minference:ratio=0.1"},
      {"flexprefill:min_budget=1024,tau=0.10,mass=0.9", "flexprefill:mass=0.9"},
  };
  for (const auto& [text, canonical] : spellings) {
    EXPECT_EQ(SelectionPolicy::parse(text).to_string(), canonical);
    EXPECT_EQ(SelectionPolicy::parse(canonical), SelectionPolicy::parse(text));
  }
}

TEST(SelectionPolicy, FieldsAreFilled) {
  const auto policy =
      SelectionPolicy::parse("oracle:mass=0.9,sink=1,local=2,dense_rows=3,start_layer=4");
  EXPECT_EQ(policy.source, PolicySource::kOracle);
  EXPECT_EQ(policy.rule, PolicyRule::kMass);
  EXPECT_EQ(policy.value, 0.9);
  EXPECT_EQ(policy.sink, 1);
  EXPECT_EQ(policy.local, 2);
  EXPECT_EQ(policy.dense_rows, 3);
  EXPECT_EQ(policy.start_layer, 4);
  EXPECT_EQ(SelectionPolicy::parse("gate:budget=4096").budget, 4096);
  EXPECT_EQ(SelectionPolicy::parse("xattention:mass=0.9").stride, 16);
  EXPECT_EQ(SelectionPolicy::parse("xattention:mass=0.9,stride=4").stride, 4);
  EXPECT_EQ(SelectionPolicy::parse("minference:ratio=0.1").last, 64);
  EXPECT_EQ(SelectionPolicy::parse("minference:ratio=0.1,last=7").last, 7);
  const auto flexprefill = SelectionPolicy::parse("flexprefill:mass=0.9,tau=0.2,min_budget=512");
  EXPECT_EQ(flexprefill.source, PolicySource::kFlexprefill);
  EXPECT_EQ(flexprefill.tau, 0.2);
  EXPECT_EQ(flexprefill.min_budget, 512);
}

TEST(SelectionPolicy, ErrorsNameThePolicyTheKeyTheValueAndWhatIsAccepted) {
  EXPECT_EQ(error_of("gate:ratio=1.5"),
            "policy 'gate:ratio=1.5': ratio=1.5 is out of range (expected 0 < ratio <= 1)");
  EXPECT_EQ(error_of("gate:threshold=1"),
            "policy 'gate:threshold=1': threshold=1 is out of range (expected 0 <= threshold < 1)");
  EXPECT_EQ(error_of("gate:budget=0"),
            "policy 'gate:budget=0': budget=0 is out of range (expected an integer >= 1)");
  EXPECT_EQ(error_of("gate:ratio=0.1,sink=-1"),
            "policy 'gate:ratio=0.1,sink=-1': sink=-1 is out of range (expected an integer >= 0)");
  EXPECT_EQ(
      error_of("gate:ratio=0.1,sink=2.5"),
      "policy 'gate:ratio=0.1,sink=2.5': sink=2.5 is not a number (expected an integer >= 0)");
  EXPECT_EQ(error_of("gate:ratio=,sink=1"), "policy 'gate:ratio=,sink=1': ratio= has no value");
  EXPECT_EQ(error_of("gate:ratio=0.1,sink=1,sink=1"),
            "policy 'gate:ratio=0.1,sink=1,sink=1': sink=1 is given twice");
  EXPECT_EQ(error_of("gate:ratio=0.1,ratio=0.1"),
            "policy 'gate:ratio=0.1,ratio=0.1': ratio=0.1 is given twice");
  EXPECT_EQ(error_of("gate:ratio=0.1,mass=0.5"),
            "policy 'gate:ratio=0.1,mass=0.5': mass=0.5 is a second rule beside ratio (expected "
            "exactly one of ratio, density, threshold, mass, budget)");
  EXPECT_EQ(error_of("gate"),
            "policy 'gate': no rule (expected exactly one of ratio, density, threshold, mass, "
            "budget, as in 'gate:ratio=0.1')");
  EXPECT_EQ(error_of("gate:sink=1"),
            "policy 'gate:sink=1': no rule (expected exactly one of ratio, density, threshold, "
            "mass, budget, as in 'gate:ratio=0.1')");
  EXPECT_EQ(error_of("gate:"), "policy 'gate:': '' is not of the form key=value");
  EXPECT_EQ(error_of("gate:ratio"), "policy 'gate:ratio': 'ratio' is not of the form key=value");
  EXPECT_EQ(error_of("gate:top=5"),
            "policy 'gate:top=5': unknown key 'top' (expected ratio, density, threshold, mass, "
            "budget, sink, local, dense_rows, start_layer)");
  EXPECT_EQ(error_of("sparse:ratio=0.1"),
            "policy 'sparse:ratio=0.1': unknown source 'sparse' (expected dense, gate, oracle, "
            "streaming, meanpool, random, quest, xattention, minference, flexprefill)");
  EXPECT_EQ(error_of("dense:ratio=0.1"),
            "policy 'dense:ratio=0.1': dense takes no keys (expected 'dense')");
}

TEST(SelectionPolicy, KeysOfOneSourceAreRefusedElsewhere) {
  EXPECT_EQ(error_of("gate:ratio=0.1,stride=8"),
            "policy 'gate:ratio=0.1,stride=8': stride=8 is a key of xattention and not of gate "
            "(expected ratio, density, threshold, mass, budget, sink, local, dense_rows, "
            "start_layer)");
  EXPECT_EQ(error_of("xattention:ratio=0.1,tau=0.1"),
            "policy 'xattention:ratio=0.1,tau=0.1': tau=0.1 is a key of flexprefill and not of "
            "xattention (expected ratio, density, threshold, mass, budget, sink, local, "
            "dense_rows, start_layer, stride)");
  EXPECT_EQ(error_of("xattention:mass=0.9,stride=0"),
            "policy 'xattention:mass=0.9,stride=0': stride=0 is out of range (expected an integer "
            ">= 1)");
  EXPECT_EQ(error_of("flexprefill:mass=0.9,tau=1.5"),
            "policy 'flexprefill:mass=0.9,tau=1.5': tau=1.5 is out of range (expected 0 <= tau <= "
            "1)");
  EXPECT_EQ(error_of("minference:ratio=0.1,last=8,last=8"),
            "policy 'minference:ratio=0.1,last=8,last=8': last=8 is given twice");
  EXPECT_EQ(error_of("flexprefill:min_budget=512,ratio=0.1"),
            "policy 'flexprefill:min_budget=512,ratio=0.1': min_budget=512 goes with mass and not "
            "with ratio, which says itself how much is kept (leave it out)");
  EXPECT_EQ(error_of("flexprefill:mass=0.9,gamma=1"),
            "policy 'flexprefill:mass=0.9,gamma=1': unknown key 'gamma' (expected ratio, density, "
            "threshold, mass, budget, sink, local, dense_rows, start_layer, tau, min_budget)");
}

TEST(SelectionPolicy, Refuses) {
  for (const char* text : {"",
                           " ",
                           ":",
                           "dense ",
                           " dense",
                           "dense:",
                           "Dense",
                           "gate ratio=0.1",
                           "gate: ratio=0.1",
                           "gate:ratio =0.1",
                           "gate:ratio= 0.1",
                           "gate:ratio=0.1 ",
                           "gate:ratio=0.1,",
                           "gate:ratio=0.1,,sink=1",
                           "gate:,ratio=0.1",
                           "gate:ratio=0.1\n",
                           "gate:ratio=0.1;sink=1",
                           "gate:ratio=0.1x",
                           "gate:ratio=0,1",
                           "gate:ratio=nan",
                           "gate:ratio=inf",
                           "gate:ratio=-inf",
                           "gate:ratio=-0.1",
                           "gate:ratio=0",
                           "gate:ratio=-0",
                           "gate:ratio=+0.1",
                           "gate:ratio=1e400",
                           "gate:ratio=1e-400",
                           "gate:ratio=0x1p-3",
                           "gate:ratio==0.1",
                           "gate:threshold=-0.0",
                           "gate:threshold=nan",
                           "gate:mass=0",
                           "gate:mass=1.0000001",
                           "gate:density=2",
                           "gate:budget=-64",
                           "gate:budget=1e3",
                           "gate:budget=64.0",
                           "gate:budget=9223372036854775808",
                           "gate:budget=99999999999999999999999",
                           "gate:ratio=0.1,sink=-0",
                           "gate:ratio=0.1,local=",
                           "gate:ratio=0.1,=1",
                           "gate:ratio=0.1,dense_rows=0x1",
                           "gate:ratio=0.1,dense_rows=true",
                           "gate:ratio=0.1,start_layer=1,start_layer=2",
                           "gate:ratio=0.1,sink=0,sink=0",
                           "gate::ratio=0.1",
                           "quest:ratio=0.1,stride=16",
                           "xattention:mass=0.9,stride=-16",
                           "xattention:mass=0.9,stride=1.5",
                           "xattention:stride=16",
                           "minference:ratio=0.1,last=0",
                           "minference:ratio=0.1,min_budget=1",
                           "flexprefill:mass=0.9,tau=-0.1",
                           "flexprefill:mass=0.9,tau=-0",
                           "flexprefill:mass=0.9,tau=nan",
                           "flexprefill:mass=0.9,tau=inf",
                           "flexprefill:mass=0.9,tau=",
                           "flexprefill:mass=0.9,min_budget=-1",
                           "flexprefill:mass=0.9,min_budget=1,min_budget=1"}) {
    EXPECT_THROW(SelectionPolicy::parse(text), std::invalid_argument) << "'" << text << "'";
  }
  EXPECT_THROW(SelectionPolicy::parse(std::string_view("dense\0", 6)), std::invalid_argument);
}

TEST(SelectionPolicy, NoLocaleIsUsed) {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  for (const char* locale : {"de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"}) {
    if (std::setlocale(LC_ALL, locale) == nullptr) continue;
    EXPECT_EQ(SelectionPolicy::parse("gate:ratio=0.25").to_string(), "gate:ratio=0.25");
  }
  std::setlocale(LC_ALL, before.c_str());
}

TEST(SelectionPolicy, EveryValueSurvivesTheRoundTrip) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 2000; ++round) {
    SelectionPolicy policy;
    policy.source = static_cast<PolicySource>(1 + random() % 9);
    policy.rule = static_cast<PolicyRule>(1 + random() % 5);
    if (policy.rule == PolicyRule::kBudget) {
      policy.budget = 1 + static_cast<std::int64_t>(random() >> (1 + random() % 62));
    } else {
      policy.value = std::ldexp(std::uniform_real_distribution<>(0.5, 1.0)(random),
                                -static_cast<int>(random() % 1000));
    }
    for (auto count : {&SelectionPolicy::sink, &SelectionPolicy::local,
                       &SelectionPolicy::dense_rows, &SelectionPolicy::start_layer}) {
      if (random() % 2 != 0)
        policy.*count = static_cast<std::int64_t>(random() >> (1 + random() % 62));
    }
    if (policy.source == PolicySource::kXattention) {
      policy.stride = 1 + static_cast<std::int64_t>(random() % 128);
    } else if (policy.source == PolicySource::kMinference) {
      policy.last = 1 + static_cast<std::int64_t>(random() % 128);
    } else if (policy.source == PolicySource::kFlexprefill) {
      policy.tau = std::uniform_real_distribution<>()(random);
      if (policy.rule == PolicyRule::kMass)
        policy.min_budget = static_cast<std::int64_t>(random() % 4096);
    }
    EXPECT_EQ(SelectionPolicy::parse(policy.to_string()), policy) << policy.to_string();
  }
}

TEST(SelectionPolicy, DamagedTextIsRefusedOrReadsBackTheSame) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const std::string letters = "gate:ratio=0.1,sink=1e-+ x\n";
  for (int round = 0; round < 20000; ++round) {
    std::string text = "gate:ratio=0.125,sink=12,local=3";
    for (std::uint64_t damage = 1 + random() % 3; damage > 0; --damage) {
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0: text[at] = letters[random() % letters.size()]; break;
        case 1: text.insert(at, 1, letters[random() % letters.size()]); break;
        case 2: text.erase(at, 1 + random() % 4); break;
      }
      if (text.empty()) text.push_back('g');
    }
    try {
      const SelectionPolicy policy = SelectionPolicy::parse(text);
      EXPECT_EQ(SelectionPolicy::parse(policy.to_string()), policy) << text;
    } catch (const std::invalid_argument&) {
    }
  }
}

TEST(SelectionPolicy, BlocksOfRatio) {
  EXPECT_EQ(blocks_of_ratio(0.1, 128), 6);
  EXPECT_EQ(blocks_of_ratio(0.5, 128), 37);
  EXPECT_EQ(blocks_of_ratio(0.1, 2048), 105);
  EXPECT_EQ(blocks_of_ratio(0.5, 2048), 599);
  EXPECT_EQ(blocks_of_ratio(1.0, 2048), 2048);
  EXPECT_EQ(blocks_of_ratio(1e-300, 2048), 1);
  EXPECT_EQ(blocks_of_ratio(0.1, 0), 1);
}

TEST(SelectionPolicy, BlocksOfBudget) {
  EXPECT_EQ(blocks_of_budget(4096, 64), 64);
  EXPECT_EQ(blocks_of_budget(4095, 64), 63);
  EXPECT_EQ(blocks_of_budget(1, 64), 1);
}

}  // namespace
}  // namespace seer
