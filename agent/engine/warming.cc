// Before the wait for sync, when it is asked for: the future primary's buffers are filled.
#include "agent/warm/warming.h"

#include <fmt/format.h>

#include "agent/engine/acts.h"

namespace pgrm::agent {
namespace {

/// The second time only what has changed since the first one is left.
constexpr Duration again_at_most = std::chrono::seconds(30);

WarmSurvey survey_of(Cutover& cutover) {
  return survey_buffers(cutover.servers.old_primary, cutover.servers.new_primary, cutover.options.pair,
                        warm_statement_timeout);
}

WarmMeans means_of(Cutover& cutover) {
  return {.servers = cutover.servers,
          .options = cutover.options,
          .clock = cutover.clock,
          .stop = cutover.stop,
          .tells = [&cutover](const std::string& what) { cutover.progress.waits(what); },
          .patience = cutover.options.sync_timeout};
}

}  // namespace

std::string preview_warm(Cutover& cutover) {
  if (!cutover.options.warm) return "not asked for (--warm)";
  const WarmSurvey survey = survey_of(cutover);
  for (const std::string& advice : survey.advice) cutover.warnings.push_back("warm: " + advice);
  return describe(survey, cutover.options.warm_rate);
}

std::string run_warm(Cutover& cutover) {
  if (!cutover.options.warm) return "not asked for (--warm)";
  WarmSurvey survey = survey_of(cutover);
  for (const std::string& advice : survey.advice) cutover.warnings.push_back("warm: " + advice);
  const Warmed warmed = warm_up(means_of(cutover), survey);
  if (cutover.stop.stop_requested()) throw Error(ErrorCode::undone, "interrupted");
  return describe(survey, warmed);
}

std::string warm_again(Cutover& cutover) {
  if (!cutover.options.warm) return {};
  try {
    WarmSurvey survey = survey_of(cutover);
    if (!survey.held_known) return {};  // it would be the whole of it
    WarmMeans means = means_of(cutover);
    means.budget = means.patience = again_at_most;
    const Warmed warmed = warm_up(means, survey);
    return fmt::format(", {} MB more in its buffers", survey.bytes(warmed.blocks.loaded) / 1'000'000);
  } catch (const Error& error) {
    cutover.warnings.push_back(fmt::format("what changed since the warming was not loaded: {}", error.what()));
    return {};
  }
}

}  // namespace pgrm::agent
