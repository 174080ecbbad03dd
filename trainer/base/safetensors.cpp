#include "trainer/base/safetensors.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "comm/base/error.h"
#include "trainer/base/safetensors_header.h"

namespace largo {

namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the official reader's

// Bytes that shape and dtype ask for; nullopt where strides or bytes do not fit 63 bits, which a
// zero among the sizes does not excuse.
std::optional<uint64_t> span_of(const std::vector<int64_t>& shape, int64_t element_bytes) {
  int64_t bytes = element_bytes;
  bool is_empty = false;
  for (const int64_t size : shape) {
    is_empty |= size == 0;
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes)) return std::nullopt;
  }
  return is_empty ? 0 : static_cast<uint64_t>(bytes);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) {
    if (!text.empty()) text += ',';
    text += std::to_string(size);
  }
  return '[' + text + ']';
}

}  // namespace

int64_t safetensors_element_bytes(std::string_view dtype) {
  constexpr std::array<std::pair<std::string_view, int64_t>, 10> kBytes = {{{"F64", 8},
                                                                            {"F32", 4},
                                                                            {"F16", 2},
                                                                            {"BF16", 2},
                                                                            {"I64", 8},
                                                                            {"I32", 4},
                                                                            {"I16", 2},
                                                                            {"I8", 1},
                                                                            {"U8", 1},
                                                                            {"BOOL", 1}}};
  for (const auto& [name, bytes] : kBytes) {
    if (name == dtype) return bytes;
  }
  return 0;
}

SafetensorsFile make_safetensors(std::vector<TensorBytes> tensors,
                                 const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorBytes& a, const TensorBytes& b) {
    return std::tuple(-safetensors_element_bytes(a.dtype), std::string_view(a.name)) <
           std::tuple(-safetensors_element_bytes(b.dtype), std::string_view(b.name));
  });
  std::string json = "{";
  if (!metadata.empty()) {
    json += json_quoted(kSafetensorsMetadata) + ":{";
    for (const auto& [key, value] : metadata) {
      if (json.back() != '{') json += ',';
      json += json_quoted(key) + ':' + json_quoted(value);
    }
    json += '}';
  }
  std::set<std::string_view> names = {kSafetensorsMetadata};
  uint64_t end = 0;
  for (const TensorBytes& tensor : tensors) {
    const int64_t element_bytes = safetensors_element_bytes(tensor.dtype);
    LARGO_CHECK(element_bytes > 0 && span_of(tensor.shape, element_bytes) == tensor.bytes.size(),
                tensor.name, ": ", tensor.dtype, ' ', shape_text(tensor.shape), " in ",
                tensor.bytes.size(), " bytes");
    LARGO_CHECK(names.insert(tensor.name).second, "two tensors are called ", tensor.name);
    if (json.size() > 1) json += ',';
    const uint64_t begin = std::exchange(end, end + tensor.bytes.size());
    json += concat(json_quoted(tensor.name), ":{\"dtype\":\"", tensor.dtype,
                   "\",\"shape\":", shape_text(tensor.shape), ",\"data_offsets\":[", begin, ',',
                   end, "]}");
  }
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');

  SafetensorsFile file;
  for (uint64_t i = 0; i < kHeaderLengthBytes; ++i) {
    file.header += static_cast<char>(json.size() >> (8 * i) & 0xFF);
  }
  file.header += json;
  file.tensors = std::move(tensors);
  return file;
}

SafetensorsView parse_safetensors(std::span<const std::byte> file, const std::string& source) {
  const auto bad = [&](const auto&... parts) { fail(ExitCode::kBadData, source, ": ", parts...); };
  if (file.size() < kHeaderLengthBytes) {
    bad("is no safetensors file: ", file.size(), " bytes, less than the length of a header");
  }
  uint64_t header_bytes = 0;
  for (uint64_t i = 0; i < kHeaderLengthBytes; ++i) {
    header_bytes |= static_cast<uint64_t>(file[i]) << (8 * i);
  }
  const std::span<const std::byte> rest = file.subspan(kHeaderLengthBytes);
  if (header_bytes > kMaxHeaderBytes || header_bytes > rest.size()) {
    bad("says that its header has ", header_bytes, " bytes; at most ", kMaxHeaderBytes,
        " are legal, and the file has ", rest.size(), " bytes left");
  }
  const std::string_view header(reinterpret_cast<const char*>(rest.data()), header_bytes);
  const std::span<const std::byte> buffer = rest.subspan(header_bytes);

  SafetensorsHeader parsed = parse_safetensors_header(header, source);
  std::vector<SafetensorsHeader::Entry>& entries = parsed.tensors;
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });

  SafetensorsView view;
  view.metadata = std::move(parsed.metadata);
  uint64_t filled = 0;
  for (SafetensorsHeader::Entry& entry : entries) {
    const std::string name = json_quoted(entry.name);
    const int64_t element_bytes = safetensors_element_bytes(entry.dtype);
    if (element_bytes == 0)
      bad("tensor ", name, " has the unknown dtype ", json_quoted(entry.dtype));
    if (entry.begin != filled) {
      bad("tensor ", name, " starts at byte ", entry.begin, " of the data, where the tensors ",
          "before it end at ", filled, entry.begin < filled ? " (overlap)" : " (gap)");
    }
    if (entry.end < entry.begin || entry.end > buffer.size()) {
      bad("tensor ", name, " ends at byte ", entry.end, " of the data; it starts at ", entry.begin,
          ", and the file holds ", buffer.size());
    }
    if (span_of(entry.shape, element_bytes) != entry.end - entry.begin) {
      bad("tensor ", name, " of ", entry.dtype, ' ', shape_text(entry.shape), " has ",
          entry.end - entry.begin, " bytes");
    }
    filled = entry.end;
    view.tensors.push_back({std::move(entry.name), std::move(entry.dtype), std::move(entry.shape),
                            buffer.subspan(entry.begin, entry.end - entry.begin)});
  }
  if (filled != buffer.size()) {
    bad("holds ", buffer.size(), " bytes of data, and its tensors end at ", filled);
  }
  return view;
}

}  // namespace largo
