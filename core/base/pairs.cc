#include "core/base/pairs.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <exception>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

namespace pgrm {
namespace {

/// What a process is told, whichever pair it works for.
constexpr std::array<std::string_view, 10> of_the_process{
    "EXPORTER_LISTEN",    "EXPORTER_WEB_CONFIG", "LOADGEN_LISTEN",
    "LOADGEN_WEB_CONFIG", "AGENT_LISTEN",        "AGENT_WEB_CONFIG",
    "LOG_LEVEL",          "LOG_FORMAT",          "PAIR",
    "PAIRS_FILE"};

/// Paths: relative to the file that names them.
constexpr std::array<std::string_view, 5> paths{"HOOKS", "NODE_CONTROL", "EXPORTER_CA_FILE", "LOADGEN_CA_FILE",
                                                "STATE_DIR"};

template <std::size_t n>
bool is_one_of(const std::array<std::string_view, n>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

/// "postgres-password" of POSTGRES_PASSWORD.
std::string key_of_secret(std::string_view variable) {
  std::string key(variable);
  std::ranges::transform(key, key.begin(), [](unsigned char c) { return c == '_' ? '-' : std::tolower(c); });
  return key;
}

/// What a key sets: a long option without the dashes, or postgres-password-file and its like. nullopt: nothing.
std::optional<std::string> variable_of(std::string_view key) {
  for (const Setting& row : settings_table) {
    if (is_one_of(of_the_process, row.variable)) continue;
    const bool secret = row.flag.empty();
    if (secret && key == key_of_secret(row.variable) + "-file") return std::string(row.variable) + "_FILE";
    if (!secret && key == row.flag.substr(2)) return std::string(row.variable);
  }
  return std::nullopt;
}

bool is_secret(std::string_view key) {
  return std::ranges::any_of(
      settings_table, [key](const Setting& row) { return row.flag.empty() && key == key_of_secret(row.variable); });
}

/// Fit for a label, a URL and the name of a file, without any escape.
bool is_name(std::string_view text) {
  const auto letter = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  return !text.empty() && text.size() <= 63 && letter(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return letter(c) || c == '-' || c == '_' || c == '.'; });
}

/// Prometheus' rule for the name of a label; two underscores are its own.
bool is_label(std::string_view text) {
  const auto fits = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text.front())) == 0 && !text.starts_with("__") &&
         std::ranges::all_of(text, fits);
}

class PairsFile {
 public:
  explicit PairsFile(std::string path) : path_(std::move(path)) {}

  std::vector<PairEntry> read() {
    const YAML::Node root = load();
    std::vector<PairEntry> pairs;
    if (expect(root.IsMap(), root, "the file is not a map with the key pairs")) {
      each(root, "the file", [&](const std::string& key, const YAML::Node& at, const YAML::Node& value) {
        if (key == "defaults") {
          read_settings(value, "the defaults", defaults_);
        } else if (key != "pairs") {
          fault(at, fmt::format("\"{}\" is not known here, allowed are defaults and pairs", key));
        }
      });
      pairs = read_list(root["pairs"], root);
    }
    if (!faults_.empty()) throw faults_of_pairs(faults_);
    return pairs;
  }

 private:
  YAML::Node load() const {
    try {
      const std::vector<YAML::Node> documents = YAML::LoadAllFromFile(path_);
      if (documents.size() < 2) return documents.empty() ? YAML::Node() : documents.front();
      throw faults_of_pairs({fmt::format("{}:1: the file has {} documents, allowed is one", path_, documents.size())});
    } catch (const YAML::ParserException& problem) {
      throw faults_of_pairs({fmt::format("{}:{}: {}", path_, problem.mark.line + 1, problem.msg)});
    } catch (const Error&) {
      throw;
    } catch (const std::exception&) {  // a directory is none of YAML's exceptions
      throw faults_of_pairs({path_ + ": the file cannot be read"});
    }
  }

  /// From 1; 1 too of an empty file.
  static int line_of(const YAML::Node& node) { return std::max(node.Mark().line, 0) + 1; }

  void fault(const YAML::Node& at, const std::string& what) {
    faults_.push_back(fmt::format("{}:{}: {}", path_, line_of(at), what));
  }

  bool expect(bool condition, const YAML::Node& at, const std::string& what) {
    if (!condition) fault(at, what);
    return condition;
  }

  /// Every key of `map` once: visit(key, its node, its value).
  template <class Visit>
  void each(const YAML::Node& map, const std::string& owner, Visit visit) {
    std::set<std::string> seen;
    for (const auto& entry : map) {
      const auto name = entry.first.as<std::string>("");
      if (expect(seen.insert(name).second, entry.first, fmt::format("{} of {} stands there twice", name, owner))) {
        visit(name, entry.first, entry.second);
      }
    }
  }

  std::vector<PairEntry> read_list(const YAML::Node& list, const YAML::Node& root) {
    std::vector<PairEntry> pairs;
    if (!list || !list.IsSequence() || list.size() == 0) {
      fault(list ? list : root, "pairs is not a list of at least one pair");
      return pairs;
    }
    std::set<std::string> names;
    for (const YAML::Node& node : list) {
      if (!expect(node.IsMap(), node, "a pair is not a map of keys to values")) continue;
      PairEntry pair = read_pair(node);
      expect(pair.name.empty() || names.insert(pair.name).second, node,
             fmt::format("two pairs have the name {}", pair.name));
      pairs.push_back(std::move(pair));
    }
    return pairs;
  }

  PairEntry read_pair(const YAML::Node& node) {
    PairEntry pair;
    const YAML::Node name = node["name"];
    if (name && name.IsScalar() && is_name(name.Scalar())) {
      pair.name = name.Scalar();
    } else {
      fault(name ? name : node,
            "a pair has no name of letters, digits, dot, dash and underscore, at most 63, beginning with a letter or "
            "digit");
    }
    const std::string owner = pair.name.empty() ? "a pair" : pair.name;
    pair.origin = fmt::format("{}:{}", path_, line_of(node));
    pair.values = defaults_;
    read_settings(node, owner, pair.values, &pair.labels);
    for (const std::string side : {"PRIMARY", "REPLICA"}) complete(pair, side, node);
    return pair;
  }

  /// `labels` != nullptr: `map` is that of a pair, with its name and labels.
  void read_settings(const YAML::Node& map, const std::string& owner, PairEntry::Values& values,
                     std::map<std::string, std::string>* labels = nullptr) {
    if (!expect(map.IsMap(), map, owner + " are not a map of keys to values")) return;
    each(map, owner, [&](const std::string& key, const YAML::Node& at, const YAML::Node& value) {
      if (labels != nullptr && key == "name") return;
      if (labels != nullptr && key == "labels") return read_labels(value, owner, *labels);
      if (!expect(!is_secret(key), at,
                  fmt::format("{} of {} is a secret: name its file with {}-file", key, owner, key)))
        return;
      const auto variable = variable_of(key);
      if (!expect(variable.has_value(), at, fmt::format("\"{}\" of {} is not a setting of a pair", key, owner))) return;
      if (!expect(value.IsScalar() && !value.Scalar().empty(), at, fmt::format("{} of {} has no value", key, owner)))
        return;
      const bool path = is_one_of(paths, *variable) || key.ends_with("-password-file") || key.ends_with("-token-file");
      values[*variable] = {path ? beside_the_file(value.Scalar()) : value.Scalar(),
                           fmt::format("{}:{}: {} of {}", path_, line_of(at), key, owner)};
    });
  }

  void read_labels(const YAML::Node& map, const std::string& owner, std::map<std::string, std::string>& labels) {
    if (!expect(map.IsMap(), map, fmt::format("labels of {} are not a map of names to values", owner))) return;
    each(map, "the labels of " + owner, [&](const std::string& name, const YAML::Node& at, const YAML::Node& value) {
      if (!expect(is_label(name), at, fmt::format("\"{}\" of {} is no name of a label", name, owner))) return;
      if (!expect(value.IsScalar(), at, fmt::format("label {} of {} has no value", name, owner))) return;
      labels[name] = value.Scalar();
    });
  }

  /// A server is named in one way. Its port is PostgreSQL's own: the default of the variable is that of a lab.
  void complete(PairEntry& pair, const std::string& side, const YAML::Node& node) {
    const std::string key = side == "PRIMARY" ? "primary" : "replica", owner = pair.name.empty() ? "a pair" : pair.name;
    const bool host = pair.values.contains(side + "_HOST"), port = pair.values.contains(side + "_PORT");
    const bool whole = pair.values.contains(side + "_DSN");
    expect(host || whole, node, fmt::format("{} names no {}: it needs {} or {}-host", owner, key, key, key));
    expect(!whole || !(host || port), node,
           fmt::format("{} has {}, and {}-host or {}-port besides: one of them says it all", owner, key, key, key));
    if (host && !port)
      pair.values[side + "_PORT"] = {"5432", fmt::format("{}: {}-port of {}", pair.origin, key, owner)};
  }

  std::string beside_the_file(const std::string& path) const {
    return std::filesystem::absolute(std::filesystem::path(path_).parent_path() / path).lexically_normal();
  }

  const std::string path_;
  PairEntry::Values defaults_;
  std::vector<std::string> faults_;
};

}  // namespace

std::vector<PairEntry> read_pairs(const std::string& path) { return PairsFile(path).read(); }

const PairEntry& pair_named(const std::vector<PairEntry>& pairs, std::string_view name) {
  const auto found = std::ranges::find(pairs, name, &PairEntry::name);
  if (found != pairs.end()) return *found;
  std::vector<std::string_view> names;
  for (const PairEntry& pair : pairs) names.push_back(pair.name);
  constexpr std::size_t worth_listing = 20;
  throw Error(ErrorCode::usage, fmt::format("the pairs file has no pair {}", name),
              names.size() <= worth_listing ? fmt::format("it has {}", fmt::join(names, ", "))
                                            : fmt::format("it has {} others", names.size()));
}

Error faults_of_pairs(const std::vector<std::string>& faults) {
  return {ErrorCode::configuration, fmt::format("{}", fmt::join(faults, "\n")),
          "docs/fleet.md has an example; the keys are the long options of --help without the dashes"};
}

}  // namespace pgrm
