// A file of another program, replaced as a whole.
#pragma once

#include <string>

namespace pgrm::agent {

/// The file that a link leads to. Throws Error(file_failed).
std::string linked_file(const std::string& path);

/// Where the new one waits, beside the file.
std::string staged_name(const std::string& path);

/// Why the file could not be replaced by one with the same owner and mode; empty when it could. Changes nothing. The
/// group counts only where the mode gives it anything. REQUIRES: `path` is there, and no link.
std::string swap_problem(const std::string& path);

/// Writes `text` under staged_name(), on disk, with the owner and mode of the file.
/// Throws Error(file_failed); the file is as it was.
void stage(const std::string& path, const std::string& text);

/// Puts what is staged in place of the file. Throws Error(file_failed).
void swap_in(const std::string& path);

}  // namespace pgrm::agent
