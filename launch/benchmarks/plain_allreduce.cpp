// How long MPI_Allreduce takes in a process that is nothing else: C++'s default malloc, no
// LibTorch.
//
//   plain_allreduce BYTES:SAMPLES ...
//
// Rank 0 prints one JSON object, bytes to seconds: the median of the slowest rank's times. Sums are
// of floats, in place, checked once per size; ranks start each one together.
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr int kWarmUps = 3;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void sum(std::vector<float>& values) {
  MPI_Allreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_FLOAT, MPI_SUM,
                MPI_COMM_WORLD);
}

void check(std::vector<float>& values) {
  int ranks = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  std::fill(values.begin(), values.end(), 1.0F);
  sum(values);
  const auto right = std::count(values.begin(), values.end(), static_cast<float>(ranks));
  if (right != static_cast<std::ptrdiff_t>(values.size())) MPI_Abort(MPI_COMM_WORLD, 1);
  std::fill(values.begin(), values.end(), 0.0F);
}

double measure(size_t bytes, int samples) {
  std::vector<float> values(bytes / sizeof(float));
  check(values);
  std::vector<double> seconds;
  for (int i = -kWarmUps; i < samples; ++i) {
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    sum(values);
    const double took = MPI_Wtime() - start;
    if (i >= 0) seconds.push_back(took);
  }
  MPI_Allreduce(MPI_IN_PLACE, seconds.data(), samples, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return median(seconds);
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0) std::printf("{");
  for (int i = 1; i < argc; ++i) {
    char* end = nullptr;
    const unsigned long long bytes = std::strtoull(argv[i], &end, 10);
    const int samples = *end == ':' ? std::atoi(end + 1) : 0;
    if (bytes < sizeof(float) || samples < 1) {
      if (rank == 0) std::fprintf(stderr, "plain_allreduce: %s is not BYTES:SAMPLES\n", argv[i]);
      MPI_Finalize();
      return 2;
    }
    const double seconds = measure(bytes, samples);
    if (rank == 0) std::printf("%s\"%llu\": %.9g", i == 1 ? "" : ", ", bytes, seconds);
  }
  if (rank == 0) std::printf("}\n");
  MPI_Finalize();
  return 0;
}
