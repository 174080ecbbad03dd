// What this executable was built from; CMake writes the source file.
#pragma once

namespace largo {

const char* version();     // "0.1.0"
const char* commit();      // of the checkout when it was configured; empty outside a checkout
const char* build_type();  // "Release"

}  // namespace largo
