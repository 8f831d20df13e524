#include "loadgen/loss_check.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "core/base/error.h"
#include "loadgen/database.h"
#include "loadgen/ranges.h"

namespace pgrm::loadgen {
namespace {

constexpr auto connect_deadline = std::chrono::seconds(2);
constexpr auto read_deadline = std::chrono::seconds(5);

}  // namespace

LossCheck::LossCheck(const Pair& pair, std::int64_t run) : run_(run), session_(pair, "pgrm-loadgen-check") {}

void LossCheck::add(std::span<const Outcome> outcomes) {
  const std::lock_guard lock(mutex_);
  for (const Outcome& outcome : outcomes) {
    if (outcome.result != Result::acknowledged) continue;
    latest_.push_back(outcome.number);
    ++new_;
  }
  if (latest_.size() > window) latest_.erase(latest_.begin(), latest_.end() - static_cast<std::ptrdiff_t>(window));
  new_ = std::min(new_, latest_.size());
}

std::optional<std::uint64_t> LossCheck::lost() const {
  const std::lock_guard lock(mutex_);
  if (failed_ >= patience && lost_ == 0) return std::nullopt;
  return lost_;
}

std::vector<std::uint64_t> LossCheck::latest(bool all) {
  const std::lock_guard lock(mutex_);
  const auto count = static_cast<std::ptrdiff_t>(all ? latest_.size() : new_);
  new_ = 0;
  return {latest_.end() - count, latest_.end()};
}

void LossCheck::look(const std::stop_token& stop) {
  try {
    std::vector<std::uint64_t> suspects = missing(latest(!session_->is_open()), stop);
    if (!suspects.empty()) {
      // Perhaps this session has stayed behind on a server that was the primary: a new one goes where writes go.
      session_->close();
      suspects = missing(latest(true), stop);
    }
    found(suspects);
  } catch (const Error& error) {
    session_->close();
    failed(error);
  }
}

void LossCheck::failed(const Error& error) {
  const std::lock_guard lock(mutex_);
  spdlog::log(++failed_ == patience ? spdlog::level::warn : spdlog::level::debug, "no look for lost writes: {}",
              error.what());
}

void LossCheck::found(const std::vector<std::uint64_t>& missing) {
  const std::lock_guard lock(mutex_);
  failed_ = 0;
  if (latest_.empty()) return;
  const std::uint64_t before = lost_.value_or(0);
  lost_ = std::max(before, std::uint64_t{missing.size()});
  if (*lost_ == before) return;
  spdlog::error(
      "{} acknowledged writes are missing on the server that takes writes, the first is operation {}: loadgen verify "
      "has the whole proof",
      missing.size(), missing.front());
}

std::vector<std::uint64_t> LossCheck::missing(const std::vector<std::uint64_t>& acknowledged,
                                              const std::stop_token& stop) {
  if (acknowledged.empty()) return {};
  session_.open(connect_deadline);
  Ranges there;
  read_operations(*session_, run_, std::ranges::min(acknowledged), read_deadline, stop,
                  [&](std::uint64_t first, std::uint64_t last) { there.add(first, last); });
  std::vector<std::uint64_t> result;
  std::ranges::copy_if(acknowledged, std::back_inserter(result),
                       [&](std::uint64_t number) { return !there.contains(number); });
  return result;
}

}  // namespace pgrm::loadgen
