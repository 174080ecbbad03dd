// The models that a run can name.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "comm/communicator.h"
#include "trainer/nn/model.h"
#include "trainer/nn/options.h"

namespace largo::nn {

// What a model is built from.
struct ModelSpec {
  ModelOptions options;
  int64_t channels = 0;  // of the images
  int64_t height = 0;
  int64_t width = 0;
  int64_t classes = 0;
  bool norm_given = false;  // whether the user wrote any model.norm key
};

struct ModelEntry {
  // A model with its initial values, which depend on `spec` and `seed` only. `norm_group`: the
  // ranks that synchronized normalization works over; it outlives the model.
  std::function<std::shared_ptr<Model>(const ModelSpec& spec, comm::Communicator& norm_group,
                                       uint64_t seed)>
      make;
  // What of `spec` this model cannot be built from.
  std::function<std::vector<OptionProblem>(const ModelSpec& spec)> check;
};

class ModelCatalog {
 public:
  // Adding a name twice throws.
  void add(const std::string& name, ModelEntry entry);

  std::vector<std::string> names() const { return names_; }  // in the order of adding

  // Empty where make() will build the model.
  std::vector<OptionProblem> check(const ModelSpec& spec) const;

  // Float32 on the CPU, 4-d weights channels_last, initialized: equal on all ranks for one seed.
  // `norm_group` must outlive the model. Throws Error{kConfig} with check()'s first problem.
  std::shared_ptr<Model> make(const ModelSpec& spec, comm::Communicator& norm_group,
                              uint64_t seed) const;

 private:
  std::vector<std::string> names_;
  std::map<std::string, ModelEntry> entries_;
};

// mlp, lenet, resnet8, resnet20, resnet32, resnet44, resnet56, resnet110.
void add_builtin_models(ModelCatalog& catalog);

// For check functions: a problem where model.norm was given to a model without normalization.
std::vector<OptionProblem> check_no_norm(const ModelSpec& spec);

// A problem where group norm's groups do not divide the channels of `layer`.
std::vector<OptionProblem> check_groups(const ModelSpec& spec, const std::string& layer,
                                        int64_t channels);

}  // namespace largo::nn
