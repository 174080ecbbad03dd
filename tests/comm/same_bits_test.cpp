#include "comm/same_bits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <array>
#include <mutex>
#include <random>
#include <set>

#include "comm/base/error.h"
#include "comm/thread_communicator.h"

namespace largo::comm {
namespace {

using testing::HasSubstr;

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

// What the ranks, which hold what `make` makes for them, say of it: the same text.
std::string verdict(int ranks, const std::function<Tensors(int rank)>& make) {
  std::mutex mutex;
  std::set<std::string> texts;
  spawn_ranks(ranks, [&](Communicator& world) {
    std::string text;
    try {
      check_same_bits(make(world.rank()), world, "after step 10");
    } catch (const AgreedError& error) {
      text = error.what();
    }
    const std::scoped_lock lock(mutex);
    texts.insert(text);
  });
  EXPECT_EQ(texts.size(), 1u) << "ranks do not agree";
  return *texts.begin();
}

void flip_bit(const at::Tensor& tensor, size_t bit) {
  static_cast<unsigned char*>(tensor.data_ptr())[bit / 8] ^=
      static_cast<unsigned char>(1 << bit % 8);
}

std::string this_host() {
  std::array<char, 64> host{};
  gethostname(host.data(), host.size() - 1);
  return host.data();
}

TEST(SameBits, EverySingleBitMatters) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kLong}) {
    const at::Tensor values = (torch::arange(21) - 7).to(dtype);
    const auto whole = hash_of_bits(values).item<int64_t>();
    for (size_t bit = 0; bit < values.nbytes() * 8; ++bit) {
      flip_bit(values, bit);
      EXPECT_NE(hash_of_bits(values).item<int64_t>(), whole) << at::toString(dtype) << " " << bit;
      flip_bit(values, bit);
    }
    EXPECT_EQ(hash_of_bits(values).item<int64_t>(), whole);
  }
}

TEST(SameBits, AThousandFlippedBitsOfAModelAreFound) {
  const Tensors model = {
      {"a", torch::randn({1000, 37})},
      {"b", torch::randn({64, 3, 3, 3}).contiguous(at::MemoryFormat::ChannelsLast)},
      {"c", torch::randn({5})}};
  std::mt19937_64 random(1);
  for (int trial = 0; trial < 1000; ++trial) {
    const at::Tensor& chosen = model[random() % model.size()].second;
    const auto before = hash_of_bits(chosen).item<int64_t>();
    flip_bit(chosen, random() % (chosen.nbytes() * 8));
    EXPECT_NE(hash_of_bits(chosen).item<int64_t>(), before);
  }
}

TEST(SameBits, NamesTheOddRankItsHostAndTheFirstTensor) {
  for (const int odd : {-1, 0, 2}) {
    const std::string text = verdict(4, [odd](int rank) {
      const at::Tensor equal = torch::arange(20.f);
      at::Tensor changed = equal.clone().view({4, 5}).t();
      if (rank == odd) flip_bit(changed, 100);
      const at::Tensor also = changed.clone();
      return Tensors{{"fc.bias", equal}, {"conv1.weight", changed}, {"conv2.weight", also}};
    });
    if (odd < 0) {
      EXPECT_EQ(text, "");
    } else {
      EXPECT_THAT(text, HasSubstr(concat("conv1.weight (and 1 more tensors) differs after step 10 "
                                         "on rank ",
                                         odd, " (host ", this_host(),
                                         ") from 3 ranks that have the same")));
    }
  }
}

TEST(SameBits, WithoutAMajorityBothSidesAreNamed) {
  const std::string text = verdict(2, [](int rank) {
    at::Tensor values = torch::arange(4, torch::kFloat);
    if (rank == 1) values = values.flip(0).contiguous();  // the same values in other places
    return Tensors{{"w", values}};
  });
  EXPECT_THAT(text, HasSubstr("w differs after step 10 between rank 0 (host "));
  EXPECT_THAT(text, HasSubstr("no majority says which is right"));
  EXPECT_THAT(verdict(5,
                      [](int rank) {
                        return Tensors{{"w", torch::full({1}, rank / 2)}};
                      }),
              HasSubstr("between ranks 0, 1 (host "));
}

}  // namespace
}  // namespace largo::comm
