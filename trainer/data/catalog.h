// The kinds of data set that a run file may name.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/data/dataset.h"
#include "trainer/data/options.h"

namespace largo::data {

// How one kind is described and loaded. Both see options for which check() found nothing, and may
// leave data.limit, data.mean and data.std to the catalog. A kind whose load() leaves `mean` empty
// has it computed, which reads every training sample once.
struct DataKind {
  std::function<DataInfo(const DataOptions&)> describe;  // cheap: no pixels
  std::function<Datasets(const DataOptions&, uint64_t seed)> load;
};

class DataCatalog {
 public:
  // A kind may be added once.
  void add(std::string kind, DataKind data);

  std::vector<std::string> kinds() const;  // sorted

  // An unknown kind, with the known ones and the nearest.
  std::vector<OptionProblem> check(const DataOptions& options) const;

  // Both throw Error: kConfig for a kind, limit, mean or std that does not fit the data,
  // kInputMissing and kBadData for the files.
  DataInfo describe(const DataOptions& options) const;
  Datasets load(const DataOptions& options, uint64_t seed) const;

 private:
  const DataKind& find(const DataOptions& options) const;

  std::map<std::string, DataKind> kinds_;
};

void add_builtin_data(DataCatalog& catalog);  // idx, synthetic

}  // namespace largo::data
