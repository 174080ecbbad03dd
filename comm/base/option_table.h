// Tables of options, without any YAML: each owner of an options struct declares the keys that fill
// it, with type, legal range, default, unit, description and what a change alters. The config
// reader turns files and overrides into values of such a table; printing and documentation read it.
//
//   void declare_options(OptionTable& table, LrOptions& options) {
//     table.add("lr.base", options.base, above(0.0),
//               {.description = "learning rate at lr.base_batch", .required = true});
//   }
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "comm/base/error.h"

namespace largo {

// What a change of the option alters. A resumed run refuses changes of the trajectory.
enum class Effect { kTrajectory, kSpeed, kOutput };

// A wrong value or combination, found by the owner of the options after reading.
struct OptionProblem {
  std::string key;      // full path, "lr.warmup.start"; the reader adds file and line
  std::string message;  // what is wrong and what is legal
};

// A problem that shows only in work that cannot go on with it (reading the data): thrown, so that
// whoever knows the configuration can say where it stands.
class OptionError : public Error {
 public:
  explicit OptionError(OptionProblem problem)
      : Error(ExitCode::kConfig, problem.key + ": " + problem.message),
        problem_(std::move(problem)) {}
  const OptionProblem& problem() const { return problem_; }

 private:
  OptionProblem problem_;
};

// What a file or an override says for one key: the text of a scalar, or of a list of scalars.
struct OptionValue {
  bool is_list = false;
  std::string scalar = {};
  std::vector<std::string> items = {};
};

// Turns text into a T and back. print(parse(text)) need not be text, but parse(print(v)) is v.
// parse throws std::invalid_argument whose what() follows the quoted text ("is not an integer").
template <class T>
struct OptionCodec;

template <>
struct OptionCodec<bool> {
  static constexpr const char* kType = "true or false";
  static bool parse(std::string_view text);
  static std::string print(bool value) { return value ? "true" : "false"; }
};
// Decimal digits only: 010 is refused because YAML readers disagree on it.
template <>
struct OptionCodec<int64_t> {
  static constexpr const char* kType = "integer";
  static int64_t parse(std::string_view text);
  static std::string print(int64_t value) { return std::to_string(value); }
};
// Finite decimal numbers; NaN and infinity are refused.
template <>
struct OptionCodec<double> {
  static constexpr const char* kType = "number";
  static double parse(std::string_view text);
  static std::string print(double value);  // shortest form that reads back to the same bits
};
template <>
struct OptionCodec<std::string> {
  static constexpr const char* kType = "text";
  static std::string parse(std::string_view text) { return std::string(text); }
  static std::string print(const std::string& value);  // quoted where plain YAML would misread it
};

// A legal range: its words, for messages, and the test.
template <class T>
struct Range {
  std::string words;                         // ">= 1", "between 0 and 1"; empty: any value
  std::function<bool(const T&)> holds = {};  // empty: any value
};

template <class T>
Range<T> at_least(T low) {
  return {">= " + OptionCodec<T>::print(low), [low](const T& v) { return v >= low; }};
}
template <class T>
Range<T> above(T low) {
  return {"> " + OptionCodec<T>::print(low), [low](const T& v) { return v > low; }};
}
template <class T>
Range<T> between(T low, T high) {  // both ends legal
  return {"between " + OptionCodec<T>::print(low) + " and " + OptionCodec<T>::print(high),
          [low, high](const T& v) { return v >= low && v <= high; }};
}
template <class T>
Range<T> at_least_below(T low, T high) {  // low legal, high not
  return {">= " + OptionCodec<T>::print(low) + " and < " + OptionCodec<T>::print(high),
          [low, high](const T& v) { return v >= low && v < high; }};
}

// Only with some values of a kind key: lr.policy.gamma with lr.policy.kind step or exponential.
struct AppliesTo {
  std::string kind_key;            // empty: always
  std::vector<std::string> kinds;  // values of kind_key under which the option means something
};

struct OptionInfo {
  std::string description = "";
  Effect effect = Effect::kTrajectory;
  std::string unit = "";
  bool required = false;
  AppliesTo applies = {};
  bool is_path = false;  // ${VAR} is expanded in paths, and nowhere else
};

class OptionTable;
struct Option;

// Of a list of maps: row i of it has its own options, with keys below "<key>.<i>".
struct OptionRows {
  std::function<size_t()> count;
  std::function<void(size_t)> resize;          // all rows new, as they are by default
  std::function<void(OptionTable&)> declare;   // the options of the rows there are
  std::function<std::vector<Option>()> names;  // those of a row N, to be read about only
};

// One line of a table. Refers to the field it fills, which must outlive the table.
struct Option {
  std::string key;    // full dotted path
  std::string type;   // "integer", "list of numbers", "none | linear | sqrt"
  std::string legal;  // "> 0"; empty: any value of the type
  bool is_list = false;
  OptionInfo info;
  std::string default_text;  // empty: none

  // Stores the value, or leaves the field as it was and returns what is wrong with it.
  std::function<std::optional<std::string>(const OptionValue&)> set;
  // The present value as YAML that reads back to it; nullopt while an optional field is empty, and
  // for lists of maps.
  std::function<std::optional<std::string>()> text;
  std::optional<OptionRows> rows = {};  // lists of maps only: set() refuses, set_rows() is for them
};

class OptionTable {
 public:
  // Fields are T, std::optional<T> (no value unless given) or std::vector<T> (a list).
  // Declaring a key twice throws.
  template <class T>
  void add(const std::string& key, T& field, const Range<T>& range, OptionInfo info);
  template <class T>
  void add(const std::string& key, std::optional<T>& field, const Range<T>& range, OptionInfo info);
  template <class T>
  void add(const std::string& key, std::vector<T>& field, const Range<T>& item_range,
           OptionInfo info);

  // One of a few words, each standing for an enumerator (or an int, or a string). Aliases are read,
  // but neither listed nor printed.
  template <class E>
  void add_choice(const std::string& key, E& field, std::vector<std::pair<std::string, E>> words,
                  OptionInfo info, const std::vector<std::pair<std::string, E>>& aliases = {});

  // A list of maps, empty by default: `declare` adds the options of one row below `prefix`, which
  // is "<key>.<i>". It may add lists again. Rows that exist (in a copy of filled options) are
  // declared at once.
  template <class T>
  using DeclareRow = std::function<void(OptionTable& table, const std::string& prefix, T& row)>;
  template <class T>
  void add_rows(const std::string& key, std::vector<T>& field,
                std::type_identity_t<DeclareRow<T>> declare, OptionInfo info);

  void add_option(Option option);

  // Gives the list of maps so many new rows, in the place of those there were, and their options
  // to the table, after the list's. Pointers to options are not valid afterwards.
  void set_rows(const std::string& key, size_t count);

  const std::vector<Option>& options() const { return options_; }
  const Option* find(std::string_view key) const;  // nullptr when there is no such key
  Option* find(std::string_view key);

 private:
  std::vector<Option> without_fields() const;

  std::vector<Option> options_;
};

namespace detail {
// `"abc" is not a number; legal: number > 0`
std::string not_legal(std::string_view text, std::string_view why, std::string_view type,
                      std::string_view legal);
std::string list_type(std::string_view item_type);
}  // namespace detail

}  // namespace largo

#include "comm/base/option_table_inl.h"
