// Prometheus' text format 0.0.4, written as it comes: for pages of many thousand series, where families of objects
// would cost more than all the rest.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/http/server.h"

namespace pgrm::metrics {

using Labels = std::vector<std::pair<std::string, std::string>>;

/// `node="primary",slot="a \"b\""`, as it stands between the braces.
std::string label_text(const Labels& labels);

class Text {
 public:
  /// What follows are series of this family. One without a series leaves nothing behind. `type`: gauge or counter.
  void family(std::string_view name, std::string_view help, std::string_view type);

  /// `labels`: a label_text(). Whole numbers that a double has exactly are written in full.
  void series(std::string_view labels, const Labels& more, double value);

  /// All of it, as an answer to GET /metrics.
  http::Response response() && { return {200, std::move(text_), "text/plain; version=0.0.4; charset=utf-8"}; }

 private:
  std::string text_, header_, name_;
};

}  // namespace pgrm::metrics
