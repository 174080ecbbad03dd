#include "trainer/optim/make_policy.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "trainer/optim/lr_cycles.h"

namespace largo::optim {

namespace {

using enum PolicyKind;

class Maker {
 public:
  Maker(const PolicyOptions& policy, const PolicyContext& context)
      : policy_(policy),
        context_(context),
        peak_(is_cycle(policy.kind) ? policy.k1 * context.factor : context.peak),
        end_(policy.end * context.factor) {}

  NamedPolicy make() const {
    if (policy_.kind == kConstant) return {constant_policy(peak_), "constant"};
    if (policy_.kind == kPiecewise) return piecewise();
    if (policy_.kind == kProduct) return product();
    if (policy_.kind == kPlateauReduce) return reduced();
    if (policy_.kind == kPlateauChange) return level();
    if (policy_.kind == kMultistep) return multistep();
    if (policy_.kind == kInverse) {
      return {inverse_policy(peak_, rate(), policy_.power),
              concat("inverse of power ", policy_.power, ", 1 + ", rate(), " per step")};
    }
    if (policy_.kind == kInverseSqrt) return inverse_sqrt();
    if (policy_.kind == kTrapezoid) return trapezoid();
    if (policy_.kind == kWarmupStableDecay) return stable_decay();
    if (length() <= 0) return held();
    if (is_cycle(policy_.kind)) return cycle();
    if (policy_.kind == kOneCycle || policy_.kind == kOneCycleTorch) return one_cycle();
    return with_length(length());
  }

 private:
  NamedPolicy held() const {
    return {constant_policy(peak_), "constant, no step being left for the policy"};
  }

  std::string key(const char* name) const { return context_.prefix + "." + name; }

  double steps_of(const char* name, const Duration& duration) const {
    const double steps = context_.steps_of(duration);
    if (!(steps > 0)) {
      throw OptionError({key(name), concat(OptionCodec<Duration>::print(duration), " is ", steps,
                                           " steps; legal: more than none")});
    }
    return steps;
  }

  // In steps of the policy's clock; <= 0 where it was omitted and no training is left.
  double length() const {
    return policy_.length ? steps_of("length", *policy_.length) : context_.rest;
  }

  double rate() const { return policy_.gamma / steps_of("gamma_per", policy_.gamma_per); }

  NamedPolicy multistep() const {
    std::vector<double> at;
    std::string text = concat("multistep × ", policy_.gamma, " at");
    for (const Duration& milestone : policy_.milestones) {
      const double step = context_.steps_of(milestone);
      if (!at.empty() && step <= at.back()) {
        throw OptionError(
            {key("milestones"), concat(OptionCodec<Duration>::print(milestone), " is step ", step,
                                       ", not after the one before it (step ", at.back(),
                                       "); legal: strictly increasing")});
      }
      text += concat(at.empty() ? " " : ", ", step + context_.origin);
      at.push_back(step);
    }
    return {multistep_policy(peak_, policy_.gamma, std::move(at)), text};
  }

  NamedPolicy with_length(double length) const {
    const double peak = peak_;
    const double gamma = policy_.gamma;
    switch (policy_.kind) {
      case kStep:
        return {step_policy(peak, gamma, length),
                concat("step × ", gamma, " every ", length, " steps")};
      case kExponential:
        return {exponential_policy(peak, gamma, length),
                concat("exponential × ", gamma, " in ", length, " steps")};
      case kPolynomial:
        return {
            polynomial_policy(peak, end_, policy_.power, length),
            concat("polynomial of power ", policy_.power, " to ", end_, " in ", length, " steps")};
      case kSigmoid:
        return {
            sigmoid_policy(peak, rate(), length),
            concat("sigmoid of rate ", rate(), " per step with its middle at ", length, " steps")};
      case kSigmoidDecay:
        return {sigmoid_decay_policy(peak, end_, policy_.kappa, length,
                                     static_cast<double>(policy_.cycles)),
                concat("sigmoid decay to ", end_, " in ", length, " steps", times(policy_.cycles))};
      case kCosineRestarts:
        return {cosine_restarts_policy(peak, end_, length, policy_.t_mult),
                concat("cosine to ", end_, " with restarts, the first after ", length,
                       " steps, each cycle × ", policy_.t_mult)};
      default:
        return {cosine_policy(peak, end_, length),
                concat("cosine to ", end_, " in ", length, " steps")};
    }
  }

  static std::string times(int64_t cycles) {
    return cycles == 1 ? std::string() : concat(" of ", cycles, " cycles");
  }

  NamedPolicy cycle() const {
    Cycle cycle{.wave = wave_of(policy_.kind),
                .envelope = envelope_of(policy_.kind),
                .k0 = policy_.k0 * context_.factor,
                .k1 = policy_.k1 * context_.factor,
                .length = length()};
    std::string text = concat(word_of(policy_.kind), " between ", cycle.k0, " and ", cycle.k1,
                              ", l = ", cycle.length, " steps");
    if (cycle.envelope == Envelope::kExponential) {
      cycle.gamma = policy_.gamma;
      cycle.gamma_per = steps_of("gamma_per", policy_.gamma_per);
      text += concat(", amplitude × ", cycle.gamma, " per ", cycle.gamma_per, " steps");
    }
    return {cycle_policy(cycle), text};
  }

  NamedPolicy inverse_sqrt() const {
    const double timescale =
        policy_.timescale ? steps_of("timescale", *policy_.timescale) : context_.warmup_length;
    if (!(timescale > 0)) {
      throw OptionError({key("timescale"), "is needed, as the warm-up has no step"});
    }
    return {inverse_sqrt_policy(peak_, timescale),
            concat("inverse square root with timescale ", timescale)};
  }

  NamedPolicy one_cycle() const {
    const double top = peak_;
    const double first = top / policy_.div;
    if (policy_.kind == kOneCycle) {
      const double last = top / policy_.div_final.value_or(1e5);
      return {
          phases_policy({first, top, last},
                        one_cycle_times(policy_.pct_start.value_or(0.25), length()),
                        Anneal::kCosine),
          concat("one cycle from ", first, " by ", top, " to ", last, " in ", length(), " steps")};
    }
    const double last = first / policy_.div_final.value_or(1e4);
    std::vector<double> levels = {first, top};
    if (policy_.three_phase) levels.push_back(first);
    levels.push_back(last);
    // OneCycleLR's last step is total - 1.
    const double total = policy_.length ? length() : length() + 1;
    return {phases_policy(
                std::move(levels),
                one_cycle_torch_times(policy_.pct_start.value_or(0.3), total, policy_.three_phase),
                policy_.anneal),
            concat("one cycle (PyTorch's) from ", first, " by ", top, " to ", last, " in ", total,
                   " steps")};
  }

  // `given` or what `others` leave of `whole` steps.
  double rest_of(const char* name, const std::optional<Duration>& given, double whole,
                 double others) const {
    if (given) return context_.steps_of(*given);
    if (others > whole) {
      throw OptionError(
          {key(name), concat("is omitted, but nothing is left for it: the other parts are ", others,
                             " of ", whole, " steps")});
    }
    return whole - others;
  }

  NamedPolicy trapezoid() const {
    Trapezoid shape{.start = policy_.start * context_.factor,
                    .peak = peak_,
                    .end = end_,
                    .up = context_.steps_of(policy_.up),
                    .down = context_.steps_of(policy_.down),
                    .cycles = static_cast<double>(policy_.cycles)};
    if (!policy_.flat && context_.rest <= 0) return held();
    shape.flat = rest_of("flat", policy_.flat, context_.rest / shape.cycles, shape.up + shape.down);
    if (!(shape.up + shape.flat + shape.down > 0)) {
      throw OptionError({key("flat"), "up, flat and down have no step together"});
    }
    return {trapezoid_policy(shape),
            concat("trapezoid from ", shape.start, " by ", shape.peak, " to ", shape.end, " in ",
                   shape.up, " + ", shape.flat, " + ", shape.down, " steps",
                   policy_.cycles == 1 ? std::string() : concat(", ", policy_.cycles, " times"))};
  }

  NamedPolicy stable_decay() const {
    if (!(policy_.stable && policy_.decay) && context_.rest <= 0) return held();
    double stable = policy_.stable ? context_.steps_of(*policy_.stable) : 0;
    const double decay = rest_of("decay", policy_.decay, context_.rest, stable);
    stable = rest_of("stable", policy_.stable, context_.rest, decay);
    return {stable_decay_policy(peak_, policy_.min_ratio, stable, decay, policy_.decay_type),
            concat("stable for ", stable, " steps, then to ", peak_ * policy_.min_ratio, " in ",
                   decay)};
  }

  NamedPolicy piecewise() const {
    std::vector<double> at;
    std::vector<Policy> pieces;
    at.reserve(policy_.pieces.size());
    pieces.reserve(policy_.pieces.size());
    std::string text = "piecewise:";
    for (size_t i = 0; i < policy_.pieces.size(); ++i) {
      const PolicyPiece& piece = policy_.pieces[i];
      const double begin = at.empty() ? 0 : at.back();
      PolicyContext of_piece = context_;
      of_piece.prefix = concat(key("pieces"), ".", i, ".policy");
      if (piece.base) of_piece.peak = *piece.base * context_.factor;
      of_piece.origin += begin;
      of_piece.rest -= begin;
      const bool never = !context_.within_piece && begin > context_.rest;
      if (piece.until) {
        at.push_back(end_of(i, begin));
        of_piece.rest = at.back() - begin;
        of_piece.within_piece = true;
      }
      auto [made, described] = make_policy(piece.policy, of_piece);
      check_finite(of_piece, made);
      if (piece.policy.kind == kPiecewise) described = concat('(', described, ')');
      text += concat(i == 0 ? " " : ", then ", described);
      if (piece.until) text += concat(" until step ", at.back() + context_.origin);
      if (never) text += " (never: training is over by then)";
      pieces.push_back(std::move(made));
    }
    return {piecewise_policy(std::move(at), std::move(pieces)), text};
  }

  NamedPolicy product() const {
    std::vector<Policy> factors;
    factors.reserve(policy_.factors.size());
    std::string text = "product of ";
    for (size_t i = 0; i < policy_.factors.size(); ++i) {
      PolicyContext of_factor = context_;
      of_factor.prefix = concat(key("factors"), ".", i);
      of_factor.peak = 1;
      of_factor.factor = 1;
      auto [made, described] = make_policy(policy_.factors[i].policy, of_factor);
      text += concat(i == 0 ? "" : " and ", '(', described, ')');
      factors.push_back(std::move(made));
    }
    return {product_policy(peak_, std::move(factors)), text};
  }

  // Before the first plateau.
  NamedPolicy reduced() const {
    const PlateauOptions& plateau = policy_.plateau;
    return {constant_policy(peak_), concat("at plateaus × ", plateau.factor, ", not below ",
                                           plateau.min_lr * context_.factor, decided())};
  }

  // The level that training starts with.
  NamedPolicy level() const {
    const PlateauOptions& plateau = policy_.plateau;
    const auto index = static_cast<size_t>(plateau.first);
    const PolicyPiece& level = plateau.levels.at(index);
    PolicyContext of_level = context_;
    of_level.prefix = concat(key("levels"), ".", index, ".policy");
    if (level.base) of_level.peak = *level.base * context_.factor;
    auto [made, described] = make_policy(level.policy, of_level);
    check_finite(of_level, made);
    return {std::move(made), concat("level ", index, " of ", plateau.levels.size(), " (", described,
                                    "), changed at plateaus", decided())};
  }

  // What is decided after the last update is of no use.
  std::string decided() const {
    const double every = steps_of("every", policy_.plateau.every);
    const double end = context_.rest + context_.origin + 1;
    return concat(", decided every ", every, " steps",
                  context_.warmup_steps + every < end ? "" : " (never: training is over by then)");
  }

  double end_of(size_t piece, double begin) const {
    const Duration& until = *policy_.pieces[piece].until;
    const double end = context_.steps_of(until);
    if (end <= begin) {
      throw OptionError({concat(key("pieces"), ".", piece, ".until"),
                         concat(OptionCodec<Duration>::print(until), " is step ", end,
                                ", not after the start of the piece (step ", begin,
                                "); legal: strictly increasing")});
    }
    if (context_.within_piece && end >= context_.rest) {
      throw OptionError(
          {concat(key("pieces"), ".", piece, ".until"),
           concat(OptionCodec<Duration>::print(until), " is step ", end,
                  ", but the piece that this list is in has ended by step ", context_.rest,
                  ", both counted from its start; legal: before that")});
    }
    return end;
  }

  // Where a piece starts and ends: a div near 0 or, over a long piece, a gamma above 1 may be too
  // much. What lies between shows in the run's steps.
  static void check_finite(const PolicyContext& piece, const Policy& policy) {
    for (const double step : {0.0, std::max(piece.rest, 0.0)}) {
      if (const double lr = policy(step); !std::isfinite(lr)) {
        throw OptionError({piece.prefix, concat("gives the learning rate ", lr, " after ", step,
                                                " steps; legal: finite ones")});
      }
    }
  }

  const PolicyOptions& policy_;
  const PolicyContext& context_;
  double peak_;
  double end_;
};

}  // namespace

NamedPolicy make_policy(const PolicyOptions& policy, const PolicyContext& context) {
  return Maker(policy, context).make();
}

void for_steps(int64_t total_steps, const std::function<void(double step)>& take) {
  constexpr int64_t kMost = 4'000'000;
  const double last = static_cast<double>(std::max<int64_t>(total_steps - 1, 0));
  if (total_steps <= kMost) {
    for (double step = 0; step <= last; ++step) take(step);
    return;
  }
  for (int64_t i = 0; i < kMost; ++i) {
    take(std::round(static_cast<double>(i) / static_cast<double>(kMost - 1) * last));
  }
}

bool has_own_rise(PolicyKind kind) {
  return is_cycle(kind) || kind == kSigmoid || kind == kPiecewise || kind == kProduct ||
         kind == kPlateauChange || kind == kOneCycle || kind == kOneCycleTorch ||
         kind == kTrapezoid;
}

}  // namespace largo::optim
