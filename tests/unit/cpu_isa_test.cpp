#include "base/cpu_isa.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

namespace seer {
namespace {

constexpr CpuIsa kAll[] = {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16};

// Sets SEER_CPU_ISA, or unsets it; puts the old value back at the end.
class ScopedCpuIsa {
 public:
  explicit ScopedCpuIsa(std::optional<std::string> value) {
    if (const char* old = std::getenv("SEER_CPU_ISA")) old_ = old;
    assign(value);
  }
  ~ScopedCpuIsa() { assign(old_); }
  ScopedCpuIsa(const ScopedCpuIsa&) = delete;
  ScopedCpuIsa& operator=(const ScopedCpuIsa&) = delete;

 private:
  static void assign(const std::optional<std::string>& value) {
    if (value) {
      ::setenv("SEER_CPU_ISA", value->c_str(), 1);
    } else {
      ::unsetenv("SEER_CPU_ISA");
    }
  }

  std::optional<std::string> old_;
};

CpuIsa best_supported() {
  CpuIsa best = CpuIsa::kPortable;
  for (const CpuIsa isa : kAll) {
    if (cpu_isa_supported(isa)) best = isa;
  }
  return best;
}

std::string refusal(const std::string& value) {
  const ScopedCpuIsa scope(value);
  try {
    cpu_isa();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(CpuIsa, NamesAreThoseOfTheVariable) {
  EXPECT_EQ(cpu_isa_name(CpuIsa::kPortable), "portable");
  EXPECT_EQ(cpu_isa_name(CpuIsa::kAvx2), "avx2");
  EXPECT_EQ(cpu_isa_name(CpuIsa::kAvx512), "avx512");
  EXPECT_EQ(cpu_isa_name(CpuIsa::kAvx512Bf16), "avx512_bf16");
}

TEST(CpuIsa, PortableRunsEverywhere) {
  EXPECT_TRUE(cpu_isa_supported(CpuIsa::kPortable));
}

TEST(CpuIsa, SupportOfABetterSetImpliesTheWorse) {
  for (int isa = 1; isa < 4; ++isa) {
    EXPECT_TRUE(!cpu_isa_supported(kAll[isa]) || cpu_isa_supported(kAll[isa - 1])) << isa;
  }
}

TEST(CpuIsa, BestWithoutTheVariable) {
  const ScopedCpuIsa scope(std::nullopt);
  EXPECT_EQ(cpu_isa(), best_supported());
}

TEST(CpuIsa, BestWhenTheVariableIsEmpty) {
  const ScopedCpuIsa scope("");
  EXPECT_EQ(cpu_isa(), best_supported());
}

TEST(CpuIsa, TheVariableChoosesAndIsReadAtEveryCall) {
  for (const CpuIsa isa : kAll) {
    const std::string name(cpu_isa_name(isa));
    if (cpu_isa_supported(isa)) {
      const ScopedCpuIsa scope(name);
      EXPECT_EQ(cpu_isa(), isa) << name;
    } else {
      EXPECT_NE(refusal(name), "") << name;
    }
  }
}

TEST(CpuIsa, AnUnknownValueIsAnsweredWithTheSupportedOnes) {
  for (const std::string value : {"avx1024", "AVX2", "avx512-bf16", " avx2"}) {
    const std::string message = refusal(value);
    EXPECT_NE(message.find("SEER_CPU_ISA=" + value), std::string::npos) << message;
    for (const CpuIsa isa : kAll) {
      const bool listed =
          message.find(cpu_isa_name(isa), message.find("expected")) != std::string::npos;
      EXPECT_TRUE(listed || !cpu_isa_supported(isa)) << cpu_isa_name(isa) << " in: " << message;
    }
  }
}

}  // namespace
}  // namespace seer
