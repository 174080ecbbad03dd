#include "trainer/checkpoint/weights.h"

#include <ATen/ATen.h>

#include <array>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>

#include "comm/base/error.h"
#include "trainer/base/atomic_file.h"
#include "trainer/base/safetensors.h"

namespace largo::checkpoint {

namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 40;

constexpr std::array<std::pair<at::ScalarType, std::string_view>, 10> kDtypes = {
    {{at::kDouble, "F64"},
     {at::kFloat, "F32"},
     {at::kHalf, "F16"},
     {at::kBFloat16, "BF16"},
     {at::kLong, "I64"},
     {at::kInt, "I32"},
     {at::kShort, "I16"},
     {at::kChar, "I8"},
     {at::kByte, "U8"},
     {at::kBool, "BOOL"}}};

std::string dtype_name(const at::Tensor& tensor) {
  for (const auto& [type, name] : kDtypes) {
    if (type == tensor.scalar_type()) return std::string(name);
  }
  fail(ExitCode::kInternal, "safetensors has no dtype for ", tensor.dtype());
}

at::ScalarType scalar_type(std::string_view dtype) {
  for (const auto& [type, name] : kDtypes) {
    if (name == dtype) return type;
  }
  fail(ExitCode::kInternal, "the reader let dtype ", dtype, " pass");
}

// "float [16, 3, 3, 3]"
std::string description(const at::Tensor& tensor) {
  return concat(tensor.dtype(), ' ', tensor.sizes());
}

}  // namespace

EncodedTensors::EncodedTensors(const NamedTensors& tensors,
                               const std::map<std::string, std::string>& metadata) {
  contiguous_.reserve(tensors.size());
  std::vector<TensorBytes> described;
  described.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& bytes = contiguous_.emplace_back(tensor.detach().to(at::kCPU).contiguous());
    described.push_back({name,
                         dtype_name(bytes),
                         bytes.sizes().vec(),
                         {static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()}});
  }
  file_ = make_safetensors(std::move(described), metadata);
}

std::vector<std::span<const std::byte>> EncodedTensors::chunks() const {
  std::vector<std::span<const std::byte>> chunks = {std::as_bytes(std::span(file_.header))};
  chunks.reserve(1 + file_.tensors.size());
  for (const TensorBytes& tensor : file_.tensors) chunks.push_back(tensor.bytes);
  return chunks;
}

void save_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                  const std::map<std::string, std::string>& metadata) {
  write_file_atomically(path, EncodedTensors(tensors, metadata).chunks());
}

TensorMap load_tensors(const std::filesystem::path& path) {
  return parse_tensors(read_file(path, kMaxFileBytes), path.string());
}

TensorMap parse_tensors(std::span<const std::byte> file, const std::string& source) {
  TensorMap tensors;
  for (const TensorBytes& entry : parse_safetensors(file, source).tensors) {
    const at::Tensor tensor = at::empty(entry.shape, scalar_type(entry.dtype));
    if (!entry.bytes.empty()) {
      std::memcpy(tensor.mutable_data_ptr(), entry.bytes.data(), entry.bytes.size());
    }
    tensors.emplace(entry.name, tensor);
  }
  return tensors;
}

void copy_into(const NamedTensors& targets, const TensorMap& loaded, const std::string& source) {
  std::string problems;
  std::set<std::string_view> names;
  for (const auto& [name, target] : targets) {
    LARGO_CHECK(names.insert(name).second, "two targets are called ", name);
    const auto found = loaded.find(name);
    if (found == loaded.end()) {
      problems += concat("\n  missing: ", name, ", ", description(target));
    } else if (found->second.sizes() != target.sizes() ||
               found->second.scalar_type() != target.scalar_type()) {
      problems += concat("\n  mismatched: ", name, " is ", description(found->second),
                         " there and ", description(target), " here");
    }
  }
  for (const auto& [name, tensor] : loaded) {
    if (!names.contains(name)) {
      problems += concat("\n  not expected: ", name, ", ", description(tensor));
    }
  }
  if (!problems.empty()) {
    fail(ExitCode::kBadData, source, " does not fit this run's model and optimizer:", problems);
  }
  const at::NoGradGuard no_grad;
  for (const auto& [name, target] : targets) target.copy_(loaded.at(name));
}

}  // namespace largo::checkpoint
