// SPDX-License-Identifier: Apache-2.0
// The C++ header over the C library, as a program in C++17 that has nothing else of smartkeyd.

#include <condition_variable>
#include <iostream>
#include <mutex>
#include <optional>
#include <smartkey.hpp>
#include <string>

namespace {

using std::chrono_literals::operator""min;

void Tokens(const smartkey::Client& client) {
  const smartkey::Token token =
      client.GetToken(smartkey::TokenRequest("mercy").AddScope("patient/*.rs").SetMinValid(2min));
  std::cout << token.type() << ' ' << token.value() << ' '
            << std::chrono::system_clock::to_time_t(*token.expires_at()) << ' '
            << token.refresh_after().has_value() << '\n';
  std::cout << token.AllowsUrl("https://ehr.example.com/fhir/Patient")
            << token.AllowsUrl("https://elsewhere.example.com/") << '\n';
  client.ReportRejected(token.Clone());
  client.GetToken(smartkey::TokenRequest("org.example.viewer", "https://ehr.example.com/fhir"));
}

void Registrations(const smartkey::Client& client) {
  const smartkey::RegistrationList list = client.ListRegistrations();
  std::cout << smartkey_registration_list_size(list.get()) << " registrations\n";
  const smartkey::Registration registration = client.GetRegistration("mercy");
  std::cout << smartkey_registration_name(registration.get()) << '\n';
}

void Enrollment(const smartkey::Client& client) {
  const smartkey::EnrollmentRequest request(smartkey_enrollment_request_new("mercy"));
  const smartkey::Enrollment begun = client.BeginEnrollment(request, "http://127.0.0.1:1/callback");
  const std::string id = smartkey_enrollment_id(begun.get());
  const smartkey::Registration made = client.CompleteEnrollment(id, "code=c&state=s");
  std::cout << "enrolled " << smartkey_registration_id(made.get()) << '\n';
  client.CancelEnrollment(id);
}

void Watch(const smartkey::Client& client) {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<smartkey::Token> kept;
  bool over = false;
  {
    const smartkey::TokenWatch watch = client.WatchToken(
        smartkey::TokenRequest("mercy"), [&](std::optional<smartkey::Token> token,
                                             std::optional<smartkey::Error> error, bool ended) {
          const std::lock_guard<std::mutex> lock(mutex);
          if (token.has_value()) kept = std::move(token);
          over = ended;
          std::cout << (error.has_value() ? error->reason_name() : "well") << '\n';
          changed.notify_one();
          return true;
        });
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return over; });
  }
  std::cout << "kept " << kept->value() << '\n';
}

static_assert(noexcept(smartkey_version()), "nothing is thrown into a caller");

// Another watch in the place of one whose thread is in its function.
void Replace(const smartkey::Client& client) {
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    bool inside = false;
    bool gone = false;
    bool gone_inside = false;
  };
  // What the function holds, and goes with it.
  struct Held {
    explicit Held(Shared& shared) : shared(shared) {}
    ~Held() {
      const std::lock_guard<std::mutex> lock(shared.mutex);
      shared.gone = true;
      shared.gone_inside = shared.inside;
      shared.changed.notify_all();
    }
    Shared& shared;
  };
  Shared shared;
  const smartkey::TokenRequest request("mercy");
  {
    smartkey::TokenWatch watch = client.WatchToken(request, [held = std::make_shared<Held>(shared)](
                                                                auto, auto, bool) {
      Shared& shared = held->shared;
      std::unique_lock<std::mutex> lock(shared.mutex);
      shared.inside = true;
      shared.changed.notify_all();
      shared.changed.wait_for(lock, std::chrono::milliseconds(200), [&] { return shared.gone; });
      shared.inside = false;
      return true;
    });
    {
      std::unique_lock<std::mutex> lock(shared.mutex);
      shared.changed.wait(lock, [&] { return shared.inside; });
    }
    watch = client.WatchToken(request, [](auto, auto, bool) { return true; });
  }
  std::cout << "replaced, its function was there: " << (shared.gone && !shared.gone_inside) << '\n';
}

}  // namespace

int main() {
  try {
    const smartkey::Client client;
    Tokens(client);
    Registrations(client);
    Enrollment(client);
    Watch(client);
    Replace(client);
    client.GetToken(smartkey::TokenRequest("other"));
  } catch (const smartkey::Error& error) {
    std::cout << error.what() << '\n'
              << error.reason_name() << ' ' << error.user_action() << ' '
              << error.retry_after().has_value() << '\n';
    return error.exit_code();
  }
  return 0;
}
