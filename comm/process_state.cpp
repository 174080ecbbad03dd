#include "comm/process_state.h"

#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

namespace largo::comm {

namespace {

struct Stat {
  char state = '?';
  uint64_t began = 0;
};

// /proc/ID/stat: the name stands in parentheses and may hold anything; the state comes next, and
// the time as the 20th after it is the 22nd of all.
Stat stat_of(int64_t process) {
  constexpr int kBetween = 18;
  std::ifstream in("/proc/" + std::to_string(process) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream fields(text.substr(name_end + 1));
  Stat stat;
  fields >> stat.state;
  std::string skipped;
  for (int i = 0; i < kBetween; ++i) fields >> skipped;
  fields >> stat.began;
  return fields ? stat : Stat{};
}

}  // namespace

uint64_t began_of(int64_t process) { return stat_of(process).began; }

const char* trouble_of(int64_t process, uint64_t began) {
  if (process == 0 || began == 0) return nullptr;
  const Stat stat = stat_of(process);
  if (stat.began != began) return nullptr;
  switch (stat.state) {
    case 'T':
    case 't':
      return "is stopped";
    case 'D':
      return "waits for a disk";
    case 'Z':
    case 'X':
      return "is dead";
    default:
      return nullptr;
  }
}

}  // namespace largo::comm
