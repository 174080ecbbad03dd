// A program that does nothing but collectives, one rank of which does something else in one step:
// faulty_rank FAULT TIMEOUT_S [RANK [STEP]], rank 1 in step 5 unless it is said. Run by watchdog.sh
// and faults.sh.
#include <torch/torch.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "comm/base/error.h"
#include "comm/base/log.h"
#include "comm/mpi_session.h"
#include "trainer/commands/setup.h"

namespace {

using largo::comm::CallName;
using largo::comm::Doing;
using largo::comm::MpiSession;

constexpr int64_t kSteps = 10;

struct Fault {
  std::string what;
  double timeout_s = 0;
  int rank = 1;
  int64_t step = 5;
};

void sleep_for(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

// What is no fault, but takes its time.
void be_slow(const MpiSession& session, const Fault& fault) {
  const double seconds = 3 * fault.timeout_s;
  if (fault.what == "evaluation") session.mark(Doing::kEvaluation, fault.step);
  if (fault.what != "slow") return sleep_for(seconds);
  for (int i = 0; i < 50; ++i) {
    session.mark(Doing::kComputing, fault.step);
    sleep_for(seconds / 50);
  }
}

void commit(const MpiSession& session, largo::comm::Communicator& world, const Fault& fault) {
  const std::string& what = fault.what;
  if (what == "kill") std::raise(SIGKILL);
  if (what == "stop" || what == "held_files") std::raise(SIGSTOP);
  if (what == "segmentation") std::raise(SIGSEGV);
  if (what == "exit") std::exit(0);
  if (what == "exit_at_once") _exit(0);
  if (what == "exception") throw largo::Error(largo::ExitCode::kBadData, "gave up");
  if (what == "mismatch") {
    torch::Tensor values = torch::ones({7});
    world.broadcast(values, 0);
  }
  if (what == "loader") sleep_for(600);
  if (what == "other_communicator") session.broadcast("");
  if (what == "slow" || what == "evaluation") be_slow(session, fault);
}

int run(const MpiSession& session, const Fault& fault) {
  const auto world = session.make_communicator(/*asynchronous=*/true);
  torch::Tensor values = torch::ones({1000});
  for (int64_t step = 0; step < kSteps; ++step) {
    session.mark(Doing::kData, step);
    if (fault.what == "held_files" &&
        step == fault.step) {  // as a write to a hung file system holds them
      flockfile(stdout);
      flockfile(stderr);
    }
    if (session.rank() == fault.rank && step == fault.step) commit(session, *world, fault);
    session.mark(Doing::kSumming, step);
    const CallName name("bucket", 0);
    world->all_reduce(values).wait();
  }
  if (session.rank() == 0) std::printf("done\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const MpiSession session(argc, argv);
  largo::Log log;
  log.set_rank(session.rank(), session.size(), session.host());
  Fault fault = {.what = argv[1], .timeout_s = std::stod(argv[2])};
  if (argc > 3) fault.rank = std::stoi(argv[3]);
  if (argc > 4) fault.step = std::stoll(argv[4]);
  session.watchdog().set_folder("reports");
  session.watchdog().set_limits({.timeout_s = fault.timeout_s, .init_timeout_s = 60});
  return largo::commands::guarded(session, log, [&] { return run(session, fault); });
}
