#include "trainer/statistics_of.h"

#include <algorithm>
#include <set>
#include <span>
#include <vector>

#include "comm/base/error.h"
#include "trainer/base/xxh64.h"

namespace largo {

namespace {

using Spans = std::vector<SampleSpan>;

// Ascending, neighbours joined, counted from the step's first sample, in words.
std::string words_of(Spans spans, int64_t first) {
  std::sort(spans.begin(), spans.end(),
            [](const SampleSpan& a, const SampleSpan& b) { return a.first < b.first; });
  std::string words;
  for (size_t i = 0; i < spans.size();) {
    SampleSpan joined = spans[i];
    for (++i; i < spans.size() && spans[i].first == joined.first + joined.count; ++i) {
      joined.count += spans[i].count;
    }
    words += concat(words.empty() ? "" : "+", joined.first - first, ':', joined.count);
  }
  return words;
}

// The samples of one rank's micro-batch that share statistics under ghost_batch.
void add_ghosts(SampleSpan part, int64_t virtual_batch, int64_t first,
                std::set<std::string>& sets) {
  if (part.count % virtual_batch != 0) {  // sets of several sizes: as the layer cuts them
    sets.insert(concat(words_of({part}, first), '/', virtual_batch));
    return;
  }
  for (int64_t begin = 0; begin < part.count; begin += virtual_batch) {
    sets.insert(words_of({{part.first + begin, virtual_batch}}, first));
  }
}

std::set<std::string> sets_of_step(const BatchPlan& plan, const nn::NormOptions& norm,
                                   int64_t group_ranks, int64_t step) {
  const bool is_ghost = norm.kind == nn::NormKind::kGhostBatch;
  const int64_t first = plan.slice(step).first;
  const int64_t ranks = norm.kind == nn::NormKind::kSyncBatch ? group_ranks : 1;
  std::set<std::string> sets;
  for (int64_t micro = 0; micro < plan.accumulation(); ++micro) {
    for (int64_t group = 0; group < plan.world(); group += ranks) {
      Spans spans;
      for (int64_t rank = group; rank < std::min(group + ranks, plan.world()); ++rank) {
        const SampleSpan part = plan.part(step, micro, rank);
        if (part.count > 0) spans.push_back(part);
      }
      if (spans.empty()) continue;
      if (is_ghost) {
        add_ghosts(spans.front(), norm.virtual_batch, first, sets);
      } else {
        sets.insert(words_of(std::move(spans), first));
      }
    }
  }
  return sets;
}

}  // namespace

std::string statistics_of(const BatchPlan& plan, const nn::NormOptions& norm, int64_t group_ranks) {
  const bool of_batches = norm.kind == nn::NormKind::kBatch ||
                          norm.kind == nn::NormKind::kSyncBatch ||
                          norm.kind == nn::NormKind::kGhostBatch;
  if (!of_batches) return {};
  // All steps are cut like the first, but for an epoch's last one under keep.
  const int64_t last = plan.steps_of({1, Duration::Unit::kEpochs}) - 1;
  Xxh64 hash;
  for (const int64_t step : {int64_t{0}, std::max<int64_t>(last, 0)}) {
    for (const std::string& set : sets_of_step(plan, norm, group_ranks, step)) {
      hash.update(std::as_bytes(std::span(set)));
      hash.update(std::as_bytes(std::span("; ", 2)));
    }
  }
  return hex16(hash.digest());
}

}  // namespace largo
