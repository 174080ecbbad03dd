// How this process uses memory: chosen once, before anything large is allocated.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/option_table.h"

namespace largo {

enum class MallocWish { kTuned, kDefault };
enum class HugePagesWish { kAuto, kOn, kOff };

struct ProcessOptions {
  MallocWish malloc = MallocWish::kTuned;
  HugePagesWish huge_pages = HugePagesWish::kAuto;
  bool flush_denormals = true;  // numbers below 1.2e-38 count as 0, on the host
};

void declare_options(OptionTable& table, ProcessOptions& options);  // run.*

// Huge pages without tuned malloc.
std::vector<OptionProblem> check(const ProcessOptions& options);

// What was done, in words for people: "tuned", "default", "off: …".
struct MemorySetup {
  std::string malloc = "default";
  std::string huge_pages = "off";
};

// Tuned malloc: freed memory stays with the process. With glibc's defaults every tensor above
// 32 MiB is mapped, faulted in and unmapped anew, and smaller ones at the heap's end come and go
// with it, which costs more than most of the operations on them. The price: what a process has once
// needed it keeps, as its resident size shows.
//
// Huge pages: the heap's first GiB is marked for them. Memory that nobody has touched takes none.
// auto: where the kernel grants them and `computes_here`, as on a GPU the host's memory hardly
// matters. What is wanted and cannot be had is Error{kUnavailable}, with auto it is left out.
//
// Once per process; options have passed check(). In the environment of a process, glibc's own
// MALLOC_ variables and an allocator that was preloaded keep what malloc `default` leaves to them.
MemorySetup set_up_memory(const ProcessOptions& options, bool computes_here);

// The setting in brackets of the kernel's text "always [madvise] never"; empty where there is none.
std::string bracketed(std::string_view text);

}  // namespace largo
