// To be preloaded: a CPU that cannot take denormal numbers for 0, on every rank but 0 of several.
#include <cstdlib>
#include <string_view>

extern "C" bool set_flush_denormal(void* context,
                                   bool wished) __asm__("_ZN2at7Context16setFlushDenormalEb");

extern "C" bool set_flush_denormal(void* /*context*/, bool /*wished*/) {
  const char* const rank = std::getenv("OMPI_COMM_WORLD_RANK");
  const char* const size = std::getenv("OMPI_COMM_WORLD_SIZE");
  return rank != nullptr && size != nullptr && std::string_view(size) != "1" &&
         std::string_view(rank) == "0";
}
