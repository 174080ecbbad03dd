#include "trainer/base/duration.h"

#include <array>
#include <charconv>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace largo {

namespace {

constexpr const char* kNoUnit = "has no known unit";

// Splits "12.5ep" into the number and the unit's place in `units`.
template <size_t N>
std::pair<double, size_t> parse_amount(std::string_view text,
                                       const std::array<std::string_view, N>& units) {
  const size_t end = text.find_first_not_of("0123456789.+-");
  if (end == std::string_view::npos || end == 0) {
    throw std::invalid_argument(end == 0 ? "does not start with a number" : kNoUnit);
  }
  for (size_t i = 0; i < N; ++i) {
    if (text.substr(end) != units[i]) continue;
    const double amount = OptionCodec<double>::parse(text.substr(0, end));
    if (std::signbit(amount)) throw std::invalid_argument("is negative");
    return {amount, i};
  }
  throw std::invalid_argument(kNoUnit);
}

// The shortest digits that read back to the same bits, never with an exponent, which would run into
// the unit: "100000s", not "1e+05s".
std::string print_amount(double amount) {
  std::array<char, 400> text;  // the smallest double takes 326
  const auto [end, error] =
      std::to_chars(text.data(), text.data() + text.size(), amount, std::chars_format::fixed);
  return std::string(text.data(), end);
}

}  // namespace

Duration OptionCodec<Duration>::parse(std::string_view text) {
  static constexpr std::array<std::string_view, 3> kUnits = {"ep", "steps", "samples"};
  const auto [amount, unit] = parse_amount(text, kUnits);
  if (unit != 0 && (amount != std::floor(amount) || amount > 9e15)) {
    throw std::invalid_argument("is not a whole number");
  }
  return {amount, static_cast<Duration::Unit>(unit)};
}

std::string OptionCodec<Duration>::print(const Duration& value) {
  switch (value.unit) {
    case Duration::Unit::kEpochs:
      return print_amount(value.amount) + "ep";
    case Duration::Unit::kSteps:
      return std::to_string(static_cast<int64_t>(value.amount)) + "steps";
    case Duration::Unit::kSamples:
      return std::to_string(static_cast<int64_t>(value.amount)) + "samples";
  }
  return {};
}

Time OptionCodec<Time>::parse(std::string_view text) {
  static constexpr std::array<std::string_view, 3> kUnits = {"s", "min", "h"};
  static constexpr std::array<double, 3> kSeconds = {1, 60, 3600};
  const auto [amount, unit] = parse_amount(text, kUnits);
  return {amount * kSeconds[unit]};
}

std::string OptionCodec<Time>::print(const Time& value) {
  return print_amount(value.seconds) + "s";
}

}  // namespace largo
