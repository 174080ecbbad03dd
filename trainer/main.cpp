// largo: see `largo --help`.
#include <CLI/CLI.hpp>
#include <climits>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include "comm/base/error.h"
#include "trainer/commands/commands.h"

namespace {

using namespace largo::commands;

void add_config_arguments(CLI::App* app, ConfigArguments& arguments) {
  app->add_option("CONFIG", arguments.path, "run file (YAML)")->required();
  app->add_option("OVERRIDES", arguments.overrides, "key=value, checked like the file");
}

// A number that the parser would take for the largest one that there is.
CLI::Validator countable() {
  return {[](const std::string& text) {
            constexpr size_t kDigits = 15;
            return text.size() > kDigits ? "\"" + text + "\" has more than 15 digits"
                                         : std::string();
          },
          "INT"};
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // beyond the limit of a file's size write() fails, and says so
  CLI::App app("Largo: large-batch distributed training of image classifiers.", "largo");
  app.footer(
      "Examples\n"
      "  mpirun -n 2 largo train configs/fashion_mnist.yaml run.seed=2\n"
      "  largo eval configs/fashion_mnist.yaml --checkpoint runs/fashion_mnist\n"
      "  largo lr configs/fashion_mnist.yaml --at 0,100,1000\n"
      "  largo lr-find configs/fashion_mnist.yaml --plot range.svg --set found.yaml\n"
      "  largo config print configs/fashion_mnist.yaml batch.global=1024");
  app.require_subcommand(1);
  int exit_code = 0;
  const ProgramArguments program{argc, argv};

  TrainArguments train;
  auto* train_app =
      app.add_subcommand("train", "train, or go on with a run (under mpirun or srun)");
  add_config_arguments(train_app, train.config);
  train_app->add_flag("--fresh", train.fresh,
                      "start anew; an old run directory of this name is renamed");
  train_app->callback([&] { exit_code = run_train(train, program); });

  EvalArguments eval;
  auto* eval_app = app.add_subcommand("eval", "score saved weights on the validation set, as JSON");
  add_config_arguments(eval_app, eval.config);
  eval_app
      ->add_option("--checkpoint", eval.checkpoint,
                   "a checkpoint's folder, a run's folder or a .safetensors file")
      ->required();
  eval_app->callback([&] { exit_code = run_eval(eval, program); });

  LrArguments lr;
  auto* lr_app = app.add_subcommand("lr", "table of the learning rate, without training");
  lr_app->add_option("CONFIG", lr.config.path, "run file (YAML)")->required();
  lr_app->add_option("OVERRIDES", lr.config.overrides,
                     "key=value, checked like the file; further run files, to compare");
  lr_app->add_option("--every", lr.every, "one line per so many steps")->check(countable());
  lr_app->add_option("--at", lr.at, "these steps only: 0,7.75,64")
      ->delimiter(',')
      ->allow_extra_args(false);
  lr_app->add_option("--ranks", lr.ranks, "world size, where the batch is given per rank")
      ->check(CLI::Range(1, INT_MAX));
  lr_app->add_flag("--csv", lr.csv, "comma-separated");
  lr_app->add_option(
      "--plot", lr.plot,
      "write the learning rates, and what is scheduled beside them, as an SVG file too");
  lr_app->add_flag("--terminal", lr.terminal, "draw them with plain characters, on stderr");
  lr_app->callback([&] { exit_code = run_lr(lr); });

  LrFindArguments lr_find;
  auto* lr_find_app = app.add_subcommand(
      "lr-find", "which learning rate to train with: LR range test (under mpirun or srun)");
  add_config_arguments(lr_find_app, lr_find.config);
  lr_find_app->add_option("--steps", lr_find.steps, "of the ramp")
      ->check(countable())
      ->capture_default_str();
  lr_find_app->add_option("--from", lr_find.from,
                          "effective LR of the first step; else by the optimizer");
  lr_find_app->add_option("--to", lr_find.to, "effective LR that the ramp leads to");
  lr_find_app
      ->add_option("--ramp", lr_find.ramp, "exponential, or linear (what --accuracy has by itself)")
      ->check(CLI::IsMember({"exponential", "linear"}));
  auto* suggest =
      lr_find_app->add_option("--suggest", lr_find.suggest, "the suggestion that is the answer");
  suggest->check(CLI::IsMember({"valley", "steepest", "minimum", "slide"}))->capture_default_str();
  lr_find_app
      ->add_flag("--accuracy", lr_find.accuracy,
                 "Smith's test: from where the accuracy rises to where it falls")
      ->excludes(suggest);
  lr_find_app->add_option("--plot", lr_find.plot, "write an SVG file");
  lr_find_app->add_option("--json", lr_find.json, "write settings, suggestions and all points");
  lr_find_app->add_option("--set", lr_find.set,
                          "write a copy of CONFIG with the base that the answer means");
  lr_find_app->callback([&] { exit_code = run_lr_find(lr_find, program); });

  DataBenchArguments bench;
  auto* bench_app =
      app.add_subcommand("data-bench", "images/s of the loader alone, as JSON; nothing is trained");
  add_config_arguments(bench_app, bench.config);
  bench_app->add_option("--seconds", bench.seconds, "how long to measure")->capture_default_str();
  bench_app->add_option("--batches", bench.batches, "measure so many batches instead");
  bench_app->add_option("--ranks", bench.ranks, "world size that the batch of a rank follows from")
      ->check(CLI::Range(1, INT_MAX));
  bench_app->add_flag("--cached", bench.cached,
                      "keep decoded samples in memory as training does; without it every sample "
                      "is decoded anew");
  bench_app->callback([&] { exit_code = run_data_bench(bench); });

  AllreduceArguments allreduce;
  auto* allreduce_app = app.add_subcommand(
      "allreduce", "how fast the ranks sum, and whether right (under mpirun or srun)");
  allreduce_app->add_option("OVERRIDES", allreduce.overrides,
                            "key=value: run.device, run.threads, run.share_gpu, comm.backend, "
                            "comm.dtype, comm.timeout, comm.init_timeout");
  allreduce_app->add_option("--min", allreduce.least, "bytes; sizes double from here")
      ->capture_default_str();
  allreduce_app->add_option("--max", allreduce.most, "bytes")->capture_default_str();
  allreduce_app->add_option("--iterations", allreduce.iterations, "samples of each size")
      ->capture_default_str();
  allreduce_app->add_option("--json", allreduce.json,
                            "write the numbers to this file; -: to stdout, in place of the table");
  allreduce_app->add_option("--logs", allreduce.logs, "folder for NCCL's own log");
  allreduce_app->callback([&] { exit_code = run_allreduce(allreduce, program); });

  auto* config_app = app.add_subcommand("config", "check or print a run file");
  config_app->require_subcommand(1);
  ConfigCheckArguments check;
  auto* check_app = config_app->add_subcommand("check", "all that is wrong with it, in one go");
  add_config_arguments(check_app, check.config);
  check_app->add_option("--ranks", check.ranks, "world size to check it for")
      ->check(CLI::Range(1, INT_MAX));
  check_app->callback([&] { exit_code = run_config_check(check); });
  ConfigPrintArguments print;
  auto* print_app =
      config_app->add_subcommand("print", "every key with its value and where it comes from");
  add_config_arguments(print_app, print.config);
  print_app
      ->add_option("--ranks", print.ranks,
                   "world size that effective values are for, where the batch is given per rank")
      ->check(CLI::Range(1, INT_MAX));
  print_app->callback([&] { exit_code = run_config_print(print); });
  config_app->add_subcommand("schema", "every key with type, range, default and meaning")
      ->callback([&] { exit_code = run_config_schema(); });

  bool all = false;
  auto* version_app = app.add_subcommand("version", "what this is");
  version_app->add_flag("--all", all, "and the libraries that were really loaded");
  version_app->callback([&] { exit_code = run_version(all); });

  try {
    app.parse(argc, argv);
    return exit_code;
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : static_cast<int>(largo::ExitCode::kUsage);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(largo::exit_code(error));
  }
}
