// Images with the channels last as the units of work that threads share out.
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <cstdint>

#include "trainer/nn/kernels/norm_rows.h"
#include "trainer/nn/parallel.h"

namespace largo::nn {

// Images [n, channels, height, width] in sets of `set_samples`, the last of which may be smaller,
// and each set in chunks of its pixels. No images are one set of one empty chunk. Whatever is
// summed up chunk by chunk, then over a set's chunks in order, has bits that do not depend on the
// threads.
class ImageChunks {
 public:
  struct Chunk {
    int64_t index;  // among all
    int64_t set;
    Rows size;
    int64_t first_value;

    // Where the chunk begins in an image tensor of this size; null for an undefined one.
    const void* in(const torch::Tensor& images) const {
      return images.defined() ? static_cast<const char*>(images.const_data_ptr()) + bytes(images)
                              : nullptr;
    }
    void* out(const torch::Tensor& images) const {
      return images.defined() ? static_cast<char*>(images.mutable_data_ptr()) + bytes(images)
                              : nullptr;
    }

   private:
    friend class ImageChunks;
    int64_t bytes(const torch::Tensor& images) const {
      return first_value * static_cast<int64_t>(images.element_size());
    }
  };

  // x is float32 or bfloat16.
  ImageChunks(const torch::Tensor& x, int64_t set_samples)
      : type_(x.scalar_type() == torch::kFloat32 ? RowType::kFloat : RowType::kBfloat16),
        channels_(x.size(1)),
        set_rows_(set_samples * x.size(2) * x.size(3)),
        all_rows_(x.size(0) * x.size(2) * x.size(3)),
        chunk_rows_(std::max<int64_t>(1, kChunkValues / std::max<int64_t>(1, channels_))),
        sets_(pieces(x.size(0), set_samples)),
        per_set_(pieces(std::min(set_rows_, all_rows_), chunk_rows_)) {}

  int64_t channels() const { return channels_; }
  int64_t sets() const { return sets_; }
  int64_t per_set() const { return per_set_; }
  int64_t count() const { return sets_ * per_set_; }

  int64_t rows_of_set(int64_t set) const {
    return std::min(set_rows_, all_rows_ - set * set_rows_);
  }

  // Calls use(chunk) for each, on all threads. Chunks of a smaller last set may have no rows.
  template <class Use>
  void for_each(const Use& use) const {
    parallel_for(count(), [&](int64_t index) { use(chunk(index)); });
  }

  Chunk chunk(int64_t index) const {
    const int64_t set = index / per_set_;
    const int64_t first_row = index % per_set_ * chunk_rows_;
    Chunk chunk{};
    chunk.index = index;
    chunk.set = set;
    chunk.size = {.rows = std::clamp<int64_t>(rows_of_set(set) - first_row, 0, chunk_rows_),
                  .channels = channels_,
                  .type = type_};
    chunk.first_value = (set * set_rows_ + first_row) * channels_;
    return chunk;
  }

 private:
  static constexpr int64_t kChunkValues = 131072;

  static int64_t pieces(int64_t whole, int64_t piece) {
    return std::max<int64_t>(1, (whole + piece - 1) / std::max<int64_t>(1, piece));
  }

  RowType type_;
  int64_t channels_, set_rows_, all_rows_, chunk_rows_, sets_, per_set_;
};

}  // namespace largo::nn
