// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "daemon/app/config.h"

namespace smartkey {

// Configuration files in a directory of this test's own: main file, drop-ins and apps_dir.
class ConfigDirectory {
 public:
  ConfigDirectory() {
    std::string path = (std::filesystem::temp_directory_path() / "smartkey-test-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) abort();
    path_ = path;
    std::filesystem::create_directory(main_file() + ".d");
    std::filesystem::create_directory(path_ + "/apps.d");
  }
  ~ConfigDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ConfigDirectory(const ConfigDirectory&) = delete;
  ConfigDirectory& operator=(const ConfigDirectory&) = delete;

  std::string main_file() const { return path_ + "/smartkeyd.toml"; }
  std::string drop_in(const std::string& name) const { return main_file() + ".d/" + name; }
  std::string app_file(const std::string& name) const { return path_ + "/apps.d/" + name; }

  // The first two lines of the main file are [daemon] and apps_dir; `text` follows, so that its
  // first line is line 3 and may go on with keys of [daemon].
  void WriteMain(const std::string& text) const {
    WriteRaw(main_file(), absl::StrCat("[daemon]\napps_dir = \"", path_, "/apps.d\"\n", text));
  }
  void WriteRaw(const std::string& file, const std::string& text) const {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
  }

  ConfigReport Read() const { return ReadConfig(main_file()); }

  // The problems with this directory's path taken out of them.
  std::vector<std::string> Lines(const std::vector<ConfigProblem>& problems) const {
    std::vector<std::string> lines;
    for (const ConfigProblem& problem : problems) {
      std::string line = problem.ToString();
      for (size_t at; (at = line.find(path_ + "/")) != std::string::npos;) {
        line.erase(at, path_.size() + 1);
      }
      lines.push_back(line);
    }
    return lines;
  }
  std::vector<std::string> Errors() const { return Lines(Read().errors); }
  std::vector<std::string> Problems() const { return Lines(Read().config.problems); }

 private:
  std::string path_;
};

}  // namespace smartkey
