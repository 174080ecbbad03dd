#include "comm/base/process_setup.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "comm/base/error.h"

namespace largo {

namespace {

constexpr const char* kKernelSetting = "/sys/kernel/mm/transparent_hugepage/enabled";
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kTopPad = size_t{256} << 20;  // what the heap grows by beyond what is asked for
constexpr size_t kHeapBytes = (size_t{1} << 30) - kTopPad;  // less than what malloc maps

// Text of a small file; empty where it cannot be read.
std::string read_text(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool tune_malloc() {
  // glibc before 2.35 takes no threshold above 32 MiB: it maps nothing then.
  const bool heap = mallopt(M_MMAP_THRESHOLD, 1 << 30) == 1 || mallopt(M_MMAP_MAX, 0) == 1;
  const bool trim = mallopt(M_TRIM_THRESHOLD, -1) == 1;
  const bool pad = mallopt(M_TOP_PAD, kTopPad) == 1;
  return heap && trim && pad;
}

// Grows the heap, which tuned malloc does not give back. Why it could not be done, or nothing.
std::string mark_heap() {
  const std::string setting = bracketed(read_text(kKernelSetting));
  if (setting.empty() || setting == "never") {
    return concat(kKernelSetting, " says ", setting.empty() ? "nothing" : setting);
  }
  char* const heap = static_cast<char*>(std::malloc(kHeapBytes));
  if (heap == nullptr) return concat("there is no memory for a heap of ", kHeapBytes, " bytes");
  const size_t past = reinterpret_cast<uintptr_t>(heap) % kHugePage;
  char* const first = heap + (past == 0 ? 0 : kHugePage - past);
  // With what the heap grew by beyond it, where it lies at the heap's end.
  char* const end = std::max(static_cast<char*>(sbrk(0)), heap + kHeapBytes);
  const auto bytes = static_cast<size_t>(end - first) / kHugePage * kHugePage;
  const int refused = madvise(first, bytes, MADV_HUGEPAGE) == 0 ? 0 : errno;
  std::free(heap);
  return refused == 0 ? std::string() : concat("madvise: ", std::strerror(refused));
}

}  // namespace

std::string bracketed(std::string_view text) {
  const size_t open = text.find('[');
  const size_t close = text.find(']', open == std::string_view::npos ? 0 : open);
  if (open == std::string_view::npos || close == std::string_view::npos) return {};
  return std::string(text.substr(open + 1, close - open - 1));
}

void declare_options(OptionTable& table, ProcessOptions& options) {
  table.add_choice<MallocWish>(
      "run.malloc", options.malloc,
      {{"tuned", MallocWish::kTuned}, {"default", MallocWish::kDefault}},
      {.description = "tuned: freed memory stays with the process, so that tensors are not mapped "
                      "and faulted in anew in every step; default: as the C library has it",
       .effect = Effect::kSpeed});
  table.add_choice<HugePagesWish>(
      "run.huge_pages", options.huge_pages,
      {{"auto", HugePagesWish::kAuto}, {"on", HugePagesWish::kOn}, {"off", HugePagesWish::kOff}},
      {.description = "pages of 2 MiB for the first GiB of memory. auto: on CPUs, where the kernel "
                      "grants them and run.malloc is tuned",
       .effect = Effect::kSpeed});
  table.add("run.flush_denormals", options.flush_denormals, Range<bool>{},
            {.description = "CPUs take float32 numbers below 1.2e-38 (float64: 2.2e-308) for 0, "
                            "which many of them compute with slowly"});
}

std::vector<OptionProblem> check(const ProcessOptions& options) {
  if (options.huge_pages == HugePagesWish::kOn && options.malloc == MallocWish::kDefault) {
    return {{"run.huge_pages",
             "on is for memory that stays with the process; legal: auto, off, or run.malloc: "
             "tuned"}};
  }
  return {};
}

MemorySetup set_up_memory(const ProcessOptions& options, bool computes_here) {
  MemorySetup setup;
  if (options.huge_pages == HugePagesWish::kOff) prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  if (options.malloc == MallocWish::kDefault) return setup;
  const bool tuned = tune_malloc();
  setup.malloc = tuned ? "tuned" : "default: mallopt refused";
  if (options.huge_pages == HugePagesWish::kOff) return setup;
  if (options.huge_pages == HugePagesWish::kAuto && !(tuned && computes_here)) return setup;
  const std::string problem = tuned ? mark_heap() : "mallopt refused";
  if (options.huge_pages == HugePagesWish::kOn && !problem.empty()) {
    fail(ExitCode::kUnavailable, "run.huge_pages is on, but ", problem, "; legal here: auto, off");
  }
  setup.huge_pages = problem.empty() ? "on" : "off: " + problem;
  return setup;
}

}  // namespace largo
