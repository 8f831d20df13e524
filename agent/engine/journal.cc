#include "agent/engine/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm::agent {
namespace {

[[noreturn]] void failed(const std::string& what, const std::string& path) {
  throw Error(ErrorCode::file_failed, fmt::format("cannot {} {}: {}", what, path, std::strerror(errno)));
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

class DiskJournalFile final : public JournalFile {
 public:
  DiskJournalFile(const std::string& path, int how)
      : path_(path), file_(open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | how, 0600)) {
    if (file_.get() < 0) failed(how == 0 ? "open" : "create", path);
    // A file whose directory entry is not on disk is lost with the machine.
    const std::string directory = std::filesystem::path(path).parent_path().string();
    const Descriptor parent(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (parent.get() < 0 || fsync(parent.get()) != 0) failed("make durable", directory);
  }

  void append(const std::string& lines, bool durable) override {
    std::size_t written = 0;
    while (written < lines.size()) {
      const ssize_t count = write(file_.get(), lines.data() + written, lines.size() - written);
      if (count < 0 && errno != EINTR) {
        const int reason = errno;
        // Half a record must not stand in front of the next one: there may be space again for that.
        const off_t end = lseek(file_.get(), 0, SEEK_END);
        if (written > 0 && end >= 0 && ftruncate(file_.get(), end - static_cast<off_t>(written)) != 0) {
          failed("cut back", path_);
        }
        errno = reason;
        failed("write", path_);
      }
      if (count > 0) written += static_cast<std::size_t>(count);
    }
    if (durable && fdatasync(file_.get()) != 0) failed("make durable", path_);
  }

 private:
  std::string path_;
  Descriptor file_;
};

}  // namespace

std::unique_ptr<JournalFile> create_journal_file(const std::string& path) {
  return std::make_unique<DiskJournalFile>(path, O_CREAT | O_EXCL);
}

std::unique_ptr<JournalFile> reopen_journal_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t whole = text.rfind('\n') + 1;  // npos + 1 is 0
  if (whole < text.size() && truncate(path.c_str(), static_cast<off_t>(whole)) != 0) failed("repair", path);
  return std::make_unique<DiskJournalFile>(path, 0);
}

Journal::Journal(std::unique_ptr<JournalFile> file, const Clock& clock, const nlohmann::json& about,
                 const nlohmann::json& options)
    : file_(std::move(file)), clock_(clock) {
  append("journal", {{"version", journal_version}, {"cutover", about}, {"options", options}}, true);
}

Journal::Journal(std::unique_ptr<JournalFile> file, const Clock& clock) : file_(std::move(file)), clock_(clock) {}

void Journal::begin(std::string_view step, const nlohmann::json& before, bool durable) {
  append("begin", {{"step", step}, {"before", before}}, durable);
}
void Journal::done(std::string_view step, const std::string& evidence) {
  held_back_ += line("done", {{"step", step}, {"evidence", evidence}});
}
void Journal::undoing() { append("undoing", nlohmann::json::object(), true); }
void Journal::undone(std::string_view step) { append("undone", {{"step", step}}, true); }
void Journal::again() { append("again", nlohmann::json::object(), true); }
void Journal::seen_promoted() { append("seen_promoted", nlohmann::json::object(), true); }
void Journal::accepted() { append("accepted", nlohmann::json::object(), true); }
void Journal::end(int exit_code) { append("end", {{"exit_code", exit_code}}, true); }

void Journal::append(std::string_view record, nlohmann::json fields, bool durable) {
  const std::string lines = std::exchange(held_back_, {}) + line(record, std::move(fields));
  file_->append(lines, durable);
}

std::string Journal::line(std::string_view record, nlohmann::json fields) const {
  fields["record"] = record;
  fields["at"] = to_iso8601(clock_.wall());
  return json_text(fields) + "\n";
}

std::vector<JournalRecord> parse_journal(std::string_view text) {
  std::vector<JournalRecord> records;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;  // torn: append() had not returned
    try {
      auto fields = nlohmann::json::parse(text.substr(0, end));
      JournalRecord record{fields.at("record"), fields.value("step", ""), std::move(fields)};
      if ((line == 1) != (record.record == "journal")) throw Error(ErrorCode::file_failed, "no version line");
      if (line == 1 && record.fields.at("version") != journal_version) {
        throw Error(ErrorCode::file_failed,
                    fmt::format("line 1 of the journal: version {}, known is {}",
                                json_text(record.fields.at("version")), journal_version),
                    "use the program that wrote it");
      }
      records.push_back(std::move(record));
    } catch (const nlohmann::json::exception&) {
      throw Error(ErrorCode::file_failed, fmt::format("line {} of the journal is damaged", line),
                  "look at both servers by hand: agent status");
    }
    text.remove_prefix(end + 1);
  }
  return records;
}

}  // namespace pgrm::agent
