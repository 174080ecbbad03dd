// The plainest LeNet step there is, for speed_smoke.sh to set Largo's beside: eager modules and
// torch's SGD, one batch of 64 made once, memory kept by malloc as Largo has it.
//   raw_lenet STEPS   prints the 5 % quantile of its steps, in seconds
#include <malloc.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int argc, char** argv) {
  const int steps = argc == 2 ? std::atoi(argv[1]) : 0;
  if (steps < 20) {
    std::fprintf(stderr, "raw_lenet: one argument is needed: steps, at least 20\n");
    return 2;
  }
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  torch::set_num_threads(1);
  torch::nn::Sequential model(torch::nn::Conv2d(1, 20, 5), torch::nn::MaxPool2d(2),
                              torch::nn::Conv2d(20, 50, 5), torch::nn::MaxPool2d(2),
                              torch::nn::Flatten(), torch::nn::Linear(800, 500), torch::nn::ReLU(),
                              torch::nn::Linear(500, 10));
  torch::optim::SGD optimizer(model->parameters(), torch::optim::SGDOptions(0.01).momentum(0.9));
  const torch::Tensor images = torch::rand({64, 1, 28, 28});
  const torch::Tensor labels = torch::randint(10, {64}, torch::kLong);
  std::vector<double> seconds;
  seconds.reserve(static_cast<size_t>(steps));
  for (int step = 0; step < steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(model->forward(images), labels).backward();
    optimizer.step();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    seconds.push_back(took.count());
  }
  std::sort(seconds.begin(), seconds.end());
  std::printf("%.9f\n", seconds[seconds.size() / 20]);
  return 0;
}
