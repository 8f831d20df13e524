#include "agent/engine/prediction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

Duration part(const Prediction& prediction, std::string_view step) {
  return std::ranges::find(prediction.parts, step, &Prediction::Part::step)->took;
}

Measured quick() {
  return {.old_round_trip = milliseconds(1),
          .new_round_trip = milliseconds(2),
          .journal_sync = milliseconds(3),
          .replay_lag = milliseconds(0)};
}

TEST(Prediction, IsAboutEveryStepThatKeepsWritesStopped) {
  const Prediction prediction = predict(quick());
  std::vector<std::string> names;
  bool stopped = false;
  for (const Step& step : steps()) {
    stopped = stopped || step.name == "stop_traffic";
    if (step.name == "demote_old") break;
    if (stopped) names.emplace_back(step.name);
  }
  std::vector<std::string> predicted;
  Duration sum{};
  for (const auto& [step, took, from] : prediction.parts) {
    predicted.push_back(step);
    sum += took;
    EXPECT_FALSE(from.empty()) << step;
  }
  EXPECT_EQ(predicted, names);
  EXPECT_EQ(prediction.total(), sum);
}

TEST(Prediction, WaitsOnlyForTransactionsThatADriverWaitsFor) {
  Rig rig;
  rig.cluster.primary.facts.oldest_transaction = std::chrono::seconds(5);
  Cutover cutover = rig.context();
  EXPECT_LT(predict(measure(cutover)).total(), std::chrono::seconds(1)) << "the fence ends them";
  rig.traffic->pooled = {FakeCluster::oldest_pid};
  EXPECT_GE(part(predict(measure(cutover)), "stop_traffic"), std::chrono::seconds(5));
}

TEST(Prediction, CountsWhatIsStillToBeReplayed) {
  Measured measured = quick();
  const Duration before = part(predict(measured), "final_verification");
  measured.bytes_behind = 10'000'000;
  measured.replay_rate = 20e6;
  EXPECT_EQ(part(predict(measured), "final_verification") - before, milliseconds(500));
  measured.replay_lag = std::chrono::seconds(2);
  EXPECT_EQ(part(predict(measured), "final_verification") - before, std::chrono::seconds(2)) << "whichever is longer";
}

TEST(Prediction, CountsTheSessionsThatTheFenceEnds) {
  Rig rig;
  Cutover cutover = rig.context();
  Measured measured = measure(cutover);
  EXPECT_EQ(measured.sessions, 3) << "of the fake cluster's application";
  const Duration few = part(predict(measured), "fence");
  measured.sessions = 200;
  EXPECT_GT(part(predict(measured), "fence"), few + milliseconds(100));
}

TEST(Prediction, TakesThePromotionFromTheLastOne) {
  Measured measured = quick();
  const auto promotion = [&] {
    const auto all = predict(measured).parts;
    return std::ranges::find(all, "promote", &Prediction::Part::step)->took;
  };
  const Duration aligned = promotion();
  measured.segment_to_copy = 16 << 20;
  EXPECT_GT(promotion(), aligned);
  measured.segment_to_copy = 1 << 30;
  EXPECT_GT(promotion(), aligned + std::chrono::seconds(1)) << "initdb --wal-segsize 1024";
  measured.last_promotion = milliseconds(250);
  const auto parts = predict(measured).parts;
  const auto promote = std::ranges::find(parts, "promote", &Prediction::Part::step);
  EXPECT_GE(promote->took, milliseconds(250));
  EXPECT_THAT(promote->from, HasSubstr("last promotion"));
}

TEST(Prediction, CountsTheFilesThatThePromotionHandles) {
  Measured measured = quick();
  const Duration without = part(predict(measured), "promote");
  measured.promotion_work = {.directories = 300, .spare_segments = 0};
  const Duration directories = part(predict(measured), "promote");
  EXPECT_GE(directories - without, milliseconds(900)) << "a write to disk for each";
  measured.promotion_work->spare_segments = 60;
  EXPECT_GT(part(predict(measured), "promote") - directories, milliseconds(700));
  const auto parts = predict(measured).parts;
  EXPECT_THAT(std::ranges::find(parts, "promote", &Prediction::Part::step)->from,
              HasSubstr("300 directories to sync and 60 spare WAL segments"));
}

TEST(Prediction, IsMeasuredWithoutAnOrderToAnyServer) {
  Rig rig;
  Cutover cutover = rig.context();
  rig.cluster.calls.clear();
  measure(cutover);
  EXPECT_FALSE(rig.cluster.calls.empty());
  for (const std::string& call : rig.cluster.calls) {
    for (const char* const order :
         {".override_read_only", ".end_sessions", ".checkpoint", ".promote", ".flush_wal", ".fill_wal", ".switch_wal",
          ".set_system_settings", ".write_probe", ".write_and_read", ".try_lock"}) {
      EXPECT_THAT(call, testing::Not(HasSubstr(order)));
    }
  }
}

}  // namespace
}  // namespace pgrm::agent
