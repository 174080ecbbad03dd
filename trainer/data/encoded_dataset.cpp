#include "trainer/data/encoded_dataset.h"

#include "comm/base/error.h"
#include "trainer/data/decode.h"

namespace largo::data {

void EncodedDataset::read(int64_t index, const Framing& framing, Image& image) const {
  std::vector<uint8_t> file;
  fetch(index, file);
  try {
    decode_image(file, shape_.channels, framing, "", image);
  } catch (const Error&) {
    // Names may cost a read: only what fails asks for one, and fails again.
    decode_image(file, shape_.channels, framing, name(index), image);
  }
}

}  // namespace largo::data
