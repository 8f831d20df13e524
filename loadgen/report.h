// The numbers of a run as a person and as a program reads them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "core/base/clock.h"
#include "loadgen/reads.h"
#include "loadgen/stats.h"

namespace pgrm::loadgen {

/// "12345678": with commas, "12,345,678".
std::string with_commas(std::uint64_t number);

/// One line about `part`, the totals of an interval of length `length` that ended `elapsed` after the start.
std::string interval_line(const Totals& part, Duration length, Duration elapsed,
                          const std::optional<WriteGap::Gap>& gap, bool paused);

/// The whole run, in a few lines. `length`: without pauses or with them, as the caller counts.
std::string summary(const Totals& totals, Duration length, const std::optional<WriteGap::Gap>& gap);

/// The reads of the same interval or run, to go on the same line.
std::string reads_part(const ReadTotals& part, Duration length);

/// How many, and percentiles in seconds.
nlohmann::json to_json(const Histogram& latency);
/// Counts by kind and result, latencies in seconds.
nlohmann::json to_json(const Totals& totals, Duration length);
nlohmann::json to_json(const ReadTotals& totals, Duration length);
/// null when there is none.
nlohmann::json to_json(const std::optional<WriteGap::Gap>& gap);

}  // namespace pgrm::loadgen
