#include "trainer/base/duration.h"

#include <array>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "comm/base/amount.h"
#include "comm/base/error.h"

namespace largo {

Duration OptionCodec<Duration>::parse(std::string_view text) {
  static constexpr std::array<std::string_view, 3> kUnits = {"ep", "steps", "samples"};
  const auto [amount, unit] = detail::parse_amount(text, kUnits);
  if (unit != 0 && amount != std::floor(amount)) {
    throw std::invalid_argument("is not a whole number");
  }
  // So that whatever is counted in steps and samples stays a whole number.
  static constexpr std::array<std::pair<double, const char*>, 3> kMost = {
      {{1e7, "1e7 epochs"}, {1e12, "1e12 steps"}, {1e15, "1e15 samples"}}};
  if (const auto& [most, words] = kMost[unit]; amount > most) {
    throw std::invalid_argument(concat("is longer than ", words));
  }
  return {amount, static_cast<Duration::Unit>(unit)};
}

std::string OptionCodec<Duration>::print(const Duration& value) {
  switch (value.unit) {
    case Duration::Unit::kEpochs:
      return detail::print_amount(value.amount) + "ep";
    case Duration::Unit::kSteps:
      return std::to_string(static_cast<int64_t>(value.amount)) + "steps";
    case Duration::Unit::kSamples:
      return std::to_string(static_cast<int64_t>(value.amount)) + "samples";
  }
  return {};
}

}  // namespace largo
