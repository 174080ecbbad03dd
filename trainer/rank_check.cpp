#include "trainer/rank_check.h"

namespace largo {

bool RankCheck::is_due(int64_t completed) const {
  const int64_t since_start = completed - start_;
  if (since_start == 1 || since_start == 2 || since_start == 10) return true;
  return every_ > 0 && completed % every_ == 0;
}

std::string RankCheck::since() const {
  return passed_ < 0 ? "" : " (not yet after step " + std::to_string(passed_) + ")";
}

}  // namespace largo
