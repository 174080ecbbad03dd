#include "trainer/commands/resume.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/base/as_agreed.h"
#include "comm/base/cpu_isa.h"
#include "comm/base/error.h"
#include "trainer/checkpoint/weights.h"
#include "trainer/commands/build_info.h"
#include "trainer/config/config_print.h"
#include "trainer/config/key_tree.h"
#include "trainer/data/fingerprint.h"
#include "trainer/metrics/environment.h"
#include "trainer/statistics_of.h"

namespace largo::commands {

namespace {

namespace fs = std::filesystem;

using config::KeyChange;

bool is_allowed(const config::RunConfig& config, const std::string& key) {
  const auto& allow = config.checkpoint.allow;
  return std::any_of(allow.begin(), allow.end(), [&](const std::string& name) {
    return key == name || config::is_below(key, name);
  });
}

// One word of a command line, for a shell.
std::string shell_word(const std::string& text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,:/=+-@%";
  if (text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

// What to add to go on as before: overrides, and keys to leave out, which no override can.
std::string words_of_return(const std::vector<KeyChange>& changes) {
  std::string given, left_out;
  for (const KeyChange& change : changes) {
    if (change.before) {
      given += concat(' ', shell_word(concat(change.key, '=', *change.before)));
    } else {
      left_out += concat(left_out.empty() ? " " : ", ", change.key);
    }
  }
  return concat("To go on as before", given.empty() ? "" : ", add:", given,
                left_out.empty() ? ""
                : given.empty()  ? ", leave out:"
                                 : "; and leave out:",
                left_out);
}

// What the checkpoint's state of the learning rate belongs to; empty: there is none, the schedule
// is a function of the step.
std::string lr_state_of(const optim::LrOptions& lr) {
  if (lr.scaling == optim::ScalingRule::kAdaScale) {
    return concat("lr.scaling adascale with lr.base_batch ", lr.base_batch.value_or(0));
  }
  return is_plateau(lr.policy.kind) ? concat("lr.policy ", word_of(lr.policy.kind)) : "";
}

// Why the change cannot be allowed; empty: it can.
std::string why_never(const optim::LrOptions& saved, const optim::LrOptions& now) {
  const std::string before = lr_state_of(saved), after = lr_state_of(now);
  if (before == after) return {};
  return concat("The checkpoint holds ",
                before.empty() ? "no state of the learning rate" : "the state of " + before,
                ", from which no run goes on with ",
                after.empty() ? "a schedule that is a function of the step" : after);
}

[[noreturn]] void refuse(const std::string& where, const std::vector<KeyChange>& changes,
                         const std::string& why, const config::RunConfig& now,
                         const std::string& never = {}) {
  std::string list;
  std::vector<std::string> allow = now.checkpoint.allow;
  for (const KeyChange& change : changes) {
    list += concat("\n  ", change.key, ": ", change.before.value_or("not given"), " -> ",
                   change.after.value_or("not given"));
    allow.push_back(change.key);
  }
  std::string names;
  for (const std::string& name : allow) names += (names.empty() ? "" : ", ") + name;
  fail(ExitCode::kConfig, where, why, list, '\n', words_of_return(changes),
       never.empty() ? concat("\nTo go on with the change, add: ",
                              shell_word(concat("checkpoint.allow=[", names, ']')))
                     : "\n" + never,
       "\nTo train anew, give it another run.name, or add --fresh (the old directory is kept under "
       "another name)");
}

std::string describe(const RunIdentity& identity) {
  return concat(identity.global_batch, " = ", identity.world, " ranks, micro-batches of ",
                identity.micro_batch);
}

void check_batch(const std::string& where, const RunIdentity& before, const RunIdentity& now,
                 const config::RunConfig& config) {
  if (before.global_batch != now.global_batch && !is_allowed(config, "batch.global")) {
    refuse(where, {{"batch.global", concat(before.global_batch), concat(now.global_batch)}},
           " was trained with another global batch:", config);
  }
  if (before.statistics == now.statistics || before.global_batch != now.global_batch ||
      is_allowed(config, "batch.micro")) {
    return;
  }
  refuse(where, {{"batch.micro", concat(before.micro_batch), concat(now.micro_batch)}},
         concat(" was trained on ", describe(before), "; here it is ", describe(now),
                ". The normalization of this model takes its statistics over samples of one "
                "micro-batch, and would take them over others:"),
         config);
}

void check_data(const std::string& where, const RunIdentity& before, const RunIdentity& now,
                const config::RunConfig& config) {
  if (before.data == now.data || is_allowed(config, "data.path")) return;
  fail(ExitCode::kBadData, where, " was trained on other data (fingerprint ", before.data,
       ") than data.path ", config.data.path, " holds now (", now.data,
       "): samples, labels or their order differ. To go on with them all the same, add: "
       "'checkpoint.allow=[data.path]'");
}

// What a promise of the same bits at any world rests on.
void check_numerics(const std::string& where, const RunIdentity& before, const RunIdentity& now,
                    const config::RunConfig& config) {
  if (config.run.determinism != Determinism::kWorldSize || before.numerics == now.numerics ||
      is_allowed(config, "run.determinism")) {
    return;
  }
  fail(ExitCode::kConfig, where, " was trained by ", before.numerics, "; this is ", now.numerics,
       ". Under run.determinism: world_size threads per rank (run.threads), instruction set and "
       "versions stay as they were, because bits depend on them. To go on with others all the "
       "same, add: 'checkpoint.allow=[run.determinism]'");
}

// The checkpoint to go on from: what checkpoint.resume names, or the newest undamaged one.
std::optional<checkpoint::LoadedState> load_checkpoint(const checkpoint::CheckpointOptions& options,
                                                       checkpoint::Checkpointer& checkpoints) {
  if (options.resume == "never") return std::nullopt;
  if (options.resume == "auto") return checkpoints.load_newest();
  return checkpoints.load(options.resume);
}

}  // namespace

RunIdentity identity_of(const Training& training, const comm::MpiSession& session) {
  const BatchPlan& plan = training.run.prepared.plan;
  // A model without layers that take statistics of batches does not depend on how they are cut.
  const bool takes_statistics = training.learner.statistics.pending().numel() > 0;
  const bool flushes_as_wished = training.run.device.flushes_denormals ==
                                 training.run.config.values.run.process.flush_denormals;
  const std::string numerics =
      concat(version(), ' ', commit(), ", LibTorch ", metrics::torch_version(), ", ",
             metrics::cpu_capability(), ", own kernels ", to_string(best_cpu_isa()), ", ",
             training.run.device.threads, " threads, ",
             training.run.device.device.is_cpu() ? "CPU" : training.run.device.name,
             training.run.config.values.model.norm.fused ? "" : ", norms not fused",
             flushes_as_wished ? "" : ", denormal numbers kept");
  return {.world = plan.world(),
          .global_batch = plan.global_batch(),
          .micro_batch = plan.micro_batch(),
          .statistics = takes_statistics
                            ? statistics_of(plan, training.run.config.values.model.norm,
                                            static_cast<int64_t>(training.norm_ranks.size()))
                            : std::string(),
          .data = session.broadcast(session.rank() == 0 ? data::fingerprint(training.sets) : ""),
          .numerics = session.broadcast(numerics)};
}

void refuse_other_trajectory(const std::string& where, const config::RunConfig& saved,
                             const config::RunConfig& now, bool all) {
  std::vector<KeyChange> changes = config::trajectory_changes(saved, now);
  std::erase_if(changes, [&](const KeyChange& change) {
    const bool is_compared_later = config::is_below(change.key, "batch") ||
                                   change.key == "data.path" || change.key == "data.val_path";
    return (!all && is_compared_later) || is_allowed(now, change.key);
  });
  if (changes.empty()) return;
  refuse(where, changes, " holds a run with another configuration:", now,
         why_never(saved.lr, now.lr));
}

From restore(const RunIdentity& identity, checkpoint::Checkpointer& checkpoints, Training& training,
             optim::LrController& controller, Log& log) {
  const config::RunConfig& now = training.run.config.values;
  From from;
  const std::optional<checkpoint::LoadedState> loaded =
      load_checkpoint(now.checkpoint, checkpoints);
  if (!loaded) return from;
  const std::string found = from.checkpoint.emplace(loaded->path).string();
  as_agreed([&] {
    from.state = run_state_from_json(loaded->json, found + "/state.json");
    const auto saved = config::load_config({found + "/config.yaml", loaded->config}, {});
    refuse_other_trajectory(found, saved.values, now, /*all=*/false);
    check_batch(found, from.state.identity, identity, now);
    check_data(found, from.state.identity, identity, now);
    check_numerics(found, from.state.identity, identity, now);
    checkpoint::copy_into(training.learner.model_state(), loaded->model, found);
    checkpoint::copy_into(training.learner.optimizer_state(), loaded->optimizer, found);
    controller.restore(from.state.lr_state);
  });
  const RunIdentity& before = from.state.identity;
  const bool any_world = now.run.determinism == Determinism::kWorldSize;
  if (before.numerics != identity.numerics || (before.world != identity.world && !any_world)) {
    log.note(concat(
        "the last bits of what follows may differ from a run that goes through: ", before.world,
        " ranks, ", before.numerics, " -> ", identity.world, " ranks, ", identity.numerics));
  }
  return from;
}

}  // namespace largo::commands
