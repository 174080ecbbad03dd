// Runs a fuzz target without libFuzzer: on every seed, and on a fixed number of mutations of them,
// the same ones on every machine. What it finds once, launch/fuzz looks for longer.
//   fuzz_driver SEEDS_FOLDER MUTATIONS
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

namespace fs = std::filesystem;

std::vector<std::string> read_seeds(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> seeds;
  for (const fs::path& file : files) {
    std::ifstream in(file, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return seeds;
}

class Mutator {
 public:
  explicit Mutator(const std::vector<std::string>& seeds) : seeds_(seeds) {}

  std::string next() {
    std::string input = seeds_[below(seeds_.size())];
    for (size_t changes = 1 + below(4); changes > 0; --changes) change(input);
    return input;
  }

 private:
  // The standard's distributions differ between libraries. Two draws, since one has 31 bits.
  size_t below(size_t bound) {
    const uint64_t high = random_();
    return static_cast<size_t>((high << 31 ^ random_()) % bound);
  }

  char value() {
    constexpr char kSpecial[] = {'\0', '\1', '\x7f', '\x80', '\xff', '0', '7', '9', '/', '.'};
    return below(2) == 0 ? kSpecial[below(sizeof kSpecial)] : static_cast<char>(below(256));
  }

  void change(std::string& input) {
    const size_t at = below(input.size() + 1);
    const size_t length = std::min(below(below(2) == 0 ? 16 : 1024), input.size() - at);
    switch (below(7)) {
      case 0:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ 1 << below(8));
        break;
      case 1:
        if (at < input.size()) input[at] = value();
        break;
      case 2:
        input.resize(at);
        break;
      case 3:
        input.erase(at, length);
        break;
      case 4:
        input.insert(at, input.substr(at, length));
        break;
      case 5:
        input.insert(at, 1 + below(8), value());
        break;
      default:
        const std::string& other = seeds_[below(seeds_.size())];
        input.replace(at, length, other.substr(std::min(at, other.size())));
    }
  }

  const std::vector<std::string>& seeds_;
  std::minstd_rand random_{1};
};

bool survives(const std::string& input, const std::string& what) {
  try {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
    return true;
  } catch (const std::exception& error) {
    std::cerr << what << ", " << input.size() << " bytes: " << error.what() << '\n';
    return false;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: fuzz_driver SEEDS_FOLDER MUTATIONS\n";
    return 2;
  }
  const std::vector<std::string> seeds = read_seeds(argv[1]);
  if (seeds.empty()) {
    std::cerr << argv[1] << " holds no seeds\n";
    return 1;
  }
  int failures = 0;
  for (size_t i = 0; i < seeds.size(); ++i) {
    if (!survives(seeds[i], "seed " + std::to_string(i))) ++failures;
  }
  Mutator mutator(seeds);
  const int mutations = std::atoi(argv[2]);
  for (int i = 0; i < mutations; ++i) {
    if (!survives(mutator.next(), "mutation " + std::to_string(i))) ++failures;
  }
  std::cout << seeds.size() << " seeds and " << mutations << " mutations, " << failures
            << " failures\n";
  return failures == 0 ? 0 : 1;
}
