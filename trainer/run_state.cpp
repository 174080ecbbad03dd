#include "trainer/run_state.h"

#include <nlohmann/json.hpp>

#include "comm/base/error.h"

namespace largo {

std::string to_json(const RunState& state) {
  const RunIdentity& identity = state.identity;
  nlohmann::ordered_json json = {
      {"step", state.step},
      {"time_s", state.time_s},
      {"identity",
       {{"world", identity.world},
        {"global_batch", identity.global_batch},
        {"micro_batch", identity.micro_batch},
        {"statistics", identity.statistics},
        {"data", identity.data},
        {"numerics", identity.numerics}}},
      {"bucket_order", state.bucket_order},
      {"lr_state", state.lr_state},
      {"noise_scale", state.noise_scale},
      {"skipped_steps",
       {{"total", state.skipped_steps.total}, {"in_a_row", state.skipped_steps.in_a_row}}},
      {"skipped_samples", state.skipped_samples}};
  if (state.best_top1) json["best_top1"] = *state.best_top1;
  return json.dump(1) + "\n";
}

RunState run_state_from_json(std::string_view text, const std::string& where) {
  try {
    const auto json = nlohmann::json::parse(text);
    RunState state;
    json.at("step").get_to(state.step);
    json.at("time_s").get_to(state.time_s);
    const auto& identity = json.at("identity");
    identity.at("world").get_to(state.identity.world);
    identity.at("global_batch").get_to(state.identity.global_batch);
    identity.at("micro_batch").get_to(state.identity.micro_batch);
    identity.at("statistics").get_to(state.identity.statistics);
    identity.at("data").get_to(state.identity.data);
    identity.at("numerics").get_to(state.identity.numerics);
    json.at("bucket_order").get_to(state.bucket_order);
    json.at("lr_state").get_to(state.lr_state);
    json.at("noise_scale").get_to(state.noise_scale);
    // Not in checkpoints of earlier versions.
    if (json.contains("skipped_steps")) {
      json.at("skipped_steps").at("total").get_to(state.skipped_steps.total);
      json.at("skipped_steps").at("in_a_row").get_to(state.skipped_steps.in_a_row);
    }
    if (json.contains("skipped_samples")) {
      json.at("skipped_samples").get_to(state.skipped_samples);
    }
    if (json.contains("best_top1")) state.best_top1 = json.at("best_top1").get<double>();
    if (state.step < 0) fail(ExitCode::kBadData, "step ", state.step, " is negative");
    return state;
  } catch (const std::exception& error) {
    fail(ExitCode::kBadData, where, " is not the state of a run: ", error.what());
  }
}

}  // namespace largo
