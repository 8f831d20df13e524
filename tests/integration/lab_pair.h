// A real primary and replica, made by `lab up` in a directory of their own, for as long as the test program runs.
#pragma once

#include <string>

#include "core/pg/conninfo.h"

namespace pgrm {

class LabPair {
 public:
  /// The pair of this program: started at the first call, stopped and removed at exit.
  static const LabPair& get();

  /// `role`: postgres, pgrm_monitor, pgrm_app or pgrm_agent, with its password.
  Pair as(const std::string& role, const std::string& database = "testdb") const;
  const std::string& home() const { return home_; }
  /// What `lab` remembers under `name` in lab.env, e.g. PG_BIN. Throws std::runtime_error when it has no such line.
  std::string variable(const std::string& name) const;
  /// Runs `lab …` against this pair. Throws std::runtime_error when it fails.
  void lab(const std::string& arguments) const;

  ~LabPair();
  LabPair(const LabPair&) = delete;
  LabPair& operator=(const LabPair&) = delete;

 private:
  LabPair();
  void remove() const;

  std::string top_, home_;
};

}  // namespace pgrm
