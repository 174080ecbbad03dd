#include "trainer/data/batch_maker.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "comm/base/error.h"
#include "trainer/data/mixup.h"

namespace largo::data {

namespace {

constexpr int64_t kMostChunkSamples = 16;

int64_t now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double seconds(const std::atomic<int64_t>& ns) { return 1e-9 * static_cast<double>(ns.load()); }

}  // namespace

BatchMaker::Table BatchMaker::make_table(const Transform& transform) {
  const at::ScalarType dtype = transform.dtype;
  LARGO_CHECK(dtype == at::kFloat || dtype == at::kDouble || dtype == at::kByte, "batches of ",
              dtype, "; legal: Float, Double, and Byte for raw ones");
  if (dtype == at::kDouble) return PixelTable<double>(transform.mean, transform.std);
  return PixelTable<float>(transform.mean, transform.std);
}

BatchMaker::BatchMaker(const Dataset& dataset, const Transform& transform, SkippedSamples* skipped,
                       size_t kept_batches)
    : reader_(dataset, transform.framing, transform.augment, transform.mean, transform.seed,
              skipped),
      dtype_(transform.dtype),
      table_(make_table(transform)),
      pool_(kept_batches, transform.pinned),
      label_pool_(2 * kept_batches, transform.pinned) {}

int64_t BatchMaker::begin(BatchRequest request, int64_t threads, BatchDraft& draft) const {
  const bool mixes = request.mix < 1 && !request.keys.empty();
  LARGO_CHECK(!mixes || request.after_last, "mixup without the sample after the last one");
  const auto images = static_cast<int64_t>(request.keys.size()) + (mixes ? 1 : 0);
  const auto [channels, height, width] = reader_.shape();
  draft.request = std::move(request);
  draft.labels.resize(static_cast<size_t>(images));
  if (!is_raw()) draft.pixels.resize(static_cast<size_t>(images * reader_.shape().values()));
  const int64_t values = reader_.shape().values(), row = width * channels;
  draft.images = pool_.take(images * values, dtype_)
                     .as_strided({images, channels, height, width}, {values, 1, row, channels});
  draft.numbers = draft.images.mutable_data_ptr();
  const int64_t fair = (images + threads - 1) / threads;
  draft.chunk_samples = std::clamp<int64_t>(fair, 1, kMostChunkSamples);
  return (images + draft.chunk_samples - 1) / draft.chunk_samples;
}

void BatchMaker::make_chunk(BatchDraft& draft, int64_t chunk, const std::stop_token& stop) const {
  const auto& keys = draft.request.keys;
  const int64_t values = reader_.shape().values();
  const int64_t first = chunk * draft.chunk_samples;
  const int64_t end =
      std::min(first + draft.chunk_samples, static_cast<int64_t>(draft.labels.size()));
  uint8_t* const pixels = is_raw() ? static_cast<uint8_t*>(draft.numbers) : draft.pixels.data();
  SampleReader::Scratch scratch;
  for (int64_t i = first; i < end; ++i) {
    if (stop.stop_requested()) return;
    const bool own = i < static_cast<int64_t>(keys.size());
    const SampleKey& key = own ? keys[i] : *draft.request.after_last;
    draft.labels[i] = reader_.read(key, own, scratch, pixels + i * values);
  }
  const int64_t read_until = now_ns();
  const auto normalize_chunk = [&]<class T>(const PixelTable<T>& table) {
    normalize<T>(std::span(draft.pixels).subspan(first * values, (end - first) * values), table,
                 static_cast<T*>(draft.numbers) + first * values);
  };
  if (!is_raw()) std::visit(normalize_chunk, table_);
  read_ns_ += scratch.times.read;
  resize_ns_ += scratch.times.resize;
  augment_ns_ += scratch.times.augment;
  normalize_ns_ += now_ns() - read_until;
}

Batch BatchMaker::finish(BatchDraft& draft) const {
  const auto count = static_cast<int64_t>(draft.request.keys.size());
  const int64_t images = is_raw() ? draft.images.size(0) : count;
  Batch batch{.images = draft.images.narrow(0, 0, images),
              .labels = labels(draft.labels.data(), images),
              .partner_labels = {},
              .mix = draft.request.mix,
              .keys = std::move(draft.request.keys)};
  if (batch.mix < 1 && !is_raw()) {
    const int64_t start = now_ns();
    const auto mix = [&]<class T>(const PixelTable<T>&) {
      mix_with_next(static_cast<T*>(draft.numbers), count, reader_.shape().values(), batch.mix);
    };
    std::visit(mix, table_);
    batch.partner_labels = labels(draft.labels.data() + (count > 0 ? 1 : 0), count);
    normalize_ns_ += now_ns() - start;
  }
  draft.images.reset();  // the caller's alone
  return batch;
}

at::Tensor BatchMaker::labels(const int64_t* values, int64_t count) const {
  at::Tensor tensor = label_pool_.take(count, at::kLong);
  std::copy_n(values, count, tensor.mutable_data_ptr<int64_t>());
  return tensor;
}

Batch BatchMaker::make(BatchRequest request) const {
  BatchDraft draft;
  const int64_t chunks = begin(std::move(request), 1, draft);
  for (int64_t chunk = 0; chunk < chunks; ++chunk) make_chunk(draft, chunk, {});
  return finish(draft);
}

WorkTimes BatchMaker::times() const {
  return {.read_s = seconds(read_ns_),
          .resize_s = seconds(resize_ns_),
          .augment_s = seconds(augment_ns_),
          .normalize_s = seconds(normalize_ns_)};
}

}  // namespace largo::data
