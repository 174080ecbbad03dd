// How the kernels of norm_rows.cpp cut a matrix up, and their memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

#include "trainer/nn/kernels/norm_rows.h"

namespace largo::nn {

// Zeros that begin where a cache line does, as the widest vectors are one; few of them without the
// heap, which sets of one small image would spend much of their time in.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : count_(count),
        heap_(count > kFew ? static_cast<T*>(
                                 ::operator new(static_cast<size_t>(count) * sizeof(T), kAlignment))
                           : nullptr),
        values_(heap_ ? heap_.get() : few_) {
    clear();
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() = default;

  void clear() { std::fill_n(values_, count_, T{0}); }
  T* data() { return values_; }
  const T* data() const { return values_; }
  T& operator[](int64_t i) { return values_[i]; }

 private:
  static constexpr int64_t kFew = 512;
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(T* values) const { ::operator delete(values, kAlignment); }
  };

  alignas(64) T few_[kFew];
  int64_t count_;
  std::unique_ptr<T, Free> heap_;
  T* values_;
};

// Rows are taken several at a time, as one wide row of `width` lanes, so that inner loops are long
// enough for the widest vectors whatever the number of channels. Lane j is of channel j % channels.
// The last wide row may have fewer lanes: `tail`, a multiple of the channels.
struct Lanes {
  explicit Lanes(const Rows& size)
      : channels(size.channels),
        width(channels * std::max<int64_t>(1, (least(size) + channels - 1) / channels)),
        rows(size.rows * channels / width),
        tail(size.rows * channels % width) {}

  // Of a small matrix, what is done once per lane counts.
  static int64_t least(const Rows& size) { return size.rows * size.channels < 32768 ? 64 : 256; }

  int64_t channels, width;
  int64_t rows;  // whole wide rows
  int64_t tail;
};

// One value per channel as one per lane.
class Spread : public Scratch<float> {
 public:
  Spread(const Lanes& lanes, const float* values) : Scratch(lanes.width) {
    for (int64_t lane = 0; lane < lanes.width; lane += lanes.channels) {
      std::copy_n(values, lanes.channels, data() + lane);
    }
  }
};

struct Line {
  Line(const Lanes& lanes, const ChannelLine& line)
      : pivot(lanes, line.pivot), scale(lanes, line.scale), shift(lanes, line.shift) {}
  Spread pivot, scale, shift;
};

}  // namespace largo::nn
