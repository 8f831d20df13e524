#include "agent/view/metrics.h"

#include <fmt/format.h>
#include <prometheus/collectable.h>

#include <array>
#include <atomic>
#include <map>
#include <span>
#include <string_view>

#include "agent/engine/steps.h"
#include "core/base/wait.h"
#include "core/http/web_config.h"
#include "core/metrics/endpoint.h"

namespace pgrm::agent {
namespace {

using prometheus::MetricFamily;

struct View {
  const Standing& standing;
  Mono now;
};

void fill_phase(MetricFamily& family, const View& view) {
  const auto add = [&](std::string_view phase) {
    metrics::add(family, {{"phase", std::string(phase)}}, view.standing.phase == phase ? 1 : 0);
  };
  for (const Step& step : steps()) add(step.name);
  for (const std::string_view other : {"undo", "watch", "done", "failed"}) add(other);
}

void fill_phase_start(MetricFamily& family, const View& view) {
  if (!view.standing.phase.empty()) metrics::add(family, {}, to_unix(view.standing.phase_since));
}

void fill_start(MetricFamily& family, const View& view) { metrics::add(family, {}, to_unix(view.standing.began)); }

void fill_durations(MetricFamily& family, const View& view) {
  for (const Step& step : steps()) {
    // The last one counts: what was undone stands there a second time.
    const StepStanding* last = nullptr;
    for (const StepStanding& taken : view.standing.steps) {
      if (taken.name == step.name && taken.result != "undone") last = &taken;
    }
    if (last == nullptr || last->result == "looked") continue;
    metrics::add(family, {{"step", std::string(step.name)}},
                 to_seconds(last->result.empty() ? view.now - last->began : last->took));
  }
}

void fill_unavailable(MetricFamily& family, const View& view) {
  const auto& stopped = view.standing.writes_stopped;
  const Mono end = view.standing.writes_resumed.value_or(view.now);
  metrics::add(family, {}, stopped ? to_seconds(end - *stopped) : 0);
}

void fill_promoted(MetricFamily& family, const View& view) { metrics::add(family, {}, view.standing.promoted ? 1 : 0); }

double worth(Level level) {
  switch (level) {
    case Level::pass:
      return 1;
    case Level::warn:
      return 0.5;
    case Level::unknown:
    case Level::fail:
      break;
  }
  return 0;
}

void fill_checks(MetricFamily& family, const View& view) {
  for (const Finding& finding : view.standing.findings) {
    metrics::add(family, {{"check", std::string(finding.check->name)}}, worth(finding.verdict.level));
  }
}

void fill_exit_code(MetricFamily& family, const View& view) {
  if (view.standing.exit_code) metrics::add(family, {}, *view.standing.exit_code);
}

void fill_left_behind(MetricFamily& family, const View& view) {
  std::map<metrics::Labels, double> sessions;
  for (const Writer& writer : view.standing.left_behind) {
    ++sessions[{{"application_name", writer.application_name}, {"user", writer.user}, {"address", writer.address}}];
  }
  for (const auto& [labels, count] : sessions) metrics::add(family, labels, count);
}

/// Both windows of a figure of the comparison, in base units.
void fill_figure(MetricFamily& family, const View& view, std::string_view key, double unit) {
  if (!view.standing.watched) return;
  const Measure* const figure = view.standing.watched->comparison.measure(key);
  if (figure == nullptr) return;
  if (figure->before) metrics::add(family, {{"window", "before"}}, *figure->before * unit);
  if (figure->after) metrics::add(family, {{"window", "after"}}, *figure->after * unit);
}

void fill_transactions(MetricFamily& family, const View& view) { fill_figure(family, view, "transactions", 1); }
void fill_rolled_back(MetricFamily& family, const View& view) { fill_figure(family, view, "rolled_back", 0.01); }
void fill_statement(MetricFamily& family, const View& view) { fill_figure(family, view, "same_statements", 0.001); }
void fill_active(MetricFamily& family, const View& view) { fill_figure(family, view, "active", 0.001); }
void fill_connections(MetricFamily& family, const View& view) { fill_figure(family, view, "connections", 1); }

void fill_verdict(MetricFamily& family, const View& view) {
  if (!view.standing.watched) return;
  for (const Judgement one : {Judgement::better, Judgement::same, Judgement::worse, Judgement::unknown}) {
    metrics::add(family, {{"verdict", std::string(to_string(one))}},
                 view.standing.watched->comparison.overall == one ? 1 : 0);
  }
}

void fill_old_follows(MetricFamily& family, const View& view) {
  if (view.standing.watched) metrics::add(family, {}, view.standing.watched->back.streams ? 1 : 0);
}

void fill_old_behind(MetricFamily& family, const View& view) {
  if (view.standing.watched && view.standing.watched->back.behind) {
    metrics::add(family, {}, static_cast<double>(*view.standing.watched->back.behind));
  }
}

void fill_build(MetricFamily& family, const View&) { metrics::add(family, {{"version", PGRM_VERSION}}, 1); }

struct Row {
  std::string_view name, labels, help;
  void (*fill)(MetricFamily&, const View&);
};

// All are gauges: a cutover happens once.
constexpr std::array table{
    Row{"pgrm_cutover_build_info", "version", "Version of the agent, always 1", fill_build},
    Row{"pgrm_cutover_start_timestamp_seconds", "", "When this cutover was begun", fill_start},
    Row{"pgrm_cutover_phase", "phase",
        "Where the cutover is, 1 for one of them: a step of the table of steps, or undo, watch, done, failed",
        fill_phase},
    Row{"pgrm_cutover_phase_start_timestamp_seconds", "", "When the present phase began", fill_phase_start},
    Row{"pgrm_cutover_step_duration_seconds", "step",
        "How long the step took, or has been running; none for a step that has not begun or was only looked at",
        fill_durations},
    Row{"pgrm_cutover_write_unavailable_seconds", "",
        "For how long the agent has kept, or had kept, writes stopped; 0 before", fill_unavailable},
    Row{"pgrm_cutover_promoted", "", "Whether the new primary has been promoted: the point of no return",
        fill_promoted},
    Row{"pgrm_cutover_check", "check", "Verdict of the check: 1 pass, 0.5 warning, 0 fail or unknown", fill_checks},
    Row{"pgrm_cutover_left_behind_sessions", "application_name, user, address",
        "Sessions on the old primary in the end that may want to write", fill_left_behind},
    Row{"pgrm_cutover_exit_code", "", "Exit code of the agent, once it is certain", fill_exit_code},
    Row{"pgrm_cutover_watch_verdict", "verdict",
        "With --watch-after: how the application fares on the new primary, 1 for one of them", fill_verdict},
    Row{"pgrm_cutover_watch_transactions_per_second", "window",
        "Transactions of the application's database by the second, before the cutover and after", fill_transactions},
    Row{"pgrm_cutover_watch_rolled_back_ratio", "window", "The part of them that was rolled back", fill_rolled_back},
    Row{"pgrm_cutover_watch_statement_seconds", "window",
        "Mean time of a call of the statements of both windows; none without pg_stat_statements", fill_statement},
    Row{"pgrm_cutover_watch_transaction_active_seconds", "window",
        "Mean time that a transaction kept its server busy (14+)", fill_active},
    Row{"pgrm_cutover_watch_connections", "window", "Connections of the application, in the end of the window",
        fill_connections},
    Row{"pgrm_cutover_watch_old_primary_follows", "",
        "Whether the old primary streams from the new one, so that one can switch back without loss", fill_old_follows},
    Row{"pgrm_cutover_watch_old_primary_behind_bytes", "", "Bytes that it has not replayed; none when it does not",
        fill_old_behind},
};

class Page final : public prometheus::Collectable {
 public:
  Page(const Standing& standing, Mono now) : standing_(standing), now_(now) {}
  std::vector<MetricFamily> Collect() const override { return cutover_families(standing_, now_); }

 private:
  const Standing& standing_;
  Mono now_;
};

}  // namespace

std::vector<MetricFamily> cutover_families(const Standing& standing, Mono now) {
  std::vector<MetricFamily> result;
  for (const Row& row : table) {
    auto& family = result.emplace_back(
        metrics::family(std::string(row.name), std::string(row.help), prometheus::MetricType::Gauge));
    row.fill(family, {standing, now});
  }
  return result;
}

Table metrics_catalogue() {
  Table catalogue{{{"name", true}, {"type"}, {"labels"}, {"meaning"}}, {}};
  for (const Row& row : table) {
    catalogue.rows.push_back({std::string(row.name), "gauge", std::string(row.labels), std::string(row.help)});
  }
  return catalogue;
}

struct MetricsServer::State {
  State(const std::string& listen, const Progress& watched, const Clock& time)
      : progress(watched), clock(time), server(listen) {}

  http::Response scrape() {
    const Standing standing = progress.standing();
    const Page page(standing, clock.now());
    http::Response response = metrics::response({&page});
    if (standing.exit_code && standing.phase != watch_phase) end_scraped = true;
    return response;
  }

  const Progress& progress;
  const Clock& clock;
  std::atomic<bool> end_scraped = false;
  http::Server server;  // last: its threads use the above
};

MetricsServer::MetricsServer(const std::string& listen, const std::string& web_config, const Progress& progress,
                             const Clock& clock)
    : state_(std::make_unique<State>(listen, progress, clock)) {
  State& state = *state_;
  state.server.get("/metrics", [&state](const http::Request&) { return state.scrape(); });
  state.server.get("/healthz", [](const http::Request&) { return http::Response{200, "{\"status\": \"alive\"}\n"}; });
  state.server.configure(http::WebConfig::load(web_config));
  state.server.start();
}

MetricsServer::~MetricsServer() = default;

int MetricsServer::port() const { return state_->server.port(); }

void MetricsServer::await_last_scrape(Duration patience, std::stop_token stop) const {
  wait_until(state_->clock, patience, std::chrono::milliseconds(50), std::move(stop),
             [this] { return state_->end_scraped.load(); });
}

}  // namespace pgrm::agent
