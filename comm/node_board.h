// The progress board of a node, set up by its ranks.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/progress_board.h"

namespace largo::comm {

// A collective of the node's ranks: a board with a place for each, in shared memory that leaves no
// name behind. `gather` hands every rank's bytes to all of them, in their order on the node;
// `first` is true on the first of them. Null, on all of them, where shared memory cannot be had on
// one: errors then name fewer ranks, which is no reason not to train.
std::shared_ptr<ProgressBoard> make_node_board(
    int rank, bool first,
    const std::function<std::vector<std::string>(const std::string&)>& gather);

}  // namespace largo::comm
