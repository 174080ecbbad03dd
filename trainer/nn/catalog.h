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
  ModelOptions options = {};
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

// mlp, lenet, cnn3, vgg16, resnet8, 20, 32, 44, 56, 110, 18, 34, 50, 101, in this order.
void add_builtin_models(ModelCatalog& catalog);

// What check functions are made of: each looks for one kind of problem, all_of() joins their finds.

std::vector<OptionProblem> all_of(std::vector<std::vector<OptionProblem>> found);

// model.norm or model.weight_standardization given to a model without normalization.
std::vector<OptionProblem> check_no_norm(const ModelSpec& spec);

// model.stem given to a model that is no residual net.
std::vector<OptionProblem> check_no_stem(const ModelSpec& spec);

// Images smaller than `side` in height or width.
std::vector<OptionProblem> check_size(const ModelSpec& spec, int64_t side);

// Groups of group norm that do not divide the channels of `layer`.
std::vector<OptionProblem> check_groups(const ModelSpec& spec, const std::string& layer,
                                        int64_t channels);

// For a `layer` that sees one pixel per image: a norm over single values, whose output is zero
// (instance norm, or group norm with one channel per group).
std::vector<OptionProblem> check_single_values(const ModelSpec& spec, const std::string& layer,
                                               int64_t channels);

}  // namespace largo::nn
