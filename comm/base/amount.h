// Numbers with a unit behind them, as "12.5ep" and "600s" have it.
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "comm/base/option_table.h"

namespace largo::detail {

// Splits "12.5ep" into the number, which is not negative, and the unit's place in `units`. Throws
// std::invalid_argument as OptionCodec's parse does.
template <size_t N>
std::pair<double, size_t> parse_amount(std::string_view text,
                                       const std::array<std::string_view, N>& units) {
  static constexpr const char* kNoUnit = "has no known unit";
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
inline std::string print_amount(double amount) {
  std::array<char, 400> text;  // the smallest double takes 326
  const auto [end, error] =
      std::to_chars(text.data(), text.data() + text.size(), amount, std::chars_format::fixed);
  return std::string(text.data(), end);
}

}  // namespace largo::detail
