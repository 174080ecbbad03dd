// A program that does nothing but collectives, and whose rank 1 does something else in step 5:
// faulty_rank FAULT TIMEOUT_S. Run by watchdog.sh.
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

constexpr int64_t kSteps = 10, kFaultyStep = 5;

void sleep_for(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

// What is no fault, but takes `seconds`.
void be_slow(const MpiSession& session, const std::string& how, double seconds) {
  if (how == "evaluation") session.mark(Doing::kEvaluation, kFaultyStep);
  if (how != "slow") return sleep_for(seconds);
  for (int i = 0; i < 50; ++i) {
    session.mark(Doing::kComputing, kFaultyStep);
    sleep_for(seconds / 50);
  }
}

void fault(const MpiSession& session, largo::comm::Communicator& world, const std::string& what) {
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
}

int run(const MpiSession& session, const std::string& what, double timeout_s) {
  const auto world = session.make_communicator(/*asynchronous=*/true);
  torch::Tensor values = torch::ones({1000});
  for (int64_t step = 0; step < kSteps; ++step) {
    session.mark(Doing::kData, step);
    if (what == "held_files" &&
        step == kFaultyStep) {  // as a write to a hung file system holds them
      flockfile(stdout);
      flockfile(stderr);
    }
    if (session.rank() == 1 && step == kFaultyStep) {
      fault(session, *world, what);
      if (what == "slow" || what == "evaluation") {
        be_slow(session, what, 3 * timeout_s);
      }
    }
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
  const double timeout_s = std::stod(argv[2]);
  session.watchdog().set_folder("reports");
  session.watchdog().set_limits({.timeout_s = timeout_s, .init_timeout_s = 60});
  return largo::commands::guarded(session, log, [&] { return run(session, argv[1], timeout_s); });
}
