#include "core/base/log.h"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/base/error.h"

namespace pgrm {
namespace {

class Log : public testing::Test {
 protected:
  void TearDown() override {
    spdlog::set_default_logger(before_);
    std::remove(path_.c_str());
  }
  std::string first_line() const {
    std::ifstream file(path_);
    std::string line;
    std::getline(file, line);
    return line;
  }

  std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
  std::string path_ = testing::TempDir() + "log-" + std::to_string(getpid());
};

TEST_F(Log, JsonIsOneValidObjectALine) {
  set_up_logging({.program = "agent", .level = "info", .format = LogFormat::json, .file = path_, .screen = false});
  spdlog::debug("not this");
  spdlog::warn("a \"quoted\"\nthing \x01 \xff");
  const auto record = nlohmann::json::parse(first_line());
  EXPECT_EQ(record.at("level"), "warning");
  EXPECT_EQ(record.at("program"), "agent");
  EXPECT_EQ(record.at("msg"), "a \"quoted\"\nthing \x01 \xEF\xBF\xBD");
  EXPECT_TRUE(record.contains("ts"));
}

TEST_F(Log, ANewFileIsForItsOwnerOnly) {
  set_up_logging({.program = "agent", .level = "info", .format = LogFormat::text, .file = path_, .screen = false});
  EXPECT_EQ(std::filesystem::status(path_).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(Log, AFileThatCannotBeOpenedIsAnError) {
  EXPECT_THROW(
      set_up_logging(
          {.program = "agent", .level = "info", .format = LogFormat::text, .file = "/proc/no/log", .screen = false}),
      Error);
}

}  // namespace
}  // namespace pgrm
