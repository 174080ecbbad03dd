#include "comm/node_board.h"

#include <unistd.h>

#include <algorithm>

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
  std::string name = first ? concat("/largo-progress-", getpid(), "-", rank) : "";
  const auto attempt = [&](auto make) {
    try {
      board = make(name, ranks);
    } catch (const Error&) {
      board = nullptr;
    }
  };
  if (first) attempt(&ProgressBoard::create);
  name = gather(board ? name : "").front();
  if (!first && !name.empty()) attempt(&ProgressBoard::open);
  const std::vector<std::string> have = gather(board ? "yes" : "");
  if (first && !name.empty()) ProgressBoard::unlink(name);
  const bool all = std::none_of(have.begin(), have.end(), [](const auto& a) { return a.empty(); });
  return all ? board : nullptr;
}

}  // namespace largo::comm
