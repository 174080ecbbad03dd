#include "tests/comm/communicator_contract.h"

#include <ATen/ATen.h>

#include <stdexcept>
#include <vector>

#include "comm/base/error.h"

namespace largo::test {

namespace {

template <class... Parts>
void expect(bool holds, const Parts&... parts) {
  if (!holds) throw std::runtime_error(concat(parts...));
}

void check_all_reduce(comm::Communicator& world, at::ScalarType dtype) {
  const int n = world.size();
  for (const int64_t elements : {int64_t{0}, int64_t{1}, int64_t{1000}, int64_t{300000}}) {
    at::Tensor values = at::arange(elements, at::kDouble).to(dtype) + world.rank();
    world.all_reduce(values).wait();
    const at::Tensor sum = at::arange(elements, at::kDouble).to(dtype) * n + n * (n - 1) / 2;
    expect(at::equal(values, sum), "sum of ", elements, " elements of ", at::toString(dtype));
  }
  at::Tensor largest = at::full({7}, world.rank(), dtype);
  world.all_reduce(largest, comm::ReduceOp::kMax).wait();
  expect(at::equal(largest, at::full({7}, n - 1, dtype)), "maximum");
}

}  // namespace

void check_contract(comm::Communicator& world) {
  const int rank = world.rank();
  const int n = world.size();
  for (const auto dtype : {at::kFloat, at::kDouble, at::kLong}) check_all_reduce(world, dtype);

  // The same bits on every rank, whatever the values.
  at::Tensor random = at::rand({1001}, at::kFloat) * (rank + 1);
  world.all_reduce(random).wait();
  const at::Tensor all = world.all_gather(random);
  for (int r = 1; r < n; ++r) expect(at::equal(all[r], all[0]), "bits of rank ", r);

  // Several under way at once finish in order, with everyone's values.
  std::vector<at::Tensor> tensors;
  std::vector<comm::Work> works;
  for (int i = 0; i < 20; ++i) {
    tensors.push_back(at::full({100 + i}, i + rank, at::kDouble));
    works.push_back(world.all_reduce(tensors.back()));
  }
  for (int i = 19; i >= 0; --i) {
    works[i].wait();
    works[i].wait();  // a second time is nothing
    const double sum = i * n + n * (n - 1) / 2.0;
    expect(tensors[i].eq(sum).all().item<bool>(), "reduction ", i, " of 20");
  }

  // Several as one call, none of them included.
  std::vector<at::Tensor> together(3);
  for (int i = 0; i < 3; ++i) together[i] = at::full({int64_t{50} * i}, i + rank, at::kDouble);
  world.all_reduce_together(together).wait();
  for (int i = 0; i < 3; ++i) {
    expect(together[i].eq(i * n + n * (n - 1) / 2.0).all().item<bool>(), "sum ", i, " of 3");
  }
  world.all_reduce_together({}).wait();

  // Memory formats are kept: the same elements meet.
  at::Tensor image =
      at::full({2, 3, 4, 5}, rank, at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
  world.all_reduce(image).wait();
  expect(image.eq(n * (n - 1) / 2.0f).all().item<bool>(), "channels_last");

  for (int root = 0; root < n; ++root) {
    at::Tensor bytes = at::full({13}, rank, at::kByte);
    world.broadcast(bytes, root);
    expect(bytes.eq(root).all().item<bool>(), "broadcast from ", root);
  }
  at::Tensor none = at::empty({0});
  world.broadcast(none, 0);

  const at::Tensor gathered = world.all_gather(at::full({2, 3}, rank, at::kInt));
  expect(gathered.sizes() == at::IntArrayRef({n, 2, 3}), "all_gather gave ", gathered.sizes());
  for (int r = 0; r < n; ++r) expect(gathered[r].eq(r).all().item<bool>(), "all_gather of ", r);

  const at::Tensor memory = world.allocate(10, at::kDouble);
  expect(memory.sizes() == at::IntArrayRef({10}) && memory.eq(0).all().item<bool>(), "allocate");

  // Even and odd ranks, in reverse order.
  const auto half = world.split(rank % 2, -rank);
  expect(half->size() == (n + 1 - rank % 2) / 2, "split into ", half->size());
  at::Tensor members = half->all_gather(at::tensor({int64_t{rank}})).flatten();
  for (int i = 1; i < half->size(); ++i) {
    expect(members[i - 1].item<int64_t>() == members[i].item<int64_t>() + 2, "order of split");
  }
  // Both groups and the whole work side by side.
  at::Tensor one = at::ones({4});
  half->all_reduce(one).wait();
  expect(one.eq(half->size()).all().item<bool>(), "sum in split");
  world.barrier();
}

}  // namespace largo::test
