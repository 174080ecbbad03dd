#include "comm/mpi_combine.h"

#include <algorithm>
#include <vector>

namespace largo::comm {

namespace {

constexpr int64_t kChunkBytes = 16 << 20;  // bounds the memory beside `data`; MPI counts are int

// How so many bytes are shared out among `parts`, in whole elements.
struct Shares {
  Shares(int64_t elements, int64_t bytes_each, int parts)
      : counts(static_cast<size_t>(parts)), starts(static_cast<size_t>(parts)) {
    for (int p = 0; p < parts; ++p) {
      const auto place = static_cast<size_t>(p);
      starts[place] = static_cast<int>(elements * p / parts * bytes_each);
      counts[place] = static_cast<int>(elements * (p + 1) / parts * bytes_each) - starts[place];
    }
  }
  std::vector<int> counts, starts;
};

void combine_chunk(std::byte* data, int64_t elements, WindowType type, WindowOp op, MPI_Comm comm) {
  int rank = 0, ranks = 0;
  mpi_check(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  mpi_check(MPI_Comm_size(comm, &ranks), "MPI_Comm_size");
  const Shares shares(elements, element_bytes(type), ranks);
  const int count = shares.counts[static_cast<size_t>(rank)];
  const std::vector<int> counts(static_cast<size_t>(ranks), count);
  std::vector<int> starts(counts.size());
  std::vector<std::byte> arrived(static_cast<size_t>(count) * counts.size());
  std::vector<const std::byte*> inputs(counts.size());
  for (size_t r = 0; r < counts.size(); ++r) {
    starts[r] = static_cast<int>(r) * count;
    inputs[r] = arrived.data() + starts[r];
  }
  mpi_check(MPI_Alltoallv(data, shares.counts.data(), shares.starts.data(), MPI_BYTE,
                          arrived.data(), counts.data(), starts.data(), MPI_BYTE, comm),
            "MPI_Alltoallv");
  combine(type, op, inputs, {data + shares.starts[static_cast<size_t>(rank)]},
          count / element_bytes(type));
  mpi_check(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, shares.counts.data(),
                           shares.starts.data(), MPI_BYTE, comm),
            "MPI_Allgatherv");
}

}  // namespace

void mpi_combine(std::byte* data, int64_t elements, WindowType type, WindowOp op, MPI_Comm comm) {
  const int64_t chunk = kChunkBytes / element_bytes(type);
  for (int64_t first = 0; first < elements; first += chunk) {
    combine_chunk(data + first * element_bytes(type), std::min(chunk, elements - first), type, op,
                  comm);
  }
}

}  // namespace largo::comm
