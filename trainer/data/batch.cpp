#include "trainer/data/batch.h"

#include <ATen/ops/empty.h>

#include <utility>

#include "comm/base/error.h"

namespace largo::data {

namespace {

std::variant<PixelTable<float>, PixelTable<double>> make_table(const Transform& transform) {
  LARGO_CHECK(transform.dtype == at::kFloat || transform.dtype == at::kDouble, "batches of ",
              transform.dtype, "; legal: Float, Double");
  if (transform.dtype == at::kFloat) return PixelTable<float>(transform.mean, transform.std);
  return PixelTable<double>(transform.mean, transform.std);
}

}  // namespace

BatchMaker::BatchMaker(const Dataset& dataset, const Transform& transform)
    : dataset_(dataset),
      shape_(dataset.shape()),
      augment_(transform.augment),
      seed_(transform.seed),
      dtype_(transform.dtype),
      table_(make_table(transform)) {
  LARGO_CHECK(static_cast<int64_t>(transform.mean.size()) == shape_.channels, transform.mean.size(),
              " means for ", shape_.channels, " channels");
}

Batch BatchMaker::make(std::vector<SampleKey> keys, const std::stop_token& stop) const {
  const auto count = static_cast<int64_t>(keys.size());
  Batch batch{.images = at::empty({count, shape_.channels, shape_.height, shape_.width},
                                  at::TensorOptions(dtype_), at::MemoryFormat::ChannelsLast),
              .labels = at::empty({count}, at::TensorOptions(at::kLong)),
              .keys = std::move(keys)};
  const auto values = static_cast<size_t>(shape_.values());
  std::vector<uint8_t> pixels(values);
  auto* const labels = batch.labels.mutable_data_ptr<int64_t>();
  const auto fill = [&]<class T>(const PixelTable<T>& table) {
    T* to = batch.images.mutable_data_ptr<T>();
    for (size_t i = 0; i < batch.keys.size() && !stop.stop_requested(); ++i, to += values) {
      const SampleKey& key = batch.keys[i];
      LARGO_CHECK(key.index >= 0 && key.index < dataset_.size(), "sample ", key.index, " of ",
                  dataset_.size());
      labels[i] = dataset_.label(key.index);
      dataset_.read(key.index, pixels);
      place<T>(pixels, shape_, draw_placement(augment_, seed_, key), table, {to, values});
    }
  };
  std::visit(fill, table_);
  return batch;
}

}  // namespace largo::data
