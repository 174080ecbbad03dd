// Ends a job whose ranks wait for each other in vain, and says who is missing.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/flight_record.h"
#include "comm/watch_report.h"

namespace largo::comm {

// One thread per rank that looks at the rank's record of collectives and, on the progress board, at
// those of the other ranks of the node.
//
// At a tenth of the patience (patience_used) the lowest rank that waits says, once per collective,
// for whom. At its end every rank that can answers, those too that wait for nothing: it writes its
// last calls and how far it is to <folder>/watchdog.<token>/rank-N.txt, where ranks of other nodes
// read them (to `error` where there is no folder). Then the lowest of those that wait says which
// ranks came and which did not, and ends the job, a few seconds after the patience ran out; if it
// does not come to that, any other does.
//
// Nothing of this touches MPI, CUDA or the file system before something has gone wrong; with ranks
// on other nodes, a look every two seconds for that folder does. Destruction stops the thread,
// which never waits for other ranks.
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

  void watch();
  bool look_round(const Settings& settings);
  bool others_have_raised(const Settings& settings);
  void answer(const Settings& settings, bool waits);
  void raise(const Settings& settings, const Waiting& waiting);
  bool is_lowest_that_waits(const Settings& settings, const Waiting& waiting) const;
  bool sleep(double seconds);  // false: to be stopped
  void warn(const std::string& text);
  void error(const std::string& text);
  std::vector<RankSeen> see(const Waiting& waiting) const;
  void read_words(const Settings& settings, std::vector<RankSeen>& ranks, uint64_t line) const;
  std::filesystem::path folder(const Settings& settings) const;

  Setup setup_;
  bool one_node_;
  std::chrono::steady_clock::time_point folder_looked_at_;
  std::set<std::pair<uint64_t, uint64_t>> warned_;  // line and number; of the waits that go on
  bool answered_ = false;

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  Settings settings_;
  Voice warn_;
  Voice error_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace largo::comm
