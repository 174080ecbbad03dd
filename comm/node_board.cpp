#include "comm/node_board.h"

#include <algorithm>
#include <cstring>

#include "comm/base/error.h"

namespace largo::comm {

std::shared_ptr<ProgressBoard> make_node_board(
    int rank, bool first,
    const std::function<std::vector<std::string>(const std::string&)>& gather) {
  const std::vector<std::string> numbers = gather(std::to_string(rank));
  std::vector<int> ranks;
  ranks.reserve(numbers.size());
  for (const std::string& number : numbers) ranks.push_back(std::stoi(number));
  std::shared_ptr<ProgressBoard> board;
  const auto attempt = [&](auto make) {
    try {
      board = make();
    } catch (const Error&) {
      board = nullptr;
    }
  };
  if (first) attempt([&] { return ProgressBoard::share(ranks); });
  std::string key(board ? sizeof(SegmentKey) : 0, '\0');
  if (board) std::memcpy(key.data(), &board->key(), sizeof(SegmentKey));
  key = gather(key).front();
  if (!first && key.size() == sizeof(SegmentKey)) {
    SegmentKey theirs;
    std::memcpy(&theirs, key.data(), sizeof(SegmentKey));
    attempt([&] { return ProgressBoard::open(theirs, ranks); });
  }
  const std::vector<std::string> have = gather(board ? "yes" : "");
  if (board) board->close_door();
  const bool all = std::none_of(have.begin(), have.end(), [](const auto& a) { return a.empty(); });
  return all ? board : nullptr;
}

}  // namespace largo::comm
