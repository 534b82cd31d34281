// SPDX-License-Identifier: Apache-2.0
#pragma once

// smartkey.h for C++17: objects that free themselves, failures as exceptions, lengths of time that
// know their unit. What each call does, and what is IDENTIFYING or SENSITIVE, is said there. Header
// only: a program links libsmartkey.so.1 alone.
//
//   smartkey::Client client;
//   const smartkey::Token token = client.GetToken(smartkey::TokenRequest("mercy"));

#include <smartkey.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace smartkey {

using Time = std::chrono::system_clock::time_point;

namespace internal {

template <auto Free>
struct Freeing {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};

inline std::optional<Time> TimeOf(int64_t unix_seconds) {
  if (unix_seconds == 0) return std::nullopt;
  return Time(std::chrono::seconds(unix_seconds));
}

}  // namespace internal

// What every call throws, and how something stands. what() is its message.
class Error : public std::runtime_error {
 public:
  explicit Error(const smartkey_error* error)
      : std::runtime_error(smartkey_error_message(error)),
        reason_(smartkey_error_reason(error)),
        reason_name_(smartkey_error_reason_name(error)),
        user_action_(smartkey_error_user_action(error)),
        exit_code_(smartkey_error_exit_code(error)),
        remedy_(smartkey_error_remedy(error)) {
    const int64_t wait = smartkey_error_retry_after_ms(error);
    if (wait >= 0) retry_after_ = std::chrono::milliseconds(wait);
  }

  int reason() const { return reason_; }
  const std::string& reason_name() const { return reason_name_; }
  int user_action() const { return user_action_; }
  int exit_code() const { return exit_code_; }
  const std::string& remedy() const { return remedy_; }
  std::optional<std::chrono::milliseconds> retry_after() const { return retry_after_; }

 private:
  int reason_;
  std::string reason_name_;
  int user_action_;
  int exit_code_;
  std::string remedy_;
  std::optional<std::chrono::milliseconds> retry_after_;
};

namespace internal {

inline std::optional<Error> ErrorOf(const smartkey_error* error) {
  return error == nullptr ? std::nullopt : std::make_optional<Error>(error);
}

// What a call of the C library gives; its failure as an exception.
template <typename Call>
auto Checked(Call call) {
  smartkey_error* failure = nullptr;
  auto result = call(&failure);
  const std::unique_ptr<smartkey_error, Freeing<smartkey_error_free>> owned(failure);
  if (!result) throw Error(failure);
  return result;
}

}  // namespace internal

class Token {
 public:
  explicit Token(smartkey_token* token) : token_(token) {}

  const smartkey_token* get() const { return token_.get(); }
  Token Clone() const { return Token(smartkey_token_copy(get())); }

  const char* value() const { return smartkey_token_value(get()); }
  const char* type() const { return smartkey_token_type(get()); }
  bool AllowsUrl(const std::string& url) const {
    return smartkey_token_allows_url(get(), url.c_str());
  }
  const char* fhir_base() const { return smartkey_token_fhir_base(get()); }
  std::optional<Time> expires_at() const {
    return internal::TimeOf(smartkey_token_expires_at(get()));
  }
  std::optional<Time> refresh_after() const {
    return internal::TimeOf(smartkey_token_refresh_after(get()));
  }
  const char* scope() const { return smartkey_token_scope(get()); }
  bool scope_narrowed() const { return smartkey_token_scope_narrowed(get()); }
  bool min_valid_unmet() const { return smartkey_token_min_valid_unmet(get()); }
  const char* patient() const { return smartkey_token_patient(get()); }
  const char* fhir_user() const { return smartkey_token_fhir_user(get()); }
  const char* launch_context() const { return smartkey_token_launch_context(get()); }
  const char* registration_id() const { return smartkey_token_registration_id(get()); }
  uint32_t generation() const { return smartkey_token_generation(get()); }
  std::optional<Error> refresh_error() const {
    return internal::ErrorOf(smartkey_token_refresh_error(get()));
  }

 private:
  std::unique_ptr<smartkey_token, internal::Freeing<smartkey_token_free>> token_;
};

// Which token. `TokenRequest("mercy").AddScope("patient/*.rs").SetMinValid(5min)`
class TokenRequest {
 public:
  explicit TokenRequest(const std::string& registration)
      : request_(smartkey_token_request_new(registration.c_str())) {}
  TokenRequest(const std::string& app, const std::string& fhir_base,
               const std::string& patient = "")
      : TokenRequest("") {
    smartkey_token_request_set_context(get(), app.c_str(), fhir_base.c_str(), patient.c_str());
  }

  smartkey_token_request* get() const { return request_.get(); }

  TokenRequest& AddScope(const std::string& scope) {
    smartkey_token_request_add_scope(get(), scope.c_str());
    return *this;
  }
  TokenRequest& SetMinValid(std::chrono::seconds at_least) {
    smartkey_token_request_set_min_valid(get(), at_least.count());
    return *this;
  }

 private:
  std::unique_ptr<smartkey_token_request, internal::Freeing<smartkey_token_request_free>> request_;
};

// A registration as it was when asked for; its fields are read with the functions of smartkey.h.
using Registration =
    std::unique_ptr<smartkey_registration, internal::Freeing<smartkey_registration_free>>;
using RegistrationList =
    std::unique_ptr<smartkey_registration_list, internal::Freeing<smartkey_registration_list_free>>;
using EnrollmentRequest = std::unique_ptr<smartkey_enrollment_request,
                                          internal::Freeing<smartkey_enrollment_request_free>>;
using Enrollment =
    std::unique_ptr<smartkey_enrollment, internal::Freeing<smartkey_enrollment_free>>;

// As smartkey_token_watch_fn; what it gets is its own. An exception from it ends the program.
using TokenFunction =
    std::function<bool(std::optional<Token> token, std::optional<Error> error, bool ended)>;

// Destroying it stops the watch, and waits for the function to return.
class TokenWatch {
 public:
  TokenWatch(smartkey_client* client, const TokenRequest& request, TokenFunction function)
      : function_(std::make_unique<TokenFunction>(std::move(function))),
        watch_(internal::Checked([&](smartkey_error** error) {
          return smartkey_client_watch_token(client, request.get(), &Call, function_.get(), error);
        })) {}
  TokenWatch(TokenWatch&& other) noexcept = default;
  // Ends the watch that was here before its function goes, in which its thread may be.
  TokenWatch& operator=(TokenWatch&& other) noexcept {
    watch_ = std::move(other.watch_);
    function_ = std::move(other.function_);
    return *this;
  }

 private:
  static bool Call(const smartkey_token* token, const smartkey_error* error, bool ended,
                   void* function) noexcept {
    std::optional<Token> copy;
    if (token != nullptr) copy.emplace(smartkey_token_copy(token));
    return (*static_cast<TokenFunction*>(function))(std::move(copy), internal::ErrorOf(error),
                                                    ended);
  }

  std::unique_ptr<TokenFunction> function_;  // Outlives the watch, and stays where it is.
  std::unique_ptr<smartkey_token_watch, internal::Freeing<smartkey_token_watch_free>> watch_;
};

// Thread-safe. A timeout of 0 is the call's default.
class Client {
 public:
  using Timeout = std::chrono::milliseconds;

  explicit Client(const std::string& socket_path = "")
      : client_(internal::Checked([&](smartkey_error** error) {
          return smartkey_client_connect(socket_path.c_str(), error);
        })) {}

  smartkey_client* get() const { return client_.get(); }

  Token GetToken(const TokenRequest& request, Timeout timeout = Timeout(0)) const {
    return Token(internal::Checked([&](smartkey_error** error) {
      return smartkey_client_get_token(get(), request.get(), timeout.count(), error);
    }));
  }
  void ReportRejected(const Token& token, Timeout timeout = Timeout(0)) const {
    internal::Checked([&](smartkey_error** error) {
      return smartkey_client_report_rejected(get(), token.get(), timeout.count(), error);
    });
  }
  TokenWatch WatchToken(const TokenRequest& request, TokenFunction function) const {
    return TokenWatch(get(), request, std::move(function));
  }

  RegistrationList ListRegistrations(const std::string& app = "", const std::string& server = "",
                                     const std::string& fhir_base = "",
                                     Timeout timeout = Timeout(0)) const {
    return RegistrationList(internal::Checked([&](smartkey_error** error) {
      return smartkey_client_list_registrations(get(), app.c_str(), server.c_str(),
                                                fhir_base.c_str(), timeout.count(), error);
    }));
  }
  Registration GetRegistration(const std::string& registration,
                               Timeout timeout = Timeout(0)) const {
    return Registration(internal::Checked([&](smartkey_error** error) {
      return smartkey_client_get_registration(get(), registration.c_str(), timeout.count(), error);
    }));
  }

  Enrollment BeginEnrollment(const EnrollmentRequest& request, const std::string& redirect_uri,
                             Timeout timeout = Timeout(0)) const {
    return Enrollment(internal::Checked([&](smartkey_error** error) {
      return smartkey_client_begin_enrollment(get(), request.get(), redirect_uri.c_str(),
                                              timeout.count(), error);
    }));
  }
  // `redirect_query` is a secret: wipe it afterwards.
  Registration CompleteEnrollment(const std::string& enrollment_id, const char* redirect_query,
                                  Timeout timeout = Timeout(0)) const {
    return Registration(internal::Checked([&](smartkey_error** error) {
      return smartkey_client_complete_enrollment(get(), enrollment_id.c_str(), redirect_query,
                                                 timeout.count(), error);
    }));
  }
  void CancelEnrollment(const std::string& enrollment_id, Timeout timeout = Timeout(0)) const {
    internal::Checked([&](smartkey_error** error) {
      return smartkey_client_cancel_enrollment(get(), enrollment_id.c_str(), timeout.count(),
                                               error);
    });
  }

 private:
  std::unique_ptr<smartkey_client, internal::Freeing<smartkey_client_free>> client_;
};

}  // namespace smartkey
