#include "comm/base/option_table.h"

#include <array>
#include <charconv>
#include <cmath>
#include <iterator>
#include <stdexcept>

#include "comm/base/error.h"

namespace largo {

namespace {

bool has_leading_zero(std::string_view text) {
  if (!text.empty() && text.front() == '-') text.remove_prefix(1);
  return text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9';
}

// The whole text as a T, by std::from_chars: the C locale cannot change what a number means.
template <class T>
T parse_number(std::string_view text, const char* what) {
  if (has_leading_zero(text)) {
    throw std::invalid_argument("has a leading zero, which YAML readers take for octal or decimal");
  }
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) throw std::invalid_argument("is too large");
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) {
    throw std::invalid_argument(what);
  }
  return value;
}

}  // namespace

bool OptionCodec<bool>::parse(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  throw std::invalid_argument("is neither true nor false");
}

int64_t OptionCodec<int64_t>::parse(std::string_view text) {
  return parse_number<int64_t>(text, "is not an integer");
}

double OptionCodec<double>::parse(std::string_view text) {
  const double value = parse_number<double>(text, "is not a number");
  if (!std::isfinite(value)) throw std::invalid_argument("is not a finite number");
  return value;
}

std::string OptionCodec<double>::print(double value) {
  std::array<char, 32> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  return std::string(text.data(), end);
}

std::string OptionCodec<std::string>::print(const std::string& value) {
  const bool plain = !value.empty() &&
                     value.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXY"
                         "Z0123456789_./+-") == std::string::npos &&
                     value.front() != '-';
  if (plain) return value;
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

void OptionTable::add_option(Option option) {
  LARGO_CHECK(find(option.key) == nullptr, "option ", option.key, " is declared twice");
  options_.push_back(std::move(option));
}

void OptionTable::set_rows(const std::string& key, size_t count) {
  const Option* const option = find(key);
  LARGO_CHECK(option != nullptr && option->rows, key, " is no list of maps");
  const OptionRows rows = *option->rows;  // a copy: the options move
  std::erase_if(options_, [&](const Option& row) { return row.key.starts_with(key + "."); });
  rows.resize(count);
  OptionTable below;
  rows.declare(below);
  const auto after = std::next(options_.begin(), find(key) - options_.data() + 1);
  options_.insert(after, std::make_move_iterator(below.options_.begin()),
                  std::make_move_iterator(below.options_.end()));
}

std::vector<Option> OptionTable::without_fields() const {
  std::vector<Option> options = options_;
  for (Option& option : options) {
    option.set = nullptr;
    option.text = nullptr;
    if (option.rows) option.rows = OptionRows{{}, {}, {}, option.rows->names};
  }
  return options;
}

const Option* OptionTable::find(std::string_view key) const {
  for (const Option& option : options_) {
    if (option.key == key) return &option;
  }
  return nullptr;
}

Option* OptionTable::find(std::string_view key) {
  return const_cast<Option*>(std::as_const(*this).find(key));
}

namespace detail {

std::string not_legal(std::string_view text, std::string_view why, std::string_view type,
                      std::string_view legal) {
  return concat('"', text, "\" ", why, "; legal: ", type, legal.empty() ? "" : " ", legal);
}

std::string list_type(std::string_view item_type) {
  return concat("list of ", item_type, " values");
}

}  // namespace detail
}  // namespace largo
