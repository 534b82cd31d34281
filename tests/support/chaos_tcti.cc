// SPDX-License-Identifier: Apache-2.0
#include "tests/support/chaos_tcti.h"

#include <dlfcn.h>
#include <tss2/tss2_tcti.h>
#include <tss2/tss2_tctildr.h>
#include <tss2/tss2_tpm2_types.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "tests/support/hang_point.h"

namespace smartkey {

// The C++ library's lock, and no library of ours: this one stands alone.
struct ChaosTcti::State {
  std::string inner;
  std::mutex mu;
  HangPoint hang;
  int to_go = 0;  // commands before the fault; 0: none is armed
  int times = 0;
  TpmFault fault;
  bool happened = false;
  std::vector<uint32_t> commands;

  // What is to happen to this command; Kind::kReplace without a function: nothing.
  TpmFault Next(uint32_t command) {
    const std::lock_guard<std::mutex> lock(mu);
    commands.push_back(command);
    if (to_go == 0) return {.kind = TpmFault::Kind::kReplace, .code = 0, .replace = nullptr};
    if (to_go > 1) {
      --to_go;
      return {.kind = TpmFault::Kind::kReplace, .code = 0, .replace = nullptr};
    }
    if (--times == 0) to_go = 0;
    happened = true;
    return fault;
  }
};

namespace {

constexpr size_t kHeaderBytes = 10;  // tag, size, code: Part 1 section 18.1

std::mutex registry_mu;
std::map<int, std::shared_ptr<ChaosTcti::State>>& Registry() {
  static auto* registry = new std::map<int, std::shared_ptr<ChaosTcti::State>>;
  return *registry;
}

void PutU32(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

uint32_t CommandOf(size_t size, const uint8_t* command) {
  if (size < kHeaderBytes) return 0;
  uint32_t code = 0;
  for (size_t i = 6; i < kHeaderBytes; ++i) code = code << 8 | command[i];
  return code;
}

std::string ResponseWith(TSS2_RC code) {
  std::string response("\x80\x01", 2);  // TPM2_ST_NO_SESSIONS, as every error's
  PutU32(response, kHeaderBytes);
  PutU32(response, code);
  return response;
}

// One connection.
struct Connection {
  std::shared_ptr<ChaosTcti::State> state;
  TSS2_TCTI_CONTEXT* inner = nullptr;  // null: dropped
  TpmFault fault;                      // of the command under way
  std::string answer;                  // made here; empty: the TPM's
};

struct Context {
  TSS2_TCTI_CONTEXT_COMMON_V2 common;
  Connection* connection;
};

Connection& ConnectionOf(TSS2_TCTI_CONTEXT* context) {
  return *reinterpret_cast<Context*>(context)->connection;
}

TSS2_RC Transmit(TSS2_TCTI_CONTEXT* context, size_t size, const uint8_t* command) {
  Connection& connection = ConnectionOf(context);
  if (connection.inner == nullptr) return TSS2_TCTI_RC_IO_ERROR;
  connection.fault = connection.state->Next(CommandOf(size, command));
  connection.answer.clear();
  switch (connection.fault.kind) {
    case TpmFault::Kind::kTpmCode:
      connection.answer = ResponseWith(connection.fault.code);
      return TSS2_RC_SUCCESS;
    case TpmFault::Kind::kTransmitCode:
      return connection.fault.code;
    case TpmFault::Kind::kDelay:
      std::this_thread::sleep_for(std::chrono::milliseconds(connection.fault.delay_ms));
      break;
    case TpmFault::Kind::kHang:
      connection.state->hang.Hang();
      break;
    case TpmFault::Kind::kDrop:
      Tss2_TctiLdr_Finalize(&connection.inner);
      return TSS2_TCTI_RC_IO_ERROR;
    case TpmFault::Kind::kReceiveCode:
    case TpmFault::Kind::kReplace:
      break;
  }
  return Tss2_Tcti_Transmit(connection.inner, size, command);
}

// Gives out `answer`, or its size where nobody has a buffer yet.
TSS2_RC GiveOut(const std::string& answer, size_t* size, uint8_t* response) {
  if (response != nullptr && *size < answer.size()) return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
  *size = answer.size();
  if (response != nullptr) std::memcpy(response, answer.data(), answer.size());
  return TSS2_RC_SUCCESS;
}

TSS2_RC Receive(TSS2_TCTI_CONTEXT* context, size_t* size, uint8_t* response, int32_t timeout) {
  Connection& connection = ConnectionOf(context);
  if (connection.inner == nullptr) return TSS2_TCTI_RC_IO_ERROR;
  if (!connection.answer.empty()) return GiveOut(connection.answer, size, response);
  if (connection.fault.kind != TpmFault::Kind::kReceiveCode && !connection.fault.replace) {
    return Tss2_Tcti_Receive(connection.inner, size, response, timeout);
  }
  std::string answer(TPM2_MAX_RESPONSE_SIZE, '\0');
  size_t answer_size = answer.size();
  const TSS2_RC rc = Tss2_Tcti_Receive(connection.inner, &answer_size,
                                       reinterpret_cast<uint8_t*>(answer.data()), timeout);
  if (rc != TSS2_RC_SUCCESS) return rc;
  answer.resize(answer_size);
  connection.answer = answer;  // for those who ask again
  if (connection.fault.kind == TpmFault::Kind::kReceiveCode) return connection.fault.code;
  connection.answer = connection.fault.replace(std::move(answer));
  return GiveOut(connection.answer, size, response);
}

void Finalize(TSS2_TCTI_CONTEXT* context) {
  Connection*& connection = reinterpret_cast<Context*>(context)->connection;
  if (connection->inner != nullptr) Tss2_TctiLdr_Finalize(&connection->inner);
  delete std::exchange(connection, nullptr);
}

TSS2_RC Cancel(TSS2_TCTI_CONTEXT* /*context*/) {
  return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}
TSS2_RC GetPollHandles(TSS2_TCTI_CONTEXT* /*context*/, TSS2_TCTI_POLL_HANDLE* /*handles*/,
                       size_t* /*count*/) {
  return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}
TSS2_RC SetLocality(TSS2_TCTI_CONTEXT* /*context*/, uint8_t /*locality*/) {
  return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}
TSS2_RC MakeSticky(TSS2_TCTI_CONTEXT* /*context*/, TPM2_HANDLE* /*handle*/, uint8_t /*sticky*/) {
  return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

// TSS 2.0 TCTI specification section 3.4: the first call asks for the size.
TSS2_RC Initialize(TSS2_TCTI_CONTEXT* context, size_t* size, const char* configuration) {
  if (context == nullptr) {
    *size = sizeof(Context);
    return TSS2_RC_SUCCESS;
  }
  auto connection = std::make_unique<Connection>();
  {
    const std::lock_guard<std::mutex> lock(registry_mu);
    const auto found = Registry().find(std::atoi(configuration));
    if (found == Registry().end()) return TSS2_TCTI_RC_BAD_VALUE;
    connection->state = found->second;
  }
  const TSS2_RC rc = Tss2_TctiLdr_Initialize(connection->state->inner.c_str(), &connection->inner);
  if (rc != TSS2_RC_SUCCESS) return rc;
  auto* made = reinterpret_cast<Context*>(context);
  made->common.v1.magic = 0x6368616f73;  // "chaos"
  made->common.v1.version = 2;
  made->common.v1.transmit = &Transmit;
  made->common.v1.receive = &Receive;
  made->common.v1.finalize = &Finalize;
  made->common.v1.cancel = &Cancel;
  made->common.v1.getPollHandles = &GetPollHandles;
  made->common.v1.setLocality = &SetLocality;
  made->common.makeSticky = &MakeSticky;
  made->connection = connection.release();
  return TSS2_RC_SUCCESS;
}

constexpr TSS2_TCTI_INFO kInfo = {
    .version = 2,
    .name = "tcti-chaos",
    .description = "Wraps another TCTI and lets a test decide what goes wrong",
    .config_help = "The number of a ChaosTcti of this process",
    .init = &Initialize,
};

int Register(std::shared_ptr<ChaosTcti::State> state) {
  static int last = 0;
  const std::lock_guard<std::mutex> lock(registry_mu);
  Registry().emplace(++last, std::move(state));
  return last;
}

}  // namespace

ChaosTcti::ChaosTcti(std::string inner)
    : number_([&] {
        auto state = std::make_shared<State>();
        state->inner = std::move(inner);
        return Register(std::move(state));
      }()),
      state_(Registry()[number_]) {}

ChaosTcti::~ChaosTcti() {
  Release();
  const std::lock_guard<std::mutex> lock(registry_mu);
  Registry().erase(number_);
}

std::string ChaosTcti::tcti() const {
  Dl_info info = {};
  if (dladdr(reinterpret_cast<const void*>(&Initialize), &info) == 0) std::abort();
  return std::string(info.dli_fname) + ":" + std::to_string(number_);
}

void ChaosTcti::Arm(int nth, TpmFault fault, int times) {
  const std::lock_guard<std::mutex> lock(state_->mu);
  state_->to_go = nth;
  state_->times = times;
  state_->fault = std::move(fault);
  state_->happened = false;
}

void ChaosTcti::Disarm() {
  const std::lock_guard<std::mutex> lock(state_->mu);
  state_->to_go = 0;
}

bool ChaosTcti::happened() const {
  const std::lock_guard<std::mutex> lock(state_->mu);
  return state_->happened;
}

bool ChaosTcti::hanging() const {
  return state_->hang.hanging();
}

void ChaosTcti::Release() {
  state_->hang.Release();
}

std::vector<uint32_t> ChaosTcti::TakeCommands() {
  const std::lock_guard<std::mutex> lock(state_->mu);
  return std::exchange(state_->commands, {});
}

}  // namespace smartkey

// What the tss2 loader looks for.
extern "C" const TSS2_TCTI_INFO* Tss2_Tcti_Info() {
  return &smartkey::kInfo;
}
