// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/clients/child_process.h"
#include "tests/clients/fake_daemon.h"
#include "tests/clients/temp_dir.h"

namespace smartkey {

inline std::string Slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The program itself, run as a person runs it, against the services of smartkey.v1 on a real
// socket.
class SmartkeyctlTest : public testing::Test {
 protected:
  struct Outcome {
    int code;
    std::string out;
    std::string err;
  };

  std::unique_ptr<ChildProcess> Start(std::vector<std::string> args,
                                      std::vector<std::string> environment = {}) {
    std::vector<std::string> argv = {SMARTKEYCTL_BINARY, "--socket", daemon_.path()};
    argv.insert(argv.end(), args.begin(), args.end());
    environment.push_back("PATH=/nonexistent-directory");
    return std::make_unique<ChildProcess>(std::move(argv), std::move(environment));
  }
  Outcome Ctl(std::vector<std::string> args, const std::string& input = "",
              std::vector<std::string> environment = {}) {
    auto child = Start(std::move(args), std::move(environment));
    if (!input.empty()) child->Type(input);
    child->CloseInput();
    const int code = child->Wait();
    return {code, child->out(), child->err()};
  }
  nlohmann::json CtlJson(std::vector<std::string> args) {
    args.insert(args.begin(), "--json");
    const Outcome outcome = Ctl(std::move(args));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    auto json = nlohmann::json::parse(outcome.out, nullptr, false);
    EXPECT_EQ(json.value("version", 0), 1) << outcome.out;
    return json;
  }

  TempDir dir_;
  FakeDaemon daemon_{dir_.File("smartkeyd.sock")};
};

}  // namespace smartkey
