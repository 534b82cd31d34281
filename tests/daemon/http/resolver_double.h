// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace smartkey {

// Linked into a test program, answers getaddrinfo for names under ".test", so that no test asks the
// network: "hang.test" blocks while a HangingResolver lives, "here.test" is 127.0.0.1, all others
// do not exist.
class HangingResolver {
 public:
  HangingResolver();
  // Lets the blocked lookups go and waits for them.
  ~HangingResolver();

  // Waits until a lookup is blocked.
  void WaitForLookup();
};

}  // namespace smartkey
