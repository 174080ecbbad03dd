#include "comm/gradient_reducer.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "comm/base/error.h"
#include "comm/flight_record.h"

namespace largo::comm {

namespace {

constexpr int64_t kAlignmentBytes = 64;  // a cache line, and the widest vector register

}  // namespace

// Called by autograd once the parameter's .grad holds this backward's gradient.
class GradientReducer::Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientReducer& reducer, int64_t parameter) : reducer_(reducer), parameter_(parameter) {}
  void operator()(const torch::autograd::Variable&) override { reducer_.on_gradient(parameter_); }

 private:
  GradientReducer& reducer_;
  int64_t parameter_;
};

GradientReducer::GradientReducer(std::vector<at::Tensor> parameters, at::Tensor extra,
                                 Communicator& world, const ReducerOptions& options)
    : parameters_(std::move(parameters)),
      extra_(std::move(extra)),
      world_(world),
      options_(options),
      has_gradient_(parameters_.size(), false) {
  LARGO_CHECK(!parameters_.empty(), "no parameters to reduce");
  LARGO_CHECK(options_.leaves == 0 || (!options_.pack && !options_.wire_dtype),
              "a tree of packed gradients, or of another dtype");
  for (const at::Tensor& parameter : parameters_) {
    LARGO_CHECK(parameter.is_leaf() && parameter.requires_grad() &&
                    parameter.is_non_overlapping_and_dense() &&
                    parameter.scalar_type() == parameters_[0].scalar_type(),
                "parameter of sizes ", parameter.sizes(), " and dtype ",
                at::toString(parameter.scalar_type()));
  }
  check_ranks_agree();
  if (options_.check != nullptr && options_.verify_steps > 0) {
    sum_check_.emplace(*options_.check, options_.verify_steps);
  }
  // Without a known order: the reverse of the registration, which is close to what backward does.
  std::vector<int64_t> order = options_.order;
  if (order.empty()) {
    order.resize(parameters_.size());
    std::iota(order.rbegin(), order.rend(), 0);
  } else {
    order_ = order;
  }
  lay_out(order);
  for (size_t p = 0; p < parameters_.size(); ++p) {
    torch::autograd::impl::set_post_acc_grad_hooks(
        parameters_[p], std::make_unique<Hook>(*this, static_cast<int64_t>(p)));
  }
}

GradientReducer::~GradientReducer() {
  for (const at::Tensor& parameter : parameters_) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
  }
}

void GradientReducer::check_ranks_agree() const {
  // Number, then one line of numbers per parameter, so that the first difference can be named.
  const auto compare = [this](const std::vector<int64_t>& mine, const auto& what) {
    const at::Tensor all = world_.all_gather(at::tensor(mine, at::kLong));
    for (int64_t r = 1; r < all.size(0); ++r) {
      if (at::equal(all[r], all[0])) continue;
      const at::Tensor differs = all[r].ne(all[0]).to(at::kLong);
      const int64_t at_place = differs.argmax().item<int64_t>();
      fail(ExitCode::kInternal, "ranks 0 and ", r, " disagree on ", what(at_place), ": ",
           all[0][at_place].item<int64_t>(), " and ", all[r][at_place].item<int64_t>());
    }
  };
  compare({static_cast<int64_t>(parameters_.size()), extra_.defined() ? extra_.numel() : 0,
           static_cast<int64_t>(parameters_[0].scalar_type())},
          [](int64_t place) {
            static constexpr const char* kWords[] = {"the number of parameters",
                                                     "the number of riding values", "the dtype"};
            return std::string(kWords[place]);
          });
  std::vector<int64_t> shapes;
  for (const at::Tensor& parameter : parameters_) {
    int64_t hash = parameter.dim();
    for (int64_t d = 0; d < parameter.dim(); ++d) {
      hash = (hash * 1000003 + parameter.size(d)) * 1000003 + parameter.stride(d);
      hash &= (int64_t{1} << 62) - 1;
    }
    shapes.push_back(hash);
  }
  compare(shapes, [this](int64_t place) {
    return concat("the shape of parameter ", place, " (here ", parameters_[place].sizes(),
                  ", compared by hash)");
  });
}

void GradientReducer::lay_out(const std::vector<int64_t>& order) {
  std::vector<int64_t> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  for (size_t p = 0; p < parameters_.size(); ++p) {
    LARGO_CHECK(sorted.size() == parameters_.size() && sorted[p] == static_cast<int64_t>(p),
                "the bucket order of ", order.size(), " entries does not name each of the ",
                parameters_.size(), " parameters once");
  }
  const at::ScalarType dtype = parameters_[0].scalar_type();
  const auto element_bytes = static_cast<int64_t>(at::elementSize(dtype));
  // Every gradient begins where vector instructions and kernels like it; the gaps stay zero.
  const int64_t unit = kAlignmentBytes / element_bytes;
  const auto padded = [unit](int64_t elements) { return (elements + unit - 1) / unit * unit; };
  buckets_.clear();
  bucket_of_.assign(parameters_.size(), 0);
  std::vector<int64_t> elements;  // by bucket
  for (const int64_t p : order) {
    const int64_t cap = buckets_.size() <= 1 ? options_.first_bucket_bytes : options_.bucket_bytes;
    const int64_t size = padded(parameters_[p].numel());
    if (buckets_.empty() ||
        (elements.back() > 0 && (elements.back() + size) * element_bytes > cap)) {
      buckets_.emplace_back();
      elements.push_back(0);
    }
    buckets_.back().members.push_back(p);
    bucket_of_[p] = static_cast<int64_t>(buckets_.size()) - 1;
    elements.back() += size;
  }
  // There is room for the squares whether they are summed or not: where a bucket ends, and so the
  // order in which ranks add it up, must not depend on that.
  const int64_t riding_elements = (extra_.defined() ? extra_.numel() : 0) + 1;
  elements.back() += padded(riding_elements);

  // One allocation for all buckets: the optimizer reads it front to back.
  const int64_t total = std::accumulate(elements.begin(), elements.end(), int64_t{0});
  const at::Tensor arena = world_.allocate(total, dtype);
  gradients_.assign(parameters_.size(), at::Tensor());
  int64_t start = 0;
  for (size_t b = 0; b < buckets_.size(); ++b) {
    buckets_[b].flat = arena.narrow(0, start, elements[b]);
    int64_t offset = start;
    for (const int64_t p : buckets_[b].members) {
      gradients_[p] = arena.as_strided(parameters_[p].sizes(), parameters_[p].strides(),
                                       arena.storage_offset() + offset);
      offset += padded(parameters_[p].numel());
    }
    start += elements[b];
    const bool rides = b + 1 == buckets_.size();
    const int64_t of_gradients = elements[b] - (rides ? padded(riding_elements) : 0);
    buckets_[b].sent = options_.wire_dtype ? world_.allocate(of_gradients, *options_.wire_dtype)
                                           : buckets_[b].flat;
  }
  riding_ = arena.narrow(0, total - padded(riding_elements), riding_elements);
  if (options_.leaves > 0) make_tree();
}

void GradientReducer::make_tree() {
  std::vector<at::Tensor> totals = gradients_;
  totals.push_back(riding_.narrow(0, riding_.numel() - 1, 1));
  if (extra_.defined()) totals.push_back(riding_.narrow(0, 0, extra_.numel()));
  tree_.emplace(std::move(totals), options_.leaves);
}

void GradientReducer::begin_step() {
  if (std::exchange(lay_out_anew_, false)) lay_out(order_);
  std::fill(has_gradient_.begin(), has_gradient_.end(), false);
  squares_.begin_step();
  if (tree_) tree_->begin();
  observed_.clear();
  next_bucket_ = 0;
  launched_in_backward_ = 0;
  armed_ = false;
}

std::vector<int64_t> GradientReducer::agreed_order() {
  // What took no part on rank 0 goes to the end.
  std::vector<int64_t> order = observed_;
  for (size_t p = 0; p < parameters_.size(); ++p) {
    if (std::find(observed_.begin(), observed_.end(), static_cast<int64_t>(p)) == observed_.end()) {
      order.push_back(static_cast<int64_t>(p));
    }
  }
  at::Tensor shared = at::tensor(order, at::kLong);
  world_.broadcast(shared, 0);
  return {shared.data_ptr<int64_t>(), shared.data_ptr<int64_t>() + shared.numel()};
}

void GradientReducer::begin_micro_batch(double to_mean) {
  const at::NoGradGuard no_grad;
  if (tree_) return begin_leaf(to_mean);
  pack_all();  // what is still in .grad would grow together with this one's
  squares_.begin_micro_batch(to_mean);
}

void GradientReducer::begin_leaf(double to_mean) {
  if (tree_->leaf() >= 0) {
    add_absent();
    add_squares();
  }
  tree_->next_leaf();
  std::fill(has_gradient_.begin(), has_gradient_.end(), false);
  squares_.begin_step();
  squares_.begin_micro_batch(to_mean);
  if (extra_.defined()) {
    tree_->add(parameters_.size() + kExtra, extra_.view({-1}));
    extra_.zero_();
  }
}

// Parameters that took no part count as zero, in the tree too: -0 + 0 is not -0.
void GradientReducer::add_absent() {
  for (size_t p = 0; p < parameters_.size(); ++p) {
    if (has_gradient_[p]) continue;
    if (tree_) {
      tree_->add_zeros(p);
    } else {
      gradients_[p].zero_();
    }
  }
}

// Of the leaf under way; once, when all its gradients have come.
void GradientReducer::add_squares() {
  if (!options_.sum_squares) return;
  const at::Tensor of_leaf = at::empty({1}, riding_.options());
  squares_.store(of_leaf);
  tree_->add(parameters_.size() + kSquares, of_leaf);
}

void GradientReducer::arm() {
  const at::NoGradGuard no_grad;
  LARGO_CHECK(!tree_ || tree_->is_last_leaf(), "armed in leaf ", tree_->leaf(), " of ",
              options_.leaves);
  pack_all();
  armed_ = true;
  for (Bucket& bucket : buckets_) bucket.missing = static_cast<int64_t>(bucket.members.size());
}

void GradientReducer::on_gradient(int64_t p) {
  const at::NoGradGuard no_grad;
  const std::scoped_lock lock(mutex_);
  Bucket& bucket = buckets_[bucket_of_[p]];
  if (options_.pack) {
    // A bucket that an earlier backward left unfilled may have it already: .grad is then their sum.
    const auto& waiting = bucket.unpacked;
    if (std::find(waiting.begin(), waiting.end(), p) == waiting.end()) bucket.unpacked.push_back(p);
    if (bucket.unpacked.size() == bucket.members.size()) pack(bucket);
  } else {
    at::Tensor& gradient = parameters_[p].mutable_grad();
    if (options_.sum_squares) squares_.add({gradient});
    if (tree_) {
      tree_->add(static_cast<size_t>(p), gradient);
    } else if (has_gradient_[p]) {
      gradients_[p].add_(gradient);
    } else {
      gradients_[p].copy_(gradient);
    }
    has_gradient_[p] = true;
    gradient.reset();  // the next backward hands its gradient over instead of adding to this one
  }
  if (!armed_) return;
  observed_.push_back(p);
  --bucket.missing;
  if (options_.overlap && world_.is_asynchronous()) {
    launch_ready_buckets();
    launched_in_backward_ = static_cast<int64_t>(next_bucket_);
  }
}

// Moves gradients from .grad into the bucket, on the thread and stream that backward left them on,
// or after it.
void GradientReducer::pack(Bucket& bucket) {
  std::vector<at::Tensor> slots, incoming, slots_in_use, further;
  for (const int64_t p : bucket.unpacked) {
    const bool first = !has_gradient_[p];
    has_gradient_[p] = true;
    (first ? slots : slots_in_use).push_back(gradients_[p]);
    (first ? incoming : further).push_back(std::exchange(parameters_[p].mutable_grad(), {}));
  }
  if (options_.sum_squares) {
    squares_.add(incoming);
    squares_.add(further);
  }
  if (!slots.empty()) at::_foreach_copy_(slots, incoming);
  if (!slots_in_use.empty()) at::_foreach_add_(slots_in_use, further);
  bucket.unpacked.clear();
}

// Of buckets that backward did not fill: some of their parameters took no part in it.
void GradientReducer::pack_all() {
  for (Bucket& bucket : buckets_) {
    if (!bucket.unpacked.empty()) pack(bucket);
  }
}

void GradientReducer::launch_ready_buckets() {
  while (next_bucket_ < buckets_.size() && buckets_[next_bucket_].missing == 0) {
    launch(buckets_[next_bucket_++]);
  }
}

// What has to be in a bucket before its sum.
void GradientReducer::complete(Bucket& bucket) {
  if (is_last(bucket)) {  // the last to leave: all gradients have come
    if (tree_) {
      add_squares();
    } else {
      if (extra_.defined()) riding_.narrow(0, 0, extra_.numel()).copy_(extra_.view({-1}));
      if (options_.sum_squares) squares_.store(micro_batch_squares());
    }
  }
  if (options_.wire_dtype) bucket.sent.copy_(bucket.flat.narrow(0, 0, bucket.sent.numel()));
  if (sum_check_) sum_check_->keep(bucket.sent);
}

void GradientReducer::launch(Bucket& bucket) {
  complete(bucket);
  const CallName name("bucket", &bucket - buckets_.data());
  bucket.work = world_.all_reduce(bucket.sent, op());
  if (is_last(bucket)) launch_riding();
}

// What rides keeps its dtype: where buckets change theirs, it follows them.
void GradientReducer::launch_riding() {
  if (options_.wire_dtype && (extra_.defined() || options_.sum_squares)) {
    const CallName name("riding values");
    riding_work_ = world_.all_reduce(riding_);
  }
}

// After backward. Where none left during it, on any rank, all leave together: small ones cost a
// call each otherwise.
void GradientReducer::launch_rest() {
  if (options_.overlap && world_.is_asynchronous()) {
    while (next_bucket_ < buckets_.size()) launch(buckets_[next_bucket_++]);
  } else {
    std::vector<at::Tensor> sent;
    for (Bucket& bucket : buckets_) {
      complete(bucket);
      sent.push_back(bucket.sent);
    }
    const CallName name("all buckets");
    buckets_.front().work = world_.all_reduce_together(sent, op());
    next_bucket_ = buckets_.size();
    launch_riding();
  }
}

at::Tensor GradientReducer::micro_batch_squares() const {
  if (!options_.sum_squares) return {};
  return riding_.narrow(0, riding_.numel() - 1, 1);
}

void GradientReducer::wait() {
  LARGO_CHECK(armed_, "wait() without an armed backward");
  const at::NoGradGuard no_grad;
  pack_all();
  add_absent();
  launch_rest();
  std::vector<at::Tensor> sums;
  for (Bucket& bucket : buckets_) {
    std::exchange(bucket.work, Work()).wait();
    sums.push_back(bucket.sent);
    if (options_.wire_dtype) bucket.flat.narrow(0, 0, bucket.sent.numel()).copy_(bucket.sent);
  }
  std::exchange(riding_work_, Work()).wait();
  if (sum_check_ && !sum_check_->compare(sums)) sum_check_.reset();
  if (extra_.defined()) extra_.view({-1}).copy_(riding_.narrow(0, 0, extra_.numel()));
  armed_ = false;
  if (order_.empty()) {
    order_ = agreed_order();
    lay_out_anew_ = true;  // not now: gradients() is about to be read
  }
}

}  // namespace largo::comm
