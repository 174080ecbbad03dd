#include "trainer/data/label_text.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "comm/base/error.h"

namespace largo::data {

namespace {

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

// For messages: the start of the text, one character for one byte.
std::string quoted(std::string_view text) {
  std::string shown(text.substr(0, 24));
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  return '"' + shown + (text.size() > shown.size() ? "...\"" : "\"");
}

}  // namespace

LabelText parse_cls(std::span<const uint8_t> text) {
  constexpr std::string_view kBlank = " \t\r\n";
  std::string_view digits(reinterpret_cast<const char*>(text.data()), text.size());
  digits.remove_prefix(std::min(digits.find_first_not_of(kBlank), digits.size()));
  digits = digits.substr(0, digits.find_last_not_of(kBlank) + 1);
  int64_t label = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, label);
  if (stop != end || error == std::errc::invalid_argument) {
    return {.flaw = quoted(digits) + " is not an integer"};
  }
  if (error == std::errc::result_out_of_range) label = digits[0] == '-' ? -1 : kMost;
  return {.labels = {label}};
}

LabelText parse_json_labels(std::span<const uint8_t> text) {
  const auto object = nlohmann::json::parse(text.begin(), text.end(), nullptr,
                                            /*allow_exceptions=*/false);
  if (object.is_discarded()) return {.flaw = "is not JSON"};
  LabelText found;
  for (const char* key : {"label", "cls"}) {
    if (!object.is_object() || !object.contains(key)) continue;
    const nlohmann::json& value = object.at(key);
    if (!value.is_number_integer()) {
      return {.flaw = concat("member \"", key, "\" is not an integer")};
    }
    const bool large = value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{kMost};
    found.labels.push_back(large ? kMost : value.get<int64_t>());
  }
  return found;
}

}  // namespace largo::data
