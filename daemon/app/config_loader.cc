// SPDX-License-Identifier: Apache-2.0
// Which files are read, in which order, and what a problem in one of them means for the others.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/access_list.h"
#include "base/log.h"
#include "base/unique_fd.h"
#include "daemon/app/config.h"
#include "daemon/app/config_access.h"
#include "daemon/app/config_schema.h"
#include "daemon/app/config_table.h"

namespace smartkey {
namespace {

constexpr size_t kMaxFileBytes = 1024 * 1024;

// What one reading is for, and what it has said.
struct Reading {
  ConfigUse use;
  const UserDatabase& users;
  ServiceUser user;
  std::set<std::string> told;

  // What may not be used is not: only a check looks into it all the same, for all that is wrong.
  bool GoesOn() const { return use == ConfigUse::kCheck; }
};

// What is wrong with a file or directory before anything in it is read; empty: nothing, or what a
// check has said before: a directory above may be closed to all of them.
std::string WhyNotUsed(const std::string& path, const struct stat& info,
                       const absl::optional<std::string>& list, Reading& reading) {
  std::string why = WhyNotTrusted(path, info, list, reading.user);
  if (why.empty()) why = WhyNotReadable(path, reading.user);
  return reading.told.insert(why).second || !reading.GoesOn() ? why : "";
}

// All of a file that is open, or one byte more than it may have. nullopt: it cannot be read, errno
// says why.
absl::optional<std::string> ReadText(int fd) {
  std::string text(kMaxFileBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(fd, text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::nullopt;
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  text.resize(size);
  return text;
}

// Notes a problem and returns nothing if the file cannot be read or is not TOML. It is opened once:
// what is looked at is what is read, whatever the path leads to meanwhile.
absl::optional<toml::table> ParseFile(const std::string& file, Reading& reading,
                                      ConfigProblems& problems) {
  const UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  struct stat info {};
  if (!fd || fstat(fd.get(), &info) != 0) {
    problems.Add(0, WhyNotOpened(file, errno, false, reading.user, reading.users));
    return absl::nullopt;
  }
  if (S_ISDIR(info.st_mode)) {
    problems.Add(0, "cannot be read: it is a directory");
    return absl::nullopt;
  }
  if (const std::string why = WhyNotUsed(file, info, AccessListOf(fd.get()), reading);
      !why.empty()) {
    problems.Add(0, why);
    if (!reading.GoesOn()) return absl::nullopt;
  }
  const absl::optional<std::string> text = ReadText(fd.get());
  if (!text.has_value()) {
    problems.Add(0, WhyNotOpened(file, errno, false, reading.user, reading.users));
    return absl::nullopt;
  }
  if (text->size() > kMaxFileBytes) {
    problems.Add(0, "is larger than 1 MiB");
    return absl::nullopt;
  }
  try {
    return toml::parse(*text);
  } catch (const toml::parse_error& failure) {
    problems.Add(static_cast<int>(failure.source().begin.line),
                 absl::StrCat("not TOML: ", Printable(std::string(failure.description()), 200)));
    return absl::nullopt;
  }
}

// The *.toml files of a directory by name; none if there is no such directory.
std::vector<std::string> ListDropIns(const std::string& directory, Reading& reading,
                                     std::vector<ConfigProblem>& problems) {
  std::vector<std::string> files;
  struct stat info {};
  if (stat(directory.c_str(), &info) == 0) {  // if not, listing it says why
    const std::string why = WhyNotUsed(directory, info, AccessListOf(directory), reading);
    if (!why.empty()) {
      problems.push_back({directory, 0, why});
      if (!reading.GoesOn()) return files;
    }
  }
  std::error_code error;
  std::filesystem::directory_iterator entries(directory, error);
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    const std::filesystem::path& path = entries->path();
    // Editors leave hidden files behind.
    if (path.extension() != ".toml" || path.filename().string()[0] == '.') continue;
    std::error_code unknown;
    if (std::filesystem::is_other(path, unknown)) {
      problems.push_back(
          {path.string(), 0, "is no file: opening it could wait for ever, or do something"});
    } else {
      files.push_back(path.string());
    }
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    problems.push_back(
        {directory, 0, WhyNotOpened(directory, error.value(), true, reading.user, reading.users)});
  }
  std::sort(files.begin(), files.end());
  return files;
}

void CheckFolderOf(const std::string& main_file, const Reading& reading, ConfigProblems& problems) {
  std::error_code error;
  const std::string folder = std::filesystem::absolute(main_file, error).parent_path().string();
  if (const std::string why = WhyFolderNotTrusted(folder, reading.user); !why.empty()) {
    problems.Add(0, why);
  }
}

// Puts the blocks of one file after another into one catalog.
class CatalogBuilder {
 public:
  // Adds a problem for every id or name that another file has defined.
  void CheckNew(const ConfigBlocks& blocks, ConfigProblems& problems) const {
    for (const auto& app : blocks.apps) Check(apps_, "app", app.block.id, app.line, problems);
    for (const auto& server : blocks.servers) {
      Check(servers_, "server", server.block.name, server.line, problems);
    }
  }

  void Add(ConfigBlocks blocks, const std::string& file) {
    for (auto& app : blocks.apps) {
      apps_[app.block.id] = absl::StrCat(file, ":", app.line);
      catalog_.apps.push_back(std::move(app.block));
    }
    for (auto& server : blocks.servers) {
      servers_[server.block.name] = absl::StrCat(file, ":", server.line);
      catalog_.servers.push_back(std::move(server.block));
    }
  }

  void Add(std::vector<Policy> policies) { catalog_.policies = std::move(policies); }

  Catalog Take() { return std::move(catalog_); }

 private:
  using Places = std::map<std::string, std::string>;  // id or name to "file:line"

  static void Check(const Places& places, absl::string_view kind, const std::string& name, int line,
                    ConfigProblems& problems) {
    const auto first = places.find(name);
    if (name.empty() || first == places.end()) return;
    problems.Add(line, absl::StrCat(kind, " \"", name, "\" is already defined in ", first->second));
  }

  Places apps_;
  Places servers_;
  Catalog catalog_;
};

void ReadDropInFile(const std::string& file, Reading& reading, CatalogBuilder& builder,
                    std::vector<ConfigProblem>& problems) {
  ConfigProblems own(file);
  if (const absl::optional<toml::table> root = ParseFile(file, reading, own)) {
    ConfigBlocks blocks = ReadDropIn(*root, own);
    builder.CheckNew(blocks, own);
    // All or nothing: half of an app's file would be harder to understand than none.
    if (own.empty()) builder.Add(std::move(blocks), file);
  }
  for (ConfigProblem& problem : own.ByLine()) problems.push_back(std::move(problem));
}

}  // namespace

ConfigReport ReadConfig(const std::string& main_file, ConfigUse use, const UserDatabase& users) {
  ConfigReport report;
  Reading reading{use,
                  users,
                  use == ConfigUse::kServe ? ServiceUser::Find(users)
                                           : ServiceUser::FindToCheck(main_file, users),
                  {}};
  CatalogBuilder builder;
  ConfigProblems errors(main_file);
  CheckFolderOf(main_file, reading, errors);
  if (const absl::optional<toml::table> root = ParseFile(main_file, reading, errors)) {
    ConfigBlocks blocks = ReadMainFile(*root, report.config, errors);
    builder.Add(std::move(blocks.policies));
    builder.Add(std::move(blocks), main_file);
  }
  report.errors = errors.ByLine();
  for (const std::string& directory :
       {absl::StrCat(main_file, ".d"), report.config.daemon.apps_dir}) {
    for (const std::string& file : ListDropIns(directory, reading, report.config.problems)) {
      ReadDropInFile(file, reading, builder, report.config.problems);
    }
  }
  report.config.catalog = builder.Take();
  return report;
}

}  // namespace smartkey
