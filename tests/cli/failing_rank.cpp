// A program whose rank 1 throws while the others wait for it: failing_rank MODE, where MODE says in
// what they wait. Run by rank_failure.sh.
#include <torch/torch.h>

#include <string>
#include <thread>

#include "comm/base/error.h"
#include "comm/base/log.h"
#include "comm/mpi_session.h"
#include "trainer/commands/setup.h"

int main(int argc, char** argv) {
  const largo::comm::MpiSession session(argc, argv);
  largo::Log log;
  log.set_rank(session.rank(), session.size(), session.host());
  const std::string mode = argc > 1 ? argv[1] : "";
  return largo::commands::guarded(session, log, [&]() -> int {
    const auto world = session.make_communicator(/*asynchronous=*/true);
    torch::Tensor values = torch::ones({1000});
    if (session.rank() == 1) {
      if (mode == "own_reduction") world->all_reduce(values);  // still under way while this unwinds
      if (mode == "terminate") std::thread([] { throw std::runtime_error("gave up"); }).join();
      if (mode == "exit") std::exit(0);
      throw largo::Error(largo::ExitCode::kBadData, "gave up");
    }
    if (mode == "own_reduction") std::this_thread::sleep_for(std::chrono::seconds(600));
    if (mode == "reduction") world->all_reduce(values).wait();
    world->barrier();
    return 0;
  });
}
