#include "core/base/log.h"

#include <fcntl.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm {
namespace {

// spdlog's %v writes the message as it is; inside a JSON string it has to be escaped.
class JsonMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string text(message.payload.data(), message.payload.size());
    const std::string quoted = json_text(text);
    out.append(quoted.data(), quoted.data() + quoted.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JsonMessage>(); }
};

std::unique_ptr<spdlog::formatter> make_formatter(const LogOptions& options) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  formatter->add_flag<JsonMessage>('*');
  formatter->set_pattern(options.format == LogFormat::json
                             ? R"({"ts":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","program":")" + options.program +
                                   R"(","msg":%*})"
                             : "%Y-%m-%d %H:%M:%S.%e %^%-7l%$ %v");
  return formatter;
}

}  // namespace

void set_up_logging(const LogOptions& options) {
  const bool colour = std::getenv("NO_COLOR") == nullptr && options.format == LogFormat::text;
  auto screen = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(colour ? spdlog::color_mode::automatic
                                                                             : spdlog::color_mode::never);
  std::vector<spdlog::sink_ptr> sinks;
  if (options.screen) sinks.push_back(std::move(screen));
  if (!options.file.empty()) {
    // The sink would let everybody read it.
    if (const int file = open(options.file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600); file >= 0)
      close(file);
    try {
      sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file));
    } catch (const spdlog::spdlog_ex& failure) {
      throw Error(ErrorCode::file_failed, "cannot write the log file " + options.file + ": " + failure.what());
    }
  }
  auto logger = std::make_shared<spdlog::logger>(options.program, sinks.begin(), sinks.end());
  logger->set_formatter(make_formatter(options));
  logger->set_level(spdlog::level::from_str(options.level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace pgrm
