#include "trainer/nn/autocast.h"

#include <ATen/autocast_mode.h>

#include "comm/base/error.h"

namespace largo::nn {

Autocast::Autocast(torch::DeviceType device, torch::Dtype dtype)
    : device_(device), changed_(dtype != torch::kFloat32) {
  LARGO_CHECK(dtype == torch::kFloat32 || dtype == torch::kBFloat16, "autocast to ", dtype,
              "; legal: float32, bfloat16");
  if (!changed_) return;
  was_enabled_ = at::autocast::is_autocast_enabled(device_);
  was_dtype_ = at::autocast::get_autocast_dtype(device_);
  was_caching_ = at::autocast::is_autocast_cache_enabled();
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::set_autocast_dtype(device_, dtype);
  at::autocast::increment_nesting();
  at::autocast::set_autocast_cache_enabled(true);
}

Autocast::~Autocast() {
  if (!changed_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, was_dtype_);
  at::autocast::set_autocast_cache_enabled(was_caching_);
}

}  // namespace largo::nn
