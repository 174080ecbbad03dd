#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "comm/base/error.h"
#include "comm/base/log.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/setup.h"
#include "trainer/data/loader.h"
#include "trainer/data/memory_cache.h"
#include "trainer/data/mixup.h"
#include "trainer/data/sampler.h"
#include "trainer/data/stage.h"

namespace largo::commands {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Measured {
  double seconds = 0;
  int64_t batches = 0;
  int64_t images = 0;
  int64_t stored_bytes = 0;
  data::WorkTimes work = {};
};

data::WorkTimes operator-(const data::WorkTimes& a, const data::WorkTimes& b) {
  return {.read_s = a.read_s - b.read_s,
          .resize_s = a.resize_s - b.resize_s,
          .augment_s = a.augment_s - b.augment_s,
          .normalize_s = a.normalize_s - b.normalize_s};
}

// The training set as training would have it, but for the memory.
std::unique_ptr<const data::Dataset> load_set(const config::LoadedConfig& config,
                                              const Catalogs& catalogs, const std::string& index,
                                              const data::DataInfo& info, bool cached,
                                              data::Datasets& sets) {
  const data::DataOptions& options = config.values.data;
  if (!options.stage.empty()) {
    data::stage_files(catalogs.data.files(options, index), options.stage);
  }
  sets = catalogs.data.load(data::staged(options), index,
                            static_cast<uint64_t>(config.values.run.seed));
  if (!cached) return std::move(sets.train);
  return data::keep_in_memory(std::move(sets.train), data::train_framing(options, info.shape),
                              std::numeric_limits<int64_t>::max());
}

// Takes batches as fast as they come, after those that the loader made ahead.
Measured measure(data::Loader& loader, const data::Dataset& set, const DataBenchArguments& limits) {
  for (int64_t i = 0; i <= data::Loader::kAhead; ++i) loader.next();
  Measured measured;
  const data::WorkTimes before = loader.times();
  const Clock::time_point start = Clock::now();
  do {
    const data::Batch batch = loader.next();
    ++measured.batches;
    measured.images += static_cast<int64_t>(batch.keys.size());
    for (const SampleKey& key : batch.keys) measured.stored_bytes += set.stored_bytes(key.index);
    measured.seconds = seconds_since(start);
  } while (limits.batches ? measured.batches < *limits.batches : measured.seconds < limits.seconds);
  measured.work = loader.times() - before;
  return measured;
}

void print(const Measured& measured, int64_t workers, int64_t batch) {
  const double rate = static_cast<double>(measured.images) / measured.seconds;
  const double mb_per_s = 1e-6 * static_cast<double>(measured.stored_bytes) / measured.seconds;
  const data::WorkTimes& work = measured.work;
  const double busy_s = work.busy_s();
  const auto threads = static_cast<double>(std::max<int64_t>(workers, 1));
  const nlohmann::ordered_json json = {{"images_per_s", rate},
                                       {"images_per_s_per_worker", rate / threads},
                                       {"mb_per_s", mb_per_s},
                                       {"decode_share", work.read_s / busy_s},
                                       {"resize_share", work.resize_s / busy_s},
                                       {"augment_share", work.augment_s / busy_s},
                                       {"normalize_share", work.normalize_s / busy_s},
                                       {"busy_share", busy_s / (threads * measured.seconds)},
                                       {"workers", workers},
                                       {"seconds", measured.seconds},
                                       {"images", measured.images},
                                       {"batch", batch}};
  std::printf("%s\n", json.dump().c_str());
  std::fprintf(stderr,
               "%.0f images/s with %lld workers, %.1f MB/s read; of their time %.0f %% decoding, "
               "%.0f %% resizing, %.0f %% augmenting, %.0f %% normalizing\n",
               rate, static_cast<long long>(workers), mb_per_s, 100 * work.read_s / busy_s,
               100 * work.resize_s / busy_s, 100 * work.augment_s / busy_s,
               100 * work.normalize_s / busy_s);
}

}  // namespace

int run_data_bench(const DataBenchArguments& arguments) {
  if (!(arguments.seconds > 0)) {
    fail(ExitCode::kUsage, "--seconds ", arguments.seconds, "; legal: above 0");
  }
  if (arguments.batches && *arguments.batches < 1) {
    fail(ExitCode::kUsage, "--batches ", *arguments.batches, "; legal: at least 1");
  }
  const config::LoadedConfig config =
      config::load_config(read_config_file(arguments.config.path), arguments.config.overrides);
  for (const std::string& note : config.notes) std::fprintf(stderr, "%s\n", note.c_str());
  const config::RunConfig& values = config.values;
  set_up_memory(values.run.process, /*computes_here=*/true);
  const Catalogs catalogs = make_catalogs();
  Log log;
  const std::string index = data_index(config, catalogs, log);
  const Prepared prepared = prepare(config, catalogs, index, arguments.ranks);
  data::Datasets sets;
  const auto set = load_set(config, catalogs, index, prepared.info, arguments.cached, sets);

  const auto seed = static_cast<uint64_t>(values.run.seed);
  const int64_t batch = prepared.plan.micro_batch();
  data::Sampler sampler = data::make_sampler(values.data.shuffle, seed, *set);
  const auto request_of = [&](int64_t number) {
    data::BatchRequest request = {.keys = sampler.keys(number * batch, batch),
                                  .mix = data::draw_mix(values.data.mixup, seed, number)};
    request.after_last = request.keys.front();
    return request;
  };
  data::SkippedSamples skipped(set->size(), [&](const std::string& message) { log.warn(message); });
  const bool skips = values.data.on_bad_sample == data::OnBadSample::kSkip;
  data::Loader loader(*set, train_transform(config, prepared.info, sets), values.data.workers,
                      request_of, 0, std::numeric_limits<int32_t>::max(),
                      skips ? &skipped : nullptr);
  print(measure(loader, *set, arguments), values.data.workers, batch);
  return 0;
}

}  // namespace largo::commands
