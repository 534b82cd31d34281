// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace smartkey {

// Where a call hangs until a test lets it go on. With the C++ library's lock and alone in a header,
// since the libraries that have one are loaded as a vendor's. Thread-safe; one call at a time.
class HangPoint {
 public:
  // Returns after Release().
  void Hang() {
    std::unique_lock<std::mutex> lock(mu_);
    hanging_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return released_; });
    hanging_ = false;
    released_ = false;
  }

  bool hanging() const {
    const std::lock_guard<std::mutex> lock(mu_);
    return hanging_;
  }

  // Waits until a call hangs. False after 30 seconds.
  bool AwaitHanging() const {
    std::unique_lock<std::mutex> lock(mu_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [this] { return hanging_; });
  }

  // Nothing if no call hangs.
  void Release() {
    const std::lock_guard<std::mutex> lock(mu_);
    if (!hanging_) return;
    released_ = true;
    changed_.notify_all();
  }

 private:
  mutable std::mutex mu_;
  mutable std::condition_variable changed_;
  bool hanging_ = false;
  bool released_ = false;
};

}  // namespace smartkey
