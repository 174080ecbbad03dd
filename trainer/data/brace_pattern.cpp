#include "trainer/data/brace_pattern.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>

#include "comm/base/error.h"
#include "comm/base/option_table.h"

namespace largo::data {

namespace {

constexpr size_t kMostDigits = 18;  // fit into 64 bits
constexpr const char* kExample = "train-{0000..0146}.tar";

class Expander {
 public:
  // Both must outlive this object.
  Expander(const std::string& pattern, const std::string& key) : pattern_(pattern), key_(key) {}

  std::vector<std::string> expand() const {
    if (pattern_.empty()) refuse("is empty; legal: a file, or many: ", kExample);
    if (const size_t at = pattern_.find_first_of("*?"); at != std::string::npos) {
      refuse(pattern_[at],
             " is not expanded, since a missing file would go unnoticed; legal: ", "braces, as in ",
             kExample);
    }
    std::vector<std::string> names = {""};
    size_t at = 0;
    while (at < pattern_.size()) {
      const size_t open = std::min(pattern_.find_first_of("{}", at), pattern_.size());
      append(names, {pattern_.substr(at, open - at)});
      if (open == pattern_.size()) break;
      const size_t close = partner(open);
      append(names, alternatives(pattern_.substr(open + 1, close - open - 1)));
      at = close + 1;
    }
    check_distinct(names);
    return names;
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    throw OptionError({key_, concat(pattern_, pattern_.empty() ? "" : ": ", parts...)});
  }

  // Where the brace at `open` ends.
  size_t partner(size_t open) const {
    if (pattern_[open] == '}') refuse("the } at character ", open + 1, " has no {");
    const size_t next = pattern_.find_first_of("{}", open + 1);
    if (next == std::string::npos) refuse("the { at character ", open + 1, " has no }");
    if (pattern_[next] == '{') {
      refuse("the { at character ", next + 1, " stands within braces; legal: one after another");
    }
    return next;
  }

  std::vector<std::string> alternatives(const std::string& body) const {
    if (body.find(',') != std::string::npos) return split(body);
    const size_t dots = body.find("..");
    if (dots == std::string::npos) {
      refuse("{", body, "} is neither a range nor a list; legal: {0..9}, {000..146}, {a,b}");
    }
    return range(body, std::string_view(body).substr(0, dots),
                 std::string_view(body).substr(dots + 2));
  }

  static std::vector<std::string> split(const std::string& body) {
    std::vector<std::string> items;
    size_t from = 0;
    for (size_t comma = 0; comma != std::string::npos; from = comma + 1) {
      comma = body.find(',', from);
      items.push_back(body.substr(from, comma == std::string::npos ? comma : comma - from));
    }
    return items;
  }

  std::vector<std::string> range(const std::string& body, std::string_view first_text,
                                 std::string_view last_text) const {
    const int64_t first = number(body, first_text), last = number(body, last_text);
    if (first > last) {
      refuse("{", body, "} runs backwards; legal: {", last_text, "..", first_text, "}");
    }
    if (static_cast<uint64_t>(last - first) >= kMostShards) refuse_number();
    const auto padded = [](std::string_view text) { return text.size() > 1 && text[0] == '0'; };
    const size_t width =
        padded(first_text) || padded(last_text) ? std::max(first_text.size(), last_text.size()) : 0;
    std::vector<std::string> items;
    for (int64_t value = first; value <= last; ++value) {
      std::string digits = std::to_string(value);
      if (digits.size() < width) digits.insert(0, width - digits.size(), '0');
      items.push_back(std::move(digits));
    }
    return items;
  }

  int64_t number(const std::string& body, std::string_view text) const {
    int64_t value = 0;
    const char* stop = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data(), stop, value);
    if (error != std::errc() || end != stop || text[0] == '-' || text.size() > kMostDigits) {
      refuse("{", body, "}: \"", text, "\" is not a number; legal: {0..9}, {000..146}");
    }
    return value;
  }

  [[noreturn]] void refuse_number() const {
    refuse("stands for too many names; legal: at most ", kMostShards);
  }

  // Every name with every ending.
  void append(std::vector<std::string>& names, const std::vector<std::string>& endings) const {
    if (endings.size() == 1) {
      for (std::string& name : names) name += endings.front();
      return;
    }
    if (names.size() > kMostShards / endings.size()) refuse_number();
    std::vector<std::string> longer;
    longer.reserve(names.size() * endings.size());
    for (const std::string& name : names) {
      for (const std::string& ending : endings) longer.push_back(name + ending);
    }
    names = std::move(longer);
  }

  void check_distinct(const std::vector<std::string>& names) const {
    std::vector<std::string_view> sorted(names.begin(), names.end());
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) refuse("stands for ", *twice, " more than once");
  }

  const std::string& pattern_;
  const std::string& key_;
};

}  // namespace

std::vector<std::string> expand_braces(const std::string& pattern, const std::string& key) {
  return Expander(pattern, key).expand();
}

}  // namespace largo::data
