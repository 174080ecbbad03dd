#include "trainer/study/allreduce_table.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace largo::study {

std::vector<int64_t> doubling_sizes(int64_t least, int64_t most) {
  std::vector<int64_t> sizes;
  for (int64_t size = least; size<most; size = size> most / 2 ? most : 2 * size) {
    sizes.push_back(size);
  }
  sizes.push_back(most);
  return sizes;
}

double algorithm_bandwidth(const AllreduceRow& row) {
  return static_cast<double>(row.bytes) / row.median_s;
}

double bus_bandwidth(const AllreduceRow& row, int ranks) {
  return algorithm_bandwidth(row) * 2 * (ranks - 1) / ranks;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::string allreduce_head() {
  std::array<char, 160> line{};
  std::snprintf(line.data(), line.size(), "%12s %12s %12s %12s %10s %10s %12s %8s %8s\n", "bytes",
                "median us", "min us", "max us", "algbw GB/s", "busbw GB/s", "MPI us", "MPI x",
                "wrong");
  return line.data();
}

std::string allreduce_line(const AllreduceRow& row, int ranks) {
  std::array<char, 32> mpi{}, times{};
  if (row.mpi_median_s > 0) {
    std::snprintf(mpi.data(), mpi.size(), "%.1f", 1e6 * row.mpi_median_s);
    std::snprintf(times.data(), times.size(), "%.2f", row.mpi_median_s / row.median_s);
  }
  std::array<char, 160> line{};
  std::snprintf(line.data(), line.size(),
                "%12lld %12.1f %12.1f %12.1f %10.3f %10.3f %12s %8s %8lld\n",
                static_cast<long long>(row.bytes), 1e6 * row.median_s, 1e6 * row.min_s,
                1e6 * row.max_s, 1e-9 * algorithm_bandwidth(row), 1e-9 * bus_bandwidth(row, ranks),
                mpi.data(), times.data(), static_cast<long long>(row.wrong));
  return line.data();
}

}  // namespace largo::study
