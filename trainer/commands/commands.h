// The subcommands of the executable. Each runs to the end and returns the exit code; errors are
// thrown by those that do not start MPI, and handled by those that do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace largo::commands {

struct ConfigArguments {
  std::string path;
  std::vector<std::string> overrides;  // key=value
};

// MPI needs main's own arguments; they are copied into environment.json too.
struct ProgramArguments {
  int& argc;
  char**& argv;
};

struct TrainArguments {
  ConfigArguments config;
  bool fresh = false;
};
int run_train(const TrainArguments& arguments, ProgramArguments program);

struct EvalArguments {
  ConfigArguments config;
  std::string checkpoint;  // a checkpoint's folder, a run's folder or a safetensors file
};
int run_eval(const EvalArguments& arguments, ProgramArguments program);

// Overrides without = are further run files.
struct LrArguments {
  ConfigArguments config;
  int64_t ranks = 1;
  std::optional<int64_t> every;
  std::vector<double> at;
  bool csv = false;
  std::string plot;       // SVG file to write; empty: none
  bool terminal = false;  // draw on stderr, too
};
int run_lr(const LrArguments& arguments);

struct LrFindArguments {
  ConfigArguments config;
  int64_t steps = 100;
  std::optional<double> from;  // effective LRs; empty: what suits the optimizer
  std::optional<double> to;
  std::string ramp;                // exponential, linear; empty: linear with accuracy
  std::string suggest = "valley";  // valley, steepest, minimum, slide
  bool accuracy = false;           // Smith's test in place of the loss's
  std::string plot;                // files to write; empty: none
  std::string json;
  std::string set;
};
int run_lr_find(const LrFindArguments& arguments, ProgramArguments program);

struct DataBenchArguments {
  ConfigArguments config;
  int64_t ranks = 1;
  double seconds = 10;
  std::optional<int64_t> batches;  // instead of seconds
  bool cached = false;             // decoded samples stay in memory, as in training
};
int run_data_bench(const DataBenchArguments& arguments);

struct AllreduceArguments {
  std::vector<std::string> overrides;  // key=value, of the few keys that mean something here
  int64_t least = 4096;                // bytes
  int64_t most = 104857600;
  int64_t iterations = 20;
  std::string json;  // file to write, "-" for stdout; empty: none
  std::string logs;  // folder of NCCL's own log; empty: none
};
int run_allreduce(const AllreduceArguments& arguments, ProgramArguments program);

struct ConfigCheckArguments {
  ConfigArguments config;
  int64_t ranks = 1;
};
int run_config_check(const ConfigCheckArguments& arguments);

struct ConfigPrintArguments {
  ConfigArguments config;
  std::optional<int64_t> ranks;
};
int run_config_print(const ConfigPrintArguments& arguments);
int run_config_schema();

int run_version(bool all);

}  // namespace largo::commands
