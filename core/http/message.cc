#include "core/http/message.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <ctime>

#include "core/base/error.h"

namespace pgrm::http {
namespace {

constexpr std::size_t longest_target = 2048;
constexpr std::string_view line_end = "\r\n";

constexpr std::string_view marks = "!#$%&'*+-.^_`|~";

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || marks.find(c) != std::string_view::npos;
  });
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t";
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

/// Cuts off and returns what stands before the next `end`.
std::string_view cut(std::string_view& text, std::string_view end) {
  const auto at = text.find(end);
  const std::string_view before = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + end.size());
  return before;
}

[[noreturn]] void refuse(int status, std::string text) { throw Refusal{status, std::move(text)}; }

struct Target {
  std::string_view path, query;
};

Target parse_target(std::string_view target) {
  if (target.size() > longest_target) refuse(414, fmt::format("URI longer than {} bytes", longest_target));
  // The form that proxies are sent.
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const auto slash = target.find('/', scheme.size());
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  if (!target.starts_with('/')) refuse(400, "bad request: the path does not begin with /");
  target = target.substr(0, target.find('#'));
  const std::string_view path = cut(target, "?");
  return {path, target};
}

/// "a b" of "a%20b" and "a+b". What is no escape stays as it is.
std::string unescaped(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size(); ++at) {
    unsigned char byte = 0;
    const char* const digits = text.data() + at + 1;
    if (text[at] == '%' && at + 2 < text.size() && std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      result += static_cast<char>(byte);
      at += 2;
    } else {
      result += text[at] == '+' ? ' ' : text[at];
    }
  }
  return result;
}

std::pair<std::string, std::string> parse_header(std::string_view line) {
  const std::string_view name = line.substr(0, line.find(':'));
  if (name.size() == line.size() || !is_token(name)) refuse(400, "bad request: a header line is none");
  const std::string_view value = trimmed(line.substr(name.size() + 1));
  const bool printable = std::ranges::all_of(value, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= ' ' && byte != 127);
  });
  if (!printable) refuse(400, "bad request: a header has a control character");
  return {lower(name), std::string(value)};
}

std::size_t count(const Head& head, std::string_view name) {
  return static_cast<std::size_t>(
      std::ranges::count_if(head.headers, [name](const auto& header) { return header.first == name; }));
}

/// Whether the comma-separated list has `word`, without regard to parameters.
bool lists(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    std::string_view item = cut(list, ",");
    if (lower(trimmed(cut(item, ";"))) == word) return true;
  }
  return false;
}

struct Reason {
  int status;
  std::string_view text;
};

constexpr std::array reasons{
    Reason{200, "OK"},
    Reason{400, "Bad Request"},
    Reason{401, "Unauthorized"},
    Reason{403, "Forbidden"},
    Reason{404, "Not Found"},
    Reason{405, "Method Not Allowed"},
    Reason{408, "Request Timeout"},
    Reason{409, "Conflict"},
    Reason{413, "Content Too Large"},
    Reason{414, "URI Too Long"},
    Reason{421, "Misdirected Request"},
    Reason{429, "Too Many Requests"},
    Reason{431, "Request Header Fields Too Large"},
    Reason{500, "Internal Server Error"},
    Reason{501, "Not Implemented"},
    Reason{503, "Service Unavailable"},
    Reason{505, "HTTP Version Not Supported"},
};

std::string_view reason_of(int status) {
  const auto* const row = std::ranges::find(reasons, status, &Reason::status);
  return row == reasons.end() ? "Other" : row->text;
}

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 40> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text.data(), size};
}

}  // namespace

std::optional<std::string> Head::header(std::string_view name) const {
  const auto found = std::ranges::find_if(headers, [name](const auto& header) { return header.first == name; });
  if (found == headers.end()) return std::nullopt;
  return found->second;
}

Head parse_head(std::string_view text) {
  std::string_view line = cut(text, line_end);
  const std::string_view method = cut(line, " ");
  const std::string_view asked = cut(line, " ");
  if (!is_token(method) || asked.empty() || line.find(' ') != std::string_view::npos) {
    refuse(400, "bad request: the first line is no request line");
  }
  if (!line.starts_with("HTTP/") || line.size() != 8) refuse(400, "bad request: no HTTP version");
  if (!line.starts_with("HTTP/1.")) refuse(505, "HTTP/1.1 is spoken here");

  const Target target = parse_target(asked);
  Head head{.method = std::string(method),
            .path = std::string(target.path),
            .query = std::string(target.query),
            .keep_alive = line != "HTTP/1.0",
            .headers = {}};
  while (!text.empty()) {
    line = cut(text, line_end);
    if (!line.empty()) head.headers.push_back(parse_header(line));
  }
  if (count(head, "host") > 1 || (head.keep_alive && count(head, "host") == 0)) {
    refuse(400, "bad request: exactly one Host is required");
  }
  const std::string connection = head.header("connection").value_or("");
  if (lists(connection, "close")) head.keep_alive = false;
  if (lists(connection, "keep-alive")) head.keep_alive = true;
  return head;
}

std::size_t body_length(const Head& head, std::size_t limit) {
  if (head.header("transfer-encoding")) refuse(501, "bodies are taken with a Content-Length only");
  const auto text = head.header("content-length");
  if (!text) return 0;  // curl -X POST
  std::size_t length = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), length);
  if (error == std::errc::result_out_of_range || length > limit) {
    refuse(413, fmt::format("body larger than {} bytes", limit));
  }
  if (error != std::errc{} || end != text->data() + text->size() || count(head, "content-length") > 1) {
    refuse(400, "bad request: Content-Length is not one number");
  }
  return length;
}

std::optional<std::string> parameter(std::string_view query, std::string_view name) {
  std::optional<std::string> found;
  while (!query.empty()) {
    std::string_view value = cut(query, "&");
    if (unescaped(cut(value, "=")) != name) continue;
    if (found) return std::nullopt;
    found = unescaped(value);
  }
  return found;
}

bool accepts_gzip(const Head& head) {
  std::string_view list;
  const std::string text = head.header("accept-encoding").value_or("");
  for (list = text; !list.empty();) {
    std::string_view item = cut(list, ",");
    if (lower(trimmed(cut(item, ";"))) != "gzip") continue;
    // "gzip;q=0" refuses it; whatever other weight it has, nothing else is offered.
    const std::string weight = lower(trimmed(item));
    return !weight.starts_with("q=0") || weight.find_first_of("123456789") != std::string::npos;
  }
  return false;
}

std::string gzip(std::string_view text) {
  z_stream stream{};
  constexpr int fastest = 1;
  constexpr int gzip_window = 15 + 16;
  if (deflateInit2(&stream, fastest, Z_DEFLATED, gzip_window, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw Error(ErrorCode::internal, "zlib cannot be initialised");
  }
  std::string result(deflateBound(&stream, static_cast<uLong>(text.size())), '\0');
  // zlib takes no const pointer, and does not write there.
  stream.next_in =
      reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(result.size());
  const int end = deflate(&stream, Z_FINISH);
  result.resize(stream.total_out);
  deflateEnd(&stream);
  if (end != Z_STREAM_END) throw Error(ErrorCode::internal, "zlib did not finish");
  return result;
}

std::string to_text(const Response& response, const Headers& more, bool keep_alive, bool with_body) {
  std::string text = fmt::format(
      "HTTP/1.1 {} {}\r\nDate: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\n"
      "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
      response.status, reason_of(response.status), http_date(), response.content_type, response.body.size(),
      keep_alive ? "keep-alive" : "close");
  for (const auto& [name, value] : more) text += fmt::format("{}: {}\r\n", name, value);
  text += line_end;
  if (with_body) text += response.body;
  return text;
}

}  // namespace pgrm::http
