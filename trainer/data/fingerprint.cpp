#include "trainer/data/fingerprint.h"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "trainer/base/xxh64.h"

namespace largo::data {

namespace {

template <class T>
void add(Xxh64& hash, std::span<const T> numbers) {
  hash.update(std::as_bytes(numbers));
}

void add(Xxh64& hash, const Dataset& set) {
  const SampleShape shape = set.shape();
  add<int64_t>(hash, std::array<int64_t, 5>{set.size(), set.classes(), shape.channels, shape.height,
                                            shape.width});
  for (int64_t index = 0; index < set.size(); ++index) {
    add<int64_t>(hash, std::array<int64_t, 2>{set.label(index), set.stored_bytes(index)});
  }
}

}  // namespace

std::string fingerprint(const Datasets& sets) {
  Xxh64 hash;
  add(hash, *sets.train);
  add(hash, *sets.val);
  add<double>(hash, sets.mean);
  add<double>(hash, sets.std);
  return hex16(hash.digest());
}

}  // namespace largo::data
