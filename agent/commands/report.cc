#include "agent/view/report.h"

#include <iostream>

#include "agent/base/options.h"
#include "agent/base/state_dir.h"
#include "agent/commands/commands.h"
#include "core/base/error.h"

namespace pgrm::agent {

int report(const Settings& settings, const Arguments& arguments) {
  const std::string state_dir = state_dir_from(settings);
  const auto directory = newest_with(state_dir, "report.json");
  if (!directory) {
    throw Error(ErrorCode::file_failed, "no cutover has left a report in " + state_dir, "choose another --state-dir");
  }
  const std::string text = read_file(*directory + "/report.json");
  if (arguments.json) {
    std::cout << text;
    return 0;
  }
  const auto written = nlohmann::json::parse(text);
  const std::string page = *directory + "/report.html";
  write_file(page, report_page(written));
  print_summary(std::cout, written, page);
  return 0;
}

}  // namespace pgrm::agent
