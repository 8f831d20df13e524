// A whole cutover on fakes: two servers, an exporter, one application, a journal.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "agent/engine/walk.h"
#include "tests/fakes/fake_buffers.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_cluster.h"
#include "tests/fakes/fake_node_control.h"

namespace pgrm::agent {

/// An exporter that watches the fake cluster and is as fresh as it can be.
class FakeExporter final : public http::Client {
 public:
  explicit FakeExporter(FakeCluster& cluster) : cluster_(cluster) {}

  http::Reply get(const std::string&, Duration) override {
    if (!up) throw Error(ErrorCode::unreachable, "no exporter");
    SyncStreak streak(policy);
    Sample sample;
    for (int i = 0; i < streak_length; ++i) {
      sample = look(static_cast<std::uint64_t>(i + 1));
      streak.add(sample);
    }
    return {200, state_to_json(sample, streak, sample.sampled_mono + age)};
  }
  http::Reply post(const std::string&, Duration) override { return {405, ""}; }
  std::string describe() const override { return "http://exporter"; }

  bool up = true;
  int streak_length = 3;
  Duration age = std::chrono::milliseconds(100);
  std::function<void(Sample&)> sees;  // changes what it has seen
  SyncPolicy policy{.thresholds = {}, .required = 3, .interval = std::chrono::seconds(1)};

 private:
  Sample look(std::uint64_t generation) {
    Sample sample;
    sample.generation = generation;
    sample.sampled_mono = Mono(std::chrono::seconds(generation));
    sample.sampled_at = from_unix(1'800'000'000 + static_cast<double>(generation));
    sample.primary.address = "old:5432";
    sample.replica.address = "new:5432";
    if (cluster_.primary.up) sample.primary.state = cluster_.primary.state;
    if (cluster_.replica.up) sample.replica.state = cluster_.replica.state;
    if (sees) sees(sample);
    return sample;
  }

  FakeCluster& cluster_;
};

/// An application that can be paused.
class FakeTraffic final : public Traffic {
 public:
  FakeTraffic() = default;
  /// One application that several agents tell to stop.
  explicit FakeTraffic(bool& shared) : paused(shared) {}

  std::string name() const override { return "fake"; }
  std::string problem() override { return trouble; }
  std::vector<std::string> orders(TrafficCall) override { return {}; }
  std::vector<int> waits_for() override { return pooled; }
  std::launch beside() const override { return std::launch::deferred; }
  void stop(Duration) override { order("stop", true); }
  void after_fence(Duration) override {
    if (on_fence) on_fence();
  }
  void resume_on_new(Duration) override { order("resume_on_new", false); }
  void resume_on_old(Duration) override { order("resume_on_old", false); }

  bool& paused = own_;
  std::vector<int> pooled;
  std::string trouble;
  std::string fails;  // the order that fails, after its effect
  std::function<void()> on_fence, on_resume;
  std::vector<std::string> given;

 private:
  void order(const std::string& name, bool pause) {
    given.push_back(name);
    paused = pause;
    if (!pause && on_resume) on_resume();
    if (fails == name) throw Error(ErrorCode::http_failed, "the application does not answer");
  }

  bool own_ = false;
};

/// No std::exceptions: nothing in the engine can catch them, as nothing catches SIGKILL. Thrown around a call, and
/// before a record of the journal.
struct Killed {};
struct RecordKilled {};

/// Lines in memory. Which one cannot be written, and which one the agent does not live to write, stand in the rig.
class FakeJournalFile final : public JournalFile {
 public:
  FakeJournalFile(std::vector<std::string>& lines, const int& fails_at, const std::optional<std::size_t>& killed_at,
                  const std::function<void(const std::string&)>& on_record)
      : lines_(lines), fails_at_(fails_at), killed_at_(killed_at), on_record_(on_record) {}
  void append(const std::string& lines, bool) override {
    std::istringstream text(lines);
    for (std::string line; std::getline(text, line);) {
      if (lines_.size() == killed_at_) throw RecordKilled();
      if (static_cast<int>(lines_.size()) == fails_at_) throw Error(ErrorCode::file_failed, "no space left on device");
      lines_.push_back(line);
      if (on_record_) on_record_(line);
    }
  }

 private:
  std::vector<std::string>& lines_;
  const int& fails_at_;
  const std::optional<std::size_t>& killed_at_;
  const std::function<void(const std::string&)>& on_record_;
};

/// One agent on a cluster of somebody else's.
struct AgentRig {
  AgentRig(FakeCluster& on, std::string cutover_id, std::unique_ptr<FakeTraffic> application)
      : cluster(on), id(std::move(cutover_id)), traffic(application.get()) {
    options.pair = {Conninfo::parse("host=old port=5432 dbname=testdb user=agent"),
                    Conninfo::parse("host=new port=5432 dbname=testdb user=agent")};
    options.sync_timeout = std::chrono::seconds(300);
    options.promote_timeout = std::chrono::seconds(30);
    options.blind_patience = std::chrono::seconds(1);
    // In memory where there is such a directory: thousands of cutovers try their journal there.
    options.state_dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : testing::TempDir();
    options.standby_slot = "pgrm_standby";
    drivers.push_back(std::move(application));
  }

  Cutover context() {
    return {Means{options, servers, exporter, drivers, control, clock, stop.get_token(), held_by}, Known{.id = id},
            Told{.progress = progress}};
  }

  Outcome run() {
    Cutover cutover = context();
    const Outcome outcome = run_cutover(cutover, [this](const Cutover&) {
      return std::make_unique<Journal>(journal_file(), clock, nlohmann::json::object(), nlohmann::json::object());
    });
    warnings = cutover.warnings;
    situation = cutover.situation;
    return outcome;
  }

  /// The settings of this agent's fence.
  Overrides fenced() const { return {.read_only = "on", .standby_names = wedge_of(id)}; }

  std::unique_ptr<JournalFile> journal_file() {
    return std::make_unique<FakeJournalFile>(journal, journal_fails_at, killed_at_record, on_record);
  }

  /// The journal as a file has it.
  std::string text() const {
    std::string lines;
    for (const std::string& line : journal) lines += line + "\n";
    return lines;
  }

  /// What a new agent finds: the journal as text, and everybody where they were left.
  Outcome recover(Decision decision = Decision::by_looking) {
    Cutover cutover = context();
    cutover.system_identifier = "7300000000000000001";
    cutover.old_timeline = 1;
    killed_at_record.reset();
    disconnect();
    Journal again(journal_file(), clock);
    const Outcome outcome = agent::recover(cutover, again, parse_journal(text()), decision);
    warnings = cutover.warnings;
    situation = cutover.situation;
    return outcome;
  }

  /// The servers notice that the process is gone.
  void disconnect() {
    for (Server* const server : {&servers.old_primary, &servers.new_primary}) {
      server->admin->disconnect();
      server->application->disconnect();
    }
    servers.lock->disconnect();
  }

  Outcome dry() {
    Cutover cutover = context();
    return dry_run(cutover);
  }

  Server server(Side side) {
    return {cluster.node(side), cluster.node(side, "testdb"),
            [this, side](const std::vector<std::string>& databases, Duration deadline) {
              std::vector<DatabaseAnswer> answers;
              for (const std::string& database : databases) {
                try {
                  answers.push_back({cluster.node(side, database)->database_facts(deadline), ""});
                } catch (const Error& error) {
                  answers.push_back({{}, error.what()});
                }
              }
              return answers;
            },
            [this, side](const std::string& database) {
              return std::make_unique<FakeBuffers>(side == Side::primary ? primary_cache : replica_cache, database);
            }};
  }

  FakeCache primary_cache{}, replica_cache{};  // both keep nothing
  FakeCluster& cluster;
  const std::string id;
  FakeClock clock;
  Options options;
  Servers servers{server(Side::primary), server(Side::replica), cluster.node(Side::primary)};
  FakeExporter exporter{cluster};
  FakeNodeControl control{cluster};
  Traffics drivers;
  FakeTraffic* traffic;
  Progress progress{nullptr, false, false, clock};
  std::stop_source stop;
  std::function<std::string()> held_by = [] { return std::string(); };
  std::vector<std::string> journal;
  int journal_fails_at = -1;
  std::optional<std::size_t> killed_at_record;
  std::function<void(const std::string& line)> on_record;  // once it is written
  std::vector<std::string> warnings;
  std::optional<Situation> situation;  // as the last run saw it in the end
};

struct OwnCluster {
  FakeCluster own_cluster;
};

/// One agent alone with its cluster.
struct Rig : OwnCluster, AgentRig {
  Rig() : AgentRig(own_cluster, "20270115T080000Z-test", std::make_unique<FakeTraffic>()) {}
};

}  // namespace pgrm::agent
