#include "comm/base/time.h"

#include <array>

#include "comm/base/amount.h"

namespace largo {

Time OptionCodec<Time>::parse(std::string_view text) {
  static constexpr std::array<std::string_view, 3> kUnits = {"s", "min", "h"};
  static constexpr std::array<double, 3> kSeconds = {1, 60, 3600};
  const auto [amount, unit] = detail::parse_amount(text, kUnits);
  return {amount * kSeconds[unit]};
}

std::string OptionCodec<Time>::print(const Time& value) {
  return detail::print_amount(value.seconds) + "s";
}

}  // namespace largo
