// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace smartkey {

// Certificate and key of a server, in PEM.
struct TestCertificate {
  std::string certificate_pem;
  std::string key_pem;
};

// A certification authority made for one test. Not thread-safe.
class TestCertificateAuthority {
 public:
  TestCertificateAuthority();

  std::string pem() const;
  // `subject_alt_names` as OpenSSL writes them: "DNS:ehr.test,IP:127.0.0.1". Valid from yesterday
  // until `days` from now; negative: expired.
  TestCertificate Issue(const std::string& subject_alt_names, int days = 30) const;

 private:
  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> certificate_;
};

}  // namespace smartkey
