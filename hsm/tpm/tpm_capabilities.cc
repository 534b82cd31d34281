// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_capabilities.h"

#include <utility>

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

// At most `count` entries of a capability, from `first` on.
absl::StatusOr<EsysPtr<TPMS_CAPABILITY_DATA>> ReadCapability(EsysContext& context, TPM2_CAP which,
                                                             UINT32 first, UINT32 count) {
  EsysPtr<TPMS_CAPABILITY_DATA> data;
  const TSS2_RC rc = EsysContext::Run([&] {
    TPMS_CAPABILITY_DATA* raw = nullptr;
    TPMI_YES_NO more = TPM2_NO;
    const TSS2_RC result = Esys_GetCapability(context.get(), ESYS_TR_NONE, ESYS_TR_NONE,
                                              ESYS_TR_NONE, which, first, count, &more, &raw);
    data.reset(raw);
    return result;
  });
  if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "read capabilities");
  if (data->capability != which) {
    return MakeError(Reason::kHardwareDegraded, "tpm read capabilities: another was answered");
  }
  return data;
}

absl::StatusOr<bool> HasSha384(EsysContext& context) {
  absl::StatusOr<EsysPtr<TPMS_CAPABILITY_DATA>> data =
      ReadCapability(context, TPM2_CAP_ALGS, TPM2_ALG_SHA384, 1);
  if (!data.ok()) return data.status();
  const TPML_ALG_PROPERTY& list = (*data)->data.algorithms;
  return list.count > 0 && list.algProperties[0].alg == TPM2_ALG_SHA384;
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

absl::StatusOr<TpmProperties> ReadProperties(EsysContext& context, TPM2_PT first, UINT32 count) {
  absl::StatusOr<EsysPtr<TPMS_CAPABILITY_DATA>> data =
      ReadCapability(context, TPM2_CAP_TPM_PROPERTIES, first, count);
  if (!data.ok()) return data.status();
  TpmProperties properties;
  const TPML_TAGGED_TPM_PROPERTY& list = (*data)->data.tpmProperties;
  for (UINT32 i = 0; i < list.count; ++i) {
    properties[list.tpmProperty[i].property] = list.tpmProperty[i].value;
  }
  return properties;
}

absl::StatusOr<std::string> ReadFirmwareVersion(EsysContext& context) {
  absl::StatusOr<TpmProperties> properties = ReadProperties(context, TPM2_PT_FIRMWARE_VERSION_1, 2);
  if (!properties.ok()) return properties.status();
  const UINT32 high = (*properties)[TPM2_PT_FIRMWARE_VERSION_1];
  const UINT32 low = (*properties)[TPM2_PT_FIRMWARE_VERSION_2];
  return absl::StrCat(high >> 16, ".", high & 0xFFFF, ".", low >> 16, ".", low & 0xFFFF);
}

absl::StatusOr<std::string> ReadHardwareName(EsysContext& context) {
  absl::StatusOr<TpmProperties> properties = ReadProperties(context, TPM2_PT_MANUFACTURER, 5);
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
  const absl::StatusOr<bool> sha384 = HasSha384(context);
  if (!sha384.ok()) return sha384.status();
  std::vector<SignatureAlgorithm> supported;
  for (const SignatureAlgorithm algorithm : kByPreference) {
    if (NeedsSha384(algorithm) && !*sha384) continue;
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

}  // namespace smartkey
