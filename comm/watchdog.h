// Ends a job whose ranks wait for each other in vain, and says who is missing.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/errands.h"
#include "comm/flight_record.h"
#include "comm/regular_looks.h"
#include "comm/watch_report.h"

namespace largo::comm {

// One thread per rank that looks at the rank's record of collectives and, on the progress board, at
// those of the other ranks of the node.
//
// At a tenth of the patience (patience_used) the lowest rank that waits says, once per collective,
// for whom. At its end there is an alarm, and every rank that can answers, those too that wait for
// nothing: it writes its last calls and how far it is to <folder>/watchdog.<token>.<alarm>/
// rank-N.txt, where ranks of other nodes read them (to `error` where there is no folder). A few
// seconds later who raised it looks again, now with the answers of other nodes. Where the
// collective has come to its end, or anybody shows a sign of life, the alarm is over and all go on.
// Otherwise the lowest of those that raised it says which ranks came and which did not, and ends
// the job; if it does not come to that, any other does.
//
// Time in which this process was stopped does not count, or a job that is suspended as a whole
// would end when it is continued.
//
// Nothing of this touches MPI, CUDA or the file system before something has gone wrong; with ranks
// on other nodes, a look every two seconds for that folder does. The thread itself touches none of
// them ever: a second one does, for which it does not wait when the job is to end. Destruction
// stops both, waiting for a file system, but never for other ranks.
class Watchdog {
 public:
  struct Setup {
    std::shared_ptr<FlightRecord> record;
    std::vector<std::string> hosts;  // by rank: all of the job
    std::string token;               // the same on all ranks of the job, and no other job's
    std::function<void()> end;       // ends the job; need not return
  };

  using Voice = std::function<void(const std::string&)>;

  // A job of one rank is not watched.
  explicit Watchdog(Setup setup);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void set_limits(const WatchLimits& limits);
  void set_folder(const std::filesystem::path& folder);  // empty: none
  // Before this, and for empty functions, both go to stderr. What was set before is not called any
  // more once this returns.
  void set_voices(Voice warn, Voice error);

 private:
  using Waiting = FlightRecord::Waiting;

  struct Settings {
    WatchLimits limits = {};
    std::filesystem::path folder = {};
  };

  // What a rank of another node has answered.
  struct Heard {
    RankWord word;
    bool raised = false;
    uint32_t alarm = 0;
    int64_t at_ns = 0;
  };

  void watch();
  bool look_round(const Settings& settings);
  void look_for_alarms(const Settings& settings);
  uint32_t last_alarm() const;
  void answer(const Settings& settings, uint32_t alarm, bool raises);
  bool raise(const Settings& settings, const Waiting& waiting);
  bool in_vain(const Settings& settings, const Waiting& waiting);
  void end(const Settings& settings, const Waiting& waiting);
  double used(const Settings& settings, const Waiting& waiting, const std::vector<RankSeen>& ranks);
  bool is_lowest_that_raised(const Waiting& waiting) const;
  void hear(const Settings& settings, const Waiting& waiting);
  bool doze(const Settings& settings, double most_s);
  bool sleep(const Settings& settings, double seconds);  // false: to be stopped
  void say(const Voice& voice, const char* kind, const std::string& text) const;
  void warn(const std::string& text);  // by errand, these two
  void error(const std::string& text);
  std::vector<RankSeen> see(const Waiting& waiting) const;
  void add_troubles(std::vector<RankSeen>& ranks) const;
  std::filesystem::path folder(const Settings& settings, uint32_t alarm) const;

  Setup setup_;
  bool one_node_;
  std::chrono::steady_clock::time_point folder_looked_at_;
  std::set<std::pair<uint64_t, uint64_t>> warned_;  // line and number; of the waits that go on
  uint32_t answered_ = 0;                           // the last alarm that this rank answered
  std::chrono::steady_clock::time_point answered_at_;
  RegularLooks looks_;
  double watched_s_ = 0;

  std::atomic<uint32_t> alarm_elsewhere_{0};  // the last that the folder shows
  mutable std::mutex heard_mutex_;
  std::map<int, Heard> heard_;

  std::mutex voices_mutex_;  // held while they speak
  Voice warn_;
  Voice error_;

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  Settings settings_;
  bool stop_ = false;

  Errands errands_;  // these two go first
  std::thread thread_;
};

}  // namespace largo::comm
