// What tests of data sets share.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "trainer/data/dataset.h"

namespace largo::data {

// The message of the Error that the action throws, with this code.
inline std::string failure(ExitCode code, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

// A whole sample of a set of one size.
inline std::vector<uint8_t> pixels(const Dataset& dataset, int64_t index) {
  Image image;
  const SampleShape shape = dataset.shape();
  dataset.read(index, {.cut = Cut::kWhole, .height = shape.height, .width = shape.width}, image);
  EXPECT_EQ((SampleShape{image.channels, image.height, image.width}), shape);
  return {image.pixels.begin(), image.pixels.begin() + shape.values()};
}

}  // namespace largo::data
