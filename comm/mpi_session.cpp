#include "comm/mpi_session.h"

#include <mpi.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numeric>
#include <string_view>
#include <thread>
#include <utility>

#include "comm/base/error.h"
#include "comm/host_communicator.h"
#include "comm/mpi_check.h"
#include "comm/node_board.h"
#include "comm/start_guard.h"

namespace largo::comm {

namespace {

std::string host_name() {
  std::array<char, 256> host{};
  return gethostname(host.data(), host.size() - 1) == 0 ? host.data() : "";
}

// The number of ranks that the launcher says it started, and the variable that says so. Under
// mpirun inside a Slurm job, Slurm's variables describe mpirun's daemons, so mpirun's own comes
// first.
std::pair<const char*, long> launched_ranks() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    if (const char* value = std::getenv(name)) return {name, std::strtol(value, nullptr, 10)};
  }
  return {nullptr, 1};
}

bool is_launched() {
  for (const char* name :
       {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "SLURM_STEP_NUM_TASKS"}) {
    if (std::getenv(name)) return true;
  }
  return false;
}

// SIGKILL when the parent ends. The parent may have ended just before the call took effect.
void die_with_parent() {
  const pid_t parent = getppid();
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() != parent) std::raise(SIGKILL);
}

bool is_running() {
  int started = 0;
  int ended = 0;
  return MPI_Initialized(&started) == MPI_SUCCESS && started &&
         MPI_Finalized(&ended) == MPI_SUCCESS && !ended;
}

// MPI_Abort waits for the launcher, and a flush for whoever holds a file: this waits for neither.
void exit_in_any_case_within(int seconds, int code) noexcept {
  try {
    std::thread([seconds, code] {
      std::this_thread::sleep_for(std::chrono::seconds(seconds));
      _exit(code);
    }).detach();
  } catch (...) {  // no thread to be had
    alarm(static_cast<unsigned>(seconds));
  }
}

[[noreturn]] void end_job(int code) noexcept {
  if (is_running()) MPI_Abort(MPI_COMM_WORLD, code);
  _exit(code);
}

// "[rank 1 @ node7] " by the launcher's word: MPI may not be able to tell.
std::string launched_as() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    const char* const rank = std::getenv(name);
    if (rank != nullptr) return concat("[rank ", rank, " @ ", host_name(), "] ");
  }
  return {};
}

void say(const std::string& error) {
  std::fprintf(stderr, "%serror: %s\n", launched_as().c_str(), error.c_str());
}

// No watchdog can tell yet which ranks have come.
void end_late_start(double seconds) noexcept {
  const auto code = static_cast<int>(ExitCode::kUnavailable);
  exit_in_any_case_within(3, code);
  say(concat("MPI did not start within ", seconds,
             " s (comm.init_timeout): some rank has not come this far, or the hosts cannot reach "
             "each other"));
  end_job(code);
}

// exit() or std::terminate() on one rank would leave the others waiting in a collective for ever.
void abort_if_running(const std::string& why) {
  if (!is_running()) return;
  exit_in_any_case_within(5, static_cast<int>(ExitCode::kInternal));
  if (!why.empty()) say(why);
  MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitCode::kInternal));
}

void abort_at_exit() { abort_if_running("exit() was called before the end of the program"); }

[[noreturn]] void terminate_job() {
  if (const auto current = std::current_exception()) {
    try {
      std::rethrow_exception(current);
    } catch (const std::exception& error) {
      say(concat("terminated by: ", error.what()));
    } catch (...) {
      say("terminated by an unknown exception");
    }
  }
  abort_if_running({});
  std::abort();
}

std::vector<std::string> all_gather_bytes(MPI_Comm comm, int size, const std::string& bytes) {
  if (bytes.size() > INT_MAX / static_cast<size_t>(size)) {
    fail(ExitCode::kInternal, "all_gather of ", bytes.size(), " bytes per rank");
  }
  const int mine = static_cast<int>(bytes.size());
  std::vector<int> lengths(size);
  mpi_check(MPI_Allgather(&mine, 1, MPI_INT, lengths.data(), 1, MPI_INT, comm), "MPI_Allgather");
  std::vector<int> offsets(size);
  for (int r = 1; r < size; ++r) offsets[r] = offsets[r - 1] + lengths[r - 1];
  std::string all(offsets.back() + lengths.back(), '\0');
  mpi_check(MPI_Allgatherv(bytes.data(), mine, MPI_BYTE, all.data(), lengths.data(), offsets.data(),
                           MPI_BYTE, comm),
            "MPI_Allgatherv");
  std::vector<std::string> parts;
  parts.reserve(static_cast<size_t>(size));
  for (int r = 0; r < size; ++r) parts.push_back(all.substr(offsets[r], lengths[r]));
  return parts;
}

}  // namespace

const char* to_string(ThreadLevel level) {
  switch (level) {
    case ThreadLevel::kFunneled:
      return "funneled";
    case ThreadLevel::kSerialized:
      return "serialized";
    case ThreadLevel::kMultiple:
      return "multiple";
  }
  return "";
}

struct MpiSession::Handles {
  MpiComm world;
  MpiComm node;
};

struct MpiSession::Watch {
  std::shared_ptr<ProgressBoard> board;  // null: this rank knows of itself only
  std::shared_ptr<FlightRecord> record;
  std::unique_ptr<FlightRecord::Line> world;
  std::unique_ptr<FlightRecord::Line> node;
  std::unique_ptr<Watchdog> dog;
};

void MpiSession::start_to_watch() {
  watch_ = std::make_unique<Watch>();
  const auto gather = [this](const std::string& bytes) {
    return all_gather_bytes(handles_->node.get(), local_size_, bytes);
  };
  watch_->board = make_node_board(rank_, local_rank_ == 0, gather);
  watch_->record = std::make_shared<FlightRecord>(
      watch_->board ? watch_->board : std::make_shared<ProgressBoard>(std::vector<int>{rank_}),
      rank_);
  std::vector<int> everyone(static_cast<size_t>(size_));
  std::iota(everyone.begin(), everyone.end(), 0);
  std::vector<int> neighbours;
  for (const std::string& rank : gather(std::to_string(rank_))) {
    neighbours.push_back(std::stoi(rank));
  }
  using Line = FlightRecord::Line;
  watch_->world = std::make_unique<Line>(watch_->record, "the session", std::move(everyone));
  watch_->node = std::make_unique<Line>(watch_->record, "the node", std::move(neighbours));
  const int64_t now = FlightRecord::now_ns();
  watch_->dog = std::make_unique<Watchdog>(
      Watchdog::Setup{.record = watch_->record,
                      .hosts = all_gather(host_),
                      .token = broadcast(concat(std::hex, getpid(), "-", now)),
                      .end = [] {
                        const auto code = static_cast<int>(ExitCode::kUnavailable);
                        exit_in_any_case_within(3, code);
                        end_job(code);
                      }});
}

MpiSession::MpiSession(int& argc, char**& argv, double init_timeout_s)
    : exceptions_at_start_(std::uncaught_exceptions()) {
  if (is_launched()) die_with_parent();
  const StartGuard guard(init_timeout_s, [&] { end_late_start(init_timeout_s); });
  int granted = MPI_THREAD_SINGLE;
  mpi_check(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &granted), "MPI_Init_thread");
  std::set_terminate(terminate_job);
  std::atexit(abort_at_exit);

  handles_ = std::make_unique<Handles>();
  MPI_Comm copy = MPI_COMM_NULL;
  mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &copy), "MPI_Comm_dup");
  handles_->world = MpiComm(copy);
  rank_ = handles_->world.rank();
  size_ = handles_->world.size();
  MPI_Comm node = MPI_COMM_NULL;
  mpi_check(MPI_Comm_split_type(copy, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node),
            "MPI_Comm_split_type");
  handles_->node = MpiComm(node);
  local_rank_ = handles_->node.rank();
  local_size_ = handles_->node.size();
  host_ = host_name();

  switch (granted) {
    case MPI_THREAD_MULTIPLE:
      thread_level_ = ThreadLevel::kMultiple;
      break;
    case MPI_THREAD_SERIALIZED:
      thread_level_ = ThreadLevel::kSerialized;
      break;
    case MPI_THREAD_FUNNELED:
      thread_level_ = ThreadLevel::kFunneled;
      break;
    default:
      MPI_Finalize();
      fail(ExitCode::kUnavailable,
           "this MPI library grants no threads beside its own (MPI_THREAD_SINGLE); Largo needs at "
           "least MPI_THREAD_FUNNELED");
  }
  const auto [variable, launched] = launched_ranks();
  if (size_ == 1 && launched > 1) {
    handles_.reset();
    MPI_Finalize();
    fail(
        ExitCode::kUnavailable, "the launcher says that it started ", launched, " ranks (",
        variable,
        "), but MPI sees one: each would train alone. Launcher and MPI library do not match; under "
        "Slurm use srun --mpi=pmix (srun --mpi=list shows what there is), otherwise the mpirun of "
        "the MPI that Largo was built with");
  }
  start_to_watch();
}

MpiSession::~MpiSession() {
  if (std::uncaught_exceptions() > exceptions_at_start_) {
    abort(static_cast<int>(ExitCode::kInternal));
  }
  if (!is_running()) return;
  mark(Doing::kEnding, 0);
  const FlightRecord::Call call(watch_->world.get(), CallKind::kFinish, 0, {});
  handles_.reset();
  MPI_Finalize();
}

Watchdog& MpiSession::watchdog() const { return *watch_->dog; }

void MpiSession::mark(Doing doing, int64_t step) const { watch_->record->mark(doing, step); }

const std::shared_ptr<FlightRecord>& MpiSession::flight_record() const { return watch_->record; }

std::shared_ptr<ProgressBoard> MpiSession::node_board() const { return watch_->board; }

std::string MpiSession::library_version() const {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  mpi_check(MPI_Get_library_version(text.data(), &length), "MPI_Get_library_version");
  const std::string_view whole(text.data(), length);
  return std::string(whole.substr(0, whole.find_first_of(",\n")));
}

std::string MpiSession::broadcast(std::string bytes, int root) const {
  const FlightRecord::Call call(watch_->world.get(), CallKind::kBroadcast, 0, {});
  const MPI_Comm comm = handles_->world.get();
  uint64_t length = bytes.size();
  mpi_check(MPI_Bcast(&length, 1, MPI_UINT64_T, root, comm), "MPI_Bcast");
  LARGO_CHECK(length <= INT_MAX, "broadcast of ", length, " bytes");
  bytes.resize(length);
  mpi_check(MPI_Bcast(bytes.data(), static_cast<int>(length), MPI_BYTE, root, comm), "MPI_Bcast");
  return bytes;
}

std::vector<std::string> MpiSession::all_gather(const std::string& bytes) const {
  const FlightRecord::Call call(watch_->world.get(), CallKind::kAllGather, 0, {});
  return all_gather_bytes(handles_->world.get(), size_, bytes);
}

std::vector<std::string> MpiSession::node_all_gather(const std::string& bytes) const {
  const FlightRecord::Call call(watch_->node.get(), CallKind::kAllGather, 0, {});
  return all_gather_bytes(handles_->node.get(), local_size_, bytes);
}

std::unique_ptr<Communicator> MpiSession::make_communicator(bool asynchronous) const {
  const FlightRecord::Call call(watch_->world.get(), CallKind::kSplit, 0, {});
  return make_host_communicator(
      handles_->world.duplicate(),
      {.asynchronous = asynchronous && thread_level_ == ThreadLevel::kMultiple,
       .record = watch_->record});
}

std::unique_ptr<Communicator> MpiSession::make_plain_mpi_communicator() const {
  const FlightRecord::Call call(watch_->world.get(), CallKind::kSplit, 0, {});
  return make_host_communicator(handles_->world.duplicate(),
                                {.shared_memory = false, .record = watch_->record});
}

void MpiSession::abort(int code) const noexcept {
  exit_in_any_case_within(5, code);
  std::fflush(nullptr);
  end_job(code);
}

}  // namespace largo::comm
