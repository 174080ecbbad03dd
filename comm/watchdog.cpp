#include "comm/watchdog.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>

#include "comm/base/error.h"
#include "comm/process_state.h"

namespace largo::comm {

namespace {

namespace fs = std::filesystem;

constexpr double kLookAtFolder_s = 2;
constexpr double kEndOfOthers_s = 4;  // that the rank that is to end the job may take

// Values of ProgressBoard::Place::answers.
constexpr uint32_t kAnswers = 1;
constexpr uint32_t kAnswersAndWaits = 2;

double poll_s(const WatchLimits& limits) {
  return std::clamp(std::min(limits.timeout_s, limits.init_timeout_s) / 50, 0.02, 1.0);
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

// First whether the rank waits, then its word, then its calls.
std::optional<std::pair<bool, RankWord>> read_word(const fs::path& file) {
  std::ifstream in(file);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const size_t end = text.find('\n');
  if (end == std::string::npos) return std::nullopt;
  auto word = word_from_text(text.substr(end + 1));
  if (!word) return std::nullopt;
  return std::pair(text.substr(0, end) == "waits", std::move(*word));
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
  const std::scoped_lock lock(mutex_);
  warn_ = std::move(warn);
  error_ = std::move(error);
}

void Watchdog::warn(const std::string& text) {
  const std::scoped_lock lock(mutex_);
  if (warn_) return warn_(text);
  const std::string line = concat("[rank ", setup_.record->rank(), "] warning: ", text, "\n");
  std::fputs(line.c_str(), stderr);
}

void Watchdog::error(const std::string& text) {
  const std::scoped_lock lock(mutex_);
  if (error_) return error_(text);
  const std::string line = concat("[rank ", setup_.record->rank(), "] error: ", text, "\n");
  std::fputs(line.c_str(), stderr);
}

bool Watchdog::sleep(double seconds) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return stop_; });
}

fs::path Watchdog::folder(const Settings& settings) const {
  return settings.folder.empty() ? fs::path() : settings.folder / ("watchdog." + setup_.token);
}

void Watchdog::watch() {
  while (true) {
    Settings settings;
    {
      std::unique_lock lock(mutex_);
      if (stop_) return;
      settings = settings_;
    }
    if (!look_round(settings)) return;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::duration<double>(poll_s(settings.limits)));
    if (stop_) return;
  }
}

// False once there is nothing left to watch.
bool Watchdog::look_round(const Settings& settings) {
  const bool alarm = !answered_ && others_have_raised(settings);
  std::set<std::pair<uint64_t, uint64_t>> still_waiting;
  for (const Waiting& waiting : setup_.record->waiting()) {
    const std::vector<RankSeen> ranks = see(waiting);
    const double waited_s = seconds_since(waiting.since_ns);
    const double used = patience_used(waited_s, setup_.record->doing(), ranks, settings.limits);
    // With the others' alarm half is enough: ranks do not come to the end at the same instant.
    if (used >= (alarm ? 0.5 : 1)) {
      raise(settings, waiting);
      return false;
    }
    if (used < 0.1) continue;
    const std::pair key(waiting.call.line, waiting.call.sequence);
    still_waiting.insert(key);
    if (warned_.contains(key)) continue;
    const auto first = std::find_if(ranks.begin(), ranks.end(), [&](const RankSeen& rank) {
      return rank.known && rank.line_known && rank.begun >= waiting.call.sequence;
    });
    if (first == ranks.end() || first->rank == setup_.record->rank()) {
      warn(concat("waits for ", tenths(waited_s), " s in ", name_of(waiting), "; ",
                  describe_ranks(waiting, ranks)));
    }
  }
  warned_ = std::move(still_waiting);
  if (alarm) answer(settings, /*waits=*/false);
  return true;
}

bool Watchdog::others_have_raised(const Settings& settings) {
  const ProgressBoard& board = setup_.record->board();
  for (const int rank : board.ranks()) {
    if (board.find(rank)->answers.load(std::memory_order_acquire) != 0) return true;
  }
  const auto now = std::chrono::steady_clock::now();
  if (one_node_ || settings.folder.empty() ||
      now - folder_looked_at_ < std::chrono::duration<double>(kLookAtFolder_s)) {
    return false;
  }
  folder_looked_at_ = now;
  std::error_code unknown;
  return fs::exists(folder(settings), unknown);
}

void Watchdog::answer(const Settings& settings, bool waits) {
  answered_ = true;
  const FlightRecord& record = *setup_.record;
  const ProgressBoard::Place& place = *record.board().find(record.rank());
  const RankWord word = {.rank = record.rank(),
                         .doing = record.doing(),
                         .step = place.step.load(),
                         .silent_s = seconds_since(place.sign_ns.load()),
                         .lines = record.positions()};
  const std::string text = concat(waits ? "waits\n" : "goes on\n", to_text(word),
                                  "calls, oldest first:\n", record.dump());
  bool written = false;
  if (!settings.folder.empty()) {
    const fs::path file = file_of(folder(settings), record.rank());
    const fs::path unfinished = file.string() + ".part";
    std::error_code failed;
    fs::create_directories(file.parent_path(), failed);
    std::ofstream out(unfinished);
    out << text;
    out.close();
    if (out) fs::rename(unfinished, file, failed);
    written = out.good() && !failed;
  }
  if (!written) error("last calls, oldest first:\n" + record.dump());
  setup_.record->answer(waits ? kAnswersAndWaits : kAnswers);
}

void Watchdog::raise(const Settings& settings, const Waiting& waiting) {
  answer(settings, /*waits=*/true);
  if (!sleep(grace_s(settings.limits, one_node_))) return;
  if (!is_lowest_that_waits(settings, waiting) && !sleep(kEndOfOthers_s)) return;
  std::vector<RankSeen> ranks = see(waiting);
  read_words(settings, ranks, waiting.call.line);
  error(concat(name_of(waiting), ", did not end within the time limit (comm.timeout ",
               settings.limits.timeout_s, " s; comm.init_timeout ", settings.limits.init_timeout_s,
               " s at the start, in evaluations and checkpoints): waited ",
               tenths(seconds_since(waiting.since_ns)), " s; ", describe_ranks(waiting, ranks),
               settings.folder.empty()
                   ? ""
                   : concat("; the last calls of every rank that answered are in ",
                            folder(settings).string())));
  setup_.end();
}

bool Watchdog::is_lowest_that_waits(const Settings& settings, const Waiting& waiting) const {
  const ProgressBoard& board = setup_.record->board();
  for (const int rank : waiting.members) {
    if (rank == setup_.record->rank()) return true;
    if (const auto* place = board.find(rank)) {
      if (place->answers.load(std::memory_order_acquire) == kAnswersAndWaits) return false;
    } else if (!settings.folder.empty()) {
      const auto word = read_word(file_of(folder(settings), rank));
      if (word && word->first) return false;
    }
  }
  return true;
}

std::vector<RankSeen> Watchdog::see(const Waiting& waiting) const {
  const ProgressBoard& board = setup_.record->board();
  const int64_t now = FlightRecord::now_ns();
  std::vector<RankSeen> ranks;
  ranks.reserve(waiting.members.size());
  for (const int number : waiting.members) {
    RankSeen rank = {.rank = number, .host = setup_.hosts[static_cast<size_t>(number)]};
    if (const ProgressBoard::Place* place = board.find(number)) {
      rank.known = true;
      rank.trouble = trouble_of(place->process.load(std::memory_order_relaxed),
                                place->began.load(std::memory_order_relaxed));
      rank.doing = place->doing.load(std::memory_order_relaxed);
      rank.step = place->step.load(std::memory_order_relaxed);
      rank.silent_s =
          static_cast<double>(now - place->sign_ns.load(std::memory_order_relaxed)) * 1e-9;
      const ProgressBoard::Line& line =
          place->lines[(waiting.call.line - 1) % ProgressBoard::kLines];
      rank.line_known = line.id.load(std::memory_order_acquire) == waiting.call.line;
      rank.begun = line.begun.load(std::memory_order_acquire);
      rank.done = line.done.load(std::memory_order_acquire);
      rank.what = line.what.load(std::memory_order_relaxed);
    }
    ranks.push_back(std::move(rank));
  }
  return ranks;
}

// What ranks of other nodes have written.
void Watchdog::read_words(const Settings& settings, std::vector<RankSeen>& ranks,
                          uint64_t line) const {
  if (settings.folder.empty()) return;
  for (RankSeen& rank : ranks) {
    if (rank.known) continue;
    const auto word = read_word(file_of(folder(settings), rank.rank));
    if (!word) continue;
    rank.known = true;
    rank.doing = word->second.doing;
    rank.step = word->second.step;
    rank.silent_s = word->second.silent_s;
    for (const FlightRecord::Position& position : word->second.lines) {
      if (position.line != line) continue;
      rank.line_known = true;
      rank.begun = position.begun;
      rank.done = position.done;
      rank.what = position.what;
    }
  }
}

}  // namespace largo::comm
