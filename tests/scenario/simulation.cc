#include "tests/scenario/simulation.h"

#include <fmt/format.h>

#include <filesystem>
#include <random>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

struct Broken {
  std::string invariant;
};

/// Calls of a cutover that nothing happens to, until it changes something.
constexpr int first_change = 64;

class World {
 public:
  World(std::uint64_t seed, bool calls)
      : calls_(calls), random_(seed), first_(cluster_, "20270115T080000Z-first", application()) {
    cluster_.clients = true;
    for (auto* const server : {&cluster_.primary, &cluster_.replica}) {
      server->databases.push_back({"extra", "app", true, true});
      server->facts.databases = server->databases;
    }
    cluster_.replica.promotes_after = one_in(2) ? 0 : below(40);
    first_.options.fence = one_in(3) ? FenceForm::read_only : FenceForm::closed;
    first_.options.demotion =
        one_in(4) && first_.options.fence == FenceForm::closed ? Demotion::closed : Demotion::read_only;
    first_.options.rehearsal = one_in(12);
    short_waits(first_.options);
    events_left_ = 1 + below(4);
    gap_ = one_in(10) ? 1 + below(first_change) : first_change + below(90);  // what is refused is soon told
    cluster_.before = [this](const std::string& call) { before(call); };
    cluster_.after = [this](const std::string& call) { after(call); };
  }

  Story live() {
    Story story;
    try {
      play();
      story.asked = end();
    } catch (const Broken& broken) {
      story.broken = broken.invariant;
    }
    story.transcript = std::move(transcript_);
    return story;
  }

 private:
  // ---- chance

  int below(int limit) { return static_cast<int>(random_() % static_cast<std::uint64_t>(limit)); }
  bool one_in(int times) { return below(times) == 0; }

  void tell(const std::string& what) { transcript_ += what + "\n"; }

  std::unique_ptr<FakeTraffic> application() { return std::make_unique<FakeTraffic>(paused_); }

  // ---- what happens

  FakeCluster::Server& any_server() { return one_in(2) ? cluster_.primary : cluster_.replica; }
  std::string name_of(const FakeCluster::Server& server) const { return &server == &cluster_.primary ? "old" : "new"; }

  /// The clock is not real, but every look during a wait is.
  static void short_waits(Options& options) {
    options.drain_timeout = std::chrono::milliseconds(20);
    options.promote_timeout = std::chrono::milliseconds(500);
    options.blind_patience = std::chrono::milliseconds(300);
    options.sync_timeout = std::chrono::milliseconds(500);
  }

  /// Whatever people and machines do has no right to be judged: two servers that they have opened are open.
  void by_others(const std::string& what) {
    tell(fmt::format("  [{}] {}", cluster_.calls.size(), what));
    split_ = both_write();
  }

  void promote_by_hand(const std::string& who) {
    if (!cluster_.replica.up || !cluster_.replica.state.in_recovery) return;
    cluster_.replica_is_promoted();
    promoted_by_others_ = true;
    promoted_at_ = cluster_.calls.size();
    if (one_in(2)) {
      for (Database& database : cluster_.replica.databases) database.open = true;
    }
    by_others(who + " promotes the new one");
  }

  void event() {
    switch (below(14)) {
      case 0:
      case 1:
        tell(fmt::format("  [{}] the agent is killed", cluster_.calls.size()));
        throw Killed();
      case 2:
        return promote_by_hand("a person");
      case 3:
        if (!cluster_.primary.up) promote_by_hand("an HA manager");
        return;
      case 4:
      case 5: {
        any_server().end_sessions();
        return by_others("agents' sessions are ended");
      }
      case 6: {
        FakeCluster::Server& server = any_server();
        server.up = false;
        return by_others(name_of(server) + " crashes");
      }
      case 7: {
        FakeCluster::Server& server = any_server();
        if (!server.up) server.restart();
        return by_others(name_of(server) + " is back");
      }
      case 8: {
        FakeCluster::Server& server = any_server();
        server.unloadable = !server.unloadable;
        return by_others(
            fmt::format("the configuration of {} can{} be loaded", name_of(server), server.unloadable ? "not" : ""));
      }
      case 9: {
        FakeCluster::Server& server = any_server();
        if (server.up && !server.unloadable) server.override = server.written;
        return by_others("a person reloads " + name_of(server));
      }
      case 10: {
        auto& databases = cluster_.primary.databases;
        if (databases.size() > 1) {
          databases.pop_back();
          return by_others("a person drops a database");
        }
        databases.push_back({"fresh", "app", true, true});
        return by_others("a person creates a database");
      }
      case 11:
        cut_ = one_in(2) ? Side::primary : Side::replica;
        cut_for_ = 1 + below(60);
        return by_others("the agent's link is cut");
      case 12:
        cluster_.primary.unwritable = !cluster_.primary.unwritable;
        return by_others("postgresql.auto.conf of old changes its mode");
      default:
        return another_agent();
    }
  }

  /// A second agent with a STATE_DIR of its own, from beginning to end or to its death, while the first one stands
  /// still.
  void another_agent() {
    if (second_ || nested_) return;
    second_ = std::make_unique<AgentRig>(cluster_, "20270115T080001Z-second", application());
    second_->options.fence = first_.options.fence;
    short_waits(second_->options);
    tell(fmt::format("  [{}] a second agent begins", cluster_.calls.size()));
    const std::size_t began = cluster_.calls.size(), seen = seen_new_at_, looked = looked_at_new_at_;
    nested_ = true;
    run(*second_, "the second agent");
    nested_ = false;
    seen_new_at_ = seen;  // what the second one has seen, the first one does not know
    looked_at_new_at_ = looked + cluster_.calls.size() - began;
    split_ = both_write();
  }

  void before(const std::string& call) {
    if (looks_at_new(call)) looked_at_new_at_ = cluster_.calls.size();
    if (quiet_) return;
    if (cut_for_ > 0 && call.starts_with(to_string(cut_))) {
      --cut_for_;
      throw Error(one_in(2) ? ErrorCode::unreachable : ErrorCode::timeout, "the link is cut");
    }
    if (--gap_ > 0 || events_left_ == 0) return;
    --events_left_;
    gap_ = 1 + below(60);
    event();
  }

  void after(const std::string& call) {
    const bool is_lost = !quiet_ && events_left_ > 0 && one_in(200);
    if (looks_at_new(call) && !is_lost) seen_new_at_ = cluster_.calls.size();
    if (calls_) tell(fmt::format("    {} {}", cluster_.calls.size(), call));
    judge("after " + call);
    if (!is_lost) return;
    tell(fmt::format("  [{}] the answer of {} is lost", cluster_.calls.size(), call));
    throw Error(ErrorCode::connection_lost, "the answer is lost");
  }

  // ---- what must hold

  bool both_write() const { return cluster_.primary.writable() && cluster_.replica.writable(); }

  void judge(const std::string& when) {
    if (!both_write()) {
      split_ = false;
    } else if (!split_ && !came_between()) {
      throw Broken{"two servers take writes " + when};
    } else {
      split_ = true;
    }
  }

  /// Between a look at the replica and what is done on the strength of it, somebody may always promote it; and a
  /// replica that cannot be seen may be promoted by anybody. But the look must not be old.
  bool came_between() const {
    constexpr std::size_t a_moment = 16;
    return promoted_at_ > seen_new_at_ && cluster_.calls.size() < looked_at_new_at_ + a_moment;
  }

  static bool looks_at_new(const std::string& call) {
    return call == "replica.fresh_identity" || call == "replica.identity" || call == "replica.in_recovery";
  }

  // ---- the story

  int run(AgentRig& agent, const std::string& who) {
    return ended(agent, who, [&] { return agent.run(); });
  }
  int recover(AgentRig& agent, const std::string& who, Decision decision) {
    return ended(agent, who + " recovers", [&] { return agent.recover(decision); });
  }

  /// Its exit code; -1: it was killed.
  template <typename Work>
  int ended(AgentRig& agent, const std::string& who, Work&& work) {
    int code = -1;
    std::string message;
    try {
      const Outcome outcome = work();
      code = outcome.exit_code;
      message = outcome.message;
    } catch (const Killed&) {
    }
    agent.disconnect();
    tell(fmt::format("{} ends with {}: {}", who, code, message));
    judge("when " + who + " has ended");
    return code;
  }

  /// Reads only the records that can say so: a simulation asks this often.
  bool unsettled(const AgentRig& agent) const {
    std::string text;
    for (const std::string& line : agent.journal) {
      if (text.empty() || line.find("\"end\"") != std::string::npos) text += line + "\n";
    }
    return !text.empty() && !settled(parse_journal(text));
  }

  void play() {
    run(first_, "the agent");
    events_left_ = below(3);
    gap_ = 1 + below(30);
    if (one_in(3)) promote_by_hand("a person");
    for (int attempt = 0; attempt < 2 && unsettled(first_); ++attempt) {
      recover(first_, "the guard", Decision::by_looking);
    }
    if (one_in(3) && unsettled(first_)) {
      // A person who aborts has looked whether the replica was promoted, and has waited for what may still come.
      const bool may_abort = cluster_.replica.state.in_recovery && !cluster_.promotion_is_due();
      recover(first_, "a person", may_abort && one_in(2) ? Decision::abort : Decision::complete);
      if (unsettled(first_)) recover(first_, "the guard, after the person", Decision::by_looking);
    }
  }

  /// Everything is reachable again, and everybody has stopped. Returns whether a person has to decide.
  bool end() {
    quiet_ = true;
    for (auto* const server : {&cluster_.primary, &cluster_.replica}) {
      server->unloadable = server->unwritable = false;
      if (!server->up) server->restart();
    }
    split_ = both_write();
    cluster_.streams = true;
    cluster_.replay_all();
    int worst = 0;
    for (int round = 0; round < 2; ++round) {
      worst = 0;
      if (second_ && unsettled(*second_))
        worst = std::max(worst, recover(*second_, "somebody, of the second", Decision::by_looking));
      if (unsettled(first_)) worst = std::max(worst, recover(first_, "somebody", Decision::by_looking));
    }
    if (worst == 6) throw Broken{"nothing stands in the way any more, and it is not finished"};
    if (worst == 7) {
      if (both_write() && !split_) throw Broken{"two servers take writes in the end"};
      if (unsettled(first_) && both_write()) throw Broken{"a recovery has left two servers open"};
      return true;
    }
    expect_one_writer();
    return false;
  }

  void expect_one_writer() {
    const bool begun = !first_.journal.empty() || (second_ && !second_->journal.empty());
    if (!begun) return;  // nobody but people and crashes has touched anything
    if (both_write()) {
      if (promoted_by_others_) return;  // after every cutover had come to its end
      throw Broken{"two servers take writes in the end"};
    }
    const bool old_writes = cluster_.primary.writable();
    if (old_writes == cluster_.replica.writable()) throw Broken{"nobody takes writes in the end"};
    if (paused_) throw Broken{"the application is paused, and nobody is in charge"};
    if (!promoted_by_others_) {
      const auto lost = cluster_.lost(old_writes ? cluster_.primary : cluster_.replica);
      if (!lost.empty()) throw Broken{fmt::format("{} acknowledged writes are lost", lost.size())};
    }
    const Overrides written = cluster_.primary.written;
    for (AgentRig* const agent : {&first_, second_.get()}) {
      if (agent == nullptr || agent->journal.empty()) continue;
      if (recover(*agent, "somebody, once more", Decision::by_looking) != 0)
        throw Broken{"a second recovery does not end with 0"};
      const std::string told = writable_now(*agent->situation);
      if (told != (old_writes ? "old:5432" : "new:5432")) throw Broken{"it is told that this takes writes: " + told};
    }
    if (cluster_.primary.written != written || cluster_.primary.writable() != old_writes) {
      throw Broken{"a second recovery has changed something"};
    }
  }

  const bool calls_;
  FakeCluster cluster_;
  std::mt19937_64 random_;
  bool paused_ = false;
  AgentRig first_;
  std::unique_ptr<AgentRig> second_;
  bool nested_ = false, quiet_ = false;
  bool split_ = false;  // two servers take writes, and it was not an agent that opened the second one
  bool promoted_by_others_ = false;
  std::size_t promoted_at_ = 0, seen_new_at_ = 0, looked_at_new_at_ = 0;  // numbers of calls
  Side cut_ = Side::primary;
  int cut_for_ = 0, events_left_ = 0, gap_ = 0;
  std::string transcript_;
};

}  // namespace

Story simulate(std::uint64_t seed, bool calls) { return World(seed, calls).live(); }

}  // namespace pgrm::agent
