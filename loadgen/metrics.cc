#include "loadgen/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "core/metrics/endpoint.h"

namespace pgrm::loadgen {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

// Bounds in seconds: a healthy commit takes about a millisecond, a cutover tens to hundreds, an outage seconds.
constexpr std::array bounds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0};

struct View {
  Totals totals;
  std::optional<std::uint64_t> lost;
  std::optional<WriteGap::Gap> gap;
  ReadTotals reads;
  double in_flight, rate, paused;
};

void one(MetricFamily& family, double value) { metrics::add(family, {}, value); }

void fill_operations(MetricFamily& family, const View& view) {
  // Two operations may be of one kind about one table: users are updated in two ways, for instance.
  for (std::size_t kind = 0; kind < kind_count; ++kind) {
    for (const char* const table : {"users", "products", "orders", "audit_log"}) {
      double sum = 0;
      bool any = false;
      for (std::size_t i = 0; i < operations.size(); ++i) {
        if (index_of(operations[i].kind) != kind || std::string_view(operations[i].table) != table) continue;
        sum += static_cast<double>(view.totals.outcomes[i][index_of(Result::acknowledged)]);
        any = true;
      }
      if (any) metrics::add(family, {{"operation", std::string(kind_names[kind])}, {"table", table}}, sum);
    }
  }
}

void fill_errors(MetricFamily& family, const View& view) {
  for (std::size_t kind = 0; kind < kind_count; ++kind) {
    for (std::size_t i = 0; i < sqlstate_classes.size(); ++i) {
      metrics::add(family,
                   {{"operation", std::string(kind_names[kind])}, {"sqlstate_class", std::string(sqlstate_classes[i])}},
                   static_cast<double>(view.totals.refusals[kind][i]));
    }
  }
}

void add_durations(MetricFamily& family, const char* label, std::string_view value, const Histogram& latency) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label.push_back({label, std::string(value)});
  metric.histogram.sample_count = latency.count();
  metric.histogram.sample_sum = to_seconds(latency.sum());
  for (const double bound : bounds) metric.histogram.bucket.push_back({latency.at_most(from_seconds(bound)), bound});
  metric.histogram.bucket.push_back({latency.count(), std::numeric_limits<double>::infinity()});
}

void fill_durations(MetricFamily& family, const View& view) {
  for (std::size_t kind = 0; kind < kind_count; ++kind) {
    add_durations(family, "operation", kind_names[kind], view.totals.latency[kind]);
  }
}

void fill_read_durations(MetricFamily& family, const View& view) {
  for (std::size_t kind = 0; kind < read_kind_names.size(); ++kind) {
    add_durations(family, "read", read_kind_names[kind], view.reads.latency[kind]);
  }
}

struct Row {
  const char* name;
  MetricType type;
  const char* labels;
  const char* help;
  void (*fill)(MetricFamily&, const View&);
};

constexpr std::array rows{
    Row{"pgrm_loadgen_operations_total", MetricType::Counter, "operation, table", "Acknowledged operations",
        fill_operations},
    Row{"pgrm_loadgen_operation_errors_total", MetricType::Counter, "operation, sqlstate_class",
        "Attempts that the server refused, or that found or lost no connection (08), by class of SQLSTATE",
        fill_errors},
    Row{"pgrm_loadgen_operation_duration_seconds", MetricType::Histogram, "operation",
        "Time from when an acknowledged operation was due to its acknowledgement", fill_durations},
    Row{"pgrm_loadgen_read_duration_seconds", MetricType::Histogram, "read",
        "Time from when a read (--reads) was due to its answer", fill_read_durations},
    Row{"pgrm_loadgen_read_errors_total", MetricType::Counter, "",
        "Attempts at a read that the server refused, or that found or lost no connection",
        [](MetricFamily& family, const View& view) { one(family, static_cast<double>(view.reads.failed)); }},
    Row{"pgrm_loadgen_inflight_operations", MetricType::Gauge, "", "Operations that were begun and have not ended",
        [](MetricFamily& family, const View& view) { one(family, view.in_flight); }},
    Row{"pgrm_loadgen_target_ops_per_second", MetricType::Gauge, "", "Rate asked for; 0 is as fast as it goes",
        [](MetricFamily& family, const View& view) { one(family, view.rate); }},
    Row{"pgrm_loadgen_acknowledged_writes_total", MetricType::Counter, "",
        "Operations whose commit the server acknowledged, and that the ledger holds when there is one",
        [](MetricFamily& family, const View& view) {
          one(family, static_cast<double>(view.totals.count(Result::acknowledged)));
        }},
    Row{"pgrm_loadgen_failed_writes_total", MetricType::Counter, "", "Operations that were certainly not committed",
        [](MetricFamily& family, const View& view) {
          one(family, static_cast<double>(view.totals.count(Result::failed)));
        }},
    Row{"pgrm_loadgen_in_doubt_writes_total", MetricType::Counter, "",
        "Operations whose connection was lost after they were sent: committed or not",
        [](MetricFamily& family, const View& view) {
          one(family, static_cast<double>(view.totals.count(Result::in_doubt)));
        }},
    Row{"pgrm_loadgen_lost_writes", MetricType::Gauge, "",
        "Of the latest 100,000 acknowledged writes, the most that a look every 5 s found missing on the server that "
        "takes writes; none before the first look, nor while the looks fail",
        [](MetricFamily& family, const View& view) {
          if (view.lost) one(family, static_cast<double>(*view.lost));
        }},
    Row{"pgrm_loadgen_longest_write_gap_seconds", MetricType::Gauge, "",
        "Longest time between two consecutive acknowledged commits of all clients, or since the last one if longer; "
        "none before the first commit",
        [](MetricFamily& family, const View& view) {
          if (view.gap) one(family, to_seconds(view.gap->length));
        }},
    Row{"pgrm_loadgen_connections_opened_total", MetricType::Counter, "", "Connections that were established",
        [](MetricFamily& family, const View& view) {
          one(family, static_cast<double>(view.totals.connections_opened));
        }},
    Row{"pgrm_loadgen_paused", MetricType::Gauge, "", "1 while the control API holds all operations back",
        [](MetricFamily& family, const View& view) { one(family, view.paused); }},
};

const char* type_name(MetricType type) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Histogram:
      return "histogram";
    default:
      return "gauge";
  }
}

}  // namespace

std::vector<MetricFamily> Metrics::Collect() const {
  const View view{stats_.totals(),
                  loss_check_.lost(),
                  write_gap_.longest(WriteGap::Window::run),
                  reads_.totals(),
                  static_cast<double>(pacer_.in_flight()),
                  pacer_.rate(),
                  pacer_.paused() ? 1.0 : 0.0};
  std::vector<MetricFamily> families;
  families.reserve(rows.size());
  for (const Row& row : rows) row.fill(families.emplace_back(metrics::family(row.name, row.help, row.type)), view);
  return families;
}

Table catalogue() {
  Table catalogue{{{"name", true}, {"type"}, {"labels"}, {"meaning"}}, {}};
  for (const Row& row : rows) catalogue.rows.push_back({row.name, type_name(row.type), row.labels, row.help});
  return catalogue;
}

}  // namespace pgrm::loadgen
