// SPDX-License-Identifier: Apache-2.0
#include "tests/support/test_certificates.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <cstdlib>

namespace smartkey {

namespace {

constexpr long kDay = 24 * 60 * 60;

std::shared_ptr<EVP_PKEY> MakeKey() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  if (key == nullptr) std::abort();
  return std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free);
}

std::string ToString(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

std::string ToPem(X509* certificate) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate);
  return ToString(bio);
}

void AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  if (extension == nullptr) std::abort();
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// Version 3, a serial number of its own, named `name`, without extensions and signature.
std::shared_ptr<X509> Draft(const std::string& name, EVP_PKEY* key, int days) {
  static std::atomic<long> serial{1};
  std::shared_ptr<X509> certificate(X509_new(), X509_free);
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kDay * (days < 0 ? 1 - days : 1));
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), kDay * days);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_pubkey(certificate.get(), key);
  return certificate;
}

}  // namespace

TestCertificateAuthority::TestCertificateAuthority() : key_(MakeKey()) {
  static std::atomic<int> number{1};
  // Each with a name of its own: OpenSSL finds an issuer by name.
  certificate_ = Draft("test ca " + std::to_string(number++), key_.get(), 30);
  X509_set_issuer_name(certificate_.get(), X509_get_subject_name(certificate_.get()));
  AddExtension(certificate_.get(), certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(certificate_.get(), certificate_.get(), NID_key_usage, "critical,keyCertSign");
  AddExtension(certificate_.get(), certificate_.get(), NID_subject_key_identifier, "hash");
  X509_sign(certificate_.get(), key_.get(), EVP_sha256());
}

std::string TestCertificateAuthority::pem() const {
  return ToPem(certificate_.get());
}

TestCertificate TestCertificateAuthority::Issue(const std::string& subject_alt_names,
                                                int days) const {
  const std::shared_ptr<EVP_PKEY> key = MakeKey();
  const std::shared_ptr<X509> certificate = Draft("test server", key.get(), days);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate_.get()));
  AddExtension(certificate.get(), certificate_.get(), NID_subject_alt_name, subject_alt_names);
  AddExtension(certificate.get(), certificate_.get(), NID_ext_key_usage, "serverAuth");
  X509_sign(certificate.get(), key_.get(), EVP_sha256());

  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return TestCertificate{ToPem(certificate.get()), ToString(bio)};
}

}  // namespace smartkey
