// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_record.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace smartkey {

namespace {

// Room for what is no text: seven numbers, and the lengths of ten texts.
constexpr size_t kRoomForNumbers = 256;

void AppendNumber(std::string& bytes, int64_t number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}

void AppendText(std::string& bytes, absl::string_view text) {
  AppendNumber(bytes, text.size());
  bytes.append(text.data(), text.size());
}

void AppendAge(std::string& bytes, absl::Duration duration) {
  AppendNumber(bytes, absl::ToInt64Nanoseconds(duration));
}

// Takes what Append put there, in the same order; once something is missing, all that follows is.
class Reader {
 public:
  explicit Reader(absl::string_view bytes) : bytes_(bytes) {}

  int64_t Number() {
    int64_t number = 0;
    const absl::string_view taken = Take(sizeof number);
    if (whole_) std::memcpy(&number, taken.data(), sizeof number);
    return number;
  }
  absl::string_view Text() { return Take(static_cast<uint64_t>(Number())); }
  std::string String() { return std::string(Text()); }
  absl::Duration Age() { return absl::Nanoseconds(Number()); }

  bool AtItsEnd() const { return whole_ && bytes_.empty(); }

 private:
  absl::string_view Take(uint64_t size) {
    whole_ = whole_ && size <= bytes_.size();
    if (!whole_) return "";
    const absl::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }

  absl::string_view bytes_;
  bool whole_ = true;
};

}  // namespace

Secret EncodeTokenRecord(const TokenKey& key, const AccessToken& token) {
  const std::string granted = token.granted.has_value() ? ToScopeString(*token.granted) : "";
  std::string bytes;
  // At once, so that no outgrown copy is left behind.
  bytes.reserve(kRoomForNumbers + key.registration_id.size() + key.scope.size() +
                token.value.size() + token.token_type.size() + token.key_thumbprint.size() +
                granted.size() + token.patient.RevealIdentifying().size() +
                token.fhir_user.RevealIdentifying().size() +
                token.launch_context_json.RevealIdentifying().size());
  AppendText(bytes, key.registration_id);
  AppendNumber(bytes, key.generation);
  AppendText(bytes, key.scope);
  AppendText(bytes, token.value.RevealSecret());
  AppendText(bytes, token.token_type);
  AppendText(bytes, token.key_thumbprint);
  AppendAge(bytes, token.expires.SinceBoot());
  AppendNumber(bytes, absl::ToUnixNanos(token.expires_at));
  AppendAge(bytes, token.lifetime);
  AppendAge(bytes, token.refresh_after.SinceBoot());
  AppendNumber(bytes, absl::ToUnixNanos(token.refresh_after_at));
  AppendNumber(bytes, token.granted.has_value() ? 1 : 0);
  AppendText(bytes, granted);
  AppendText(bytes, token.patient.RevealIdentifying());
  AppendText(bytes, token.fhir_user.RevealIdentifying());
  AppendText(bytes, token.launch_context_json.RevealIdentifying());
  return Secret(std::move(bytes));
}

absl::optional<TokenRecord> DecodeTokenRecord(absl::string_view bytes) {
  Reader reader(bytes);
  TokenRecord record;
  record.key.registration_id = reader.String();
  record.key.generation = static_cast<int>(reader.Number());
  record.key.scope = reader.String();
  AccessToken& token = record.token;
  token.value = Secret::CopyOf(reader.Text());
  token.value_hash = HashOfToken(token.value);
  token.token_type = reader.String();
  token.key_thumbprint = reader.String();
  token.expires = BootTime::FromSinceBoot(reader.Age());
  token.expires_at = absl::FromUnixNanos(reader.Number());
  token.lifetime = reader.Age();
  token.refresh_after = BootTime::FromSinceBoot(reader.Age());
  token.refresh_after_at = absl::FromUnixNanos(reader.Number());
  const bool has_granted = reader.Number() != 0;
  const std::string granted = reader.String();
  if (has_granted) token.granted = ParseScope(granted);
  token.patient = Identifying(reader.String());
  token.fhir_user = Identifying(reader.String());
  token.launch_context_json = Identifying(reader.String());
  if (!reader.AtItsEnd()) return absl::nullopt;
  return record;
}

}  // namespace smartkey
