#include "trainer/checkpoint/options.h"

namespace largo {

std::variant<Duration, Time> OptionCodec<std::variant<Duration, Time>>::parse(
    std::string_view text) {
  const size_t unit = text.find_last_of("0123456789.") + 1;  // 0 without a digit
  for (const std::string_view of_time : {"s", "min", "h"}) {
    if (text.substr(unit) == of_time) return OptionCodec<Time>::parse(text);
  }
  return OptionCodec<Duration>::parse(text);
}

std::string OptionCodec<std::variant<Duration, Time>>::print(
    const std::variant<Duration, Time>& value) {
  if (const Time* time = std::get_if<Time>(&value)) return OptionCodec<Time>::print(*time);
  return OptionCodec<Duration>::print(std::get<Duration>(value));
}

}  // namespace largo

namespace largo::checkpoint {

namespace {

double amount_of(const std::variant<Duration, Time>& value) {
  if (const Time* time = std::get_if<Time>(&value)) return time->seconds;
  return std::get<Duration>(value).amount;
}

}  // namespace

void declare_options(OptionTable& table, CheckpointOptions& options) {
  using Every = std::variant<Duration, Time>;
  table.add("checkpoint.every", options.every,
            Range<Every>{"> 0", [](const Every& every) { return amount_of(every) > 0; }},
            {.description = "time between two checkpoints; one more is written at the end",
             .effect = Effect::kOutput});
  table.add("checkpoint.keep", options.keep, at_least<int64_t>(1),
            {.description = "newest checkpoints that stay", .effect = Effect::kOutput});
  table.add("checkpoint.keep_best", options.keep_best, Range<bool>{},
            {.description = "keep the checkpoint of the highest top-1 on the validation set as "
                            "well (the earliest of several), and write one whenever an evaluation "
                            "finds a higher one",
             .effect = Effect::kOutput});
  table.add("checkpoint.resume", options.resume,
            Range<std::string>{"auto, never or a checkpoint's directory",
                               [](const std::string& text) { return !text.empty(); }},
            {.description = "where training goes on from: auto is the run's newest checkpoint, if "
                            "any; never starts anew; or the directory of a checkpoint",
             .effect = Effect::kOutput,
             .is_path = true});
  table.add("checkpoint.allow", options.allow, Range<std::string>{},
            {.description = "keys that a resumed run may change although they alter the "
                            "trajectory, or sections of them: [lr.base, lr.policy]",
             .effect = Effect::kOutput});
}

}  // namespace largo::checkpoint
