// What a cutover did, durably: a version line, then one JSON record a line. Up to the point of no return a step's
// `begin` is on disk before it acts. All else only says how it went, which recovery finds out by looking: it costs no
// fsync while writes are stopped.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"

namespace pgrm::agent {

/// The seam: a file that is only appended to.
class JournalFile {
 public:
  virtual ~JournalFile() = default;
  /// Writes `lines`, each with its newline, at once; with `durable`, returns only after they are on disk. Throws
  /// Error(file_failed).
  virtual void append(const std::string& lines, bool durable) = 0;
};

/// Creates `path`, which must not exist, and makes its directory entry durable. Throws Error(file_failed).
std::unique_ptr<JournalFile> create_journal_file(const std::string& path);

/// Opens the journal of an earlier agent to go on with it; a torn last line is cut off. Throws Error(file_failed).
std::unique_ptr<JournalFile> reopen_journal_file(const std::string& path);

inline constexpr int journal_version = 4;

class Journal {
 public:
  /// Writes the version line at once, with what the cutover is about and the options that it was given.
  Journal(std::unique_ptr<JournalFile> file, const Clock& clock, const nlohmann::json& about,
          const nlohmann::json& options);

  /// Goes on with a journal that has its version line.
  Journal(std::unique_ptr<JournalFile> file, const Clock& clock);

  /// On disk when it returns, together with what was held back; with `durable` false, only in the file.
  void begin(std::string_view step, const nlohmann::json& before, bool durable = true);
  /// Held back until the next record: nothing depends on it.
  void done(std::string_view step, const std::string& evidence);
  /// From here on the fence of an order to promote does not hold any more. On disk when it returns.
  void undoing();
  void undone(std::string_view step);
  /// All that was begun is undone, and it begins anew. On disk when it returns.
  void again();
  /// The replica was seen to be a primary: from here on a replica that is not seen is no reason to open the old
  /// primary. On disk when it returns.
  void seen_promoted();
  /// A person has accepted somebody else's promotion: from here on the way is forward. On disk when it returns.
  void accepted();
  void end(int exit_code);

 private:
  void append(std::string_view record, nlohmann::json fields, bool durable);
  std::string line(std::string_view record, nlohmann::json fields) const;

  std::unique_ptr<JournalFile> file_;
  const Clock& clock_;
  std::string held_back_;
};

struct JournalRecord {
  std::string record, step;
  nlohmann::json fields;
};

/// Reads a journal's text. A torn last line (without its newline) is dropped; an unknown version or any other damage
/// throws Error(file_failed) with the line's number.
std::vector<JournalRecord> parse_journal(std::string_view text);

}  // namespace pgrm::agent
