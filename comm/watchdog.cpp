#include "comm/watchdog.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <optional>

#include "comm/base/error.h"
#include "comm/process_state.h"

namespace largo::comm {

namespace {

namespace fs = std::filesystem;

constexpr double kLookAtFolder_s = 2;
constexpr double kEndOfOthers_s = 2;  // that the rank that is to end the job may take
constexpr double kErrand_s = 1;  // that files or the last words may take when the job is to end

// Of ProgressBoard::Place::answers: the alarm that a rank has answered, and whether it raises it.
constexpr uint32_t answer_of(uint32_t alarm, bool raises) { return alarm << 1 | (raises ? 1 : 0); }

double poll_s(const WatchLimits& limits) {
  return std::clamp(std::min(limits.timeout_s, limits.init_timeout_s) / 50, 0.02, 1.0);
}

// Between two looks: of a process that was stopped, and not of one that is only slow.
double gap_s(const WatchLimits& limits) {
  return poll_s(limits) +
         std::clamp(std::min(limits.timeout_s, limits.init_timeout_s) / 4, 0.25, 2.0);
}

// Long enough for the others to notice.
double grace_s(const WatchLimits& limits, bool one_node) {
  return 0.3 + 3 * poll_s(limits) + (one_node ? 0 : kLookAtFolder_s);
}

double seconds_since(int64_t ns) { return static_cast<double>(FlightRecord::now_ns() - ns) * 1e-9; }

double tenths(double seconds) { return std::round(seconds * 10) / 10; }

fs::path file_of(const fs::path& folder, int rank) {
  return folder / concat("rank-", rank, ".txt");
}

// First whether the rank raises the alarm, then its word, then its calls.
std::optional<std::pair<bool, RankWord>> read_word(const fs::path& file) {
  std::ifstream in(file);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const size_t end = text.find('\n');
  if (end == std::string::npos) return std::nullopt;
  auto word = word_from_text(text.substr(end + 1));
  if (!word) return std::nullopt;
  return std::pair(text.substr(0, end) == "waits", std::move(*word));
}

bool write_word(const fs::path& file, const std::string& text) {
  const fs::path unfinished = file.string() + ".part";
  std::error_code failed;
  fs::create_directories(file.parent_path(), failed);
  std::ofstream out(unfinished);
  out << text;
  out.close();
  if (!out) return false;
  fs::rename(unfinished, file, failed);
  return !failed;
}

// The highest of the alarms in `folder`. A listing, because a network file system may remember for
// a minute that a name did not exist.
uint32_t last_alarm_in(const fs::path& folder, const std::string& prefix) {
  uint32_t last = 0;
  std::error_code failed;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    uint32_t alarm = 0;
    if (!name.starts_with(prefix)) continue;
    const char* const past = name.data() + name.size();
    const auto [rest, bad] = std::from_chars(name.data() + prefix.size(), past, alarm);
    if (bad == std::errc() && rest == past) last = std::max(last, alarm);
  }
  return last;
}

// To stderr, past every lock of the program.
void write_out(const std::string& line) {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

Watchdog::Watchdog(Setup setup)
    : setup_(std::move(setup)),
      one_node_(setup_.record->board().ranks().size() == setup_.hosts.size()),
      thread_(setup_.hosts.size() > 1 ? std::thread([this] { watch(); }) : std::thread()) {}

Watchdog::~Watchdog() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::set_limits(const WatchLimits& limits) {
  {
    const std::scoped_lock lock(mutex_);
    settings_.limits = limits;
  }
  changed_.notify_all();
}

void Watchdog::set_folder(const fs::path& folder) {
  const std::scoped_lock lock(mutex_);
  settings_.folder = folder;
}

void Watchdog::set_voices(Voice warn, Voice error) {
  const std::scoped_lock lock(voices_mutex_);
  warn_ = std::move(warn);
  error_ = std::move(error);
}

void Watchdog::say(const Voice& voice, const char* kind, const std::string& text) const {
  if (voice) return voice(text);
  write_out(concat("[rank ", setup_.record->rank(), "] ", kind, ": ", text, "\n"));
}

void Watchdog::warn(const std::string& text) {
  const std::scoped_lock lock(voices_mutex_);
  say(warn_, "warning", text);
}

void Watchdog::error(const std::string& text) {
  const std::scoped_lock lock(voices_mutex_);
  say(error_, "error", text);
}

// The clock of this process's own running; until a look is due or the settings change. False: to be
// stopped.
bool Watchdog::doze(const Settings& settings, double most_s) {
  std::unique_lock lock(mutex_);
  if (stop_) return false;
  changed_.wait_for(lock, std::chrono::duration<double>(std::min(most_s, poll_s(settings.limits))));
  const auto now = RegularLooks::Clock::now();
  const auto since = looks_.since(gap_s(settings.limits), now);
  watched_s_ = std::chrono::duration<double>(now - since).count();
  return !stop_;
}

bool Watchdog::sleep(const Settings& settings, double seconds) {
  const auto end = RegularLooks::Clock::now() + std::chrono::duration<double>(seconds);
  while (true) {
    const std::chrono::duration<double> left = end - RegularLooks::Clock::now();
    if (left.count() <= 0) return true;
    if (!doze(settings, left.count())) return false;
  }
}

fs::path Watchdog::folder(const Settings& settings, uint32_t alarm) const {
  return settings.folder / concat("watchdog.", setup_.token, ".", alarm);
}

void Watchdog::watch() {
  while (true) {
    Settings settings;
    {
      const std::scoped_lock lock(mutex_);
      settings = settings_;
    }
    if (!look_round(settings) || !doze(settings, poll_s(settings.limits))) return;
  }
}

double Watchdog::used(const Settings& settings, const Waiting& waiting,
                      const std::vector<RankSeen>& ranks) {
  return patience_used(seconds_since(waiting.since_ns), watched_s_, setup_.record->doing(), ranks,
                       settings.limits);
}

// False once there is nothing left to watch.
bool Watchdog::look_round(const Settings& settings) {
  look_for_alarms(settings);
  std::set<std::pair<uint64_t, uint64_t>> still_waiting;
  for (const Waiting& waiting : setup_.record->waiting()) {
    std::vector<RankSeen> ranks = see(waiting);
    const double patience = used(settings, waiting, ranks);
    if (patience >= 1) return raise(settings, waiting);
    if (patience < 0.1) continue;
    const std::pair key(waiting.call.line, waiting.call.sequence);
    still_waiting.insert(key);
    if (warned_.contains(key)) continue;
    const auto first = std::find_if(ranks.begin(), ranks.end(), [&](const RankSeen& rank) {
      return rank.known && rank.line_known && rank.begun >= waiting.call.sequence;
    });
    if (first == ranks.end() || first->rank == setup_.record->rank()) {
      errands_.give([this, waiting, ranks = std::move(ranks)]() mutable {
        add_troubles(ranks);
        warn(concat("waits for ", tenths(seconds_since(waiting.since_ns)), " s in ",
                    name_of(waiting), "; ", describe_ranks(waiting, ranks)));
      });
    }
  }
  warned_ = std::move(still_waiting);
  if (last_alarm() > answered_) answer(settings, last_alarm(), /*raises=*/false);
  return true;
}

void Watchdog::look_for_alarms(const Settings& settings) {
  const auto now = std::chrono::steady_clock::now();
  if (one_node_ || settings.folder.empty() || !errands_.idle() ||
      now - folder_looked_at_ < std::chrono::duration<double>(kLookAtFolder_s)) {
    return;
  }
  folder_looked_at_ = now;
  errands_.give([this, folder = settings.folder] {
    alarm_elsewhere_ = last_alarm_in(folder, concat("watchdog.", setup_.token, "."));
  });
}

uint32_t Watchdog::last_alarm() const {
  uint32_t last = std::max(answered_, alarm_elsewhere_.load());
  const ProgressBoard& board = setup_.record->board();
  for (const int rank : board.ranks()) {
    last = std::max(last, board.find(rank)->answers.load(std::memory_order_acquire) >> 1);
  }
  return last;
}

void Watchdog::answer(const Settings& settings, uint32_t alarm, bool raises) {
  answered_ = alarm;
  answered_at_ = std::chrono::steady_clock::now();
  FlightRecord& record = *setup_.record;
  record.answer(answer_of(alarm, raises));
  const ProgressBoard::Place& place = *record.board().find(record.rank());
  const RankWord word = {.rank = record.rank(),
                         .doing = record.doing(),
                         .step = place.step.load(),
                         .silent_s = seconds_since(place.sign_ns.load()),
                         .lines = record.positions()};
  const std::string calls = record.dump();
  const std::string text =
      concat(raises ? "waits\n" : "goes on\n", to_text(word), "calls, oldest first:\n", calls);
  const fs::path file =
      settings.folder.empty() ? "" : file_of(folder(settings, alarm), record.rank());
  errands_.give([this, file, text, calls] {
    if (file.empty() || !write_word(file, text)) error("last calls, oldest first:\n" + calls);
  });
}

// False once the job is to end, or this is to stop.
bool Watchdog::raise(const Settings& settings, const Waiting& waiting) {
  const double grace = grace_s(settings.limits, one_node_);
  // One that others have just raised is this one's, too.
  const bool fresh = last_alarm() > answered_ ||
                     (answered_ > 0 && std::chrono::steady_clock::now() - answered_at_ <
                                           std::chrono::duration<double>(grace));
  answer(settings, fresh ? last_alarm() : last_alarm() + 1, /*raises=*/true);
  if (!sleep(settings, grace)) return false;
  bool vain = in_vain(settings, waiting);
  if (vain && !is_lowest_that_raised(waiting)) {
    if (!sleep(settings, kEndOfOthers_s)) return false;
    vain = in_vain(settings, waiting);
  }
  if (vain) {
    end(settings, waiting);
    return false;
  }
  setup_.record->answer(answer_of(answered_, /*raises=*/false));
  return true;
}

// Whether the same collective still waits, with nobody alive by all that can be known by now.
bool Watchdog::in_vain(const Settings& settings, const Waiting& waiting) {
  hear(settings, waiting);
  for (const Waiting& now : setup_.record->waiting()) {
    if (now.call.line == waiting.call.line && now.call.sequence == waiting.call.sequence) {
      return used(settings, now, see(now)) >= 1;
    }
  }
  return false;
}

void Watchdog::end(const Settings& settings, const Waiting& waiting) {
  const std::string begin =
      concat(name_of(waiting), ", did not end within the time limit (comm.timeout ",
             settings.limits.timeout_s, " s; comm.init_timeout ", settings.limits.init_timeout_s,
             " s at the start, in evaluations and checkpoints, and at the end): waited ",
             tenths(seconds_since(waiting.since_ns)), " s; ");
  const std::string where = settings.folder.empty()
                                ? ""
                                : concat("; the last calls of every rank that answered are in ",
                                         folder(settings, answered_).string());
  std::vector<RankSeen> ranks = see(waiting);
  const auto said = std::make_shared<std::atomic<bool>>(false);
  errands_.give([this, said, begin, waiting, ranks, where]() mutable {
    add_troubles(ranks);
    error(concat(begin, describe_ranks(waiting, ranks), where));
    *said = true;
  });
  errands_.await_idle(kErrand_s);
  if (!*said) {  // files or the log hang; stderr may, too
    std::thread([line = concat("[rank ", setup_.record->rank(), "] error: ", begin,
                               describe_ranks(waiting, ranks), "\n")] {
      write_out(line);
    }).detach();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  setup_.end();
}

bool Watchdog::is_lowest_that_raised(const Waiting& waiting) const {
  const ProgressBoard& board = setup_.record->board();
  const std::scoped_lock lock(heard_mutex_);
  for (const int rank : waiting.members) {
    if (rank == setup_.record->rank()) return true;
    if (const auto* place = board.find(rank)) {
      if (place->answers.load(std::memory_order_acquire) == answer_of(answered_, true))
        return false;
    } else if (const auto heard = heard_.find(rank); heard != heard_.end()) {
      if (heard->second.raised && heard->second.alarm == answered_) return false;
    }
  }
  return true;
}

// What ranks of other nodes have answered to this alarm, as far as it can be read soon.
void Watchdog::hear(const Settings& settings, const Waiting& waiting) {
  if (one_node_ || settings.folder.empty()) return;
  errands_.give(
      [this, folder = folder(settings, answered_), alarm = answered_, members = waiting.members] {
        for (const int rank : members) {
          if (setup_.record->board().knows(rank)) continue;
          const int64_t now = FlightRecord::now_ns();
          auto word = read_word(file_of(folder, rank));
          if (!word) continue;
          const std::scoped_lock lock(heard_mutex_);
          Heard& heard = heard_[rank];
          // A second reading of one answer is no second sign of life.
          const bool again = heard.alarm == alarm && heard.raised == word->first;
          heard = {std::move(word->second), word->first, alarm, again ? heard.at_ns : now};
        }
      });
  errands_.await_idle(kErrand_s);
}

std::vector<RankSeen> Watchdog::see(const Waiting& waiting) const {
  const ProgressBoard& board = setup_.record->board();
  const uint64_t line_id = waiting.call.line;
  const int64_t now = FlightRecord::now_ns();
  const std::scoped_lock lock(heard_mutex_);
  std::vector<RankSeen> ranks;
  ranks.reserve(waiting.members.size());
  for (const int number : waiting.members) {
    RankSeen rank = {.rank = number, .host = setup_.hosts[static_cast<size_t>(number)]};
    if (const ProgressBoard::Place* place = board.find(number)) {
      rank.known = true;
      rank.doing = place->doing.load(std::memory_order_relaxed);
      rank.step = place->step.load(std::memory_order_relaxed);
      rank.silent_s =
          static_cast<double>(now - place->sign_ns.load(std::memory_order_relaxed)) * 1e-9;
      const ProgressBoard::Line& line = place->lines[(line_id - 1) % ProgressBoard::kLines];
      const uint64_t id = line.id.load(std::memory_order_acquire);
      rank.line_known = id == line_id;
      rank.line_lost = id > line_id;
      rank.done = line.done.load(std::memory_order_acquire);
      rank.begun = line.begun.load(std::memory_order_acquire);
      rank.what = line.what(rank.done + 1);
    } else if (const auto found = heard_.find(number); found != heard_.end()) {
      const Heard& heard = found->second;
      rank.known = true;
      rank.doing = heard.word.doing;
      rank.step = heard.word.step;
      rank.silent_s = heard.word.silent_s + static_cast<double>(now - heard.at_ns) * 1e-9;
      rank.line_lost = heard.alarm != answered_;
      for (const FlightRecord::Position& position : heard.word.lines) {
        if (position.line != line_id) continue;
        rank.line_known = true;
        rank.begun = position.begun;
        rank.done = position.done;
        rank.what = position.what;
      }
    }
    ranks.push_back(std::move(rank));
  }
  return ranks;
}

void Watchdog::add_troubles(std::vector<RankSeen>& ranks) const {
  for (RankSeen& rank : ranks) {
    if (const ProgressBoard::Place* place = setup_.record->board().find(rank.rank)) {
      rank.trouble = trouble_of(place->process.load(std::memory_order_relaxed),
                                place->began.load(std::memory_order_relaxed));
    }
  }
}

}  // namespace largo::comm
