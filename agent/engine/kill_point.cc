#include "agent/engine/kill_point.h"

#include <csignal>
#include <cstdlib>
#include <sstream>
#include <utility>

#include "core/base/error.h"

namespace pgrm::agent {
namespace {

class MortalJournalFile final : public JournalFile {
 public:
  MortalJournalFile(std::unique_ptr<JournalFile> file, bool before, std::string record, std::string step)
      : file_(std::move(file)), before_(before), record_(std::move(record)), step_(std::move(step)) {}

  void append(const std::string& lines, bool durable) override {
    const bool here = names_our_record(lines);
    if (here && before_) std::raise(SIGKILL);
    file_->append(lines, durable);
    if (here) std::raise(SIGKILL);
  }

 private:
  bool names_our_record(const std::string& lines) const {
    std::istringstream text(lines);
    for (std::string line; std::getline(text, line);) {
      const auto record = nlohmann::json::parse(line);
      if (record.at("record") == record_ && record.value("step", "") == step_) return true;
    }
    return false;
  }

  std::unique_ptr<JournalFile> file_;
  bool before_;
  std::string record_, step_;
};

}  // namespace

std::unique_ptr<JournalFile> with_kill_point(std::unique_ptr<JournalFile> file) {
  const char* const value = std::getenv("PGRM_KILL_AT");
  if (value == nullptr) return file;
  std::istringstream words(value);
  std::string when, record, step;
  words >> when >> record >> step;
  if ((when != "before" && when != "after") || record.empty()) {
    throw Error(ErrorCode::configuration, std::string("PGRM_KILL_AT is \"") + value + "\"",
                "write it as \"before begin fence\", or unset it: it is for tests only");
  }
  return std::make_unique<MortalJournalFile>(std::move(file), when == "before", record, step);
}

}  // namespace pgrm::agent
