// The policies and the warm-up against golden values (50 digits, rounded to double).
#include "trainer/optim/lr_policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "trainer/optim/lr_cycles.h"
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

// LRBench's families, each with its three envelopes.
std::optional<Policy> make_cycle(std::string name, const json& p) {
  static const std::map<std::string, Wave> waves = {{"TRI", Wave::kTriangular},
                                                    {"DTRI", Wave::kTriangularDown},
                                                    {"SIN", Wave::kSine},
                                                    {"DSIN", Wave::kSineDown},
                                                    {"COS", Wave::kCosine},
                                                    {"UPCOS", Wave::kCosineUp},
                                                    {"RSW", Wave::kSawtooth},
                                                    {"SINRSW", Wave::kSineSawtooth},
                                                    {"COSRSW", Wave::kCosineSawtooth}};
  Cycle cycle;
  if (name.ends_with("2")) {
    cycle.envelope = Envelope::kHalving;
    name.resize(name.size() - 1);
  } else if (name.ends_with("EXP") && name != "EXP") {
    cycle.envelope = Envelope::kExponential;
    cycle.gamma = p["gamma"];
    name.resize(name.size() - 3);
  }
  const auto wave = waves.find(name);
  if (wave == waves.end()) return std::nullopt;
  cycle.wave = wave->second;
  cycle.k0 = p["k0"];
  cycle.k1 = p["k1"];
  cycle.length = p["l"];
  return cycle_policy(cycle);
}

std::optional<Policy> make_one_cycle(const std::string& name, const json& p) {
  const bool momentum = name.ends_with("_MOM");
  if (name.starts_with("ONECYCLE_FASTAI")) {
    const std::vector<double> at = one_cycle_times(p["pct_start"], p["total"]);
    if (momentum) return phases_policy(p["moms"], at, Anneal::kCosine);
    const double top = p["lr_max"];
    const double div = p["div"];
    const double div_final = p["div_final"];
    return phases_policy({top / div, top, top / div_final}, at, Anneal::kCosine);
  }
  if (!name.starts_with("ONECYCLE_TORCH")) return std::nullopt;
  const bool three = p["three_phase"];
  const Anneal anneal = p["anneal"] == "cos" ? Anneal::kCosine : Anneal::kLinear;
  const double top = p["max_lr"];
  const double first = top / p["div_factor"].get<double>();
  const double last = first / p["final_div_factor"].get<double>();
  const double high = p["max_momentum"];
  const double low = p["base_momentum"];
  std::vector<double> levels = momentum ? std::vector{high, low} : std::vector{first, top};
  if (three) levels.push_back(levels.front());
  levels.push_back(momentum ? high : last);
  return phases_policy(levels, one_cycle_torch_times(p["pct_start"], p["total_steps"], three),
                       anneal);
}

// From first to peak in `warmup` steps, then the policy from its own t = 0.
Policy after_warmup(double first, double peak, double warmup, const Policy& then) {
  return piecewise_policy({warmup}, {polynomial_policy(first, peak, 1, warmup), then});
}

Policy make(const std::string& name, const json& p);

Policy make_piecewise(const json& p) {
  std::vector<Policy> pieces;
  for (const json& piece : p["parts"]) pieces.push_back(make(piece["policy"], piece));
  return piecewise_policy(p["at"], pieces);
}

Policy make(const std::string& name, const json& p) {
  if (name == "FIX") return constant_policy(p["k0"]);
  if (name == "STEP") return step_policy(p["k0"], p["gamma"], p["l"]);
  if (name == "NSTEP") return multistep_policy(p["k0"], p["gamma"], p["l"]);
  if (name == "EXP") return exponential_policy(p["k0"], p["gamma"], 1);
  if (name == "INV") return inverse_policy(p["k0"], p["gamma"], p["p"]);
  if (name == "POLY") return polynomial_policy(p["k1"], p["k0"], p["p"], p["l"]);
  if (name == "SIG") return sigmoid_policy(p["k0"], p["gamma"], p["l"]);
  if (name == "LINEAR") return polynomial_policy(p["k0"], p["k1"], 1, p["l"]);
  if (name == "COSINE") return cosine_policy(p["lr_max"], p["lr_min"], p["l"]);
  if (name == "SGDR") return cosine_restarts_policy(p["lr_max"], p["lr_min"], p["t0"], p["t_mult"]);
  if (name == "SIGMOID_DECAY") {
    return sigmoid_decay_policy(p["up"], p["low"], p["kappa"], p["l"], p["cycles"]);
  }
  if (name == "TRAPEZOID") {
    return trapezoid_policy({.start = p["start"],
                             .peak = p["peak"],
                             .end = p["end"],
                             .up = p["up"],
                             .flat = p["flat"],
                             .down = p["down"],
                             .cycles = p["cycles"]});
  }
  if (name == "INVSQRT") {
    return after_warmup(0, p["lr"], p["warmup"], inverse_sqrt_policy(p["lr"], p["timescale"]));
  }
  if (name == "WSD") {
    const double ratio = p["min_ratio"];
    const Anneal anneal = p["decay_type"] == "1-sqrt" ? Anneal::kOneMinusSqrt : Anneal::kLinear;
    return after_warmup(p["lr"].get<double>() * ratio, p["lr"], p["warmup"],
                        stable_decay_policy(p["lr"], ratio, p["stable"], p["decay"], anneal));
  }
  if (name == "POLY_WARMUP") {
    const double length = p["train"].get<double>() - p["warmup"].get<double>() + 1;
    return after_warmup(0, p["base"], p["warmup"],
                        polynomial_policy(p["base"], p["end"], p["power"], length));
  }
  if (name == "PIECEWISE") return make_piecewise(p);
  if (const auto policy = make_one_cycle(name, p)) return *policy;
  if (const auto policy = make_cycle(name, p)) return *policy;
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
    inputs.global_batch = std::llround(target / *options.base);
  } else {
    options.warmup.start.kind = WarmupStart::Kind::kZero;
  }
  static const std::map<std::string, WarmupKind> kinds = {{"constant", WarmupKind::kConstant},
                                                          {"gradual", WarmupKind::kGradual},
                                                          {"zero", WarmupKind::kGradual},
                                                          {"exponential", WarmupKind::kExponential},
                                                          {"sigmoid", WarmupKind::kSigmoid}};
  options.warmup.kind = kinds.at(p["kind"]);
  if (p.contains("kappa")) options.warmup.kappa = p["kappa"];
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
  for (const GoldenRow& row : read_golden(LARGO_SOURCE_DIR "/tests/golden/lr_policies.csv")) {
    const double lr = row.policy.starts_with("WARMUP") ? make_warmup(row.params).lr(row.t)
                                                       : make(row.policy, row.params)(row.t);
    EXPECT_NEAR(lr, row.lr, 1e-14 + 1e-12 * std::abs(row.lr))
        << row.policy << ' ' << row.params << " at t = " << row.t;
    ++tested[row.policy];
  }
  // 26 values of each LRBench policy but one, and those of the others.
  std::map<std::string, int> others = {
      {"NSTEP", 31},         {"INVSQRT", 23},   {"ONECYCLE_FASTAI", 25},
      {"PIECEWISE", 29},     {"SGDR", 28},      {"ONECYCLE_FASTAI_MOM", 25},
      {"SIGMOID_DECAY", 32}, {"TRAPEZOID", 49}, {"ONECYCLE_TORCH", 28},
      {"WARMUP", 120},       {"WSD", 30},       {"ONECYCLE_TORCH_MOM", 28}};
  EXPECT_EQ(tested.size(), 49);
  for (const auto& [policy, values] : tested) {
    EXPECT_EQ(values, others.contains(policy) ? others[policy] : 26) << policy;
  }
}

// LRBench's parameters under its own name, in steps and one factor of 1.
LrSchedule from_options(const std::string& name, const json& p) {
  LrOptions options;
  options.base_batch = 1;
  OptionTable table;
  declare_options(table, options);
  const auto set = [&](const std::string& key, const std::string& text) {
    const auto wrong = table.find(key)->set({.scalar = text});
    if (wrong) throw std::invalid_argument(key + ": " + *wrong);
  };
  set("lr.policy.kind", name);
  const bool cycle = is_cycle(options.policy.kind);
  if (name == "POLY") {
    set("lr.base", p["k1"].dump());
    set("lr.policy.end", p["k0"].dump());
  } else if (cycle) {
    set("lr.policy.k0", p["k0"].dump());
    set("lr.policy.k1", p["k1"].dump());
  } else {
    set("lr.base", p["k0"].dump());
  }
  if (p.contains("gamma")) set("lr.policy.gamma", p["gamma"].dump());
  if (p.contains("p")) set("lr.policy.power", p["p"].dump());
  if (name == "EXP") options.policy.length = Duration{1, Duration::Unit::kSteps};
  if (name == "NSTEP") {
    for (const double at : p["l"]) options.policy.milestones.push_back({at});
  } else if (p.contains("l")) {
    set("lr.policy.length", p["l"].dump() + "steps");
  }
  EXPECT_EQ(check(options).size(), 0) << name;
  return make_schedule(options, {.global_batch = 1,
                                 .total_steps = 1000,
                                 .steps_of = [](const Duration& d) { return d.amount; }});
}

TEST(LrPolicy, EveryLrBenchNameInTheOptionsGivesItsValues) {
  std::set<std::string> names;
  for (const GoldenRow& row : read_golden(LARGO_SOURCE_DIR "/tests/golden/lr_policies.csv")) {
    static const std::set<std::string> kPlain = {"FIX", "STEP", "NSTEP", "EXP",
                                                 "INV", "POLY", "SIG"};
    if (!kPlain.contains(row.policy) && !make_cycle(row.policy, row.params)) continue;
    EXPECT_NEAR(from_options(row.policy, row.params).lr(row.t), row.lr,
                1e-14 + 1e-12 * std::abs(row.lr))
        << row.policy << ' ' << row.params << " at t = " << row.t;
    names.insert(row.policy);
  }
  EXPECT_EQ(names.size(), 34);
}

// torch.optim.lr_scheduler.OneCycleLR, PyTorch 2.11, where a phase ends before the first step or
// with the last one.
TEST(LrPolicy, OneCycleOfFewStepsIsPyTorchs) {
  struct Case {
    double steps, pct_start;
    bool three_phase;
    Anneal anneal;
    std::vector<double> lrs;
  };
  const std::vector<Case> cases = {
      {3, 0.3, false, Anneal::kLinear, {0.9523811428571428, 0.4761925714285714, 4e-06}},
      {3, 0.3, false, Anneal::kCosine, {0.9944154354509117, 0.46263710266697505, 4e-06}},
      {4, 0, false, Anneal::kLinear, {0.750001, 0.500002, 0.250003, 4e-06}},
      {3, 0.3, true, Anneal::kLinear, {0.036364, 0.018184, 4e-06}},
      {4, 1, false, Anneal::kLinear, {0.04, 0.36, 0.68, 1}}};
  for (const Case& c : cases) {
    std::vector<double> levels = {0.04, 1};
    if (c.three_phase) levels.push_back(0.04);
    levels.push_back(4e-6);
    const Policy policy =
        phases_policy(levels, one_cycle_torch_times(c.pct_start, c.steps, c.three_phase), c.anneal);
    for (size_t step = 0; step < c.lrs.size(); ++step) {
      EXPECT_NEAR(policy(static_cast<double>(step)), c.lrs[step], 1e-14) << c.steps << ", " << step;
    }
  }
}

TEST(LrPolicy, IsNeverNotANumber) {
  std::vector<Policy> policies = {
      inverse_policy(1, 1e300, 3),
      polynomial_policy(1, 0.1, 0.3, 7),
      sigmoid_policy(1, -1e300, 7),
      sigmoid_decay_policy(1, 0, 1e300, 7, 3),
      inverse_sqrt_policy(1, 1e-300),
      cosine_restarts_policy(1, 0, 7, 3),
      stable_decay_policy(1, 0, 0, 0, Anneal::kOneMinusSqrt),
      stable_decay_policy(1, 0, 3, 0.1, Anneal::kOneMinusSqrt),
      trapezoid_policy({.peak = 1, .flat = 3}),
      phases_policy({0, 1, 0}, one_cycle_times(0, 7), Anneal::kCosine),
      phases_policy({0, 1, 0}, one_cycle_times(1, 7), Anneal::kCosine),
      phases_policy({0, 1, 0, 0}, one_cycle_torch_times(0.3, 1, true), Anneal::kLinear)};
  for (int wave = 0; wave < kWaves; ++wave) {
    for (int envelope = 0; envelope < kEnvelopes; ++envelope) {
      policies.push_back(cycle_policy({.wave = static_cast<Wave>(wave),
                                       .envelope = static_cast<Envelope>(envelope),
                                       .k1 = 1,
                                       .length = 7,
                                       .gamma = 1e-300}));
    }
  }
  for (size_t i = 0; i < policies.size(); ++i) {
    for (const double t : {0.0, 1.0, 6.9, 7.0, 7.1, 14.0, 21.0, 1e6, 1e15}) {
      const double lr = policies[i](t);
      EXPECT_TRUE(lr >= 0 && lr <= 1) << "policy " << i << " at " << t << ": " << lr;
    }
  }
}

// A logarithm finds the wrong cycle here: PyTorch's restart at step 1210 gives lr_min.
TEST(LrPolicy, RestartsAreAtTheirSteps) {
  const Policy policy = cosine_restarts_policy(1, 0, 10, 3);
  for (const double at : {0, 10, 40, 130, 400, 1210, 3640}) EXPECT_EQ(policy(at), 1) << at;
  const Policy equal = cosine_restarts_policy(1, 0, 391.3, 1);
  for (int n = 1; n < 40; ++n) EXPECT_NEAR(equal(n * 391.3), 1, 1e-12) << n;
}

TEST(LrPolicy, StepsDropExactlyAtMultiplesOfTheirLength) {
  // The quotient of the number just below 9 * 391.3 and 391.3 rounds to 9: a bare floor is early.
  // That of 43 * 0.1 and 0.1 rounds to a number below 43: it is late.
  for (const double length : {1.0, 3.0, 7.0, 49.0, 0.1, 391.3, 1e9}) {
    const Policy policy = step_policy(1, 0.5, length);
    for (int n = 1; n < 100; ++n) {
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
