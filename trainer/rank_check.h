// When the ranks of a run make sure that they still hold the same.
#pragma once

#include <cstdint>
#include <string>

namespace largo {

// Due 1, 2 and 10 steps after the start or resume, where a wrong sum or a wrong start shows, and
// whenever the completed steps are a multiple of `every` (0: never). So what goes wrong in step s
// is found at s + every - 1 at the latest.
class RankCheck {
 public:
  // `start`: completed steps when this process began; a resumed run may be on other hosts.
  RankCheck(int64_t start, int64_t every) : start_(start), every_(every), passed_(-1) {}

  bool is_due(int64_t completed) const;

  void passed(int64_t completed) { passed_ = completed; }
  bool has_passed(int64_t completed) const { return passed_ == completed; }

  // " (not yet after step 300)" once a comparison has passed, for messages.
  std::string since() const;

 private:
  int64_t start_;
  int64_t every_;
  int64_t passed_;  // the last that did; -1: none
};

}  // namespace largo
