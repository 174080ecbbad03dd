// What tests of batches share.
#pragma once

#include <ATen/ops/equal.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "tests/data/fake_dataset.h"
#include "trainer/data/loader.h"
#include "trainer/data/sampler.h"

namespace largo::data {

constexpr int64_t kSamples = 50;
constexpr uint64_t kSeed = 3;

inline FakeDataset images(int64_t channels) { return FakeDataset(kSamples, {channels, 4, 5}); }

inline Transform transform(int64_t channels, at::ScalarType dtype = at::kFloat) {
  Transform made;
  made.mean = std::vector<double>(static_cast<size_t>(channels), 0.4);
  made.std = std::vector<double>(static_cast<size_t>(channels), 0.3);
  made.dtype = dtype;
  made.framing = {.cut = Cut::kWhole, .height = 4, .width = 5};
  made.augment = {.pad_crop = 2, .flip = true};
  made.seed = kSeed;
  return made;
}

// Batches of `batch` consecutive positions of the sample stream; mixed where mix < 1.
inline RequestOf stream(int64_t batch, double mix = 1) {
  return [sampler = std::make_shared<Sampler>(kSeed, kSamples), batch, mix](int64_t number) {
    return BatchRequest{.keys = sampler->keys(number * batch, batch),
                        .mix = mix,
                        .after_last = sampler->key((number + 1) * batch)};
  };
}

inline RequestOf in_order(int64_t batch) { return consecutive_samples(0, kSamples, batch); }

inline BatchRequest of(std::vector<SampleKey> keys) { return {.keys = std::move(keys)}; }

inline bool equal(const Batch& a, const Batch& b) {
  return a.keys == b.keys && a.mix == b.mix && at::equal(a.labels, b.labels) &&
         at::equal(a.images, b.images) &&
         a.partner_labels.defined() == b.partner_labels.defined() &&
         (!a.partner_labels.defined() || at::equal(a.partner_labels, b.partner_labels));
}

}  // namespace largo::data
