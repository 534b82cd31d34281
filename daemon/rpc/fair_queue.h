// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <map>
#include <utility>

#include "absl/types/optional.h"

namespace smartkey {

// Jobs by key: keys take turns, and of each key at most one job is out at a time. With W workers
// whose jobs take up to T, a key that has no job out waits no longer than T per W other keys,
// however many jobs each of those has queued; one key alone never keeps two workers.
//
//   queue.Push(uid, job);
//   if (auto next = queue.Pop()) {  // (uid, job)
//     ...
//     queue.Done(next->first);      // now the next one of the same key may have its turn
//   }
//
// Not thread-safe. Costs nothing for keys without jobs.
template <class Key, class Job>
class FairQueue {
 public:
  void Push(const Key& key, Job job) {
    Line& line = lines_[key];
    line.jobs.push_back(std::move(job));
    if (!line.out && line.jobs.size() == 1) turns_.push_back(key);
  }

  // The job whose turn it is; nothing when all that wait are of keys with a job out.
  absl::optional<std::pair<Key, Job>> Pop() {
    if (turns_.empty()) return absl::nullopt;
    const Key key = turns_.front();
    turns_.pop_front();
    Line& line = lines_.at(key);
    std::pair<Key, Job> next(key, std::move(line.jobs.front()));
    line.jobs.pop_front();
    line.out = true;
    return next;
  }

  // Ends the job of `key` that is out. Its next one goes behind the other keys.
  void Done(const Key& key) {
    Line& line = lines_.at(key);
    line.out = false;
    if (line.jobs.empty()) {
      lines_.erase(key);
    } else {
      turns_.push_back(key);
    }
  }

 private:
  struct Line {
    std::deque<Job> jobs;
    bool out = false;
  };
  std::map<Key, Line> lines_;
  std::deque<Key> turns_;  // keys with jobs waiting and none out
};

}  // namespace smartkey
