#include "agent/base/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/base/error.h"

namespace pgrm::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

Settings settings(Settings::Values values) {
  return {std::move(values), [](const std::string&) -> std::optional<std::string> { return std::nullopt; }, {}};
}

Options options(Settings::Values values) {
  values.try_emplace("POSTGRES_DB", "shop");
  return options_from(settings(std::move(values)));
}

/// Every option of the table set to something else than its default.
Settings::Values unusual() {
  return {{"POSTGRES_DB", "shop"},
          {"TRAFFIC", "loadgen,pgbouncer"},
          {"MAINTENANCE_DB", "dba"},
          {"LOADGEN_URL", "http://elsewhere:1"},
          {"LOADGEN_USER", "alice"},
          {"LOADGEN_CA_FILE", "ca.crt"},
          {"HOOKS", "some/hooks"},
          {"PGBOUNCER_DSN", "host=pool1; host=pool2 port=7000 user=admin"},
          {"PGBOUNCER_DATABASES", "one.ini;/etc/two.ini"},
          {"FENCE", "read-only"},
          {"DEMOTE", "stop"},
          {"NODE_CONTROL", "control"},
          {"STANDBY_SLOT", "another_slot"},
          {"FOLLOW_SIBLINGS", "host=third"},
          {"PROMOTE_TIMEOUT", "7.5"},
          {"MAX_WRITE_PAUSE", "2.5"},
          {"CUTOVER_ATTEMPTS", "7"},
          {"DRAIN_OLD", "60"},
          {"WAIT_FOR_TRANSACTIONS", "30"},
          {"WINDOW", "23:30-04:00"}};
}

TEST(Options, AllThatAStepReadsGoesThroughTheJournal) {
  const Options was = options(unusual());
  Options again = options({});
  recall_options(again, options_to_json(was), settings({}));
  for (const Option& option : option_table()) {
    SCOPED_TRACE(option.variable);
    EXPECT_EQ(option.to_json(again), option.to_json(was));
    EXPECT_NE(option.to_json(options({})), option.to_json(was)) << "this test must set it to something unusual";
  }
}

TEST(Options, AJournalFromBeforeAnOptionIsReadAllTheSame) {
  nlohmann::json journaled = options_to_json(options(unusual()));
  journaled.erase("LOADGEN_CA_FILE");
  Options again = options({});
  recall_options(again, journaled, settings({}));
  EXPECT_EQ(again.loadgen_access.ca_file, "");
  EXPECT_EQ(again.loadgen_access.user, "alice");
}

TEST(Options, PathsAreAbsoluteSoThatARecoveryMayRunAnywhere) {
  const Options read = options(unusual());
  const std::string here = std::filesystem::current_path();
  EXPECT_EQ(read.hooks_directory, here + "/some/hooks");
  EXPECT_EQ(read.node_control, here + "/control");
  EXPECT_EQ(read.loadgen_access.ca_file, here + "/ca.crt");
  EXPECT_THAT(read.pooler_databases, ElementsAre(here + "/one.ini", "/etc/two.ini"));
  EXPECT_EQ(options({{"STATE_DIR", "state"}}).state_dir, here + "/state");
}

TEST(Options, APasswordIsNotJournaledAndTakenFromTheSettingsOfTheRecovery) {
  Settings::Values values = unusual();
  const auto environment = [](const std::string& name) -> std::optional<std::string> {
    if (name == "PGBOUNCER_DSN") return "host=pool1 password=inline";
    if (name == "PGBOUNCER_PASSWORD") return "common";
    return std::nullopt;
  };
  const Settings secret({{"POSTGRES_DB", "shop"}}, environment, {});
  const Options was = options_from(secret);
  const nlohmann::json journaled = options_to_json(was);
  EXPECT_THAT(journaled.dump(), Not(HasSubstr("inline")));
  EXPECT_THAT(journaled.dump(), Not(HasSubstr("common")));
  Options again = options_from(secret);
  recall_options(again, journaled, secret);
  EXPECT_EQ(again.poolers.at(0).get("password"), "inline");
}

TEST(Options, NoDriverTouchesAProcessThatNobodyHasNamed) {
  EXPECT_THAT(options({}).traffic, IsEmpty());
  EXPECT_THAT(options({{"LOADGEN_URL", "http://127.0.0.1:9718"}}).traffic, ElementsAre("loadgen"));
  EXPECT_THAT(options({{"PGBOUNCER_DSN", "host=pool"}}).traffic, ElementsAre("pgbouncer"));
  EXPECT_THAT(options({{"LOADGEN_URL", "http://127.0.0.1:9718"}, {"TRAFFIC", "none"}}).traffic, IsEmpty());
}

TEST(Options, BadOnesAreRefusedByName) {
  for (const auto& [variable, value] : Settings::Values{{"TRAFFIC", "haproxy"}, {"FENCE", "open"}, {"DEMOTE", "off"}}) {
    try {
      options({{variable, value}});
      ADD_FAILURE() << variable;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::configuration);
      EXPECT_THAT(error.what(), HasSubstr(value));
    }
  }
}

TEST(Options, AReadOnlyFenceCannotStayClosed) {
  EXPECT_THROW(options({{"FENCE", "read-only"}, {"DEMOTE", "closed"}}), Error);
  EXPECT_EQ(options({{"DEMOTE", "closed"}}).demotion, Demotion::closed);
}

TEST(Options, TheDatabaseMustBeNamed) {
  EXPECT_THROW(options_from(settings({})), Error);
  EXPECT_EQ(options_from(settings({{"PRIMARY_DSN", "host=a dbname=shop"}, {"REPLICA_DSN", "host=b dbname=shop"}}))
                .pair.old_primary.get("dbname"),
            "shop");
}

TEST(Options, AServerIsOneServer) {
  for (const char* const dsn : {"host=a,b", "host=a hostaddr=10.0.0.1,10.0.0.2", "host=a port=1,2",
                                "host=a target_session_attrs=read-write", "postgresql://a,b/shop"}) {
    EXPECT_THROW(options({{"PRIMARY_DSN", dsn}}), Error) << dsn;
  }
  EXPECT_EQ(options({}).pair.old_primary.get("target_session_attrs"), "any") << "whatever PGTARGETSESSIONATTRS says";
  EXPECT_NE(options({}).pair.old_primary.text().reveal().find("options=''"), std::string::npos) << "nor PGOPTIONS";
  for (const char* const variable : {"PGHOSTADDR", "PGSERVICE"}) {
    setenv(variable, "10.0.0.1", 1);
    EXPECT_THROW(options({}), Error) << variable;
    unsetenv(variable);
  }
}

/// A service is what its file says, checked like anything else.
TEST(Options, AServiceIsLookedUp) {
  const std::string file = testing::TempDir() + "pg_service.conf";
  std::ofstream(file) << "[one]\nhost=db1\nport=5444\nsslmode=require\npassword=of_the_file\n[two]\nhost=db1,db2\n";
  setenv("PGSERVICEFILE", file.c_str(), 1);
  const Conninfo server = options({{"PRIMARY_DSN", "service=one"}}).pair.old_primary;
  EXPECT_EQ(server.address(), "db1:5444");
  EXPECT_EQ(server.get("sslmode"), "require");
  EXPECT_EQ(server.get("service"), "");
  EXPECT_EQ(server.get("password"), "of_the_file");
  EXPECT_EQ(server.get("dbname"), options({}).pair.old_primary.get("dbname")) << "the file names none";
  for (const char* const dsn : {"service=two", "service=three"}) {
    EXPECT_THROW(options({{"PRIMARY_DSN", dsn}}), Error) << dsn;
  }
  unsetenv("PGSERVICEFILE");
}

}  // namespace
}  // namespace pgrm::agent
