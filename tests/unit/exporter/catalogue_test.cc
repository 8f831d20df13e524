#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "exporter/gauges.h"

namespace pgrm::exporter {
namespace {

TEST(Catalogue, StandsInTheDocsWordForWord) {
  std::ifstream file(PGRM_TOP "/docs/metrics.md");
  const std::string docs{std::istreambuf_iterator<char>(file), {}};
  EXPECT_TRUE(docs.ends_with("\n\n" + to_markdown(catalogue())))
      << "put the output of `exporter explain --markdown` at the end of docs/metrics.md";
}

}  // namespace
}  // namespace pgrm::exporter
