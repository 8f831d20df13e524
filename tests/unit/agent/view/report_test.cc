#include "agent/view/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Report, TellsWhenEachStepBeganAndHowTheLagWent) {
  Rig rig;
  Cutover cutover = rig.context();
  const Outcome outcome = run_cutover(cutover, [&](const Cutover&) {
    return std::make_unique<Journal>(rig.journal_file(), rig.clock, nlohmann::json::object(), nlohmann::json::object());
  });
  const auto report =
      make_report(cutover, outcome, false, {{"seconds", 0.25}, {"began_at", "2027-01-15T08:00:00.100Z"}});
  ASSERT_EQ(report.at("steps").size(), steps().size());
  double end = 0;
  for (const auto& step : report.at("steps")) {
    EXPECT_GE(step.at("began_seconds").get<double>(), end - 1e-6) << step;
    end = step.at("began_seconds").get<double>() + step.at("seconds").get<double>();
  }
  EXPECT_FALSE(report.at("lag_bytes").empty()) << "the final verification sees it";
  EXPECT_EQ(report.at("client_write_gap_seconds"), 0.25);
  EXPECT_GE(report.at("writes_stopped_at_seconds").get<double>(), 0);
}

TEST(ReportPage, CarriesTheReportWhereNothingInItCanEndTheScript) {
  const std::string page = report_page({{"message", "</script><script>alert(1)</script> <!-- & \" '"}});
  EXPECT_THAT(page, HasSubstr("\\u003c/script>"));
  EXPECT_THAT(page, Not(HasSubstr("alert(1)</script>")));
  EXPECT_THAT(page, Not(HasSubstr("of the report\"}")));
  const auto from = page.find("id=\"report\">") + std::string("id=\"report\">").size();
  const auto data = nlohmann::json::parse(page.substr(from, page.find("</script>", from) - from));
  EXPECT_EQ(data.at("message"), "</script><script>alert(1)</script> <!-- & \" '") << "and the page reads what was said";
}

TEST(ReportPage, LoadsNothingFromElsewhere) {
  EXPECT_THAT(std::string(report_html), Not(HasSubstr("src=")));
  EXPECT_THAT(std::string(report_html), Not(HasSubstr("href=")));
  EXPECT_THAT(std::string(report_html), Not(HasSubstr("@import")));
  EXPECT_THAT(std::string(report_html), Not(HasSubstr("url(")));
}

}  // namespace
}  // namespace pgrm::agent
