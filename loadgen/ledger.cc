#include "loadgen/ledger.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "core/base/error.h"

namespace pgrm::loadgen {
namespace {

constexpr std::string_view title = "pgrm-ledger 1 ";
constexpr std::string_view letters = "afd";  // by Result
constexpr std::size_t max_queue = 65'536;
// How long a batch gathers: nobody waits for it, and each one costs a flush of the disk that the server shares,
// perhaps.
constexpr auto linger = std::chrono::milliseconds(20);

/// FNV-1a, 64 bits, of `line` and its end, going on from `from`.
std::uint64_t checksum_of(std::uint64_t from, std::string_view line) {
  constexpr std::uint64_t prime = 0x100000001b3;
  std::uint64_t hash = from ^ 0xcbf29ce484222325;
  for (const char c : line) hash = (hash ^ static_cast<unsigned char>(c)) * prime;
  return (hash ^ '\n') * prime;
}

template <typename Number>
bool parse(std::string_view text, Number& number, int base = 10) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number, base);
  return error == std::errc{} && stop == end;
}

/// Cuts the text up to the next space off `line`.
std::string_view word(std::string_view& line) {
  const std::string_view head = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(line.size(), head.size() + 1));
  return head;
}

struct Line {
  enum class What : std::uint8_t { identity, run, outcome, end } what{};
  std::int64_t run = 0;
  std::uint64_t number = 0;
  Result result{};
  std::string identity{};
};

std::optional<Line> parse_line(std::string_view line) {
  if (line.starts_with(title))
    return Line{.what = Line::What::identity, .identity = std::string(line.substr(title.size()))};
  if (line == "end") return Line{.what = Line::What::end};
  const std::string_view head = word(line);
  const std::string_view number = word(line);
  if (head == "run") {
    Line run{.what = Line::What::run};
    return parse(number, run.run) ? std::optional(run) : std::nullopt;
  }
  Line outcome{.what = Line::What::outcome};
  const std::size_t letter = head.size() == 1 ? letters.find(head[0]) : std::string_view::npos;
  if (letter == std::string_view::npos || !parse(number, outcome.number)) return std::nullopt;
  outcome.result = static_cast<Result>(letter);
  return outcome;
}

struct Seal {
  std::uint64_t lines = 0;
  std::uint64_t previous = 0;
  std::uint64_t checksum = 0;
};

std::optional<Seal> parse_seal(std::string_view line) {
  Seal seal;
  const bool parsed = word(line) == "=" && parse(word(line), seal.lines) && parse(word(line), seal.previous, 16) &&
                      parse(word(line), seal.checksum, 16);
  return parsed ? std::optional(seal) : std::nullopt;
}

[[noreturn]] void refuse_reading(const std::string& path, const std::string& what, std::string hint = {}) {
  throw Error(ErrorCode::file_failed, fmt::format("ledger {}: {}", path, what), std::move(hint));
}

}  // namespace

// ---- Reading

LedgerContent read_ledger(const std::string& path, const LedgerReader& reader) {
  std::ifstream file(path, std::ios::binary);
  if (!file) refuse_reading(path, std::strerror(errno));

  LedgerContent content;
  std::int64_t run = 0;
  const auto deliver = [&](std::string_view text) {
    const std::optional<Line> line = parse_line(text);
    if (!line) refuse_reading(path, fmt::format("holds \"{}\", which this version does not know", text));
    switch (line->what) {
      case Line::What::identity:
        content.identity = line->identity;
        break;
      case Line::What::run:
        run = line->run;
        if (reader.run_began) reader.run_began(run);
        break;
      case Line::What::outcome:
        if (reader.outcome) reader.outcome(run, line->number, line->result);
        break;
      case Line::What::end:
        if (reader.run_ended) reader.run_ended(run);
        break;
    }
  };

  std::vector<std::string> batch;
  std::uint64_t position = 0;
  for (std::string line; std::getline(file, line);) {
    const bool whole = !file.eof();  // otherwise the line has no end
    if (position == 0 && !line.starts_with(title) && (whole || !title.starts_with(line))) {
      throw Error(ErrorCode::configuration, fmt::format("{} is not a ledger of this version", path),
                  "name another file with --ledger");
    }
    position += line.size() + (whole ? 1 : 0);
    const std::optional<Seal> seal = whole ? parse_seal(line) : std::nullopt;
    if (!seal) {
      if (batch.size() < 2 * max_queue) batch.push_back(line);  // none is longer: garbage shall not fill the memory
      continue;
    }
    if (seal->previous != content.checksum) {
      refuse_reading(
          path,
          fmt::format("damaged after byte {}: there is more after it than a crash can have torn", content.whole_bytes),
          "restore the file; without it there is no proof");
    }
    std::uint64_t checksum = content.checksum;
    for (const std::string& text : batch) checksum = checksum_of(checksum, text);
    if (seal->lines != batch.size() || seal->checksum != checksum) continue;
    for (const std::string& text : batch) deliver(text);
    batch.clear();
    content.whole_bytes = position;
    content.checksum = checksum;
  }
  if (file.bad()) refuse_reading(path, "cannot be read");
  content.torn_bytes = position - content.whole_bytes;
  return content;
}

// ---- Writing

Ledger::File::File(const std::string& path) : path_(path) {
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("cannot open");
  if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    close(descriptor_);
    errno = reason;
    if (reason != EWOULDBLOCK) fail("cannot lock");
    throw Error(ErrorCode::file_failed, fmt::format("ledger {} is in use by another loadgen", path),
                "end that one, or name another file with --ledger");
  }
  // A new file is only there after a crash when its directory says so.
  const std::filesystem::path parent = std::filesystem::absolute(path).parent_path();
  const int directory = open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    fsync(directory);
    close(directory);
  }
}

Ledger::File::~File() { close(descriptor_); }

void Ledger::File::fail(const char* what) const {
  const int reason = errno;
  throw Error(ErrorCode::file_failed, fmt::format("{} ledger {}: {}", what, path_, std::strerror(reason)),
              reason == ENOSPC ? "free some space; the ledger is whole up to the last acknowledged operation" : "");
}

void Ledger::File::cut(std::uint64_t size) {
  if (ftruncate(descriptor_, static_cast<off_t>(size)) != 0 || fdatasync(descriptor_) != 0) fail("cannot cut");
  size_ = size;
}

void Ledger::File::append(const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int reason = errno;
      static_cast<void>(ftruncate(descriptor_, static_cast<off_t>(size_)));  // a reader drops a torn tail anyway
      errno = reason;
      fail("cannot write");
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  if (fdatasync(descriptor_) != 0) fail("cannot flush");
  size_ += text.size();
}

Ledger::Ledger(const std::string& path, const std::string& identity, std::int64_t run, const Clock& clock,
               Durable durable, Failed failed)
    : path_(path), run_(run), clock_(clock), durable_(std::move(durable)), failed_(std::move(failed)), file_(path) {
  const LedgerContent content = read_ledger(path, {});
  if (!content.identity.empty() && content.identity != identity) {
    throw Error(ErrorCode::configuration,
                fmt::format("ledger {} is about database {}, connected is {}", path, content.identity, identity),
                "name another file with --ledger: one ledger, one database");
  }
  file_.cut(content.whole_bytes);
  checksum_ = batch_checksum_ = content.checksum;
  if (content.identity.empty()) add_line(std::string(title) + identity);
  add_line(fmt::format("run {} {}", run_, to_iso8601(clock_.wall())));
  seal();
  writer_ = std::jthread([this] { write_batches(); });
}

Ledger::~Ledger() {
  const std::lock_guard lock(mutex_);
  stop_ = true;
  work_.notify_all();
}

void Ledger::add_line(std::string_view line) {
  text_.append(line).push_back('\n');
  batch_checksum_ = checksum_of(batch_checksum_, line);
  ++lines_;
}

void Ledger::seal() {
  fmt::format_to(std::back_inserter(text_), "= {} {:016x} {:016x} {}\n", lines_, checksum_, batch_checksum_,
                 to_iso8601(clock_.wall()));
  file_.append(text_);
  checksum_ = batch_checksum_;
  text_.clear();
  lines_ = 0;
}

void Ledger::write(std::span<const Outcome> outcomes, bool end) {
  for (const Outcome& outcome : outcomes) {
    std::string line =
        fmt::format("{} {} {}", letters[index_of(outcome.result)], outcome.number, operations[outcome.operation].name);
    if (outcome.result == Result::failed) {
      line += ' ';
      line += outcome.sqlstate.empty() ? "-" : outcome.sqlstate;
    }
    add_line(line);
  }
  if (end) add_line("end");
  seal();
  if (durable_ && !outcomes.empty()) durable_(outcomes);
}

void Ledger::write_batches() {
  std::vector<Outcome> batch;
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return !queue_.empty() || finish_ || stop_; });
    const bool last = queue_.empty();
    if (last && !finish_) return;
    work_.wait_for(lock, linger, [&] { return last || hurry_ > 0 || stop_ || queue_.size() >= max_queue / 2; });
    batch.swap(queue_);
    lock.unlock();
    std::exception_ptr failure;
    try {
      write(batch, last);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    written_ += batch.size();
    failure_ = failure;
    batch.clear();
    progress_.notify_all();
    if (failure) break;
    if (last) return;
  }
  lock.unlock();
  if (failed_) failed_();
}

void Ledger::record(Outcome outcome) {
  std::unique_lock lock(mutex_);
  progress_.wait(lock, [this] { return queue_.size() < max_queue || failure_; });
  if (failure_) return;
  queue_.push_back(std::move(outcome));
  ++recorded_;
  if (queue_.size() == 1 || queue_.size() == max_queue / 2) work_.notify_one();
}

void Ledger::flush() {
  std::unique_lock lock(mutex_);
  const std::uint64_t wanted = recorded_;
  ++hurry_;
  work_.notify_one();
  progress_.wait(lock, [&] { return written_ >= wanted || failure_; });
  --hurry_;
  if (failure_) std::rethrow_exception(failure_);
}

void Ledger::finish() {
  flush();
  {
    const std::lock_guard lock(mutex_);
    finish_ = true;
    work_.notify_one();
  }
  writer_.join();
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace pgrm::loadgen
