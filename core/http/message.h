// HTTP/1.1 messages as text, after RFC 9110 and 9112. Pure functions.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/http/server.h"

namespace pgrm::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

/// A request line and its headers.
struct Head {
  std::string method;
  std::string path;   // without a query
  std::string query;  // what stands behind the question mark, as it is
  bool keep_alive = true;
  Headers headers;  // names in lower case

  /// Of the first header of that name (lower case).
  std::optional<std::string> header(std::string_view name) const;
};

/// Why a message was not understood or is not wanted: what to answer.
struct Refusal {
  int status;
  std::string text;
};

/// `text` ends with the empty line. Throws Refusal for what is not HTTP/1.x, or could be read in two ways.
Head parse_head(std::string_view text);

/// Bytes of body that belong to it. Throws Refusal for a length that is none, more than `limit`, or a coding.
std::size_t body_length(const Head& head, std::size_t limit);

/// The value of `name` in a query ("pair=a&x=%41"), with %41 and + read. nullopt: it is not there, or there twice.
std::optional<std::string> parameter(std::string_view query, std::string_view name);

/// Whether the client says that it takes gzip.
bool accepts_gzip(const Head& head);

std::string gzip(std::string_view text);

/// A whole response, with its length. `more`: headers besides those that every response has.
std::string to_text(const Response& response, const Headers& more, bool keep_alive, bool with_body);

}  // namespace pgrm::http
