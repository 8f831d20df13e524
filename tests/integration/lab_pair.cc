#include "tests/integration/lab_pair.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>

namespace pgrm {

const LabPair& LabPair::get() {
  static const LabPair pair;
  return pair;
}

LabPair::LabPair() {
  const char* const top = std::getenv("PGRM_TOP");
  if (top == nullptr) throw std::runtime_error("PGRM_TOP must name the checkout: run this through ctest");
  top_ = top;
  std::string directory = "/tmp/pgrm-integration-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) throw std::runtime_error("cannot make " + directory);
  // Servers that run as another user have to get there.
  std::filesystem::permissions(directory, std::filesystem::perms(0755));
  home_ = directory;
  // Somewhere below the ports that the kernel hands out: labs that all began at 5432 would take each other's while a
  // server is down on purpose.
  std::random_device random;
  int port = std::uniform_int_distribution(10000, 31000)(random);
  for (const char* const variable : {"PRIMARY_PORT", "REPLICA_PORT", "EXPORTER_PORT", "LOADGEN_PORT"}) {
    setenv(variable, std::to_string(port++).c_str(), 1);  // NOLINT(concurrency-mt-unsafe)
  }
  try {
    lab("up");
  } catch (const std::exception&) {
    remove();
    throw;
  }
}

LabPair::~LabPair() { remove(); }

void LabPair::remove() const {
  try {
    lab("down --wipe");
    std::filesystem::remove_all(home_);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "clean-up: %s\n", failure.what());
  }
}

void LabPair::lab(const std::string& arguments) const {
  const std::string log = home_ + "/lab.log";
  const std::string command = "LAB_HOME='" + home_ + "' '" + top_ + "/lab' " + arguments + " >'" + log + "' 2>&1";
  if (std::system(command.c_str()) == 0) return;  // NOLINT(cert-env33-c): a test, with paths of its own
  std::ifstream file(log);
  throw std::runtime_error("lab " + arguments + " failed:\n" + std::string{std::istreambuf_iterator<char>(file), {}});
}

std::string LabPair::variable(const std::string& name) const {
  std::ifstream file(home_ + "/data/lab.env");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + "=")) return line.substr(name.size() + 1);
  }
  throw std::runtime_error("lab.env has no " + name);
}

Pair LabPair::as(const std::string& role, const std::string& database) const {
  std::ifstream file(home_ + "/data/secrets/" + role);
  std::string password;
  std::getline(file, password);
  const auto server = [&](const std::string& port) {
    return Conninfo::parse("host=127.0.0.1")
        .with("port", variable(port))
        .with("user", role)
        .with("dbname", database)
        .with("password", password);
  };
  return {server("PRIMARY_PORT"), server("REPLICA_PORT")};
}

}  // namespace pgrm
