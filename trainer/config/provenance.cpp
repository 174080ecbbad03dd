#include "trainer/config/provenance.h"

#include "trainer/config/key_tree.h"

namespace largo::config {

Origin Provenance::of(const std::string& key) const {
  const auto found = keys.find(key);
  return found == keys.end() ? Origin{} : found->second;
}

std::string Provenance::words(const std::string& key) const {
  const Origin origin = of(key);
  switch (origin.kind) {
    case Origin::Kind::kDefault:
      return "default";
    case Origin::Kind::kFile:
      return concat(shown(file.name), ":", origin.key_at.line);
    case Origin::Kind::kOverride:
      return "override";
  }
  return {};
}

Diagnostic Provenance::diagnostic(const SourceLines& lines, const OptionProblem& problem) const {
  for (std::string path = problem.key; !path.empty(); path = parent_path(path)) {
    const Origin origin = of(path);  // of the key, or of the list that it would be in
    if (origin.kind == Origin::Kind::kOverride) {
      return override_diagnostic(origin.override_number,
                                 overrides[static_cast<size_t>(origin.override_number) - 1],
                                 problem.key, problem.message);
    }
    if (origin.kind == Origin::Kind::kFile) {
      return lines.diagnostic(origin.key_at, problem.key, problem.message);
    }
    const auto section = sections.find(path);
    if (section != sections.end()) {
      return lines.diagnostic(section->second, problem.key, problem.message);
    }
  }
  return lines.diagnostic({1, 1}, problem.key, problem.message);
}

ConfigError Provenance::error(const std::vector<OptionProblem>& problems) const {
  const SourceLines lines(file);
  std::vector<Diagnostic> diagnostics;
  diagnostics.reserve(problems.size());
  for (const OptionProblem& problem : problems) diagnostics.push_back(diagnostic(lines, problem));
  return ConfigError(std::move(diagnostics));
}

}  // namespace largo::config
