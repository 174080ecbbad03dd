#include "trainer/data/tensor_pool.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace largo::data {
namespace {

const void* place(const at::Tensor& tensor) { return tensor.const_data_ptr(); }

TEST(TensorPool, MemoryIsUsedAgainWhenNobodyRefersToIt) {
  TensorPool pool(2);
  at::Tensor first = pool.take(100, at::kFloat);
  const void* const where = place(first);
  EXPECT_NE(place(pool.take(100, at::kFloat)), where);
  at::Tensor view = first.narrow(0, 10, 5);
  first.reset();
  EXPECT_NE(place(pool.take(100, at::kFloat)), where) << "the view is still there";
  view.reset();
  EXPECT_EQ(place(pool.take(100, at::kFloat)), where);
  EXPECT_EQ(place(pool.take(40, at::kFloat)), where) << "a smaller one fits";
}

TEST(TensorPool, GivesWhatWasAskedFor) {
  TensorPool pool(3);
  for (int round = 0; round < 2; ++round) {
    for (const int64_t size : {100, 40, 0, 200}) {
      for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
        const at::Tensor tensor = pool.take(size, dtype);
        EXPECT_EQ(tensor.sizes(), (at::IntArrayRef{size}));
        EXPECT_EQ(tensor.scalar_type(), dtype);
      }
    }
  }
}

TEST(TensorPool, GrowsWithWhatIsAskedFor) {
  TensorPool pool(1);
  pool.take(10, at::kFloat);
  const void* const where = place(pool.take(20, at::kFloat));
  EXPECT_EQ(place(pool.take(20, at::kFloat)), where) << "the small one made room";
}

TEST(TensorPool, GivesMoreThanItKeeps) {
  for (const size_t most : {0, 1}) {
    TensorPool pool(most);
    std::vector<at::Tensor> all;
    for (int i = 0; i < 4; ++i) {
      all.push_back(pool.take(8, at::kFloat));
      for (int k = 0; k < i; ++k) EXPECT_NE(place(all[i]), place(all[k]));
    }
  }
}

TEST(TensorPool, TensorsOutliveIt) {
  at::Tensor tensor;
  {
    TensorPool pool(1);
    tensor = pool.take(3, at::kFloat);
  }
  tensor.fill_(2);
  EXPECT_EQ(tensor.sum().item<float>(), 6);
}

TEST(TensorPool, ServesManyThreads) {
  TensorPool pool(3);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const at::Tensor mine = pool.take(16, at::kInt);
        mine.fill_(t);
        EXPECT_EQ(mine.sum().item<int64_t>(), 16 * t);
      }
    });
  }
}

}  // namespace
}  // namespace largo::data
