// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_capabilities.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "hsm/tpm/tpm_key_template.h"
#include "hsm/tpm/tpm_status.h"

namespace smartkey {
namespace {

// RFC 7518 recommends both P-256 and RSA; SMART's backend profile asks servers for ES384 and RS384.
constexpr SignatureAlgorithm kByPreference[] = {
    SignatureAlgorithm::kEs384,
    SignatureAlgorithm::kRs384,
    SignatureAlgorithm::kEs256,
    SignatureAlgorithm::kRs256,
};

absl::StatusOr<std::map<TPM2_PT, UINT32>> ReadProperties(EsysContext& context, TPM2_PT first,
                                                         UINT32 count) {
  EsysPtr<TPMS_CAPABILITY_DATA> data;
  const TSS2_RC rc = EsysContext::Run([&] {
    TPMS_CAPABILITY_DATA* raw = nullptr;
    TPMI_YES_NO more = TPM2_NO;
    const TSS2_RC result =
        Esys_GetCapability(context.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                           TPM2_CAP_TPM_PROPERTIES, first, count, &more, &raw);
    data.reset(raw);
    return result;
  });
  if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "read properties");
  std::map<TPM2_PT, UINT32> properties;
  const TPML_TAGGED_TPM_PROPERTY& list = data->data.tpmProperties;
  for (UINT32 i = 0; i < list.count; ++i) {
    properties[list.tpmProperty[i].property] = list.tpmProperty[i].value;
  }
  return properties;
}

// Four characters in an integer, first in the highest octet; padded with zeros or spaces.
std::string Characters(UINT32 value) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) {
    const char c = static_cast<char>(value >> shift);
    if (c != '\0') text.push_back(c);
  }
  return text;
}

}  // namespace

absl::StatusOr<std::string> ReadHardwareName(EsysContext& context) {
  absl::StatusOr<std::map<TPM2_PT, UINT32>> properties =
      ReadProperties(context, TPM2_PT_MANUFACTURER, 5);
  if (!properties.ok()) return properties.status();
  std::string model;
  for (const TPM2_PT part : {TPM2_PT_VENDOR_STRING_1, TPM2_PT_VENDOR_STRING_2,
                             TPM2_PT_VENDOR_STRING_3, TPM2_PT_VENDOR_STRING_4}) {
    const auto found = properties->find(part);
    if (found != properties->end()) absl::StrAppend(&model, Characters(found->second));
  }
  const std::string maker = Characters((*properties)[TPM2_PT_MANUFACTURER]);
  const std::vector<std::string> words =
      absl::StrSplit(absl::StrCat(maker, " ", model), ' ', absl::SkipWhitespace());
  return absl::StrCat(Printable(absl::StrJoin(words, " ")), " (TPM 2.0)");
}

absl::StatusOr<std::vector<SignatureAlgorithm>> ProbeAlgorithms(EsysContext& context) {
  std::vector<SignatureAlgorithm> supported;
  for (const SignatureAlgorithm algorithm : kByPreference) {
    const TPMT_PUBLIC_PARMS parameters = ParametersOf(SigningKeyTemplate(algorithm));
    const TSS2_RC rc = EsysContext::Run([&] {
      return Esys_TestParms(context.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &parameters);
    });
    if (rc == TSS2_RC_SUCCESS) {
      supported.push_back(algorithm);
    } else if (!IsParameterError(rc) && RowForTpmCode(rc).reason != Reason::kAlgorithmUnsupported) {
      return TpmStatus(rc, "test parameters");
    }
  }
  return supported;
}

absl::optional<absl::Duration> ReadLockoutInterval(EsysContext& context) {
  absl::StatusOr<std::map<TPM2_PT, UINT32>> properties =
      ReadProperties(context, TPM2_PT_LOCKOUT_INTERVAL, 1);
  if (!properties.ok()) return absl::nullopt;
  const auto found = properties->find(TPM2_PT_LOCKOUT_INTERVAL);
  if (found == properties->end()) return absl::nullopt;
  return absl::Seconds(found->second);
}

}  // namespace smartkey
