// What the three main() functions share about CLI11: settings as options, --config, exit codes, error output.
// Included by main.cc files only.
#pragma once

#include <CLI/CLI.hpp>
#include <deque>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/config.h"

namespace pgrm {

/// Like CLI::Range, but for "nan", which that lets through.
CLI::Validator number_between(double min, double max);

/// One program's command line. Build the CLI11 tree on app(), then call run() once.
class CommandLine {
 public:
  /// `started_as` is argv[0]: the program is called what its file is called, `agent` in the build tree and `pgrm-agent`
  /// in a package. `examples` are shown at the end of --help, with that name in place of each {0}.
  CommandLine(std::string_view started_as, std::string description, std::string_view examples);

  CLI::App& app() { return app_; }

  /// Offers the settings of these variables as options of `command` (their flags come from settings_table).
  void add_settings(CLI::App& command, std::initializer_list<std::string_view> variables);

  /// Values from the parsed flags, the environment and the --config file; with PAIR, those of that pair of PAIRS_FILE.
  /// Valid inside a command of run(). Throws Error(configuration, usage).
  Settings settings() const;

  /// The same for every pair of PAIRS_FILE, in its order. Throws Error(configuration, usage).
  std::vector<Settings> settings_of_pairs() const;

  /// Parses, then runs what `command` says and returns its exit code. Whatever goes wrong is printed to standard error
  /// as "program: what" and a hint; the exit code is the Error's own (2 for a bad command line, 1 for a surprise).
  int run(int argc, const char* const* argv, const std::function<int()>& command);

  struct LogTarget {
    std::string level = "info";  // when LOG_LEVEL is not set
    std::string file;            // as in LogOptions
    bool screen = true;
  };
  /// Sets up logging from LOG_LEVEL and LOG_FORMAT.
  void set_up_logging(const LogTarget& target) const;
  void set_up_logging() const { set_up_logging(LogTarget()); }

 private:
  Settings::Values read_config_file() const;
  Settings settings_of_no_pair() const;

  std::string program_;
  CLI::App app_;
  std::string config_path_;
  std::string refused_password_;
  struct Given {
    std::string_view variable;
    std::string value;
    CLI::Option* option = nullptr;
  };
  std::deque<Given> given_;  // a deque: CLI11 keeps references to the values
};

}  // namespace pgrm
