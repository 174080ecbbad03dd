// The stream operations of a BatchRing, and no others, so that a test can stand in for the device.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

namespace largo::data {

// Two lanes of one device that work through what they are given, each in order and both at once,
// and `events` events, 0 … events − 1, that tell one how far the other is. Only host_wait() blocks
// the host. One thread may use it.
class DeviceStreams {
 public:
  enum class Lane {
    kCompute,  // the stream that is current in the calling thread, where the model runs
    kCopy,     // a stream of its own
  };

  virtual ~DeviceStreams() = default;

  // The event happens when the lane has done all that it was given so far. An event can be
  // recorded again: it then stands for the new place, also while an earlier wait goes on.
  virtual void record(int event, Lane lane) = 0;

  // What the lane is given from now on is done after the event. An event that was never recorded
  // holds nothing up.
  virtual void wait(int event, Lane lane) = 0;
  virtual void host_wait(int event) = 0;

  // On the copy lane: contiguous tensors of one size and type, `from` on the host, in page-locked
  // memory, and `to` on the device. Neither is kept: the caller has to, until the copy is complete.
  virtual void copy(const at::Tensor& from, const at::Tensor& to) = 0;

  // The tensor was allocated on the compute lane, and the copy lane uses it too: once it is freed,
  // its memory is given away only when both are done with it.
  virtual void used_by_copies(const at::Tensor& tensor) = 0;
};

// Of c10, for any device that has streams. `device` must have an index.
std::unique_ptr<DeviceStreams> make_device_streams(const at::Device& device, int events);

}  // namespace largo::data
