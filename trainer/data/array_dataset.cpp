#include "trainer/data/array_dataset.h"

#include <utility>

#include "comm/base/error.h"
#include "trainer/data/image_rect.h"

namespace largo::data {

ArrayDataset::ArrayDataset(SampleShape shape, int64_t classes, std::vector<uint8_t> pixels,
                           std::vector<uint8_t> labels)
    : shape_(shape), classes_(classes), pixels_(std::move(pixels)), labels_(std::move(labels)) {
  LARGO_CHECK(static_cast<int64_t>(pixels_.size()) == size() * shape_.values(), pixels_.size(),
              " bytes for ", size(), " images of ", shape_.values());
}

void ArrayDataset::read(int64_t index, const Framing& framing, Image& image) const {
  const bool fits = framing.height == shape_.height && framing.width == shape_.width;
  LARGO_CHECK(framing.cut != Cut::kWhole || fits, "samples of ", framing.height, " x ",
              framing.width, " from images of ", shape_.height, " x ", shape_.width);
  const Rect rect = choose_rect(framing, shape_.height, shape_.width);
  copy_rect(pixels_.data() + index * shape_.values(), shape_.width, shape_.channels, rect, image);
}

}  // namespace largo::data
