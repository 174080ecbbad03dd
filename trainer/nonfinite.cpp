#include "trainer/nonfinite.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "comm/base/error.h"
#include "comm/flight_record.h"
#include "trainer/divergence.h"

namespace largo {

namespace {

constexpr int64_t kPiece = 256;  // norms

// "; the loss is not finite on rank 1" or "… on ranks 0, 2 in step 7"; empty where all are finite.
std::string losses_in_words(const NonfiniteStep& found) {
  std::string list;
  int count = 0;
  for (size_t rank = 0; rank < found.loss_sum_by_rank.size(); ++rank) {
    if (std::isfinite(found.loss_sum_by_rank[rank])) continue;
    list += concat(list.empty() ? "" : ", ", rank);
    ++count;
  }
  if (count == 0) return {};
  return concat("; the loss is not finite on ", count == 1 ? "rank " : "ranks ", list,
                found.seen_in_step != found.step ? concat(" in step ", found.seen_in_step) : "");
}

}  // namespace

at::Tensor loss_seed(const at::Tensor& loss) { return loss.detach().mul(0).add_(1); }

NonfiniteSteps::NonfiniteSteps(const TrainOptions& options, const SkippedSteps& before,
                               bool on_host, comm::Communicator& world, Log& log,
                               WriteReport write_report)
    : policy_(options.on_nonfinite),
      reads_each_(on_host || options.on_nonfinite == OnNonfinite::kSkip),
      most_in_a_row_(options.max_skipped.value_or(kMostInARow)),
      skipped_(before),
      world_(world),
      log_(log),
      write_report_(std::move(write_report)) {}

bool NonfiniteSteps::allows(const Step& step) {
  last_ = step;
  if (!reads_each_) {
    keep(step);
    return true;
  }
  const auto norm = step.grad_norm.item<double>();
  if (std::isfinite(norm)) {
    skipped_.in_a_row = 0;
    return true;
  }
  if (policy_ == OnNonfinite::kStop || skipped_.in_a_row >= most_in_a_row_) stop(step, norm);
  ++skipped_.in_a_row;
  ++skipped_.total;
  log_.warn(concat("train.on_nonfinite: skip: step ", step.number + 1,
                   " changes nothing, as the norm of its gradient is ", norm, " (",
                   skipped_.in_a_row, " in a row, ", skipped_.total, " in all)"));
  return false;
}

void NonfiniteSteps::keep(const Step& step) {
  const auto count = static_cast<int64_t>(kept_.size());
  if (count == static_cast<int64_t>(norms_.size()) * kPiece) {
    norms_.push_back(at::empty({kPiece}, step.grad_norm.options().dtype(at::kDouble)));
  }
  norms_[static_cast<size_t>(count / kPiece)].select(0, count % kPiece).copy_(step.grad_norm);
  kept_.push_back({step.number, step.lr, {}, {}});
}

void NonfiniteSteps::check() {
  if (reads_each_) return;
  const auto count = static_cast<int64_t>(kept_.size());
  for (int64_t first = 0; first < count; first += kPiece) {
    const at::Tensor piece = norms_[static_cast<size_t>(first / kPiece)].cpu();
    const double* const norms = piece.const_data_ptr<double>();
    for (int64_t i = first; i < std::min(first + kPiece, count); ++i) {
      const double norm = norms[i - first];
      if (!std::isfinite(norm)) stop(kept_[static_cast<size_t>(i)], norm);
    }
  }
  kept_.clear();
  if (norms_.size() > 1) norms_.resize(1);
}

void NonfiniteSteps::check_weights(const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  const std::vector<NotFinite> bad = not_finite(tensors);
  if (bad.empty()) return;
  LARGO_CHECK(last_.loss_sum.defined(), "before any step, ", describe(bad), " not finite");
  const auto norm = last_.grad_norm.item<double>();
  NonfiniteStep found = with_losses(last_, norm);
  found.in_weights = true;
  end(found,
      concat("training diverged: after step ", found.step, " ", describe(bad),
             bad.size() == 1 ? " is" : " are", " not finite; the norm of the step's gradient is ",
             norm, " (LR ", last_.lr, ")", losses_in_words(found)));
}

void NonfiniteSteps::stop(const Step& first, double norm) {
  const NonfiniteStep found = with_losses(first, norm);
  std::string message =
      concat("training diverged: the gradient of step ", found.step, " is not finite: its norm is ",
             norm, " (LR ", first.lr, ")", losses_in_words(found));
  if (policy_ == OnNonfinite::kStop) {
    end(found, message, ", and train.on_nonfinite: skip leaves such steps out");
  }
  end(found, concat(message, "; the ", skipped_.in_a_row,
                    " steps before were left out for the same, and train.max_skipped allows ",
                    most_in_a_row_, " in a row"));
}

// With those of all ranks in the last step, which are still there. A collective.
NonfiniteStep NonfiniteSteps::with_losses(const Step& first, double norm) const {
  const comm::CallName call("losses of a step that is not finite");
  NonfiniteStep found = {.step = first.number + 1,
                         .lr = first.lr,
                         .grad_norm = norm,
                         .seen_in_step = last_.number + 1,
                         .skipped_in_a_row = skipped_.in_a_row};
  const at::Tensor mine = last_.loss_sum.detach().cpu().to(at::kDouble).sum().view({1});
  const at::Tensor losses = world_.all_gather(mine).flatten();
  const double* const sums = losses.const_data_ptr<double>();
  found.loss_sum_by_rank.assign(sums, sums + losses.numel());
  return found;
}

void NonfiniteSteps::end(const NonfiniteStep& found, std::string message,
                         const std::string& advice) const {
  const std::string where = world_.rank() == 0 ? write_report_(found) : std::string();
  if (!where.empty()) message += "; " + where;
  throw AgreedError(ExitCode::kNumerical,
                    concat(message, "; a lower lr.base or a longer warm-up may help", advice,
                           ". The last checkpoint is kept"));
}

}  // namespace largo
