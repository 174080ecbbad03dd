// The policies and the warm-up against golden values (50 digits, rounded to double).
#include "trainer/optim/lr_policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "trainer/optim/lr_schedule.h"

namespace largo::optim {
namespace {

using nlohmann::json;

struct GoldenRow {
  std::string policy;
  json params;
  double t = 0;
  double lr = 0;
};

// Lines are  NAME,"{""key"":value}",t,lr  with doubled quotes in the JSON.
std::vector<GoldenRow> read_golden(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);  // titles
  std::vector<GoldenRow> rows;
  while (std::getline(file, line)) {
    const size_t open = line.find(",\"");
    const size_t close = line.rfind("\",");
    std::string params = line.substr(open + 2, close - open - 2);
    for (size_t at = 0; (at = params.find("\"\"", at)) != std::string::npos; ++at) {
      params.erase(at, 1);
    }
    const std::string numbers = line.substr(close + 2);
    const size_t comma = numbers.find(',');
    rows.push_back({line.substr(0, open), json::parse(params), std::stod(numbers),
                    std::stod(numbers.substr(comma + 1))});
  }
  return rows;
}

Policy make(const std::string& name, const json& p) {
  if (name == "FIX") return constant_policy(p["k0"]);
  if (name == "STEP") return step_policy(p["k0"], p["gamma"], p["l"]);
  if (name == "NSTEP") return multistep_policy(p["k0"], p["gamma"], p["l"]);
  if (name == "EXP") return exponential_policy(p["k0"], p["gamma"], 1);
  if (name == "POLY") return polynomial_policy(p["k1"], p["k0"], p["p"], p["l"]);
  if (name == "LINEAR") return polynomial_policy(p["k0"], p["k1"], 1, p["l"]);
  if (name == "COSINE") return cosine_policy(p["lr_max"], p["lr_min"], p["l"]);
  throw std::invalid_argument("no policy of ours: " + name);
}

// The options that give the golden file's warm-up, with the policy that follows it.
LrSchedule make_warmup(const json& p) {
  const double target = p["target"];
  LrOptions options;
  options.base = target;
  options.base_batch = 1;
  ScheduleInputs inputs{.global_batch = 1,
                        .total_steps = 1 << 30,
                        .steps_of = [](const Duration& d) { return d.amount; }};
  if (p.contains("base")) {
    options.base = p["base"];
    inputs.global_batch = std::llround(target / options.base);
  } else {
    options.warmup.start.kind = WarmupStart::Kind::kZero;
  }
  options.warmup.kind = p["kind"] == "constant" ? WarmupKind::kConstant : WarmupKind::kGradual;
  options.warmup.length = Duration{p["steps"], Duration::Unit::kSteps};
  if (p.contains("then")) {
    const json& then = p["then"];
    options.policy_clock = p["reset"] ? PolicyClock::kAfterWarmup : PolicyClock::kGlobal;
    if (then["policy"] == "NSTEP") {
      options.policy.kind = PolicyKind::kMultistep;
      options.policy.gamma = then["gamma"];
      for (const double at : then["l"]) {
        options.policy.milestones.push_back({at, Duration::Unit::kSteps});
      }
    } else {
      options.policy.kind = PolicyKind::kCosine;
      options.policy.end = then["lr_min"];
      options.policy.length = Duration{then["l"], Duration::Unit::kSteps};
    }
  }
  return make_schedule(options, inputs);
}

TEST(LrPolicy, AgreesWithTheGoldenValues) {
  std::map<std::string, int> tested;
  for (const GoldenRow& row : read_golden(LARGO_SOURCE_DIR "/tests/golden/lr_policies_core.csv")) {
    const double lr = row.policy.starts_with("WARMUP") ? make_warmup(row.params).lr(row.t)
                                                       : make(row.policy, row.params)(row.t);
    EXPECT_NEAR(lr, row.lr, 1e-14 + 1e-12 * std::abs(row.lr))
        << row.policy << ' ' << row.params << " at t = " << row.t;
    ++tested[row.policy];
  }
  const std::map<std::string, int> expected = {{"COSINE", 26}, {"EXP", 26},    {"FIX", 26},
                                               {"LINEAR", 26}, {"NSTEP", 31},  {"POLY", 26},
                                               {"STEP", 26},   {"WARMUP", 72}, {"WARMUP_THEN", 26}};
  EXPECT_EQ(tested, expected);
}

TEST(LrPolicy, StepsDropExactlyAtMultiplesOfTheirLength) {
  // The quotient of the number just below 9 * 391.3 and 391.3 rounds to 9: a bare floor is early.
  for (const double length : {1.0, 3.0, 7.0, 49.0, 0.1, 391.3, 1e9}) {
    const Policy policy = step_policy(1, 0.5, length);
    for (int n = 1; n < 40; ++n) {
      const double at = n * length;
      EXPECT_EQ(policy(at), std::pow(0.5, n)) << n << " x " << length;
      EXPECT_EQ(policy(std::nextafter(at, 0)), std::pow(0.5, n - 1)) << n << " x " << length;
    }
  }
}

TEST(LrPolicy, MilestonesCountFromTheStepTheyName) {
  const Policy policy = multistep_policy(1, 0.5, {0, 10});
  EXPECT_EQ(policy(0), 0.5);
  EXPECT_EQ(policy(std::nextafter(10, 0)), 0.5);
  EXPECT_EQ(policy(10), 0.25);
}

}  // namespace
}  // namespace largo::optim
