#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <sstream>
#include <thread>
#include <utility>

#include "tests/comm/nccl/emulated_state.h"

namespace {

namespace emulated = largo::test::emulated;

struct Call {
  enum Kind { kAllReduce, kBroadcast, kAllGather } kind;
  size_t count;
  ncclDataType_t type;
  int root;
  bool operator==(const Call&) const = default;
};

std::string to_string(const Call& call) {
  static const char* const kNames[] = {"AllReduce", "Broadcast", "AllGather"};
  std::ostringstream text;
  text << kNames[call.kind] << "(count " << call.count << ", type " << call.type << ", root "
       << call.root << ")";
  return text.str();
}

size_t bytes_of(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return 1;
    case ncclFloat32:
      return 4;
    default:
      return 8;
  }
}

// The k-th collective of a group.
struct Meeting {
  Call call;
  int first_rank;
  std::vector<const void*> send;
  std::vector<void*> receive;
  int arrived = 0;
  bool done = false;
};

struct Group {
  std::mutex mutex;
  std::condition_variable changed;
  int size = 0;
  int joined = 0;
  int finalized = 0;
  bool dead = false;  // no collective completes any more
  std::string mismatch;
  std::map<int, ncclResult_t> injected;  // by rank; -1: all
  std::map<uint64_t, Meeting> meetings;
};

std::mutex groups_mutex;
std::map<uint64_t, std::shared_ptr<Group>>& groups() {
  static std::map<uint64_t, std::shared_ptr<Group>> all;
  return all;
}

std::shared_ptr<Group> group_of(const ncclUniqueId& id) {
  uint64_t key = 0;
  std::memcpy(&key, id.internal, sizeof key);
  const std::scoped_lock lock(groups_mutex);
  auto& group = groups()[key];
  if (!group) group = std::make_shared<Group>();
  return group;
}

// The part of a communicator that its work on streams keeps alive.
struct Rank {
  Rank(std::shared_ptr<Group> its_group, int its_rank)
      : group(std::move(its_group)), rank(its_rank) {}

  const std::shared_ptr<Group> group;
  const int rank;
  bool aborted = false;  // under the group's mutex
  uint64_t next = 0;     // from here on: the caller's
  int polls = 0;
  std::vector<std::function<void()>> unlaunched;
  bool finalized = false;
};

template <class T>
void sum(const Meeting& meeting) {
  for (size_t i = 0; i < meeting.call.count; ++i) {
    const T total = std::accumulate(
        meeting.send.begin(), meeting.send.end(), T{},
        [i](T so_far, const void* data) { return so_far + static_cast<const T*>(data)[i]; });
    for (void* data : meeting.receive) static_cast<T*>(data)[i] = total;
  }
}

void compute(const Meeting& meeting) {
  const Call& call = meeting.call;
  const size_t bytes = call.count * bytes_of(call.type);
  switch (call.kind) {
    case Call::kAllReduce:
      if (call.type == ncclFloat32) sum<float>(meeting);
      if (call.type == ncclFloat64) sum<double>(meeting);
      if (call.type == ncclInt64) sum<int64_t>(meeting);
      break;
    case Call::kBroadcast:
      for (void* data : meeting.receive) std::memmove(data, meeting.send[call.root], bytes);
      break;
    case Call::kAllGather:
      for (void* data : meeting.receive) {
        for (size_t r = 0; r < meeting.send.size(); ++r) {
          std::memmove(static_cast<char*>(data) + r * bytes, meeting.send[r], bytes);
        }
      }
      break;
  }
}

// On the stream's thread: what a kernel of NCCL's does. Ends only with the collective, or by this
// rank's own abort, as on a GPU.
void meet(Rank& rank, uint64_t number, const Call& call, const void* send, void* receive) {
  const emulated::Behaviour how = emulated::behaviour();
  if (how.collective_time.count() > 0) std::this_thread::sleep_for(how.collective_time);
  Group& group = *rank.group;
  std::unique_lock lock(group.mutex);
  const size_t size = group.size;
  Meeting fresh{call, rank.rank, std::vector<const void*>(size), std::vector<void*>(size)};
  Meeting& meeting = group.meetings.try_emplace(number, std::move(fresh)).first->second;
  if (meeting.call != call) {
    if (how.detect_mismatch && group.mismatch.empty()) {
      std::ostringstream text;
      text << "collective " << number << " is " << to_string(meeting.call) << " on rank "
           << meeting.first_rank << " but " << to_string(call) << " on rank " << rank.rank;
      group.mismatch = text.str();
    }
    group.dead = true;
  }
  meeting.send[rank.rank] = send;
  meeting.receive[rank.rank] = receive;
  if (++meeting.arrived == group.size && !group.dead) {
    compute(meeting);
    meeting.done = true;
    group.changed.notify_all();
  }
  group.changed.wait(lock, [&] { return meeting.done || rank.aborted; });
}

}  // namespace

struct ncclComm {
  std::shared_ptr<Rank> rank;
  std::atomic<bool> entered{false};
};

namespace {

// One thread at a time may be inside a communicator.
class Entry {
 public:
  explicit Entry(ncclComm_t comm) : comm_(comm) {
    if (comm_->entered.exchange(true, std::memory_order_relaxed)) {
      emulated::violation("two threads inside one communicator");
    }
    std::this_thread::yield();  // a call takes its time
  }
  ~Entry() { comm_->entered.store(false, std::memory_order_relaxed); }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

 private:
  ncclComm_t comm_;
};

thread_local int group_depth = 0;
thread_local std::vector<std::pair<std::shared_ptr<Rank>, std::function<void()>>> grouped;

// A communicator that does not block launches later.
ncclResult_t launch_later(Rank& rank, std::function<void()> work) {
  rank.unlaunched.push_back(std::move(work));
  rank.polls = emulated::behaviour().polls_to_launch;
  return ncclInProgress;
}

ncclResult_t collective(ncclComm_t comm, const Call& call, const void* send, void* receive,
                        cudaStream_t stream) {
  const Entry entry(comm);
  const std::shared_ptr<Rank>& rank = comm->rank;
  if (!rank->unlaunched.empty()) {
    emulated::violation("a collective before the launch of the one before was settled");
    return ncclInvalidArgument;
  }
  if (rank->finalized) emulated::violation("a collective after ncclCommFinalize");
  auto work = [rank, call, send, receive, stream, number = rank->next++] {
    emulated::launch(stream, [=] { meet(*rank, number, call, send, receive); });
  };
  if (group_depth > 0) {
    grouped.emplace_back(rank, work);
    return ncclSuccess;
  }
  return launch_later(*rank, work);
}

}  // namespace

namespace largo::test::emulated {

void inject_error(const ncclUniqueId& id, int rank, ncclResult_t error) {
  const auto group = group_of(id);
  const std::scoped_lock lock(group->mutex);
  group->injected[rank] = error;
  group->dead = true;
}

}  // namespace largo::test::emulated

extern "C" {

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<uint64_t> made{0};
  const uint64_t key = ++made;
  std::memset(id, 0, sizeof *id);
  std::memcpy(id->internal, &key, sizeof key);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (config == nullptr || config->blocking != 0) {
    emulated::violation("a communicator that blocks: no deadline applies inside");
    return ncclInvalidArgument;
  }
  *comm = new ncclComm{std::make_shared<Rank>(group_of(id), rank)};
  ++emulated::live_comms();
  Group& group = *(*comm)->rank->group;
  const std::scoped_lock lock(group.mutex);
  group.size = size;
  ++group.joined;
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  const Entry entry(comm);
  Rank& rank = *comm->rank;
  Group& group = *rank.group;
  {
    const std::scoped_lock lock(group.mutex);
    for (const int who : {-1, rank.rank}) {
      if (const auto found = group.injected.find(who); found != group.injected.end()) {
        *error = found->second;
        return ncclSuccess;
      }
    }
    if (!group.mismatch.empty()) {
      *error = ncclInvalidUsage;
      return ncclSuccess;
    }
    if (group.joined < group.size || (rank.finalized && group.finalized < group.size)) {
      *error = ncclInProgress;
      return ncclSuccess;
    }
  }
  if (!rank.unlaunched.empty() && --rank.polls <= 0) {
    for (const auto& work : rank.unlaunched) work();
    rank.unlaunched.clear();
  }
  *error = rank.unlaunched.empty() ? ncclSuccess : ncclInProgress;
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* send, void* receive, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  if (op != ncclSum) emulated::violation("a reduction other than a sum");
  return collective(comm, {Call::kAllReduce, count, type, 0}, send, receive, stream);
}

ncclResult_t ncclBroadcast(const void* send, void* receive, size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream) {
  return collective(comm, {Call::kBroadcast, count, type, root}, send, receive, stream);
}

ncclResult_t ncclAllGather(const void* send, void* receive, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  return collective(comm, {Call::kAllGather, count, type, 0}, send, receive, stream);
}

ncclResult_t ncclGroupStart() {
  ++group_depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (--group_depth > 0) return ncclSuccess;
  ncclResult_t result = ncclSuccess;
  for (auto& [rank, work] : grouped) result = launch_later(*rank, std::move(work));
  grouped.clear();
  return result;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const Entry entry(comm);
  if (!comm->rank->unlaunched.empty()) emulated::violation("ncclCommFinalize before a launch");
  comm->rank->finalized = true;
  const std::scoped_lock lock(comm->rank->group->mutex);
  ++comm->rank->group->finalized;
  return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (!comm->rank->finalized) emulated::violation("ncclCommDestroy without ncclCommFinalize");
  delete comm;
  --emulated::live_comms();
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  while (emulated::behaviour().abort_hangs) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  {
    const Entry entry(comm);
    const std::scoped_lock lock(comm->rank->group->mutex);
    comm->rank->aborted = true;
    comm->rank->group->dead = true;
    comm->rank->unlaunched.clear();
  }
  comm->rank->group->changed.notify_all();
  delete comm;
  --emulated::live_comms();
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclInProgress:
      return "in progress";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    default:
      return "emulated NCCL error";
  }
}

const char* ncclGetLastError(ncclComm_t comm) {
  thread_local std::string text;
  if (comm == nullptr) return "";
  const std::scoped_lock lock(comm->rank->group->mutex);
  text = comm->rank->group->mismatch;
  return text.c_str();
}

}  // extern "C"
