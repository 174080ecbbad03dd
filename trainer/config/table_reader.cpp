#include "trainer/config/table_reader.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "trainer/config/given_values.h"
#include "trainer/config/key_tree.h"

namespace largo::config {

namespace {

std::string joined(const std::vector<std::string>& words) {
  constexpr size_t kMaxWords = 12;
  std::string text;
  for (size_t i = 0; i < std::min(words.size(), kMaxWords); ++i) {
    text += (text.empty() ? "" : ", ") + words[i];
  }
  if (words.size() <= kMaxWords) return text;
  return concat(text, " and ", words.size() - kMaxWords, " more (largo config schema)");
}

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_variable_name(const std::string& name) {
  constexpr const char* kLegal = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9') &&
         name.find_first_not_of(kLegal) == std::string::npos;
}

// Replaces every ${NAME} in `path`; returns what is wrong with one of them.
std::optional<std::string> expand(std::string& path, const Environment& environment) {
  std::string result;
  for (size_t begin = 0;;) {
    const size_t dollar = path.find("${", begin);
    result += path.substr(begin, dollar - begin);
    if (dollar == std::string::npos) break;
    const size_t end = path.find('}', dollar);
    const std::string name =
        end == std::string::npos ? "" : path.substr(dollar + 2, end - dollar - 2);
    if (!is_variable_name(name)) {
      return concat('"', path, "\" holds a ${ that is no ${VARIABLE}");
    }
    const char* value = environment(name);
    if (value == nullptr) return "the environment variable " + name + " is not set";
    const std::string text = value;
    // The printed configuration must read back to the same path.
    if (text.find("${") != std::string::npos ||
        std::any_of(text.begin(), text.end(), [](char c) { return c >= 0 && c < ' '; })) {
      return "the environment variable " + name + " holds ${ or a control character";
    }
    result += text;
    begin = end + 1;
  }
  path = result;
  return std::nullopt;
}

// Under the present value of its kind key, whatever the list it may be in.
bool applies_itself(const OptionTable& table, const Option& option) {
  const auto& [kind_key, kinds] = option.info.applies;
  if (kind_key.empty()) return true;
  const Option* kind = table.find(kind_key);
  LARGO_CHECK(kind != nullptr, option.key, " applies to the unknown kind key ", kind_key);
  const auto text = kind->text();
  return text && contains(kinds, *text);
}

class Reader {
 public:
  Reader(OptionTable& table, const SourceText& file, const std::vector<std::string>& overrides,
         const Environment& environment)
      : table_(table), lines_(file), environment_(environment) {
    result_.provenance.file = file;
    result_.provenance.overrides = overrides;
  }

  ReadResult read() {
    const Provenance& sources = result_.provenance;
    given_ = collect_given(table_, sources.file, sources.overrides);
    result_.problems = std::move(given_.problems);
    result_.refused = std::move(given_.refused);
    result_.file_complete = given_.file_complete;
    result_.provenance.sections = given_.sections;

    // Kinds first: which other keys mean something hangs on them.
    for (const Option& option : table_.options()) kinds_.insert(option.info.applies.kind_key);
    for (const Option& option : table_.options()) {
      if (kinds_.contains(option.key)) set(option);
    }
    for (const Option& option : table_.options()) drop_from_file(option);
    for (const std::string& list : dropped_lists_) table_.set_rows(list, 0);
    for (const Option& option : table_.options()) {
      if (!kinds_.contains(option.key)) set(option);
    }
    if (result_.file_complete) {
      for (const Option& option : table_.options()) check_given(option);
      for (const Option& option : table_.options()) check_kind(option);
    }
    return std::move(result_);
  }

 private:
  bool is_refused(const std::string& key) const {
    for (std::string path = key; !path.empty(); path = parent_path(path)) {
      if (result_.refused.contains(path)) return true;
    }
    return false;
  }

  void set(const Option& option) {
    const auto override_value = given_.overrides.find(option.key);
    const auto file_value = given_.file.find(option.key);
    if (override_value == given_.overrides.end() && file_value == given_.file.end()) return;
    GivenValue given =
        override_value != given_.overrides.end() ? override_value->second : file_value->second;
    result_.provenance.keys[option.key] = given.origin;
    if (given.is_default || option.rows) return;  // the rows are there
    std::optional<std::string> wrong;
    if (option.info.is_path) wrong = expand(given.value.scalar, environment_);
    if (!wrong) wrong = option.set(given.value);
    if (wrong) refuse(option.key, given.origin, *wrong);
  }

  // Forgets the file's value of a key that belongs only to other kinds than an override's, or than
  // the default of a kind that is forgotten so.
  void drop_from_file(const Option& option) {
    const auto& [kind_key, kinds] = option.info.applies;
    const bool forgotten = forgotten_kinds_.contains(kind_key);
    if ((!forgotten && !given_.overrides.contains(kind_key)) || is_refused(kind_key)) return;
    const auto file_value = given_.file.find(option.key);
    // As the table calls it: the override may use an alias.
    const std::string kind_text = table_.find(kind_key)->text().value_or("");
    if (file_value == given_.file.end() || given_.overrides.contains(option.key) ||
        contains(kinds, kind_text) || (!forgotten && kind_text == kind_of_file(kind_key)) ||
        (option.rows && is_given_below(given_.overrides, option.key))) {
      return;
    }
    result_.notes.push_back(concat(kind_key, "=", kind_text, " drops ", option.key,
                                   " from the file (line ", file_value->second.origin.key_at.line,
                                   ")"));
    given_.file.erase(file_value);
    if (kinds_.contains(option.key)) {
      forgotten_kinds_.insert(option.key);
      option.set({.scalar = option.default_text});
      result_.provenance.keys.erase(option.key);
    }
    if (option.rows) {
      std::erase_if(given_.file,
                    [&](const auto& entry) { return is_below(entry.first, option.key); });
      dropped_lists_.push_back(option.key);
    }
  }

  static bool is_given_below(const std::map<std::string, GivenValue>& given,
                             const std::string& key) {
    const auto below = given.lower_bound(key + ".");
    return below != given.end() && is_below(below->first, key);
  }

  std::string kind_of_file(const std::string& kind_key) const {
    const auto given = given_.file.find(kind_key);
    return given == given_.file.end() ? table_.find(kind_key)->default_text
                                      : given->second.value.scalar;
  }

  void check_kind(const Option& option) {
    const Origin origin = result_.provenance.of(option.key);
    const auto& [kind_key, kinds] = option.info.applies;
    if (origin.kind == Origin::Kind::kDefault || is_refused(kind_key) ||
        applies_itself(table_, option)) {
      return;
    }
    const std::string kind = table_.find(kind_key)->text().value_or("not given");
    refuse(option.key,
           {.kind = origin.kind,
            .key_at = origin.key_at,
            .value_at = origin.key_at,
            .override_number = origin.override_number},
           concat("belongs to ", kind_key, " ", joined(kinds), "; here ", kind_key, " is ", kind));
  }

  void check_given(const Option& option) {
    if (!option.info.required || result_.provenance.keys.contains(option.key) ||
        is_refused(option.key) || is_refused(option.info.applies.kind_key) ||
        !applies(table_, option)) {
      return;
    }
    const OptionProblem missing{
        parent_path(option.key),
        concat(last_name(option.key), " is missing: ", option.info.description, "; ", option.type,
               option.legal.empty() ? "" : " ", option.legal)};
    result_.refused.insert(option.key);
    result_.problems.push_back(result_.provenance.diagnostic(lines_, missing));
  }

  void refuse(const std::string& key, const Origin& origin, const std::string& message) {
    result_.refused.insert(key);
    if (origin.kind == Origin::Kind::kFile) {
      result_.problems.push_back(lines_.diagnostic(origin.value_at, key, message));
    } else {
      result_.problems.push_back(result_.provenance.diagnostic(lines_, {key, message}));
    }
  }

  OptionTable& table_;
  const SourceLines lines_;
  const Environment& environment_;
  GivenValues given_;
  std::set<std::string> kinds_;            // keys that others belong to values of
  std::set<std::string> forgotten_kinds_;  // of the file, by an override
  std::vector<std::string> dropped_lists_;
  ReadResult result_;
};

std::string section_of(const std::string& key) { return key.substr(0, key.find('.')); }

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> const char* { return std::getenv(name.c_str()); };
}

void ReadResult::add_owner_problems(const std::vector<OptionProblem>& found) {
  if (!file_complete) return;
  const SourceLines lines(provenance.file);
  // It may be no problem once the refused key, of its section or row, is right.
  const auto may_follow = [&](const OptionProblem& problem) {
    const std::string row = outer_row(problem.key);
    return std::any_of(refused.begin(), refused.end(), [&](const std::string& key) {
      const std::string other = outer_row(key);
      const bool of_another_row = !row.empty() && !other.empty() && row != other;
      return section_of(key) == section_of(problem.key) && !of_another_row;
    });
  };
  for (const OptionProblem& problem : found) {
    if (problems.size() >= kMaxProblems) return;
    if (!may_follow(problem)) problems.push_back(provenance.diagnostic(lines, problem));
  }
}

ReadResult read_table(OptionTable& table, const SourceText& file,
                      const std::vector<std::string>& overrides, const Environment& environment) {
  return Reader(table, file, overrides, environment).read();
}

bool applies(const OptionTable& table, const Option& option) {
  if (!applies_itself(table, option)) return false;
  const Option* list = enclosing_list(table, option.key);
  return list == nullptr || applies(table, *list);
}

}  // namespace largo::config
