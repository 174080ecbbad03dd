// What an all-reduce benchmark reports, as numbers and as text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace largo::study {

// One size. Times are those of one reduction, of the slowest rank each.
struct AllreduceRow {
  int64_t bytes = 0;  // of the buffer on each rank
  double median_s = 0;
  double min_s = 0;
  double max_s = 0;
  double mpi_median_s = 0;  // of MPI's own, timed in turns with it; 0: not compared
  double mpi_min_s = 0;
  int64_t wrong = 0;  // elements with another sum than the ranks' values have, over all ranks
};

// Bytes, doubling from `least` on, ending with `most`. 0 < least <= most.
std::vector<int64_t> doubling_sizes(int64_t least, int64_t most);

// bytes / s at the median.
double algorithm_bandwidth(const AllreduceRow& row);

// The same times 2 (ranks - 1) / ranks: what each link carries where every byte crosses it that
// often, which no all-reduce can avoid (nccl-tests, PERFORMANCE.md). 0 for one rank, which sends
// nothing.
double bus_bandwidth(const AllreduceRow& row, int ranks);

double median(std::vector<double> values);  // not empty

// With a line of heads; sizes in bytes, times in microseconds, bandwidths in GB/s (1e9 bytes). The
// last but one column says how many times as long MPI takes, at the median.
std::string allreduce_head();
std::string allreduce_line(const AllreduceRow& row, int ranks);

}  // namespace largo::study
