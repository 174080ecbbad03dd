// Template bodies of option_table.h; include that header instead.
#pragma once

#include <stdexcept>

#include "comm/base/option_table.h"
#include "comm/base/suggest.h"

namespace largo {

namespace detail {

template <class T>
T parse_in_range(const std::string& text, const Range<T>& range) {
  T value{};
  try {
    value = OptionCodec<T>::parse(text);
  } catch (const std::invalid_argument& wrong) {
    throw std::invalid_argument(not_legal(text, wrong.what(), OptionCodec<T>::kType, range.words));
  }
  if (range.holds && !range.holds(value)) {
    throw std::invalid_argument(
        not_legal(text, "is out of range", OptionCodec<T>::kType, range.words));
  }
  return value;
}

// Wraps `store`, which may throw std::invalid_argument, into the form of Option::set.
template <class Store>
std::function<std::optional<std::string>(const OptionValue&)> scalar_setter(std::string type,
                                                                            Store store) {
  return [type = std::move(type), store](const OptionValue& value) -> std::optional<std::string> {
    if (value.is_list) return "is a list; legal: one value (" + type + ")";
    try {
      store(value.scalar);
    } catch (const std::invalid_argument& wrong) {
      return wrong.what();
    }
    return std::nullopt;
  };
}

}  // namespace detail

template <class T>
void OptionTable::add(const std::string& key, T& field, const Range<T>& range, OptionInfo info) {
  Option option{.key = key,
                .type = OptionCodec<T>::kType,
                .legal = range.words,
                .info = std::move(info),
                .default_text = OptionCodec<T>::print(field),
                .set = {},
                .text = {}};
  option.set = detail::scalar_setter(option.type, [&field, range](const std::string& text) {
    field = detail::parse_in_range<T>(text, range);
  });
  option.text = [&field] { return std::optional(OptionCodec<T>::print(field)); };
  add_option(std::move(option));
}

template <class T>
void OptionTable::add(const std::string& key, std::optional<T>& field, const Range<T>& range,
                      OptionInfo info) {
  Option option{.key = key,
                .type = OptionCodec<T>::kType,
                .legal = range.words,
                .info = std::move(info),
                .default_text = field ? OptionCodec<T>::print(*field) : std::string(),
                .set = {},
                .text = {}};
  option.set = detail::scalar_setter(option.type, [&field, range](const std::string& text) {
    field = detail::parse_in_range<T>(text, range);
  });
  option.text = [&field] {
    return field ? std::optional(OptionCodec<T>::print(*field)) : std::nullopt;
  };
  add_option(std::move(option));
}

template <class T>
void OptionTable::add(const std::string& key, std::vector<T>& field, const Range<T>& item_range,
                      OptionInfo info) {
  const auto print = [&field] {
    std::string text = "[";
    for (const T& item : field) {
      text += (text.size() > 1 ? ", " : "") + OptionCodec<T>::print(item);
    }
    return text + "]";
  };
  Option option{.key = key,
                .type = detail::list_type(OptionCodec<T>::kType),
                .legal = item_range.words,
                .is_list = true,
                .info = std::move(info),
                .default_text = field.empty() ? std::string() : print(),
                .set = {},
                .text = {}};
  option.set = [&field, item_range](const OptionValue& value) -> std::optional<std::string> {
    if (!value.is_list) {
      return detail::not_legal(value.scalar, "is one value",
                               detail::list_type(OptionCodec<T>::kType), item_range.words);
    }
    std::vector<T> items;
    for (const std::string& text : value.items) {
      try {
        items.push_back(detail::parse_in_range<T>(text, item_range));
      } catch (const std::invalid_argument& wrong) {
        return wrong.what();
      }
    }
    field = std::move(items);
    return std::nullopt;
  };
  option.text = [&field, print] { return field.empty() ? std::nullopt : std::optional(print()); };
  add_option(std::move(option));
}

template <class T>
void OptionTable::add_rows(const std::string& key, std::vector<T>& field,
                           std::type_identity_t<DeclareRow<T>> declare, OptionInfo info) {
  OptionRows rows;
  rows.count = [&field] { return field.size(); };
  rows.resize = [&field](size_t count) { field = std::vector<T>(count); };
  rows.declare = [&field, key, declare](OptionTable& table) {
    for (size_t i = 0; i < field.size(); ++i) declare(table, concat(key, '.', i), field[i]);
  };
  rows.names = [key, declare] {
    T row{};
    OptionTable table;
    declare(table, key + ".N", row);
    return table.without_fields();
  };
  Option option{.key = key,
                .type = "list of maps",
                .legal = {},
                .is_list = true,
                .info = std::move(info),
                .default_text = {},
                .set = [](const OptionValue&) { return "is a list of maps"; },
                .text = [] { return std::nullopt; },
                .rows = rows};
  add_option(std::move(option));
  rows.declare(*this);
}

template <class E>
void OptionTable::add_choice(const std::string& key, E& field,
                             std::vector<std::pair<std::string, E>> words, OptionInfo info,
                             const std::vector<std::pair<std::string, E>>& aliases) {
  std::string type;
  for (const auto& [word, value] : words) type += (type.empty() ? "" : " | ") + word;
  const auto print = [&field, words]() -> std::optional<std::string> {
    for (const auto& [word, value] : words) {
      if (value == field) return word;
    }
    return std::nullopt;
  };
  Option option{.key = key,
                .type = type,
                .legal = {},
                .info = std::move(info),
                .default_text = print().value_or(""),
                .set = {},
                .text = print};
  words.insert(words.end(), aliases.begin(), aliases.end());
  option.set = detail::scalar_setter(type, [&field, words, type](const std::string& text) {
    for (const auto& [word, value] : words) {
      if (word == text) {
        field = value;
        return;
      }
    }
    std::vector<std::string> known;
    known.reserve(words.size());
    for (const auto& [word, value] : words) known.push_back(word);
    throw std::invalid_argument(detail::not_legal(text, "is not known", type, "") +
                                did_you_mean(text, known));
  });
  add_option(std::move(option));
}

}  // namespace largo
