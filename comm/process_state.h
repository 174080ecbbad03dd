// What the system says of a process of this node.
#pragma once

#include <cstdint>

namespace largo::comm {

// When a process began, in the system's clock ticks, which tells it from others that had its id or
// have it in another container; 0: not known.
uint64_t began_of(int64_t process);

// "is stopped", "waits for a disk", "is dead"; null where it is none of these, or not known.
const char* trouble_of(int64_t process, uint64_t began);

}  // namespace largo::comm
