// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include "clients/c/objects.h"

smartkey_error::smartkey_error(const absl::Status& status)
    : reason(smartkey::ReasonOf(status)),
      message(status.message()),
      remedy(smartkey::RemedyOf(status)) {
  if (const auto wait = smartkey::RetryAfterOf(status)) {
    retry_after_ms = absl::ToInt64Milliseconds(*wait);
  }
}

smartkey_error::smartkey_error(const smartkey::client::Cause& cause)
    : reason(cause.reason), remedy(cause.remedy) {
  if (cause.retry_after.has_value()) {
    retry_after_ms = absl::ToInt64Milliseconds(*cause.retry_after);
  }
}

namespace smartkey::capi {

void Report(const absl::Status& status, smartkey_error** error) {
  if (error != nullptr) *error = status.ok() ? nullptr : new smartkey_error(status);
}

std::unique_ptr<smartkey_error> ErrorOf(const absl::optional<client::Cause>& cause) {
  return cause.has_value() ? std::make_unique<smartkey_error>(*cause) : nullptr;
}

}  // namespace smartkey::capi

int smartkey_error_reason(const smartkey_error* error) noexcept {
  return error == nullptr ? 0 : static_cast<int>(error->reason);
}

const char* smartkey_error_reason_name(const smartkey_error* error) noexcept {
  // The table's names are literals.
  return error == nullptr ? "" : smartkey::RowFor(error->reason).name.data();
}

int smartkey_error_user_action(const smartkey_error* error) noexcept {
  return error == nullptr ? SMARTKEY_ACTION_NONE
                          : static_cast<int>(smartkey::RowFor(error->reason).action);
}

const char* smartkey_error_message(const smartkey_error* error) noexcept {
  return error == nullptr ? "" : error->message.c_str();
}

const char* smartkey_error_remedy(const smartkey_error* error) noexcept {
  return error == nullptr ? "" : error->remedy.c_str();
}

int64_t smartkey_error_retry_after_ms(const smartkey_error* error) noexcept {
  return error == nullptr ? -1 : error->retry_after_ms;
}

int smartkey_error_exit_code(const smartkey_error* error) noexcept {
  return error == nullptr ? 0 : static_cast<int>(smartkey::RowFor(error->reason).exit_code);
}

void smartkey_error_free(smartkey_error* error) noexcept {
  delete error;
}
