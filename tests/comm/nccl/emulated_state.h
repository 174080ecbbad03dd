// What the two halves of the emulated device share. For emulated_*.cpp only.
#pragma once

#include <atomic>
#include <string>

#include "tests/comm/nccl/emulated_device.h"

namespace largo::test::emulated {

std::atomic<int>& live_comms();
void violation(std::string text);
Behaviour behaviour();

}  // namespace largo::test::emulated
