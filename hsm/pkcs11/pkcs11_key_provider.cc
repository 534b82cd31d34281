// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_key_provider.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "hsm/pkcs11/pkcs11_capabilities.h"
#include "hsm/pkcs11/pkcs11_key_creation.h"

namespace smartkey {
namespace {

constexpr absl::string_view kProviderName = "pkcs11";

// Finding a key again costs a few calls; keeping track of more than this is not worth it.
constexpr size_t kMostKnownKeys = 256;

constexpr absl::Duration kRetryPause = absl::Milliseconds(100);

absl::Status NotOpen() {
  return MakeError(Reason::kHardwareAbsent, "pkcs11: not open");
}

std::string DetailOf(const Pkcs11Token& token, size_t session_limit) {
  const CK_VERSION& firmware = token.info.firmwareVersion;
  return absl::StrCat("token ", Describe(token.identity), "; firmware ",
                      static_cast<int>(firmware.major), ".", static_cast<int>(firmware.minor),
                      "; sessions ", session_limit,
                      token.login_required() ? "" : "; no login required",
                      token.write_protected() ? "; write protected" : "");
}

}  // namespace

struct Pkcs11KeyProvider::Connection {
  Connection(CK_FUNCTION_LIST& functions, const Pkcs11Token& found, const Options& options,
             std::vector<Pkcs11Signing> signings, Pkcs11Login& login)
      : token(found),
        sessions(functions, token, options.max_sessions, login),
        signer(std::move(signings), token, login),
        finder(options.instance_id, token, signer) {}

  const Pkcs11Token token;
  Pkcs11SessionPool sessions;
  Pkcs11Signer signer;
  Pkcs11KeyFinder finder;
};

Pkcs11KeyProvider::Pkcs11KeyProvider(Options options, std::unique_ptr<Pkcs11Module> module)
    : options_(std::move(options)), module_(std::move(module)) {}

Pkcs11KeyProvider::~Pkcs11KeyProvider() {
  Close();
}

void Pkcs11KeyProvider::Interrupt() {
  module_->Interrupt();
}

// ---- Opening

void Pkcs11KeyProvider::Close() {
  known_keys_.clear();
  connection_.reset();
  functions_ = nullptr;
  module_->Unload();
}

absl::StatusOr<ProviderCapabilities> Pkcs11KeyProvider::Open() {
  Close();
  absl::StatusOr<ProviderCapabilities> capabilities = OpenToken();
  if (!capabilities.ok()) {
    Close();
    return Annotate(capabilities.status(), "opening the token");
  }
  return capabilities;
}

absl::StatusOr<ProviderCapabilities> Pkcs11KeyProvider::OpenToken() {
  absl::StatusOr<Pkcs11Uri> uri = Pkcs11Uri::Parse(options_.uri);
  if (!uri.ok()) return uri.status();
  uri_ = *std::move(uri);
  if (!options_.pin_file.empty() && !uri_.pin_file.empty()) {
    return MakeError(Reason::kConfigInvalid, "pkcs11: both pin_file and the uri's pin-source");
  }
  if (login_ == nullptr) {
    login_ = std::make_unique<Pkcs11Login>(Pkcs11Login::Options{
        .pin_file = options_.pin_file.empty() ? uri_.pin_file : options_.pin_file,
        .rejected_pin_file = options_.rejected_pin_file});
  }
  absl::StatusOr<CK_FUNCTION_LIST*> functions = module_->Load();
  if (!functions.ok()) return functions.status();
  functions_ = *functions;
  if (absl::Status status = Connect(); !status.ok()) return status;
  // Also proves that the PIN is right, before anybody asks for a signature.
  const auto log_in = [](Pkcs11Session&) { return absl::OkStatus(); };
  if (absl::Status status = connection_->sessions.Use(log_in); !status.ok()) return status;

  ProviderCapabilities capabilities;
  capabilities.provider = std::string(kProviderName);
  capabilities.hardware = HardwareName(connection_->token);
  capabilities.algorithms = connection_->signer.algorithms();
  capabilities.has_resource_manager = true;  // every PKCS#11 module keeps its users apart
  capabilities.detail = DetailOf(connection_->token, connection_->sessions.limit());
  return capabilities;
}

absl::Status Pkcs11KeyProvider::Connect() {
  known_keys_.clear();
  connection_.reset();
  absl::StatusOr<Pkcs11Token> token = FindToken(*functions_, uri_);
  if (!token.ok()) return token.status();
  absl::StatusOr<std::vector<Pkcs11Signing>> signings = ProbeSignings(*functions_, token->slot);
  if (!signings.ok()) return signings.status();
  connection_ =
      std::make_unique<Connection>(*functions_, *token, options_, *std::move(signings), *login_);
  return absl::OkStatus();
}

absl::Status Pkcs11KeyProvider::WithSession(
    absl::FunctionRef<absl::Status(Pkcs11Session&)> attempt) {
  if (functions_ == nullptr) return NotOpen();
  const auto run = [&] {
    if (connection_ == nullptr) {
      if (absl::Status status = Connect(); !status.ok()) return status;
    }
    return connection_->sessions.Use(attempt);
  };
  absl::Status status = run();
  // Each remedy once, and only stronger ones after it: a void session may turn out to be a token
  // that went away.
  Pkcs11Recovery tried = Pkcs11Recovery::kNone;
  while (RecoveryOf(status) > tried && RecoveryOf(status) != Pkcs11Recovery::kReopen) {
    tried = RecoveryOf(status);
    Mend(tried);
    status = run();
  }
  return status;
}

void Pkcs11KeyProvider::Mend(Pkcs11Recovery recovery) {
  switch (recovery) {
    case Pkcs11Recovery::kNone:
    case Pkcs11Recovery::kReopen:
      return;
    case Pkcs11Recovery::kRetry:
      absl::SleepFor(kRetryPause);
      return;
    case Pkcs11Recovery::kNewSession:
      known_keys_.clear();
      return;
    case Pkcs11Recovery::kLogInAgain:
      known_keys_.clear();
      connection_.reset();
      return;
  }
}

// ---- Keys

absl::StatusOr<Pkcs11KeyReference> Pkcs11KeyProvider::Read(const KeyReference& reference) const {
  if (reference.provider != kProviderName) {
    return MakeError(Reason::kKeyUnavailable, "the key was not made in a pkcs11 token");
  }
  return ParsePkcs11KeyReference(reference.blob);
}

absl::StatusOr<CreatedKey> Pkcs11KeyProvider::CreateKey(SignatureAlgorithm algorithm,
                                                        absl::string_view label) {
  CreatedKey created;
  // Outside of the attempt: a second one takes out what the first has left.
  Pkcs11KeyCreation creation({.algorithm = algorithm,
                              .label = std::string(label),
                              .strict_attributes = options_.strict_attributes});
  const absl::Status status = WithSession([&](Pkcs11Session& session) {
    Pkcs11KeyFinder& finder = connection_->finder;
    if (!absl::StartsWith(label, finder.label_prefix())) {
      return MakeError(Reason::kInvalidArgument, "the label is not one of this instance's");
    }
    if (!finder.signer().Supports(algorithm)) {
      return MakeError(Reason::kAlgorithmUnsupported,
                       absl::StrCat("this token cannot make ", AlgorithmName(algorithm), " keys"));
    }
    absl::StatusOr<CreatedKey> key = creation.Run(session, finder);
    if (!key.ok()) return key.status();
    created = *std::move(key);
    return absl::OkStatus();
  });
  if (!status.ok()) return Annotate(status, "creating a key");
  return created;
}

absl::StatusOr<Pkcs11KeyProvider::KnownKey> Pkcs11KeyProvider::FindKey(
    Pkcs11Session& session, const KeyReference& reference, const PublicKey& expected) {
  const auto known = known_keys_.find(reference.blob);
  if (known != known_keys_.end() && reference.provider == kProviderName &&
      known->second.public_key == expected) {
    return known->second;
  }
  absl::StatusOr<Pkcs11KeyReference> parsed = Read(reference);
  if (!parsed.ok()) return parsed.status();
  absl::StatusOr<Pkcs11PrivateKey> key =
      connection_->finder.FindPrivateKey(session, *parsed, expected);
  if (!key.ok()) return key.status();
  return KnownKey{.key = *key, .public_key = expected, .algorithm = parsed->algorithm};
}

void Pkcs11KeyProvider::Remember(const std::string& blob, const KnownKey& key) {
  if (known_keys_.size() >= kMostKnownKeys) known_keys_.clear();
  known_keys_.insert_or_assign(blob, key);
}

absl::Status Pkcs11KeyProvider::CheckKey(const KeyReference& reference, const PublicKey& expected) {
  const absl::Status status = WithSession([&](Pkcs11Session& session) {
    // Looked for again: a handle that once was the key's proves nothing about now.
    known_keys_.erase(reference.blob);
    return FindKey(session, reference, expected).status();
  });
  return Annotate(status, "checking a key");
}

absl::StatusOr<std::string> Pkcs11KeyProvider::Sign(const KeyReference& reference,
                                                    const PublicKey& expected,
                                                    SignatureAlgorithm algorithm,
                                                    absl::string_view message) {
  std::string signature;
  const absl::Status status = WithSession([&](Pkcs11Session& session) {
    absl::StatusOr<KnownKey> key = FindKey(session, reference, expected);
    if (!key.ok()) return key.status();
    if (key->algorithm.value_or(algorithm) != algorithm || KeyTypeFor(algorithm) != expected.type) {
      return MakeError(Reason::kAlgorithmUnsupported, "the key is for another algorithm");
    }
    absl::StatusOr<std::string> result =
        connection_->signer.Sign(session, key->key, algorithm, message);
    if (!result.ok()) return result.status();
    Remember(reference.blob, *key);
    signature = *std::move(result);
    return absl::OkStatus();
  });
  if (!status.ok()) return Annotate(status, "signing");
  return signature;
}

absl::Status Pkcs11KeyProvider::DestroyKey(const KeyReference& reference) {
  const absl::Status status = WithSession([&](Pkcs11Session& session) {
    absl::StatusOr<Pkcs11KeyReference> parsed = Read(reference);
    if (!parsed.ok()) return parsed.status();
    // All: the same key may be known by another reference, and its handle be the next key's.
    known_keys_.clear();
    return connection_->finder.DestroyKey(session, *parsed);
  });
  return Annotate(status, "destroying a key");
}

absl::StatusOr<KeyInventory> Pkcs11KeyProvider::ListKeys() {
  KeyInventory inventory;
  const absl::Status status = WithSession([&](Pkcs11Session& session) {
    absl::StatusOr<KeyInventory> listed = connection_->finder.ListKeys(session);
    if (!listed.ok()) return listed.status();
    inventory = *std::move(listed);
    return absl::OkStatus();
  });
  if (!status.ok()) return Annotate(status, "listing keys");
  return inventory;
}

std::string Pkcs11LibraryVersion() {
  return "p11-kit " SMARTKEY_P11_KIT_VERSION;
}

}  // namespace smartkey
