// The plainest LeNet training there is, for speed_smoke.sh to set Largo's beside: eager modules and
// torch's SGD, one batch of 64 made once, memory kept by malloc as Largo has it.   raw_lenet STEPS
#include <malloc.h>
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  const int steps = argc == 2 ? std::atoi(argv[1]) : 0;
  if (steps < 1) {
    std::fprintf(stderr, "raw_lenet: one argument is needed: steps, at least 1\n");
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
  for (int step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(model->forward(images), labels).backward();
    optimizer.step();
  }
  return 0;
}
