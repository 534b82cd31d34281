// SPDX-License-Identifier: Apache-2.0
#include "daemon/audit/audit_key.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "base/base64url.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "daemon/audit/audit_line.h"
#include "daemon/jose/jwk.h"

namespace smartkey {
namespace {

constexpr absl::Duration kLookAgain = absl::Seconds(1);
constexpr int kMostLooks = 60;
constexpr size_t kLongestFile = 64 * 1024;

struct StoredAuditKey {
  KeyReference reference;
  SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
  PublicKey public_key;
};

// nullopt: there is none. Whatever else is wrong is no reason to make another one.
absl::StatusOr<absl::optional<StoredAuditKey>> ReadKey(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd && errno == ENOENT) return absl::optional<StoredAuditKey>();
  std::string text(kLongestFile, '\0');
  const ssize_t size = fd ? read(fd.get(), text.data(), text.size()) : -1;
  if (size < 0) {
    return MakeError(Reason::kStoreUnavailable,
                     absl::StrCat("reading ", path, ": ", strerror(errno)));
  }
  text.resize(static_cast<size_t>(size));
  const absl::Status damaged =
      WithRemedy(MakeError(Reason::kStoreUnavailable, absl::StrCat(path, " is damaged")),
                 "restore it, or move it away: then a new key is made");
  const absl::StatusOr<nlohmann::json> json = ParseJson(text);
  if (!json.ok() || !json->is_object() || !json->contains("key")) return damaged;
  const auto blob = Base64UrlDecode(FindString(*json, "blob").value_or(""));
  const auto algorithm = AlgorithmFromName(FindString(*json, "algorithm").value_or(""));
  absl::StatusOr<PublicKey> key = ParseJwk((*json)["key"]);
  if (!blob.ok() || blob->empty() || !algorithm.has_value() || !key.ok()) return damaged;
  return absl::make_optional(StoredAuditKey{
      {FindString(*json, "provider").value_or(""), *blob}, *algorithm, *std::move(key)});
}

absl::Status WriteKey(const std::string& directory, const std::string& path,
                      const StoredAuditKey& key) {
  const std::string text = ToJsonText({{"provider", key.reference.provider},
                                       {"blob", Base64UrlEncode(key.reference.blob)},
                                       {"algorithm", std::string(AlgorithmName(key.algorithm))},
                                       {"key", ToJwk(key.public_key, key.algorithm)}});
  const std::string next = absl::StrCat(path, ".new");
  const UniqueFd fd(
      open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  const UniqueFd folder(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || !folder ||
      write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      fsync(fd.get()) != 0 || rename(next.c_str(), path.c_str()) != 0 || fsync(folder.get()) != 0) {
    return MakeError(Reason::kStoreUnavailable,
                     absl::StrCat("writing ", path, ": ", strerror(errno)));
  }
  return absl::OkStatus();
}

// Whether a new key is to take the place of one that gave this error: it will never sign again.
bool IsLost(const absl::Status& status) {
  switch (ReasonOf(status)) {
    case Reason::kKeyLostTpmCleared:
    case Reason::kKeyLostOtherMachine:
    case Reason::kKeyGone:
    case Reason::kKeyDamaged:
      return true;
    default:
      return false;
  }
}

}  // namespace

class AuditKey::Core : public std::enable_shared_from_this<Core> {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<AuditSignature>)>;

  Core(KeyService& keys, Scheduler& scheduler, AuditLog& log, std::string directory,
       std::string label)
      : keys_(keys),
        scheduler_(scheduler),
        log_(log),
        directory_(std::move(directory)),
        label_(std::move(label)) {}

  // One at a time: a second one could find no key, too, and make another.
  void Enqueue(std::string text, Done done) {
    {
      MutexLock lock(mu_);
      waiting_.push_back({std::move(text), std::move(done)});
      if (std::exchange(busy_, true)) return;
    }
    Next();
  }

  absl::optional<std::string> thumbprint() {
    const std::string provider = Provider();
    if (provider.empty()) return absl::nullopt;
    {
      MutexLock lock(mu_);
      if (signer_.first == provider) return signer_.second;
    }
    const auto kept = ReadKey(PathFor(provider));
    if (!kept.ok() || !kept->has_value()) return absl::nullopt;
    return JwkThumbprint((*kept)->public_key);
  }

  absl::optional<std::string> proven_thumbprint() {
    const std::string provider = Provider();
    MutexLock lock(mu_);
    if (making_ || provider.empty() || signer_.first != provider) return absl::nullopt;
    return signer_.second;
  }

 private:
  struct Order {
    std::string text;
    Done done;
  };

  void Next() {
    Order order;
    {
      MutexLock lock(mu_);
      if (waiting_.empty()) {
        busy_ = false;
        return;
      }
      order = std::move(waiting_.front());
      waiting_.pop_front();
    }
    WhenIdle(0, std::move(order.text),
             [self = shared_from_this(),
              done = std::move(order.done)](absl::StatusOr<AuditSignature> made) mutable {
               done(std::move(made));
               // Not from the hardware's own call.
               self->scheduler_.RunAfter(absl::ZeroDuration(), [self] { self->Next(); });
             });
  }

  // What others ask of the hardware goes first.
  void WhenIdle(int looks, std::string text, Done done) {
    if (keys_.status().queued > 0 && looks < kMostLooks) {
      scheduler_.RunAfter(kLookAgain, [self = shared_from_this(), looks, text = std::move(text),
                                       done = std::move(done)]() mutable {
        self->WhenIdle(looks + 1, std::move(text), std::move(done));
      });
      return;
    }
    // Another kind of hardware may be configured now. That another token is in the reader is no
    // such thing: the key is in the right one, which may be put back.
    const std::string provider = Provider();
    if (key_.has_value() && !provider.empty() && key_->reference.provider != provider) {
      key_.reset();
      made_ = false;
    }
    if (key_.has_value()) return Sign(std::move(text), std::move(done));
    if (provider.empty()) return done(NoHardware());
    absl::StatusOr<absl::optional<StoredAuditKey>> kept = ReadKey(PathFor(provider));
    if (!kept.ok()) return done(kept.status());
    key_ = *std::move(kept);
    if (key_.has_value()) {
      Sign(std::move(text), std::move(done));
    } else {
      Make("there was none", std::move(text), std::move(done));
    }
  }

  // Empty while the hardware has not been seen.
  std::string Provider() const {
    const ProviderStatus status = keys_.status();
    return status.capabilities.has_value() ? status.capabilities->provider : "";
  }

  std::string PathFor(absl::string_view provider) const {
    return absl::StrCat(directory_, "/key-", provider, ".json");
  }

  absl::Status NoHardware() const {
    const absl::Status error = keys_.status().last_error;
    return error.ok() ? MakeError(Reason::kHardwareAbsent, "no hardware for the audit log's key")
                      : error;
  }

  void Sign(std::string text, Done done) {
    KeyService::SignRequest request;
    request.key = key_->reference;
    request.public_key = key_->public_key;
    request.algorithm = key_->algorithm;
    request.message = text;
    keys_.Sign(std::move(request), [self = shared_from_this(), text, done = std::move(done)](
                                       absl::StatusOr<std::string> signature) mutable {
      if (!signature.ok() && IsLost(signature.status()) && !self->made_) {
        Log(LogLevel::kWarning, "the key that signs the audit log is lost: a new one is made",
            {{"reason", ReasonName(ReasonOf(signature.status()))},
             {"thumbprint", JwkThumbprint(self->key_->public_key)}});
        // Not from the hardware's own call.
        self->scheduler_.RunAfter(
            absl::ZeroDuration(),
            [self, why = std::string(ReasonName(ReasonOf(signature.status()))),
             text = std::move(text), done = std::move(done)]() mutable {
              self->Make(std::move(why), std::move(text), std::move(done));
            });
        return;
      }
      if (!signature.ok()) return done(signature.status());
      if (!VerifySignature(self->key_->public_key, self->key_->algorithm, text, *signature)) {
        self->keys_.Reopen();
        return done(
            MakeError(Reason::kSignatureWrong, "the hardware signed the audit log wrongly"));
      }
      {
        MutexLock lock(self->mu_);
        self->signer_ = {self->key_->reference.provider, JwkThumbprint(self->key_->public_key)};
        self->making_ = false;
      }
      done(AuditSignature{self->key_->algorithm, self->key_->public_key, *std::move(signature)});
    });
  }

  void Make(std::string why, std::string text, Done done) {
    const ProviderStatus status = keys_.status();
    if (!status.capabilities.has_value() || status.capabilities->algorithms.empty()) {
      return done(NoHardware());
    }
    KeyService::CreateRequest request;
    request.algorithm = status.capabilities->algorithms.front();
    request.label = label_;
    {
      MutexLock lock(mu_);
      making_ = true;
    }
    keys_.CreateKey(std::move(request), [self = shared_from_this(), why = std::move(why),
                                         provider = status.capabilities->provider,
                                         text = std::move(text), done = std::move(done)](
                                            absl::StatusOr<CreatedKey> created) mutable {
      if (!created.ok()) {
        {
          MutexLock lock(self->mu_);
          self->making_ = false;
        }
        return done(created.status());
      }
      StoredAuditKey key{created->reference, created->algorithm, std::move(created->public_key)};
      // The disk is not to be waited for in the hardware's own call.
      self->scheduler_.RunAfter(
          absl::ZeroDuration(),
          [self, why = std::move(why), provider = std::move(provider), key = std::move(key),
           text = std::move(text), done = std::move(done)]() mutable {
            self->TakeUp(why, provider, std::move(key));
            self->Sign(std::move(text), std::move(done));
          });
    });
  }

  void TakeUp(const std::string& why, const std::string& provider, StoredAuditKey key) {
    const std::string before = key_.has_value() ? JwkThumbprint(key_->public_key) : "none";
    key_ = std::move(key);
    made_ = true;
    const std::string thumbprint = JwkThumbprint(key_->public_key);
    Log(LogLevel::kInfo, "a key for the audit log was made", {{"thumbprint", thumbprint}});
    // Before it is kept: a line about a key that is lost again does no harm, a key that signs and
    // of which no line tells would.
    log_.Note(nullptr, kAuditKeyMade, "", absl::OkStatus(),
              {{"old", before}, {"new", thumbprint}, {"reason", why}});
    if (absl::Status status = WriteKey(directory_, PathFor(provider), *key_); !status.ok()) {
      // Good for as long as this process lives.
      Log(LogLevel::kWarning, "the audit log's key cannot be kept", {{"error", status.message()}});
    }
  }

  KeyService& keys_;
  Scheduler& scheduler_;
  AuditLog& log_;
  const std::string directory_;
  const std::string label_;

  Mutex mu_;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;  // an order is under way
  std::deque<Order> waiting_ ABSL_GUARDED_BY(mu_);
  std::pair<std::string, std::string> signer_ ABSL_GUARDED_BY(mu_);  // provider and thumbprint
  bool making_ ABSL_GUARDED_BY(mu_) = false;  // a key, which has not signed yet
  // Of the order that is under way: it goes from one thread to the next.
  absl::optional<StoredAuditKey> key_;
  bool made_ = false;  // by this process: another loss is not answered with another key
};

AuditKey::AuditKey(KeyService& keys, Scheduler& scheduler, AuditLog& log, std::string directory,
                   std::string label)
    : core_(std::make_shared<Core>(keys, scheduler, log, std::move(directory), std::move(label))) {}

void AuditKey::Sign(std::string text,
                    absl::AnyInvocable<void(absl::StatusOr<AuditSignature>)> done) {
  core_->Enqueue(std::move(text), std::move(done));
}

absl::optional<std::string> AuditKey::thumbprint() const {
  return core_->thumbprint();
}

absl::optional<std::string> AuditKey::proven_thumbprint() const {
  return core_->proven_thumbprint();
}

}  // namespace smartkey
