// The aligned binary tree: an order of sums that does not depend on how many ranks make them.
#pragma once

#include <cstdint>
#include <vector>

namespace largo::comm {

// Of leaves in a row, 2^levels * roots of them with an odd number of roots, neighbours are added up
// in pairs, then those sums in pairs, `levels` times; what is left, the roots, from left to right.
//
// Where each of P ranks has a power of two of consecutive leaves, the tree over the leaves of each
// rank and then the tree over the ranks are together the tree over all leaves, so floating point
// sums have the same bits at every such P. They have at P = 1, too.
int tree_levels(int64_t leaves);

// What becomes of a leaf when leaves come one after the other and sums that wait for their right
// half are kept, one of each level at most, as the digits of a binary counter.
struct TreeStep {
  int merges = 0;               // waiting sums that it is added to, of the levels 0, 1, … in turn
  bool completes_root = false;  // that makes a root, to be added to the total; else it waits,
                                // at level `merges`
  bool is_first_root = false;   // which then is the total
};
TreeStep tree_step(int64_t leaf, int64_t leaves);  // leaves count from 0

// The numbers of ranks among which `leaves` can be shared out so, ascending.
std::vector<int64_t> tree_worlds(int64_t leaves);

}  // namespace largo::comm
