// largo allreduce: how fast the ranks sum, and whether they sum right.
#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "comm/agree.h"
#include "comm/base/error.h"
#include "comm/groups.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/setup.h"
#include "trainer/config/table_reader.h"
#include "trainer/study/allreduce_table.h"

namespace largo::commands {

namespace {

using study::AllreduceRow;

constexpr int kWarmUps = 3;

struct Settings {
  RunOptions run;
  comm::CommOptions comm;
};

// The keys of a run file that mean something without a run.
OptionTable make_table(Settings& settings) {
  OptionTable all, table;
  declare_options(all, settings.run);
  comm::declare_options(all, settings.comm);
  for (const char* key : {"run.device", "run.threads", "run.share_gpu", "comm.backend",
                          "comm.dtype", "comm.init_timeout", "comm.timeout"}) {
    LARGO_CHECK(all.find(key) != nullptr, key);
    table.add_option(*all.find(key));
  }
  return table;
}

Settings read_settings(const std::vector<std::string>& overrides) {
  Settings settings;
  OptionTable table = make_table(settings);
  config::ReadResult result =
      config::read_table(table, {.name = "(no run file)", .bytes = "{}"}, overrides);
  if (!result.problems.empty()) throw config::ConfigError(std::move(result.problems));
  return settings;
}

// Waits until the device has done everything; nothing on the CPU, where the calls do their work.
void finish(at::Device device) {
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

// Sums whose exact result fits every dtype, bfloat16 too: each element has one rank that adds to
// it. A rank left out, or added twice, shows; so do elements that changed places.
struct Pattern {
  at::Tensor mine, sum;
};

Pattern make_pattern(int64_t elements, const at::TensorOptions& options,
                     const comm::Communicator& world) {
  const at::Tensor index = at::arange(elements, options.dtype(at::kLong));
  const at::Tensor sum = index.remainder(127) + 1;
  const at::Tensor owned = index.remainder(world.size()).eq(world.rank());
  return {.mine = (sum * owned).to(options.dtype()), .sum = sum.to(options.dtype())};
}

// One checked reduction: the elements that are wrong on this rank.
int64_t count_wrong(comm::Communicator& world, const at::Tensor& buffer, const Pattern& pattern) {
  buffer.copy_(pattern.mine);
  world.all_reduce(buffer).wait();
  return buffer.ne(pattern.sum).sum().item<int64_t>();
}

// A communicator with the buffer that it sums, and how long each sum took.
struct Contestant {
  comm::Communicator& world;
  at::Tensor buffer;
  std::vector<double> seconds = {};

  // On GPUs several in a row are one sample, so that the host's waiting for the device is not in
  // every one.
  void take_sample() {
    const at::Device device = buffer.device();
    const int block = device.is_cpu() ? 1 : 5;
    world.barrier();
    finish(device);
    const auto start = std::chrono::steady_clock::now();
    for (int k = 0; k < block; ++k) world.all_reduce(buffer).wait();
    finish(device);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    seconds.push_back(took.count() / block);
  }

  // From now on `seconds` are those of the slowest rank each.
  void take_slowest() {
    const at::Tensor slowest =
        std::get<0>(world.all_gather(at::tensor(seconds, at::kDouble)).max(/*dim=*/0));
    for (size_t i = 0; i < seconds.size(); ++i) {
      seconds[i] = slowest[static_cast<int64_t>(i)].item<double>();
    }
  }
};

// Checked before and after the timed reductions, which sum zeros. `plain`, if any, takes turns.
AllreduceRow measure(comm::Communicator& world, comm::Communicator* plain, at::ScalarType dtype,
                     int64_t bytes, int64_t iterations) {
  const auto element_bytes = static_cast<int64_t>(at::elementSize(dtype));
  const auto elements = std::max<int64_t>(1, bytes / element_bytes);
  std::vector<Contestant> contestants = {{world, world.allocate(elements, dtype)}};
  if (plain != nullptr) contestants.push_back({*plain, plain->allocate(elements, dtype)});
  const at::Tensor& buffer = contestants.front().buffer;
  const Pattern pattern =
      make_pattern(elements, at::TensorOptions(buffer.device()).dtype(dtype), world);
  int64_t wrong = count_wrong(world, buffer, pattern);
  buffer.zero_();
  for (Contestant& contestant : contestants) {
    for (int i = 0; i < kWarmUps; ++i) contestant.take_sample();
    contestant.seconds.clear();
  }
  for (int64_t i = 0; i < iterations; ++i) {
    for (Contestant& contestant : contestants) contestant.take_sample();
  }
  wrong += count_wrong(world, buffer, pattern);

  for (Contestant& contestant : contestants) contestant.take_slowest();
  const auto& [least, most] =
      std::minmax_element(contestants.front().seconds.begin(), contestants.front().seconds.end());
  AllreduceRow row = {
      .bytes = elements * element_bytes,
      .median_s = study::median(contestants.front().seconds),
      .min_s = *least,
      .max_s = *most,
      .wrong = world.all_gather(at::full({1}, wrong, at::kLong)).sum().item<int64_t>()};
  if (plain != nullptr) {
    const std::vector<double>& seconds = contestants.back().seconds;
    row.mpi_median_s = study::median(seconds);
    row.mpi_min_s = *std::min_element(seconds.begin(), seconds.end());
  }
  return row;
}

nlohmann::ordered_json to_json(const std::vector<AllreduceRow>& rows, int ranks) {
  auto json = nlohmann::ordered_json::array();
  for (const AllreduceRow& row : rows) {
    json.push_back({{"bytes", row.bytes},
                    {"median_s", row.median_s},
                    {"min_s", row.min_s},
                    {"max_s", row.max_s},
                    {"algbw_gb_per_s", 1e-9 * study::algorithm_bandwidth(row)},
                    {"busbw_gb_per_s", 1e-9 * study::bus_bandwidth(row, ranks)},
                    {"wrong", row.wrong}});
    if (row.mpi_median_s == 0) continue;
    json.back()["mpi_median_s"] = row.mpi_median_s;
    json.back()["mpi_min_s"] = row.mpi_min_s;
  }
  return json;
}

void write_json(const std::string& file, const nlohmann::ordered_json& json) {
  const std::string text = json.dump(1) + "\n";
  if (file == "-") {
    std::fputs(text.c_str(), stdout);
    return;
  }
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  if (!out) fail(ExitCode::kIo, "--json ", file, " cannot be written");
}

int benchmark(const AllreduceArguments& arguments, const comm::MpiSession& session, Log& log) {
  const Settings settings = read_settings(arguments.overrides);
  const ChosenDevice device = set_up_device(session, settings.run, log);
  const auto unfit = comm::check(settings.comm, /*on_gpus=*/!device.device.is_cpu());
  if (!unfit.empty()) {
    throw AgreedError(ExitCode::kConfig, concat(unfit.front().key, ": ", unfit.front().message));
  }
  std::vector<int> all(static_cast<size_t>(session.size()));
  std::iota(all.begin(), all.end(), 0);
  const comm::Groups groups = comm::make_groups(settings.comm, session,
                                                {.device = device.device,
                                                 .overlap = false,
                                                 .norm_ranks = all,
                                                 .log_folder = arguments.logs,
                                                 .share_gpu = settings.run.share_gpu});
  const auto plain = device.device.is_cpu() && session.size() > 1
                         ? session.make_plain_mpi_communicator()
                         : nullptr;
  const at::ScalarType dtype =
      settings.comm.dtype == comm::WireType::kBfloat16 ? at::kBFloat16 : at::kFloat;
  const bool prints = session.rank() == 0 && arguments.json != "-";
  if (prints) {
    const std::string through = groups.transport.empty() ? "" : ", through " + groups.transport;
    std::printf("all-reduce of %s, %d %s x %s%s, %lld samples each\n%s", at::toString(dtype),
                session.size(), session.size() == 1 ? "rank (alone: nothing is sent)" : "ranks",
                device.name.c_str(), through.c_str(), static_cast<long long>(arguments.iterations),
                study::allreduce_head().c_str());
  }
  std::vector<AllreduceRow> rows;
  int64_t wrong = 0;
  for (const int64_t bytes : study::doubling_sizes(arguments.least, arguments.most)) {
    rows.push_back(measure(*groups.world, plain.get(), dtype, bytes, arguments.iterations));
    wrong += rows.back().wrong;
    if (!prints) continue;
    std::fputs(study::allreduce_line(rows.back(), session.size()).c_str(), stdout);
    std::fflush(stdout);
  }
  if (!arguments.json.empty()) {
    comm::on_rank_zero(session, [&] {
      write_json(arguments.json, {{"ranks", session.size()},
                                  {"device", device.name},
                                  {"dtype", at::toString(dtype)},
                                  {"transport", groups.transport},
                                  {"iterations", arguments.iterations},
                                  {"sizes", to_json(rows, session.size())}});
    });
  }
  if (wrong > 0) {
    throw AgreedError(ExitCode::kInternal, concat(wrong, " elements had the wrong sum"));
  }
  return 0;
}

}  // namespace

int run_allreduce(const AllreduceArguments& arguments, ProgramArguments program) {
  if (arguments.least < 4 || arguments.most < arguments.least || arguments.iterations < 1) {
    fail(ExitCode::kUsage, "--min ", arguments.least, " --max ", arguments.most, " --iterations ",
         arguments.iterations, "; legal: 4 <= min <= max, iterations >= 1");
  }
  const comm::MpiSession session(program.argc, program.argv, init_timeout_s(arguments.overrides));
  Log log;
  log.set_rank(session.rank(), session.size(), session.host());
  return guarded(session, log, [&] { return benchmark(arguments, session, log); });
}

}  // namespace largo::commands
