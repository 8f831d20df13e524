#include "loadgen/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

namespace pgrm::loadgen {
namespace {

double per_second(std::uint64_t count, Duration length) {
  const double seconds = to_seconds(length);
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

std::string rates_by_kind(const Totals& totals, Duration length) {
  std::string text;
  for (std::size_t kind = 0; kind < kind_count; ++kind) {
    fmt::format_to(std::back_inserter(text), "{}{} {:.1f}", kind == 0 ? "" : ", ", kind_names[kind],
                   per_second(totals.count(static_cast<Kind>(kind), Result::acknowledged), length));
  }
  return text;
}

std::string latencies(const Histogram& latency) {
  if (latency.count() == 0) return "p50 -  p99 -  max -";
  return fmt::format("p50 {}  p99 {}  max {}", human(latency.quantile(0.5)), human(latency.quantile(0.99)),
                     human(latency.max()));
}

std::string length_of(const std::optional<WriteGap::Gap>& gap) {
  if (!gap) return "-";
  return human(gap->length) + (gap->open ? " and counting" : "");
}

}  // namespace

std::string with_commas(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) text.insert(text.begin() + at, ',');
  return text;
}

std::string interval_line(const Totals& part, Duration length, Duration elapsed,
                          const std::optional<WriteGap::Gap>& gap, bool paused) {
  return fmt::format("{:>6.0f} s  {:.1f} ops/s ({})  {}  errors {}  in doubt {}  longest gap {}{}", to_seconds(elapsed),
                     per_second(part.count(Result::acknowledged), length), rates_by_kind(part, length),
                     latencies(part.all_latencies()), part.refused(), part.count(Result::in_doubt), length_of(gap),
                     paused ? "  [paused]" : "");
}

std::string summary(const Totals& totals, Duration length, const std::optional<WriteGap::Gap>& gap) {
  std::string text = fmt::format(
      "wrote for {}: {:.1f} ops/s ({})\n"
      "  acknowledged {}, failed {}, in doubt {}; refused or lost attempts {}\n"
      "  latency {}\n"
      "  longest write gap {}",
      human(length), per_second(totals.count(Result::acknowledged), length), rates_by_kind(totals, length),
      with_commas(totals.count(Result::acknowledged)), with_commas(totals.count(Result::failed)),
      with_commas(totals.count(Result::in_doubt)), with_commas(totals.refused()), latencies(totals.all_latencies()),
      length_of(gap));
  if (gap) text += ", from " + to_iso8601(gap->began);
  return text + "\n";
}

std::string reads_part(const ReadTotals& part, Duration length) {
  return fmt::format("{:.1f} reads/s  {}  errors {}", per_second(part.count(), length), latencies(part.all_latencies()),
                     part.failed);
}

nlohmann::json to_json(const ReadTotals& totals, Duration length) {
  nlohmann::json json{{"reads_per_second", per_second(totals.count(), length)},
                      {"failed", totals.failed},
                      {"latency_seconds", to_json(totals.all_latencies())}};
  for (std::size_t kind = 0; kind < read_kind_names.size(); ++kind) {
    json["by_read"][std::string(read_kind_names[kind])] = to_json(totals.latency[kind]);
  }
  return json;
}

nlohmann::json to_json(const Histogram& latency) {
  nlohmann::json json = {{"count", latency.count()}};
  if (latency.count() == 0) return json;
  for (const auto& [name, share] :
       {std::pair{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1.0}}) {
    json[name] = to_seconds(latency.quantile(share));
  }
  return json;
}

nlohmann::json to_json(const Totals& totals, Duration length) {
  nlohmann::json by_kind;
  for (std::size_t i = 0; i < kind_count; ++i) {
    nlohmann::json& kind = by_kind[std::string(kind_names[i])];
    kind["percent"] = totals.count(Result::acknowledged) == 0
                          ? 0
                          : 100.0 * static_cast<double>(totals.count(static_cast<Kind>(i), Result::acknowledged)) /
                                static_cast<double>(totals.count(Result::acknowledged));
    for (std::size_t result = 0; result < result_count; ++result) {
      kind[std::string(result_names[result])] = totals.count(static_cast<Kind>(i), static_cast<Result>(result));
    }
    kind["latency_seconds"] = to_json(totals.latency[i]);
  }
  nlohmann::json refusals = nlohmann::json::object();
  for (std::size_t i = 0; i < sqlstate_classes.size(); ++i) {
    std::uint64_t sum = 0;
    for (const auto& kind : totals.refusals) sum += kind[i];
    if (sum > 0) refusals[std::string(sqlstate_classes[i])] = sum;
  }
  return {{"seconds", to_seconds(length)},
          {"ops_per_second", per_second(totals.count(Result::acknowledged), length)},
          {"acknowledged", totals.count(Result::acknowledged)},
          {"failed", totals.count(Result::failed)},
          {"in_doubt", totals.count(Result::in_doubt)},
          {"refusals_by_sqlstate_class", refusals},
          {"connections_opened", totals.connections_opened},
          {"latency_seconds", to_json(totals.all_latencies())},
          {"by_operation", by_kind}};
}

nlohmann::json to_json(const std::optional<WriteGap::Gap>& gap) {
  if (!gap) return nullptr;
  return {{"seconds", to_seconds(gap->length)}, {"began_at", to_iso8601(gap->began)}, {"open", gap->open}};
}

}  // namespace pgrm::loadgen
