#include "agent/view/plan_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <ostream>
#include <sstream>

namespace pgrm::agent {
namespace {

/// Longer ones are named in the steps, and stand below.
constexpr std::size_t longest_in_a_step = 200;

nlohmann::json orders_to_json(const std::vector<PlannedOrder>& orders) {
  auto list = nlohmann::json::array();
  for (const PlannedOrder& order : orders) {
    auto parameters = nlohmann::json::array();
    for (const Value& value : order.parameters) parameters.push_back(value ? nlohmann::json(*value) : nlohmann::json());
    list.push_back({{"to", order.to}, {"name", order.name}, {"text", order.text}, {"parameters", parameters}});
  }
  return list;
}

std::string text_of(const nlohmann::json& json) { return json.get<std::string>(); }

/// "SELECT … $1", with what $1 is.
std::string order_text(const nlohmann::json& order) {
  std::string text = text_of(order.at("text"));
  if (text.size() > longest_in_a_step && !text_of(order.at("name")).empty()) {
    text = fmt::format("EXECUTE {}", text_of(order.at("name")));
  }
  std::vector<std::string> parameters;
  for (const auto& value : order.at("parameters")) {
    parameters.push_back(fmt::format("${} = {}", parameters.size() + 1, value.is_null() ? "NULL" : value.dump()));
  }
  return parameters.empty() ? text : fmt::format("{}   -- {}", text, fmt::join(parameters, ", "));
}

/// The texts of those that are only named, by name.
std::map<std::string, std::string> long_statements(const nlohmann::json& plan) {
  std::map<std::string, std::string> texts;
  const auto collect = [&](const nlohmann::json& orders) {
    for (const auto& order : orders) {
      const std::string name = text_of(order.at("name")), text = text_of(order.at("text"));
      if (!name.empty() && text.size() > longest_in_a_step) texts[name] = text;
    }
  };
  for (const auto& step : plan.at("steps")) {
    collect(step.at("orders"));
    collect(step.at("undo"));
  }
  collect(plan.at("afterwards"));
  return texts;
}

/// Orders under the address or the name that they go to.
void print_orders(std::ostream& out, const nlohmann::json& orders) {
  std::string to;
  for (const auto& order : orders) {
    if (const std::string now = text_of(order.at("to")); now != to) {
      out << fmt::format("      {}\n", now);
      to = now;
    }
    out << fmt::format("        {}\n", order_text(order));
  }
}

std::string took(const nlohmann::json& seconds) { return human(from_seconds(seconds.get<double>())); }

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '&':
        result += "&amp;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

void orders_to_html(std::ostream& out, std::string_view title, const nlohmann::json& orders) {
  if (orders.empty()) return;
  std::ostringstream text;
  print_orders(text, orders);
  out << fmt::format("<h3>{}</h3><pre>{}</pre>\n", title, escaped(text.str()));
}

void list_to_html(std::ostream& out, std::string_view title, const nlohmann::json& lines) {
  out << fmt::format("<h2>{}</h2><ul>\n", title);
  for (const auto& line : lines) out << fmt::format("<li>{}</li>\n", escaped(text_of(line)));
  out << "</ul>\n";
}

constexpr auto page_head = R"html(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Plan of a cutover</title><style>
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
pre{background:#f4f4f6;padding:.6rem;white-space:pre-wrap;font-size:13px}h3{margin:.6rem 0 .2rem;font-size:14px}
section{border-top:1px solid #ddd}section.stands{border-left:4px solid #c05600;padding-left:1rem}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#16171b}pre{background:#22242a}}
</style></head><body>
)html";

}  // namespace

nlohmann::json plan_to_json(const Cutover& planned, const Plan& plan, const Questions& questions) {
  auto list = nlohmann::json::array();
  for (const PlannedStep& step : plan.steps) {
    list.push_back(
        {{"name", step.step->name},
         {"why", step.step->why},
         {"would", step.preview},
         {"point_of_no_return", step.step->commits},
         {"predicted_seconds", step.predicted ? nlohmann::json(to_seconds(*step.predicted)) : nlohmann::json()},
         {"orders", orders_to_json(step.orders)},
         {"undo", orders_to_json(step.undo)}});
  }
  nlohmann::json json{{"old_primary", planned.options.pair.old_primary.address()},
                      {"new_primary", planned.options.pair.new_primary.address()},
                      {"database", planned.options.pair.old_primary.get("dbname")},
                      {"program_version", PGRM_VERSION},
                      {"written_at", to_iso8601(planned.clock.wall())},
                      {"max_write_pause_seconds", to_seconds(planned.options.max_write_pause)},
                      {"steps", list},
                      {"afterwards", orders_to_json(plan.afterwards)},
                      {"questions", questions.all()},
                      {"by_hand", plan.by_hand},
                      {"way_back", plan.way_back}};
  json["prediction"] = planned.prediction ? prediction_to_json(*planned.prediction) : nlohmann::json();
  return json;
}

void print_plan(std::ostream& out, const nlohmann::json& plan) {
  out << fmt::format("Plan of a cutover: {} -> {}, database {}\nmade at {} by version {}; nothing was changed\n\n",
                     text_of(plan.at("old_primary")), text_of(plan.at("new_primary")), text_of(plan.at("database")),
                     text_of(plan.at("written_at")), text_of(plan.at("program_version")));
  if (!plan.at("prediction").is_null()) {
    out << fmt::format("Writes are predicted to be stopped for {}, at most for {}.\n\n",
                       took(plan.at("prediction").at("seconds")), took(plan.at("max_write_pause_seconds")));
  }
  int number = 0;
  for (const auto& step : plan.at("steps")) {
    const auto& predicted = step.at("predicted_seconds");
    out << fmt::format("{:>2}  {}{}{}\n      {}\n", ++number, text_of(step.at("name")),
                       step.at("point_of_no_return").get<bool>() ? ", the point of no return" : "",
                       predicted.is_null() ? "" : fmt::format(", about {}, writes stopped", took(predicted)),
                       text_of(step.at("would")));
    print_orders(out, step.at("orders"));
    if (!step.at("undo").empty()) {
      out << "    undo\n";
      print_orders(out, step.at("undo"));
    }
  }
  out << "\nAfterwards both servers are looked at once more\n";
  print_orders(out, plan.at("afterwards"));
  const auto list = [&](std::string_view title, const nlohmann::json& lines) {
    out << '\n' << title << '\n';
    for (const auto& line : lines) out << fmt::format("  - {}\n", text_of(line));
  };
  list("By hand", plan.at("by_hand"));
  list("The way back", plan.at("way_back"));
  if (const auto texts = long_statements(plan); !texts.empty()) {
    out << "\nStatements that are only named above\n";
    for (const auto& [name, text] : texts) out << fmt::format("  {}\n    {}\n", name, text);
  }
}

std::string plan_page(const nlohmann::json& plan) {
  std::ostringstream out;
  out << page_head
      << fmt::format("<h1>{} &rarr; {}</h1><p>Database {}; made at {} by version {}; nothing was changed.</p>\n",
                     escaped(text_of(plan.at("old_primary"))), escaped(text_of(plan.at("new_primary"))),
                     escaped(text_of(plan.at("database"))), text_of(plan.at("written_at")),
                     text_of(plan.at("program_version")));
  if (!plan.at("prediction").is_null()) {
    out << fmt::format("<p>Writes are predicted to be stopped for <b>{}</b>, at most for {}.</p>\n",
                       took(plan.at("prediction").at("seconds")), took(plan.at("max_write_pause_seconds")));
  }
  int number = 0;
  for (const auto& step : plan.at("steps")) {
    const auto& predicted = step.at("predicted_seconds");
    out << fmt::format("<section{}><h2>{} {}{}</h2><p>{}{}.</p>\n", predicted.is_null() ? "" : " class=\"stands\"",
                       ++number, text_of(step.at("name")),
                       step.at("point_of_no_return").get<bool>() ? ": the point of no return" : "",
                       escaped(text_of(step.at("would"))),
                       predicted.is_null() ? "" : fmt::format("; about {}, writes stopped", took(predicted)));
    orders_to_html(out, "Orders", step.at("orders"));
    orders_to_html(out, "Undo", step.at("undo"));
    out << "</section>\n";
  }
  orders_to_html(out, "Afterwards both servers are looked at once more", plan.at("afterwards"));
  list_to_html(out, "By hand", plan.at("by_hand"));
  list_to_html(out, "The way back", plan.at("way_back"));
  out << "<h2>Statements that are only named above</h2>\n";
  for (const auto& [name, text] : long_statements(plan)) {
    out << fmt::format("<h3>{}</h3><pre>{}</pre>\n", escaped(name), escaped(text));
  }
  out << "</body></html>\n";
  return out.str();
}

}  // namespace pgrm::agent
