// Named tensors in safetensors files.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "trainer/base/safetensors.h"

namespace largo::checkpoint {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
using TensorMap = std::map<std::string, at::Tensor>;

// The bytes of a safetensors file of these tensors, which may be on any device and in any layout,
// as contiguous row-major ones: the shapes that PyTorch shows. Shares the memory of tensors that
// are so on the host already, which must not change meanwhile.
class EncodedTensors {
 public:
  EncodedTensors(const NamedTensors& tensors, const std::map<std::string, std::string>& metadata);
  std::vector<std::span<const std::byte>> chunks() const;  // of this object's memory

 private:
  std::vector<at::Tensor> contiguous_;
  SafetensorsFile file_;
};

// Writes them to a file that is there whole or not at all. Throws Error{kIo}.
void save_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                  const std::map<std::string, std::string>& metadata);

// The tensors of a file, contiguous on the host, with memory of their own. Throws
// Error{kInputMissing} and Error{kBadData}.
TensorMap load_tensors(const std::filesystem::path& path);

// The same from a file's bytes; `source` names it in messages.
TensorMap parse_tensors(std::span<const std::byte> file, const std::string& source);

// Copies each loaded tensor into the target of its name; targets keep device and layout. Throws
// Error{kBadData} with all names that are missing, not expected, or of another shape or dtype, and
// leaves the targets as they are then. `source` names the file in the message.
void copy_into(const NamedTensors& targets, const TensorMap& loaded, const std::string& source);

}  // namespace largo::checkpoint
