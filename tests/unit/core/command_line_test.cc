#include "core/base/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "core/base/error.h"

namespace pgrm {
namespace {

using testing::HasSubstr;

/// What the settings of a --config file with this text are refused with.
std::string refusal(const std::string& text) {
  const std::string path = testing::TempDir() + "config-" + std::to_string(getpid());
  std::ofstream(path) << text;
  CommandLine line("program", "", "");
  const char* const argv[] = {"program", "--config", path.c_str()};
  std::string refused;
  EXPECT_EQ(line.run(3, argv,
                     [&] {
                       try {
                         line.settings();
                       } catch (const Error& error) {
                         refused = to_text(error);
                       }
                       return 0;
                     }),
            0);
  std::remove(path.c_str());
  return refused;
}

TEST(ConfigFile, TakesNoKeyThatWouldBeOneOfEveryProgram) {
  EXPECT_EQ(refusal("primary-host = \"a\"\nexporter-url = \"http://a\"\n"), "");
  for (const std::string key : {"listen", "web-config"}) {
    EXPECT_THAT(refusal(key + " = \"127.0.0.1:1\"\n"), HasSubstr("\"" + key + "\", which would be that of every"));
  }
  EXPECT_THAT(refusal("listen = \"127.0.0.1:1\""), HasSubstr("EXPORTER_LISTEN or LOADGEN_LISTEN or AGENT_LISTEN"));
  EXPECT_THAT(refusal("colour = \"red\""), HasSubstr("unknown key \"colour\""));
}

TEST(NumberBetween, TakesNoOtherText) {
  const CLI::Validator validator = number_between(0.5, 2);
  for (const char* const good : {"0.5", "1", "2", "1e0"}) EXPECT_EQ(validator(good), "") << good;
  for (const char* const bad : {"0.4", "3", "nan", "-nan", "inf", "", "1x", "x"}) EXPECT_NE(validator(bad), "") << bad;
}

}  // namespace
}  // namespace pgrm
