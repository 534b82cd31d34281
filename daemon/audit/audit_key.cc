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

absl::optional<StoredAuditKey> ReadKey(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return absl::nullopt;
  std::string text(kLongestFile, '\0');
  const ssize_t size = read(fd.get(), text.data(), text.size());
  text.resize(std::max<ssize_t>(size, 0));
  const absl::StatusOr<nlohmann::json> json = ParseJson(text);
  if (!json.ok() || !json->is_object() || !json->contains("key")) return absl::nullopt;
  const auto blob = Base64UrlDecode(FindString(*json, "blob").value_or(""));
  const auto algorithm = AlgorithmFromName(FindString(*json, "algorithm").value_or(""));
  absl::StatusOr<PublicKey> key = ParseJwk((*json)["key"]);
  if (!blob.ok() || blob->empty() || !algorithm.has_value() || !key.ok()) return absl::nullopt;
  return StoredAuditKey{
      {FindString(*json, "provider").value_or(""), *blob}, *algorithm, *std::move(key)};
}

absl::Status WriteKey(const std::string& path, const StoredAuditKey& key) {
  const std::string text = ToJsonText({{"provider", key.reference.provider},
                                       {"blob", Base64UrlEncode(key.reference.blob)},
                                       {"algorithm", std::string(AlgorithmName(key.algorithm))},
                                       {"key", ToJwk(key.public_key, key.algorithm)}});
  const std::string next = absl::StrCat(path, ".new");
  UniqueFd fd(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      fsync(fd.get()) != 0 || rename(next.c_str(), path.c_str()) != 0) {
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

  Core(KeyService& keys, Scheduler& scheduler, std::string path, std::string label)
      : keys_(keys), scheduler_(scheduler), path_(std::move(path)), label_(std::move(label)) {}

  // One at a time: a second one could find no key, too, and make another.
  void Enqueue(std::string text, Done done) {
    {
      MutexLock lock(mu_);
      waiting_.push_back({std::move(text), std::move(done)});
      if (std::exchange(busy_, true)) return;
    }
    Next();
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
    if (!key_.has_value()) key_ = ReadKey(path_);
    if (key_.has_value() && !IsOfOtherProvider()) {
      Sign(std::move(text), std::move(done));
    } else {
      Make(std::move(text), std::move(done));
    }
  }

  // Another kind of hardware is configured now. That another token is in the reader is no such
  // thing: the key is in the right one, which may be put back.
  bool IsOfOtherProvider() const {
    const ProviderStatus status = keys_.status();
    return status.capabilities.has_value() &&
           status.capabilities->provider != key_->reference.provider;
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
        self->scheduler_.RunAfter(absl::ZeroDuration(),
                                  [self, text = std::move(text), done = std::move(done)]() mutable {
                                    self->Make(std::move(text), std::move(done));
                                  });
        return;
      }
      if (!signature.ok()) return done(signature.status());
      if (!VerifySignature(self->key_->public_key, self->key_->algorithm, text, *signature)) {
        self->keys_.Reopen();
        return done(
            MakeError(Reason::kSignatureWrong, "the hardware signed the audit log wrongly"));
      }
      done(AuditSignature{self->key_->algorithm, self->key_->public_key, *std::move(signature)});
    });
  }

  void Make(std::string text, Done done) {
    const ProviderStatus status = keys_.status();
    if (!status.capabilities.has_value() || status.capabilities->algorithms.empty()) {
      return done(status.last_error.ok()
                      ? MakeError(Reason::kHardwareAbsent, "no hardware for the audit log's key")
                      : status.last_error);
    }
    KeyService::CreateRequest request;
    request.algorithm = status.capabilities->algorithms.front();
    request.label = label_;
    keys_.CreateKey(std::move(request), [self = shared_from_this(), text = std::move(text),
                                         done = std::move(done)](
                                            absl::StatusOr<CreatedKey> created) mutable {
      if (!created.ok()) return done(created.status());
      self->key_ =
          StoredAuditKey{created->reference, created->algorithm, std::move(created->public_key)};
      self->made_ = true;
      if (absl::Status status = WriteKey(self->path_, *self->key_); !status.ok()) {
        // Good for as long as this process lives.
        Log(LogLevel::kWarning, "the audit log's key cannot be kept",
            {{"error", status.message()}});
      }
      Log(LogLevel::kInfo, "a key for the audit log was made",
          {{"thumbprint", JwkThumbprint(self->key_->public_key)}});
      self->scheduler_.RunAfter(absl::ZeroDuration(),
                                [self, text = std::move(text), done = std::move(done)]() mutable {
                                  self->Sign(std::move(text), std::move(done));
                                });
    });
  }

  KeyService& keys_;
  Scheduler& scheduler_;
  const std::string path_;
  const std::string label_;

  Mutex mu_;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;  // an order is under way
  std::deque<Order> waiting_ ABSL_GUARDED_BY(mu_);
  // Of the order that is under way: it goes from one thread to the next.
  absl::optional<StoredAuditKey> key_;
  bool made_ = false;  // by this process: another loss is not answered with another key
};

AuditKey::AuditKey(KeyService& keys, Scheduler& scheduler, std::string path, std::string label)
    : core_(std::make_shared<Core>(keys, scheduler, std::move(path), std::move(label))) {}

void AuditKey::Sign(std::string text,
                    absl::AnyInvocable<void(absl::StatusOr<AuditSignature>)> done) {
  core_->Enqueue(std::move(text), std::move(done));
}

}  // namespace smartkey
