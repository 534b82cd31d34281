// SPDX-License-Identifier: Apache-2.0
// What a local process writes into the daemon's public socket: HTTP/2 that is cut, wrong or huge,
// calls of methods that there are and are not, messages that are none.
//
// Input: pieces, each an octet that says what it is and what follows from it, written into one
// connection of a user who has no right to anything. The daemon ends the connection once the peer
// has said all he has to say, in bounded time; a token or a name of another user's is in none of
// its answers; and what is recorded stays as it was.
#include <google/protobuf/descriptor.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "tests/daemon/rpc/services_fixture.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);
constexpr size_t kMostBytes = 1024 * 1024;

// The daemon's services with alice's registration, whose name nobody else may learn.
class Daemon : public Services {
 public:
  Daemon() : id_(AddRegistration("alices-own-name")) { SetLogLevel(LogLevel::kError); }
  void TestBody() override {}

  std::unique_ptr<Connection> ServeBob(UniqueFd socket, const std::shared_ptr<CallTracker>& calls) {
    // With limits of its own, so that what came before holds nothing back.
    auto connection =
        Connection::Create(PublicServices(parts_)(bob_), calls, quota_, Connection::Limits());
    Require(connection.ok(), "no server");
    (*connection)->Serve(std::move(socket));
    return *std::move(connection);
  }
  std::shared_ptr<CallTracker> NewTracker() { return std::make_shared<CallTracker>(clock_); }

  bool IsAsItWas() const {
    const std::vector<RegistrationStore::Snapshot> all = store_.List();
    return all.size() == 1 && all[0]->id == id_ && all[0]->shares.empty() &&
           all[0]->denials.empty() && !all[0]->suspension.has_value();
  }

 private:
  const std::string id_;
};

const std::vector<std::string>& Paths() {
  static const auto* paths = [] {
    auto* all = new std::vector<std::string>;
    for (const char* name :
         {"TokenService", "EnrollmentService", "RegistrationService", "SharingService",
          "SigningService", "ServerInfoService", "AdminService"}) {
      const google::protobuf::ServiceDescriptor* service =
          google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
              absl::StrCat("smartkey.v1.", name));
      Require(service != nullptr, "a service is not there");
      for (int i = 0; i < service->method_count(); ++i) {
        all->push_back(absl::StrCat("/", service->full_name(), "/", service->method(i)->name()));
      }
    }
    all->push_back("/grpc.health.v1.Health/Check");
    all->push_back("/grpc.health.v1.Health/Watch");
    all->push_back("/smartkey.v1.TokenService/NoSuchMethod");
    all->push_back("");
    return all;
  }();
  return *paths;
}

// RFC 9113, 4.1.
std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, absl::string_view payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) out += static_cast<char>(payload.size() >> shift);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(stream >> shift);
  return absl::StrCat(out, payload);
}

// RFC 7541, 5.2: a string literal without Huffman.
std::string Literal(absl::string_view text) {
  std::string out;
  if (text.size() < 127) {
    out += static_cast<char>(text.size());
  } else {
    out += '\x7f';
    size_t rest = text.size() - 127;
    for (; rest >= 128; rest >>= 7) out += static_cast<char>(rest | 128);
    out += static_cast<char>(rest);
  }
  return absl::StrCat(out, text);
}

std::string Header(absl::string_view name, absl::string_view value) {
  return absl::StrCat(absl::string_view("\0", 1), Literal(name), Literal(value));
}

std::string CallHeaders(absl::string_view path, absl::string_view more) {
  return absl::StrCat(Header(":method", "POST"), Header(":scheme", "http"), Header(":path", path),
                      Header(":authority", "localhost"), Header("content-type", "application/grpc"),
                      Header("te", "trailers"), more);
}

std::string MessagePrefix(size_t size, uint8_t compressed) {
  std::string out(1, static_cast<char>(compressed));
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(size >> shift);
  return out;
}

std::string BytesOf(FuzzInput& input) {
  constexpr uint8_t kData = 0, kHeaders = 1, kEndStream = 1, kEndHeaders = 4;
  std::string bytes;
  uint32_t stream = 1;
  while (bytes.size() < kMostBytes) {
    const absl::string_view op = input.Octets(1);
    if (op.empty()) break;
    switch (static_cast<uint8_t>(op[0]) % 8) {
      case 0:
        absl::StrAppend(&bytes, input.Field());
        break;
      case 1:
        absl::StrAppend(&bytes, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Frame(4, 0, 0, ""));
        break;
      case 2: {  // a whole call
        const std::string& path = Paths()[input.Octet() % Paths().size()];
        const absl::string_view message = input.Field();
        absl::StrAppend(&bytes, Frame(kHeaders, kEndHeaders, stream, CallHeaders(path, "")),
                        Frame(kData, kEndStream, stream,
                              absl::StrCat(MessagePrefix(message.size(), 0), message)));
        stream += 2;
        break;
      }
      case 3: {  // one that is left open
        const std::string& path = Paths()[input.Octet() % Paths().size()];
        absl::StrAppend(&bytes, Frame(kHeaders, kEndHeaders, stream, CallHeaders(path, "")));
        stream += 2;
        break;
      }
      case 4:  // a message that is not as long as it says, or says that it is compressed
        absl::StrAppend(
            &bytes,
            Frame(kData, kEndStream, stream - (stream > 1 ? 2 : 0),
                  absl::StrCat(MessagePrefix(size_t{input.Octet()} << 20, input.Octet() % 2),
                               input.Field())));
        break;
      case 5:  // metadata
        absl::StrAppend(&bytes,
                        Frame(kHeaders, kEndHeaders, stream,
                              CallHeaders("/smartkey.v1.TokenService/GetAccessToken",
                                          Header(input.Field(),
                                                 std::string(size_t{input.Octet()} * 256, 'x')))));
        stream += 2;
        break;
      case 6: {  // any frame
        const uint8_t type = input.Octet(), flags = input.Octet();
        const uint32_t of = input.Octet();
        absl::StrAppend(&bytes, Frame(type, flags, of, input.Field()));
        break;
      }
      default: {  // a path that is none
        absl::StrAppend(&bytes, Frame(kHeaders, kEndHeaders | kEndStream, stream,
                                      CallHeaders(input.Field(), "")));
        stream += 2;
      }
    }
  }
  return bytes;
}

// Writes all, reads all until the peer closes; the answer.
std::string Converse(int socket, absl::string_view bytes) {
  const absl::Time deadline = absl::Now() + kPatience;
  std::string answer;
  bool writing = true;
  while (true) {
    Require(absl::Now() < deadline, "the connection does not end");
    if (writing && bytes.empty()) {
      shutdown(socket, SHUT_WR);
      writing = false;
    }
    pollfd poll_fd{socket, static_cast<short>(POLLIN | (writing ? POLLOUT : 0)), 0};
    if (poll(&poll_fd, 1, 1000) <= 0) continue;
    if ((poll_fd.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      char buffer[16384];
      const ssize_t n = recv(socket, buffer, sizeof buffer, MSG_DONTWAIT);
      if (n == 0 || (n < 0 && errno != EAGAIN)) return answer;
      if (n > 0) answer.append(buffer, static_cast<size_t>(n));
    }
    if (writing && (poll_fd.revents & POLLOUT) != 0) {
      const ssize_t n = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno != EAGAIN) {
        writing = false;
        continue;
      }
      if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
}

void Check(FuzzInput input) {
  static auto* daemon = new Daemon;
  const std::string bytes = BytesOf(input);
  int fds[2];
  Require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0,
          "no socket");
  const UniqueFd peer(fds[1]);
  const std::shared_ptr<CallTracker> calls = daemon->NewTracker();
  std::unique_ptr<Connection> connection = daemon->ServeBob(UniqueFd(fds[0]), calls);
  const std::string answer = Converse(peer.get(), bytes);
  Mutex mu;
  CondVar changed;
  bool idle = false;
  calls->WhenIdle([&] {
    MutexLock lock(mu);
    idle = true;
    changed.NotifyAll();
  });
  {
    const absl::Time deadline = absl::Now() + kPatience;
    MutexLock lock(mu);
    while (!idle) {
      Require(absl::Now() < deadline, "a call does not end");
      changed.WaitFor(mu, absl::Milliseconds(100));
    }
  }
  connection->Shutdown();
  connection.reset();

  Require(!absl::StrContains(answer, "a-token"), "another user's token");
  Require(!absl::StrContains(answer, "alices-own-name"), "another user's registration");
  Require(!absl::StrContains(answer, "patient-1"), "another user's patient");
  Require(daemon->IsAsItWas(), "the record has changed");
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::FuzzInput(data, size));
  return 0;
}
