#include "trainer/commands/agree_at_start.h"

#include <ATen/Context.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "comm/agree.h"
#include "trainer/commands/build_info.h"
#include "trainer/metrics/build_ids.h"
#include "trainer/metrics/environment.h"
#include "trainer/nn/state.h"

namespace largo::commands {

namespace {

namespace fs = std::filesystem;

using comm::Fact;

std::string digits(uint64_t number) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(number));
  return text.data();
}

// A hash of the file's size and of its first, middle and last bytes: files of the same size that
// hold other samples are told apart, and nothing large is read.
std::string digest(const fs::path& file) {
  constexpr uint64_t kPiece = 4096;
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  const auto add = [&hash](unsigned char byte) { hash = (hash ^ byte) * 0x100000001b3; };
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) fail(ExitCode::kInputMissing, file.string(), " cannot be read");
  const auto size = static_cast<uint64_t>(in.tellg());
  for (uint64_t rest = size; rest > 0; rest /= 256) add(static_cast<unsigned char>(rest));
  std::array<char, kPiece> piece{};
  const uint64_t last = size > kPiece ? size - kPiece : 0;
  for (const uint64_t start : {uint64_t{0}, last / 2, last}) {
    in.clear();
    in.seekg(static_cast<std::streamoff>(start));
    in.read(piece.data(), piece.size());
    if (in.bad()) fail(ExitCode::kIo, file.string(), " cannot be read at byte ", start);
    for (std::streamsize i = 0; i < in.gcount(); ++i) {
      add(static_cast<unsigned char>(piece[static_cast<size_t>(i)]));
    }
  }
  return concat(size, " bytes, digest ", digits(hash));
}

// Of at most 64 files, evenly chosen: a data set of many files is too much for every rank to open.
std::vector<Fact> file_facts(const std::vector<fs::path>& files) {
  constexpr size_t kMost = 64;
  const size_t looked_at = std::min(files.size(), kMost);
  std::vector<Fact> facts = {{"number of data files", concat(files.size()), ExitCode::kBadData}};
  facts.reserve(looked_at + 1);
  for (size_t i = 0; i < looked_at; ++i) {
    const fs::path& file = files[i * files.size() / looked_at];
    facts.push_back(
        {concat("data file ", file.filename().string()), digest(file), ExitCode::kBadData});
  }
  return facts;
}

}  // namespace

void agree_on_program(const comm::MpiSession& session, const config::LoadedConfig& config) {
  std::vector<Fact> facts = {
      {"Largo", concat(version(), " ", commit(), " ", build_type()), ExitCode::kInternal}};
  for (const metrics::LoadedBuild& build : metrics::loaded_builds()) {
    facts.push_back({"build of " + build.name, build.id, ExitCode::kInternal});
  }
  config::RunConfig copy = config.values;
  const OptionTable table = config::make_table(copy);
  for (const Option& option : table.options()) {
    if (option.info.is_path) continue;
    facts.push_back({option.key, option.text().value_or("not given"), ExitCode::kConfig});
  }
  comm::agree_on(session, facts);
}

void agree_on_data(const comm::MpiSession& session, const config::LoadedConfig& config,
                   const Catalogs& catalogs, const std::string& index, const data::DataInfo& info,
                   torch::Device device) {
  std::vector<Fact> facts;
  const auto add = [&facts](const char* what, int64_t value) {
    facts.push_back({what, std::to_string(value), ExitCode::kBadData});
  };
  add("training samples", info.train_samples);
  add("validation samples", info.val_samples.value_or(0));
  add("classes", info.classes);
  add("channels", info.shape.channels);
  add("height", info.shape.height);
  add("width", info.shape.width);
  comm::on_all_ranks(session, [&] {
    auto of_files = file_facts(catalogs.data.files(config.values.data, index));
    std::move(of_files.begin(), of_files.end(), std::back_inserter(facts));
  });
  if (device.is_cpu()) {
    facts.push_back({"LibTorch's instruction set (ATEN_CPU_CAPABILITY sets it for all)",
                     metrics::cpu_capability(), ExitCode::kInternal});
  }
  comm::agree_on(session, facts);
}

void agree_on_parameters(const comm::MpiSession& session, const nn::Model& model) {
  std::vector<Fact> facts;
  for (const auto& [name, tensor] : nn::state_tensors(model)) {
    facts.push_back({"tensor " + name,
                     concat(at::toString(tensor.scalar_type()), " ", tensor.sizes()),
                     ExitCode::kInternal});
  }
  comm::agree_on(session, facts);
}

}  // namespace largo::commands
