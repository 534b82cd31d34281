// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_uri.h"

#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/log.h"
#include "hsm/pkcs11/pkcs11_token.h"

namespace smartkey {
namespace {

struct UriFree {
  void operator()(P11KitUri* uri) const { p11_kit_uri_free(uri); }
};
using UriPtr = std::unique_ptr<P11KitUri, UriFree>;

absl::Status Invalid(absl::string_view what) {
  return MakeError(Reason::kConfigInvalid, absl::StrCat("pkcs11 uri: ", what));
}

// RFC 7512 section 2.4: a file: URI or a path. "|command" is another way that we do not go.
absl::StatusOr<std::string> PinFileOf(absl::string_view source) {
  absl::string_view path = source;
  if (absl::ConsumePrefix(&path, "file:")) {
    // RFC 8089: file:/path, file:///path, file://localhost/path.
    if (absl::ConsumePrefix(&path, "//")) absl::ConsumePrefix(&path, "localhost");
  }
  if (!absl::StartsWith(path, "/")) {
    return Invalid("pin-source must be a file: uri or an absolute path");
  }
  return std::string(path);
}

// What is in a URI that cannot be used here; OK if nothing is.
absl::Status CheckParts(P11KitUri* uri) {
  if (p11_kit_uri_any_unrecognized(uri)) return Invalid("it has an attribute that is not known");
  if (p11_kit_uri_get_pin_value(uri) != nullptr) {
    return Invalid("pin-value would put the pin into the configuration: use pin_file");
  }
  const CK_SLOT_INFO* slot = p11_kit_uri_get_slot_info(uri);
  if (p11_kit_uri_get_slot_id(uri) != static_cast<CK_SLOT_ID>(-1) ||
      slot->slotDescription[0] != 0 || slot->manufacturerID[0] != 0) {
    return Invalid(
        "slots change when readers come and go: name the token, by 'token' and 'serial'");
  }
  CK_ULONG attributes = 0;
  p11_kit_uri_get_attributes(uri, &attributes);
  if (attributes != 0) return Invalid("it names an object: name the token only");
  const CK_INFO* library = p11_kit_uri_get_module_info(uri);
  if (library->libraryDescription[0] != 0 || library->manufacturerID[0] != 0 ||
      library->libraryVersion.major != 0xFF || p11_kit_uri_get_module_name(uri) != nullptr ||
      p11_kit_uri_get_module_path(uri) != nullptr) {
    return Invalid("it names a library: that is what 'module' is for");
  }
  return absl::OkStatus();
}

}  // namespace

std::string Describe(const Pkcs11TokenIdentity& token) {
  std::vector<std::string> parts;
  for (const auto& [name, value] :
       {std::pair<absl::string_view, const std::string&>{"label", token.label},
        {"serial", token.serial},
        {"model", token.model},
        {"manufacturer", token.manufacturer}}) {
    if (!value.empty()) parts.push_back(absl::StrCat(name, " '", Printable(value), "'"));
  }
  return parts.empty() ? "any token" : absl::StrJoin(parts, ", ");
}

bool Pkcs11Uri::Matches(const Pkcs11TokenIdentity& other) const {
  const auto fits = [](const std::string& wanted, const std::string& is) {
    return wanted.empty() || wanted == is;
  };
  return fits(token.label, other.label) && fits(token.manufacturer, other.manufacturer) &&
         fits(token.model, other.model) && fits(token.serial, other.serial);
}

absl::StatusOr<Pkcs11Uri> Pkcs11Uri::Parse(const std::string& text) {
  const UriPtr uri(p11_kit_uri_new());
  if (uri == nullptr) return MakeError(Reason::kInternal, "pkcs11 uri: out of memory");
  // p11-kit reads up to the first NUL.
  const int result = text.find('\0') == std::string::npos
                         ? p11_kit_uri_parse(text.c_str(), P11_KIT_URI_FOR_ANY, uri.get())
                         : static_cast<int>(P11_KIT_URI_BAD_SYNTAX);
  if (result != P11_KIT_URI_OK) {
    return Invalid("it is not of the form 'pkcs11:token=LABEL;serial=SERIAL' (RFC 7512)");
  }
  if (absl::Status status = CheckParts(uri.get()); !status.ok()) return status;
  Pkcs11Uri parsed;
  parsed.token = IdentityOf(*p11_kit_uri_get_token_info(uri.get()));
  if (const char* source = p11_kit_uri_get_pin_source(uri.get()); source != nullptr) {
    absl::StatusOr<std::string> file = PinFileOf(source);
    if (!file.ok()) return file.status();
    parsed.pin_file = *std::move(file);
  }
  return parsed;
}

}  // namespace smartkey
