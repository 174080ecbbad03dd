// Lengths of time as users write them: "600s", "15min", "2h".
#pragma once

#include <string>
#include <string_view>

#include "comm/base/option_table.h"

namespace largo {

struct Time {
  double seconds = 0;

  friend bool operator==(const Time&, const Time&) = default;
};

template <>
struct OptionCodec<Time> {
  static constexpr const char* kType = "time (600s, 15min or 2h)";
  static Time parse(std::string_view text);
  static std::string print(const Time& value);
};

}  // namespace largo
