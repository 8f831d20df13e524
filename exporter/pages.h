// What the exporter answers over HTTP. Every page is a function of a View: no page touches a server.
#pragma once

#include <functional>
#include <string_view>

#include "core/http/server.h"
#include "exporter/observation.h"

namespace pgrm::exporter {

/// The answer to GET `path`. REQUIRES: it is the path of a page.
http::Response answer(std::string_view path, const View& view);

/// Serves every page of one pair; `view` is called for each request, from several threads.
void add_pages(http::Server& server, std::function<View()> view);

/// The live page, self-contained; made from status.html.
extern const char* const status_html;

}  // namespace pgrm::exporter
