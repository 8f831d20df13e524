#include "loadgen/loss_check.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "core/base/error.h"
#include "loadgen/database.h"
#include "loadgen/ranges.h"

namespace pgrm::loadgen {
namespace {

constexpr auto connect_deadline = std::chrono::seconds(2);
constexpr auto read_deadline = std::chrono::seconds(5);

}  // namespace

LossCheck::LossCheck(Conninfo writable, std::int64_t run)
    : run_(run), session_(std::move(writable), "pgrm-loadgen-check") {}

void LossCheck::add(std::span<const Outcome> outcomes) {
  const std::lock_guard lock(mutex_);
  for (const Outcome& outcome : outcomes) {
    if (outcome.result == Result::acknowledged) latest_.push_back(outcome.number);
  }
  if (latest_.size() > window) latest_.erase(latest_.begin(), latest_.end() - static_cast<std::ptrdiff_t>(window));
}

std::optional<std::uint64_t> LossCheck::lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

void LossCheck::look(const std::stop_token& stop) {
  std::vector<std::uint64_t> acknowledged;
  {
    const std::lock_guard lock(mutex_);
    acknowledged.assign(latest_.begin(), latest_.end());
  }
  if (acknowledged.empty()) return;
  try {
    std::vector<std::uint64_t> suspects = missing(acknowledged, stop);
    if (!suspects.empty()) {
      // Perhaps this session has stayed behind on a server that was the primary: a new one goes where writes go.
      session_.close();
      suspects = missing(suspects, stop);
    }
    const std::lock_guard lock(mutex_);
    const std::uint64_t before = lost_.value_or(0);
    lost_ = std::max(before, std::uint64_t{suspects.size()});
    if (*lost_ > before) {
      spdlog::error(
          "{} acknowledged writes are missing on the server that takes writes, the first is operation {}: "
          "loadgen verify has the whole proof",
          suspects.size(), suspects.front());
    }
  } catch (const Error& error) {
    session_.close();
    spdlog::debug("no look for lost writes: {}", error.what());
  }
}

std::vector<std::uint64_t> LossCheck::missing(const std::vector<std::uint64_t>& acknowledged,
                                              const std::stop_token& stop) {
  session_.open(connect_deadline);
  Ranges there;
  read_operations(session_, run_, std::ranges::min(acknowledged), read_deadline, stop,
                  [&](std::uint64_t first, std::uint64_t last) { there.add(first, last); });
  std::vector<std::uint64_t> result;
  std::ranges::copy_if(acknowledged, std::back_inserter(result),
                       [&](std::uint64_t number) { return !there.contains(number); });
  return result;
}

}  // namespace pgrm::loadgen
