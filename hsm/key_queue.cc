// SPDX-License-Identifier: Apache-2.0
#include "hsm/key_queue.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace smartkey {

absl::Status KeyQueue::CheckRoom(KeyService::CallerKey caller) const {
  if (size_ >= max_) {
    return MakeError(Reason::kHardwareBusy, "the queue for the key hardware is full");
  }
  if (caller == KeyService::kInternal) return absl::OkStatus();
  size_t waiting = 0;
  for (const Turns* turns : {&signatures_, &creations_}) {
    const auto found = turns->by_caller.find(caller);
    if (found != turns->by_caller.end()) waiting += found->second.size();
  }
  if (waiting >= static_cast<size_t>(max_per_caller_)) {
    return MakeError(Reason::kHardwareBusy,
                     "this caller has too many calls waiting for the key hardware");
  }
  return absl::OkStatus();
}

void KeyQueue::Push(KeyOperation operation) {
  Turns& turns = operation.kind == KeyOperationKind::kCreate ? creations_ : signatures_;
  const KeyService::CallerKey caller = operation.caller;
  std::deque<KeyOperation>& mine = turns.by_caller[caller];
  if (mine.empty()) turns.order.push_back(caller);
  mine.push_back(std::move(operation));
  ++size_;
}

absl::optional<KeyOperation> KeyQueue::PopFrom(Turns& turns) {
  if (turns.order.empty()) return absl::nullopt;
  const KeyService::CallerKey caller = turns.order.front();
  turns.order.pop_front();
  const auto mine = turns.by_caller.find(caller);
  KeyOperation operation = std::move(mine->second.front());
  mine->second.pop_front();
  if (mine->second.empty()) {
    turns.by_caller.erase(mine);
  } else {
    turns.order.push_back(caller);  // behind everybody else
  }
  return operation;
}

absl::optional<KeyOperation> KeyQueue::Pop() {
  absl::optional<KeyOperation> operation;
  if (passed_over_ >= kMostPassedOver) operation = PopFrom(creations_);
  if (!operation.has_value()) operation = PopFrom(signatures_);
  if (!operation.has_value()) operation = PopFrom(creations_);
  if (!operation.has_value()) return operation;
  const bool creation = operation->kind == KeyOperationKind::kCreate;
  passed_over_ = creation || creations_.order.empty() ? 0 : passed_over_ + 1;
  --size_;
  return operation;
}

absl::optional<KeyOperation> KeyQueue::RemoveFrom(Turns& turns, KeyService::OperationId id) {
  for (auto& [caller, mine] : turns.by_caller) {
    const auto found = std::find_if(mine.begin(), mine.end(), [id](const KeyOperation& operation) {
      return operation.id == id;
    });
    if (found == mine.end()) continue;
    KeyOperation operation = std::move(*found);
    mine.erase(found);
    if (mine.empty()) {
      turns.order.erase(std::find(turns.order.begin(), turns.order.end(), caller));
      turns.by_caller.erase(operation.caller);
    }
    return operation;
  }
  return absl::nullopt;
}

absl::optional<KeyOperation> KeyQueue::Remove(KeyService::OperationId id) {
  absl::optional<KeyOperation> operation = RemoveFrom(signatures_, id);
  if (!operation.has_value()) operation = RemoveFrom(creations_, id);
  if (operation.has_value()) --size_;
  return operation;
}

std::vector<KeyOperation> KeyQueue::TakeAll() {
  std::vector<KeyOperation> all;
  while (absl::optional<KeyOperation> operation = Pop()) all.push_back(*std::move(operation));
  return all;
}

std::vector<KeyOperation> KeyQueue::TakeAllBut(KeyOperationKind kept) {
  std::vector<KeyOperation> all = TakeAll();
  const auto first_kept = std::stable_partition(
      all.begin(), all.end(), [kept](const KeyOperation& one) { return one.kind != kept; });
  for (auto it = first_kept; it != all.end(); ++it) Push(std::move(*it));
  all.erase(first_kept, all.end());
  return all;
}

}  // namespace smartkey
