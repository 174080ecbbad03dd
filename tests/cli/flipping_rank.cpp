// largo train, one rank of which flips a bit of its weights after a while:
//   flipping_rank RANK BYTES CONFIG [key=value ...]
// It looks through its own memory for what the file BYTES holds. Run by flipped_bit.sh.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "trainer/commands/commands.h"

namespace {

using Bytes = std::vector<char>;

// Kept as its complement, so that this is not what is found.
Bytes complement_of(const char* file) {
  std::ifstream in(file, std::ios::binary);
  Bytes bytes((std::istreambuf_iterator<char>(in)), {});
  for (char& byte : bytes) byte = static_cast<char>(~byte);
  return bytes;
}

// Flips a bit of every copy of the bytes in writable memory, and says so.
void flip_all(const Bytes& complement) {
  std::ifstream maps("/proc/self/maps");
  std::fstream memory("/proc/self/mem", std::ios::in | std::ios::out | std::ios::binary);
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0;
    char rights[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, rights) != 3) continue;
    if (rights[0] != 'r' || rights[1] != 'w' || line.find("[stack]") != std::string::npos) continue;
    Bytes content(end - begin);
    memory.clear();
    memory.seekg(static_cast<std::streamoff>(begin));
    if (!memory.read(content.data(), static_cast<std::streamsize>(content.size()))) continue;
    const auto equal = [](char here, char wanted) { return here == static_cast<char>(~wanted); };
    for (auto at = content.begin();; ++at) {
      at = std::search(at, content.end(), complement.begin(), complement.end(), equal);
      if (at == content.end()) break;
      const char changed = static_cast<char>(*at ^ 1);
      std::fprintf(stderr, "flips a bit\n");
      memory.seekp(static_cast<std::streamoff>(begin) + (at - content.begin()));
      memory.write(&changed, 1).flush();
    }
    std::fill(content.begin(), content.end(), 0);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  if (rank != nullptr && std::string(rank) == argv[1]) {
    std::thread([complement = complement_of(argv[2])] {
      std::this_thread::sleep_for(std::chrono::seconds(2));
      flip_all(complement);
    }).detach();
  }
  return largo::commands::run_train({.config = {argv[3], {argv + 4, argv + argc}}}, {argc, argv});
}
