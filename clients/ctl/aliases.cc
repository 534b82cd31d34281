// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/aliases.h"

#include <arpa/inet.h>

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/log.h"

namespace smartkey::ctl {
namespace {

// What a file or a unit of this system ends with; such names tell nothing that is not in the text
// of a package.
constexpr absl::string_view kFiles[] = {"conf", "crt",    "db",    "json",    "log",    "md",
                                        "pem",  "slice",  "so",    "service", "socket", "sh",
                                        "sock", "target", "timer", "toml",    "yml"};

bool IsOfWord(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || (c & 0x80) != 0;
}

bool IsOfHost(char c) {
  return IsOfWord(c) || c == '.' || c == '-' || c == '_';
}

bool IsOfAddress(char c) {
  return absl::ascii_isxdigit(static_cast<unsigned char>(c)) || c == '.' || c == ':';
}

template <typename Is>
size_t EndOfRun(absl::string_view text, size_t begin, Is is) {
  size_t end = begin;
  while (end < text.size() && is(text[end])) ++end;
  return end;
}

bool IsAddress(int family, absl::string_view text) {
  unsigned char address[sizeof(in6_addr)];
  return inet_pton(family, std::string(text).c_str(), address) == 1;
}

// A name with dots of which the last part could be a domain; what gRPC calls its services is none.
bool IsHost(absl::string_view text) {
  if (absl::StartsWith(text, "grpc.health.") || absl::StartsWith(text, "smartkey.v1.")) {
    return false;
  }
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '.');
  if (parts.size() < 2) return false;
  for (const absl::string_view part : parts) {
    if (part.empty()) return false;
  }
  const absl::string_view last = parts.back();
  if (std::find(std::begin(kFiles), std::end(kFiles), last) != std::end(kFiles)) return false;
  if (absl::StartsWith(last, "xn--")) return true;
  return last.size() >= 2 && std::all_of(last.begin(), last.end(), [](char c) {
           return absl::ascii_isalpha(static_cast<unsigned char>(c)) || (c & 0x80) != 0;
         });
}

// Whether `word` begins at `at`, with nothing around it that would make it a part of another one.
bool StandsAt(absl::string_view text, size_t at, absl::string_view word) {
  if (!absl::StartsWith(text.substr(at), word)) return false;
  if (at > 0 && IsOfWord(word.front()) && IsOfWord(text[at - 1])) return false;
  const size_t end = at + word.size();
  return end == text.size() || !IsOfWord(word.back()) || !IsOfWord(text[end]);
}

}  // namespace

void Aliases::Add(const std::string& kind, const std::string& value) {
  if (value.size() < 2) return;
  const std::string word = WordFor(kind, value);
  words_.emplace(Printable(value, value.size() * 4), word);
}

const std::string& Aliases::WordFor(const std::string& kind, const std::string& value) {
  const auto found = words_.find(value);
  if (found != words_.end()) return found->second;
  return words_[value] = absl::StrCat("<", kind, "-", ++counts_[kind], ">");
}

std::string Aliases::Apply(absl::string_view text) {
  return ReplaceHosts(ReplaceIssuers(ReplacePrincipals(ReplaceKnown(text))));
}

void Aliases::Apply(nlohmann::json& value) {
  if (value.is_string()) value = Apply(value.get_ref<const std::string&>());
  if (!value.is_structured()) return;
  for (nlohmann::json& one : value) Apply(one);
}

// Of several that begin at the same place the longest counts.
std::string Aliases::ReplaceKnown(absl::string_view text) const {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const std::pair<const std::string, std::string>* longest = nullptr;
    const absl::string_view beginning = text.substr(at, 2);
    for (auto it = words_.lower_bound(std::string(beginning));
         it != words_.end() && absl::StartsWith(it->first, beginning); ++it) {
      if (longest != nullptr && it->first.size() <= longest->first.size()) continue;
      if (StandsAt(text, at, it->first)) longest = &*it;
    }
    if (longest == nullptr) {
      out.push_back(text[at++]);
    } else {
      out += longest->second;
      at += longest->first.size();
    }
  }
  return out;
}

// Goes through a text: `find` says, for each place, what is to be replaced there, if anything; all
// else is kept.
template <typename Find>
std::string Aliases::Replace(absl::string_view text, Find find) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const Match match = find(at);
    if (match.end <= at) {
      out.push_back(text[at++]);
      continue;
    }
    const absl::string_view value = text.substr(match.begin, match.end - match.begin);
    absl::StrAppend(
        &out, text.substr(at, match.begin - at),
        match.kind == nullptr ? std::string(value) : WordFor(match.kind, std::string(value)));
    at = match.end;
  }
  return out;
}

// "user:NAME", also of somebody who is in no list: a policy names him.
std::string Aliases::ReplacePrincipals(absl::string_view text) {
  return Replace(text, [&](size_t at) -> Match {
    for (const absl::string_view kind : {"user:", "uid:", "group:", "unit:"}) {
      if (!StandsAt(text, at, kind)) continue;
      const size_t begin = at + kind.size();
      size_t end =
          EndOfRun(text, begin, [](char c) { return !absl::StrContains(" \t\n,;+'\"()<", c); });
      if (end == begin) return {};
      while (end > begin && (text[end - 1] == ':' || text[end - 1] == '.')) --end;
      return {"principal", begin, end};
    }
    return {};
  });
}

// A name as RFC 2253 writes it: its values may hold anything, so all of the line goes.
std::string Aliases::ReplaceIssuers(absl::string_view text) {
  const auto rest_of_line = [&](size_t begin) -> Match {
    return {"issuer", begin, std::min(text.find('\n', begin), text.size())};
  };
  return Replace(text, [&](size_t at) -> Match {
    constexpr absl::string_view kIssuedBy = "issued by ";
    if (StandsAt(text, at, kIssuedBy)) return rest_of_line(at + kIssuedBy.size());
    for (const absl::string_view type : {"CN=", "O=", "OU=", "C=", "L=", "ST=", "DC="}) {
      if (StandsAt(text, at, type)) return rest_of_line(at);
    }
    return {};
  });
}

std::string Aliases::ReplaceHosts(absl::string_view text) {
  return Replace(text, [&](size_t at) -> Match {
    const bool inside = at > 0 && IsOfHost(text[at - 1]);
    size_t end = EndOfRun(text, at, IsOfAddress);
    while (end > at && text[end - 1] == '.') --end;
    if (!inside && end > at && IsAddress(AF_INET6, text.substr(at, end - at))) {
      return {"address", at, end};
    }
    end = EndOfRun(text, at, IsOfHost);
    size_t last = end;
    while (last > at && (text[last - 1] == '.' || text[last - 1] == '-')) --last;
    const absl::string_view run = text.substr(at, last - at);
    if (run.empty() || !IsOfWord(run.front())) return {};
    if (IsAddress(AF_INET, run)) return {"address", at, last};
    const bool of_url = absl::EndsWith(text.substr(0, at), "://");
    if (of_url || IsHost(run)) return {"host", at, last};
    return {nullptr, at, end};  // no part of it is a host either
  });
}

}  // namespace smartkey::ctl
