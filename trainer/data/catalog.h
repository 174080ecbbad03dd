// The kinds of data set that a run file may name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/data/dataset.h"
#include "trainer/data/options.h"

namespace largo::data {

// What index() needs beside the options.
struct IndexContext {
  std::filesystem::path fallback_folder;  // where an index goes that cannot lie with the data
  std::function<void(const std::string&)>
      warn;  // told of what was left out or could not be written
};

// How one kind is described and loaded. The functions see options for which check() found nothing,
// and may leave data.limit, data.val_fraction, data.image_size, data.mean and data.std to the
// catalog. describe() and load() do not depend on where they run: everything that one rank must
// look for on behalf of all is in the index. A kind whose load() leaves `mean` empty has it
// computed, which reads every training sample once.
struct DataKind {
  // Bytes for the other functions; empty: the kind has no index.
  std::function<std::string(const DataOptions&, const IndexContext&)> index = {};
  std::function<DataInfo(const DataOptions&, const std::string& index)>
      describe;  // cheap: no pixels
  std::function<Datasets(const DataOptions&, const std::string& index, uint64_t seed)> load;
  // The files that load() reads, for data.stage; empty: none.
  std::function<std::vector<std::filesystem::path>(const DataOptions&, const std::string& index)>
      files = {};
};

// index() is for one rank of a run, which sends the bytes to the others. All but check() throw
// Error: kConfig for a kind, limit, mean or std that does not fit the data, kInputMissing, kBadData
// and kIo for the files.
class DataCatalog {
 public:
  // A kind may be added once.
  void add(std::string kind, DataKind data);

  std::vector<std::string> kinds() const;  // sorted

  // An unknown kind, with the known ones and the nearest.
  std::vector<OptionProblem> check(const DataOptions& options) const;

  std::string index(const DataOptions& options, const IndexContext& context) const;

  // Of the samples as the model sees them: after data.val_fraction, data.limit and resizing. Always
  // with a validation part.
  DataInfo describe(const DataOptions& options, const std::string& index) const;
  Datasets load(const DataOptions& options, const std::string& index, uint64_t seed) const;

  std::vector<std::filesystem::path> files(const DataOptions& options,
                                           const std::string& index) const;

 private:
  const DataKind& find(const DataOptions& options) const;

  std::map<std::string, DataKind> kinds_;
};

// cifar10, cifar100, idx, image_folder, synthetic, tar_shards.
void add_builtin_data(DataCatalog& catalog);

// The framing of samples of `shape` (what describe() returns) in training and in evaluation; seed
// and key are left to the caller.
Framing train_framing(const DataOptions& options, const SampleShape& shape);
Framing eval_framing(const DataOptions& options, const SampleShape& shape);

}  // namespace largo::data
