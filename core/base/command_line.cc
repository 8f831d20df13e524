#include "core/base/command_line.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/pairs.h"
#include "core/base/version.h"

namespace pgrm {

CLI::Validator number_between(double min, double max) {
  const std::string allowed = min == max ? fmt::format("{}", min) : fmt::format("FLOAT in [{} - {}]", min, max);
  return {[=](const std::string& text) {
            char* end = nullptr;
            const double value = std::strtod(text.c_str(), &end);
            // The comparison is written so that "nan" fails it.
            if (end != text.c_str() && *end == '\0' && value >= min && value <= max) return std::string();
            return fmt::format("\"{}\" is not {}", text, allowed);
          },
          allowed};
}

CommandLine::CommandLine(std::string_view started_as, std::string description, std::string_view examples)
    : program_(std::filesystem::path(started_as).filename()), app_(std::move(description), program_) {
  app_.set_version_flag("--version", fmt::format("{} {}", program_, version));
  app_.add_option("--config", config_path_, "TOML file with values for the options, e.g. interval = 1")
      ->check(CLI::ExistingFile);
  app_.footer("\nExamples:\n" + fmt::format(fmt::runtime(examples), program_) +
              "\nEvery option can also be set by its environment variable; a flag wins over the environment, the "
              "environment over --config.");
  app_.fallthrough();
}

void CommandLine::add_settings(CLI::App& command, std::initializer_list<std::string_view> variables) {
  for (const std::string_view variable : variables) {
    const Setting& row = setting(variable);
    if (row.flag.empty()) continue;
    Given& given = given_.emplace_back(Given{row.variable, {}, nullptr});
    std::string help = fmt::format("{} [{}]", row.help, row.variable);
    if (!row.default_value.empty()) help += fmt::format(" (default {})", row.default_value);
    given.option = command.add_option(std::string(row.flag), given.value, help);
  }
  // Refused with a reason instead of "unknown option": people try it, and `ps` shows it to everybody.
  if (command.get_option_no_throw("--password") == nullptr) {
    command.add_option("--password", refused_password_)->group("");
  }
}

Settings CommandLine::settings_of_no_pair() const {
  Settings::Values flags;
  for (const Given& given : given_) {
    if (given.option->count() > 0) flags[std::string(given.variable)] = given.value;
  }
  return {std::move(flags), process_environment(), read_config_file()};
}

Settings CommandLine::settings() const {
  Settings settings = settings_of_no_pair();
  const auto pair = settings.optional_text("PAIR");
  if (!pair) return settings;
  const auto file = settings.optional_text("PAIRS_FILE");
  if (!file) {
    throw Error(ErrorCode::usage, fmt::format("the pair {} is named, and no file that describes it", *pair),
                "give --pairs FILE, or set PAIRS_FILE");
  }
  return settings.of_pair(pair_named(read_pairs(*file), *pair));
}

std::vector<Settings> CommandLine::settings_of_pairs() const {
  const Settings settings = settings_of_no_pair();
  const auto file = settings.optional_text("PAIRS_FILE");
  if (!file) throw Error(ErrorCode::usage, "no file describes the pairs", "give --pairs FILE, or set PAIRS_FILE");
  if (settings.given_as_flag("PAIR")) {
    throw Error(ErrorCode::usage, "--pair names one pair, and all are asked for", "leave out one of the two");
  }
  std::vector<Settings> pairs;
  for (PairEntry& entry : read_pairs(*file)) pairs.push_back(settings.of_pair(std::move(entry)));
  return pairs;
}

Settings::Values CommandLine::read_config_file() const {
  Settings::Values values;
  if (config_path_.empty()) return values;
  for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_file(config_path_)) {
    std::vector<std::string> variables;
    for (const Setting& row : settings_table) {
      if (row.flag == "--" + item.name && !item.inputs.empty()) variables.emplace_back(row.variable);
    }
    if (variables.empty()) {
      throw Error(ErrorCode::configuration, fmt::format("{} has the unknown key \"{}\"", config_path_, item.fullname()),
                  "the keys are the long options of --help without the dashes");
    }
    if (variables.size() > 1) {
      throw Error(ErrorCode::configuration,
                  fmt::format("{} has the key \"{}\", which would be that of every program that reads this file",
                              config_path_, item.name),
                  fmt::format("give --{}, or set {}", item.name, fmt::join(variables, " or ")));
    }
    values[variables.front()] = item.inputs.front();
  }
  return values;
}

void CommandLine::set_up_logging(const LogTarget& target) const {
  const Settings values = settings();
  const std::string level = values.one_of("LOG_LEVEL", {"trace", "debug", "info", "warn", "error"});
  pgrm::set_up_logging({
      .program = program_,
      .level = values.given("LOG_LEVEL") ? level : target.level,
      .format = values.one_of("LOG_FORMAT", {"text", "json"}) == "json" ? LogFormat::json : LogFormat::text,
      .file = target.file,
      .screen = target.screen,
  });
}

int CommandLine::run(int argc, const char* const* argv, const std::function<int()>& command) {
  try {
    app_.parse(argc, argv);
    if (!refused_password_.empty()) {
      throw Error(ErrorCode::usage, "a password on a command line is refused: every user of this machine could read it",
                  "set POSTGRES_PASSWORD_FILE, or put it into ~/.pgpass");
    }
    return command();
  } catch (const CLI::ParseError& refusal) {
    return app_.exit(refusal, std::cout, std::cerr) == 0 ? 0 : error_row(ErrorCode::usage).exit_code;
  } catch (const Error& error) {
    std::cerr << program_ << ": " << to_text(error) << '\n';
    return error.exit_code();
  } catch (const std::exception& surprise) {
    const Error error(ErrorCode::internal, surprise.what());
    std::cerr << program_ << ": " << to_text(error) << '\n';
    return error.exit_code();
  }
}

}  // namespace pgrm
