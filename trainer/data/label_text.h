// Labels as files hold them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace largo::data {

// Labels of a file, and what is wrong with it: `flaw` is empty where nothing is.
struct LabelText {
  std::vector<int64_t> labels = {};
  std::string flaw = {};
};

// Decimal digits with white space around.
LabelText parse_cls(std::span<const uint8_t> text);

// The members "label" and "cls" of a JSON object, none, one or both of which may be there; each an
// integer. JSON that is no object has none.
LabelText parse_json_labels(std::span<const uint8_t> text);

}  // namespace largo::data
