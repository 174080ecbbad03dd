// How the ranks of an MPI job become an NCCL communicator.
#include "comm/nccl_backend.h"

#include <cstdlib>
#include <exception>
#include <numeric>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "comm/nccl/nccl_communicator.h"
#include "comm/nccl/setup_report.h"

namespace largo::comm {

namespace {

constexpr int kLogLines = 25;

void set_unless_set(const char* name, const std::string& value) {
  if (setenv(name, value.c_str(), /*overwrite=*/0) != 0) {
    fail(ExitCode::kUnavailable, "setenv ", name, "=", value);
  }
}

// NCCL reads its variables once, at its first call. What the user has set stays.
void set_environment(const MpiSession& session, const NcclSettings& settings) {
  if (!settings.log_folder.empty()) {
    std::error_code ignored;  // NCCL then logs to stdout, and goes on
    std::filesystem::create_directories(settings.log_folder, ignored);
    set_unless_set("NCCL_DEBUG_FILE", settings.log_folder / "nccl.%h.%p.log");
    set_unless_set("NCCL_DEBUG", "INFO");
    set_unless_set("NCCL_DEBUG_SUBSYS", "INIT,NET,ENV");
  }
  if (settings.share_gpu) {
    // NCCL refuses two ranks on one GPU of one host: each rank gives itself a host, so that they
    // meet through sockets. Few and simple kernels, because all have to fit on the GPU at once.
    set_unless_set("NCCL_HOSTID", concat(session.host(), "-rank", session.rank()));
    if (session.local_size() == session.size()) set_unless_set("NCCL_SOCKET_IFNAME", "lo");
    set_unless_set("NCCL_IB_DISABLE", "1");
    set_unless_set("NCCL_NVLS_ENABLE", "0");
    set_unless_set("NCCL_ALGO", "Ring");
    set_unless_set("NCCL_PROTO", "Simple");
    set_unless_set("NCCL_MAX_CTAS", "4");
  }
}

// Of this stream's own clock, behind the session's watchdog, which says more.
constexpr double kLater_s = 15;

std::shared_ptr<FlightRecord::Line> line_of_all(const MpiSession& session) {
  std::vector<int> ranks(static_cast<size_t>(session.size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return std::make_shared<FlightRecord::Line>(session.flight_record(), "the NCCL stream", ranks);
}

// Runs one part of the set-up on every rank, then, reached by all because each has a deadline,
// hears how it went everywhere. Throws the same report on all of them if it went wrong anywhere.
class Setup {
 public:
  Setup(const MpiSession& session, const NcclSettings& settings)
      : session_(session), settings_(settings) {}

  template <class Part>
  void agree_on(const Part& part) {
    RankSetup mine;
    mine.rank = session_.rank();
    mine.host = session_.host();
    try {
      part();
    } catch (const std::exception& error) {
      mine.error = error.what();
      if (mine.error.empty()) mine.error = "unknown error";
      read_nccl_log(settings_.log_folder, kLogLines, mine);
    }
    mine.interfaces = network_interfaces();
    mine.variables = nccl_variables();
    mine.variables.erase("NCCL_HOSTID");  // differs on purpose
    mine.variables["NCCL version"] = version_;
    std::vector<RankSetup> ranks;
    for (const std::string& bytes : session_.all_gather(to_bytes(mine))) {
      ranks.push_back(rank_setup_from_bytes(bytes));
    }
    if (any_failed(ranks)) throw AgreedError(ExitCode::kUnavailable, describe_failed_setup(ranks));
  }

  void note_version() { version_ = nccl_versions(); }

 private:
  const MpiSession& session_;
  const NcclSettings& settings_;
  std::string version_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(const MpiSession& session,
                                                     std::unique_ptr<Communicator> host,
                                                     const NcclSettings& settings) {
  Setup setup(session, settings);
  std::shared_ptr<CommStream> stream;
  std::string id;
  const auto line = line_of_all(session);
  setup.agree_on([&] {
    set_environment(session, settings);
    setup.note_version();
    stream =
        std::make_shared<CommStream>(CommStream::Options{.device = settings.device,
                                                         .rank = session.rank(),
                                                         .world = session.size(),
                                                         .timeout_s = settings.timeout_s + kLater_s,
                                                         .board = session.node_board(),
                                                         .line = line});
    if (session.rank() == 0) {
      const ncclUniqueId made = NcclCore::make_id();
      id.assign(made.internal, sizeof made.internal);
    }
  });

  id = session.broadcast(id);
  std::unique_ptr<NcclCommunicator> communicator;
  setup.agree_on([&] {
    ncclUniqueId received{};
    LARGO_CHECK(id.size() == sizeof received.internal, "NCCL id of ", id.size(), " bytes");
    id.copy(received.internal, id.size());
    auto core = std::make_unique<NcclCore>(stream, received, session.rank(), session.size(),
                                           settings.init_timeout_s);
    communicator = std::make_unique<NcclCommunicator>(
        std::move(host), std::move(core),
        at::Device(at::kCUDA, static_cast<at::DeviceIndex>(settings.device)),
        NcclCommunicator::Timeouts{settings.init_timeout_s, settings.timeout_s});
    communicator->try_out();
  });
  return communicator;
}

}  // namespace largo::comm
