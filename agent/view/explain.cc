#include "agent/view/explain.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "agent/checks/checks.h"
#include "agent/engine/recovery.h"
#include "agent/engine/steps.h"
#include "agent/view/metrics.h"
#include "core/base/table.h"

namespace pgrm::agent {
namespace {

Table check_table() {
  Table table{{{"group"}, {"check", true}, {"why"}}, {}};
  for (const Check& check : checks()) {
    table.rows.push_back({std::string(check.group), std::string(check.name), std::string(check.why)});
  }
  return table;
}

Table step_table() {
  Table table{{{"step", true}, {"changes something"}, {"in a dry run"}, {"why"}}, {}};
  for (const Step& step : steps()) {
    const char* const changes = step.commits ? "**point of no return**" : step.mutates ? "yes" : "no";
    table.rows.push_back(
        {std::string(step.name), changes, step.in_dry_run ? "done" : "looked at", std::string(step.why)});
  }
  return table;
}

struct Bit {
  unsigned bit;
  std::string_view words;
};

/// The bits that `set` has, in words; "any" for all of them.
template <std::size_t size>
std::string words_of(unsigned set, const std::array<Bit, size>& bits) {
  std::vector<std::string_view> words;
  for (const Bit& bit : bits) {
    if ((set & bit.bit) != 0) words.push_back(bit.words);
  }
  return words.size() == bits.size() ? "any" : fmt::format("{}", fmt::join(words, ", "));
}

Table recovery_in_words() {
  static constexpr std::array journals{Bit{begun, "no order given"}, Bit{ordered, "promotion ordered"},
                                       Bit{undoing, "undo begun"},
                                       Bit{undoing_after_order, "undo begun after an order"}};
  static constexpr std::array replicas{Bit{standby, "standby"}, Bit{promoted, "out of recovery"},
                                       Bit{unseen, "not seen"}};
  static constexpr std::array decisions{Bit{by(Decision::by_looking), "look"}, Bit{by(Decision::abort), "`--abort`"},
                                        Bit{by(Decision::complete), "`--complete`"}};
  Table table{{{"journal"}, {"replica"}, {"decision"}, {"also"}, {"action"}, {"because"}}, {}};
  for (const RecoveryRow& row : recovery_table()) {
    std::string also(to_string(row.also));
    if (const auto patience = to_string(row.patience); !patience.empty()) {
      also += (also.empty() ? "" : ", ") + std::string(patience);
    }
    table.rows.push_back({words_of(row.written, journals), words_of(row.replica, replicas),
                          words_of(row.decisions, decisions), also, std::string(to_string(row.action)),
                          std::string(row.says)});
  }
  return table;
}

Table exit_code_table() {
  return {{{"code"}, {"means"}, {"writable now"}},
          {
              {"0", "done (or the dry run or preflight passed)", "new primary (or unchanged)"},
              {"1", "unexpected error before anything was changed", "old primary"},
              {"2", "usage or configuration", "old primary"},
              {"3", "preflight refused; nothing changed", "old primary"},
              {"4", "sync not reached in time; nothing changed", "old primary"},
              {"5", "failed or interrupted before promotion and undone", "old primary"},
              {"6", "promoted, a later step failed: the new primary is authoritative, agent recover finishes",
               "new primary, or none until agent recover"},
              {"7",
               "the agent cannot tell which server may be opened, because a server is unreachable, somebody else has "
               "promoted, or an undo is not complete; what is fenced stays fenced",
               "as the report says"},
          }};
}

struct Section {
  const char* key;
  const char* title;
  const char* note;
  Table (*table)();
};
constexpr std::array sections{
    Section{"checks", "Checks", "", check_table},
    Section{"steps", "Steps", "", step_table},
    Section{"recovery", "Recovery",
            "The first row that fits is taken, by `agent recover`, by the guard, and by a cutover that fails.\n\n",
            recovery_in_words},
    Section{"exit_codes", "Exit codes",
            "*Writable now* in every report was tried over a new connection to each server. It is not derived from "
            "the exit code.\n\n",
            exit_code_table},
    Section{"metrics", "Metrics of a cutover", "", metrics_catalogue},
};

}  // namespace

void explain(std::ostream& out) {
  for (const Section& section : sections) {
    out << (&section == sections.data() ? "" : "\n")
        << fmt::format("### {}\n\n{}{}", section.title, section.note, to_markdown(section.table()));
  }
}

nlohmann::json explain_json() {
  nlohmann::json all;
  for (const Section& section : sections) all[section.key] = to_json(section.table());
  return all;
}

}  // namespace pgrm::agent
