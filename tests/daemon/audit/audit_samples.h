// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "daemon/audit/audit_files.h"
#include "tests/clients/temp_dir.h"

namespace smartkey {

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

// The lines of all files of a log, in order.
inline std::vector<std::string> AuditLines(const std::string& directory) {
  std::vector<std::string> lines;
  for (const AuditFile& file : ListAuditFiles(directory)) {
    std::stringstream text(ReadFile(file.path));
    for (std::string line; std::getline(text, line);) lines.push_back(line);
  }
  return lines;
}

}  // namespace smartkey
