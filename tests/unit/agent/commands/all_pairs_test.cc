#include "agent/commands/all_pairs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <map>

#include "core/base/error.h"

namespace pgrm::agent {
namespace {

using testing::HasSubstr;

class JudgeAll : public testing::Test {
 protected:
  /// Pairs of a file that a flag or the environment names.
  static std::vector<Settings> pairs(const std::vector<std::string>& names, bool file_is_flag = false) {
    const Settings::Values file{{"PAIRS_FILE", "pairs.yml"}};
    const Settings settings(
        file_is_flag ? file : Settings::Values{}, [](const std::string&) { return std::nullopt; }, file);
    std::vector<Settings> pairs;
    for (const std::string& name : names)
      pairs.push_back(settings.of_pair({.name = name, .origin = {}, .values = {}, .labels = {}}));
    return pairs;
  }

  int judge(const std::vector<Settings>& pairs, const JudgePair& judge_pair) {
    testing::internal::CaptureStdout();
    int exit_code = -1;
    try {
      exit_code = judge_all(pairs, arguments, stop.get_token(), "agent preflight", judge_pair);
    } catch (...) {
      printed = testing::internal::GetCapturedStdout();
      throw;
    }
    printed = testing::internal::GetCapturedStdout();
    return exit_code;
  }

  static PairJudged ready(const Settings&) { return {.json = {{"passed", true}}}; }

  Arguments arguments;
  std::stop_source stop;
  std::string printed;
};

TEST_F(JudgeAll, IsContentWhenAllAre) {
  EXPECT_EQ(judge(pairs({"a", "b"}), ready), 0);
  EXPECT_THAT(printed, HasSubstr("\n2 of 2 pairs may be cut over. All checks of one: agent preflight --pair NAME\n"));
}

TEST_F(JudgeAll, SaysHowToAskForOneOfThisFile) {
  judge(pairs({"a"}, true), ready);
  EXPECT_THAT(printed, HasSubstr("agent preflight --pairs pairs.yml --pair NAME\n"));
}

TEST_F(JudgeAll, RefusesWhenOneIsRefused) {
  const int exit_code = judge(pairs({"a", "b"}), [](const Settings& pair) -> PairJudged {
    if (pair.pair_name() == "b") return {.exit_code = 5, .message = "not now"};
    return {};
  });
  EXPECT_EQ(exit_code, 3);
  EXPECT_THAT(printed, HasSubstr("  b     UNDONE "));
}

TEST_F(JudgeAll, APairThatCannotBeAskedIsARowAsWell) {
  const auto judge_pair = [](const Settings& pair) -> PairJudged {
    if (pair.pair_name() == "b") throw Error(ErrorCode::configuration, "its file cannot be read", "look there");
    if (pair.pair_name() == "c") throw std::logic_error("surprise");
    return ready(pair);
  };
  EXPECT_EQ(judge(pairs({"a", "b", "c"}), judge_pair), 3);
  EXPECT_THAT(printed, HasSubstr("its file cannot be read\n"));
  EXPECT_THAT(printed, HasSubstr("surprise\n"));
  arguments.json = true;
  EXPECT_EQ(judge(pairs({"a", "b"}), judge_pair), 3);
  const auto json = nlohmann::json::parse(printed);
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(json[0].at("name"), "b");
  EXPECT_EQ(json[0].at("passed"), false);
  EXPECT_EQ(json[0].at("error"), "its file cannot be read");
  EXPECT_EQ(json[0].at("hint"), "look there");
  EXPECT_EQ(json[1], (nlohmann::json{{"name", "a"}, {"passed", true}}));
}

TEST_F(JudgeAll, OneThatHangsHoldsUpNoOther) {
  std::latch others(3);
  EXPECT_EQ(judge(pairs({"hangs", "b", "c", "d"}),
                  [&](const Settings& pair) {
                    if (pair.pair_name() == "hangs") {
                      others.wait();
                    } else {
                      others.count_down();
                    }
                    return ready(pair);
                  }),
            0);
}

TEST_F(JudgeAll, IsInterrupted) {
  try {
    judge(pairs({"a", "b"}), [&](const Settings& pair) {
      stop.request_stop();
      return ready(pair);
    });
    FAIL() << "it was not";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 5);
  }
  EXPECT_EQ(printed, "") << "half a table would look like a whole one";
}

}  // namespace
}  // namespace pgrm::agent
