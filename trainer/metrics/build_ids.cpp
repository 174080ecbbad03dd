#include "trainer/metrics/build_ids.h"

#include <elf.h>
#include <link.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <map>
#include <string_view>

namespace largo::metrics {

namespace {

// What results and the ranks' understanding of each other depend on, by the beginning of the name.
constexpr std::array<std::string_view, 16> kFamilies = {
    "libtorch",  "libc10",   "libmpi",    "libopen-rte", "libopen-pal", "libpmix",
    "libnccl",   "libcudnn", "libcudart", "libcublas",   "libgomp",     "libmkl",
    "libyaml-c", "libjpeg",  "libpng",    "libz."};

bool matters(std::string_view name) {
  for (const std::string_view family : kFamilies) {
    if (name.starts_with(family)) return true;
  }
  return false;
}

std::string hexadecimal(const unsigned char* bytes, size_t count) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * count);
  for (size_t i = 0; i < count; ++i) {
    text.push_back(kDigits[bytes[i] >> 4]);
    text.push_back(kDigits[bytes[i] & 15]);
  }
  return text;
}

// The build id in one segment of notes; empty: none there.
std::string id_in_notes(const char* notes, size_t size, size_t alignment) {
  const size_t unit = alignment == 8 ? 8 : 4;
  const auto padded = [unit](size_t bytes) { return (bytes + unit - 1) / unit * unit; };
  for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= size;) {
    ElfW(Nhdr) header;
    std::memcpy(&header, notes + at, sizeof header);
    const size_t name = at + sizeof header;
    const size_t content = name + padded(header.n_namesz);
    if (content + header.n_descsz > size) break;
    if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == 4 &&
        std::memcmp(notes + name, "GNU", 4) == 0) {
      return hexadecimal(reinterpret_cast<const unsigned char*>(notes + content), header.n_descsz);
    }
    at = content + padded(header.n_descsz);
  }
  return {};
}

std::string build_id(const dl_phdr_info& info) {
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = info.dlpi_phdr[i];
    if (part.p_type != PT_NOTE) continue;
    // The loader has mapped it at this address.
    const auto* notes = reinterpret_cast<const char*>(info.dlpi_addr + part.p_vaddr);
    const std::string id = id_in_notes(notes, part.p_memsz, part.p_align);
    if (!id.empty()) return id;
  }
  return {};
}

std::string size_of(const std::filesystem::path& file) {
  std::error_code unknown;
  const auto bytes = std::filesystem::file_size(file, unknown);
  return unknown ? "unknown" : std::to_string(bytes) + " bytes";
}

}  // namespace

std::vector<LoadedBuild> loaded_builds() {
  std::map<std::string, std::string> builds;
  const auto visit = [](dl_phdr_info* info, size_t, void* data) {
    std::filesystem::path file = info->dlpi_name ? info->dlpi_name : "";
    std::string name = file.filename().string();
    if (name.empty()) {  // the program itself, first in the list
      file = "/proc/self/exe";
      name = "largo";
    } else if (!matters(name)) {
      return 0;
    }
    const std::string id = build_id(*info);
    const std::string stem = name.substr(0, name.find(".so"));
    std::string& entry = (*static_cast<std::map<std::string, std::string>*>(
        data))[stem == name ? name : stem + ".so"];
    entry.append(entry.empty() ? "" : " and ").append(id.empty() ? size_of(file) : id);
    return 0;
  };
  dl_iterate_phdr(visit, &builds);
  std::vector<LoadedBuild> sorted;
  sorted.reserve(builds.size());
  for (auto& [name, id] : builds) sorted.push_back({name, id});
  return sorted;
}

}  // namespace largo::metrics
