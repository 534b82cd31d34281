# SPDX-License-Identifier: Apache-2.0
"""A sandbox EHR: an OAuth 2.0 authorization server with SMART Trusted Dynamic Client Registration,
and a small FHIR server behind it.

The path of a request, and the module that serves each step:

    discovery        where everything is (smart-configuration, /metadata, RFC 8414)
    authorization    step 1: login, choice of a patient, consent, and the code (code_grant)
    token_endpoint   step 1: code for initial access token; step 3: the grant of jwt_bearer
    registration     step 2: RFC 7591 with that initial access token
    revocation       RFC 7009
    fhir             a few resources behind the bearer check

The OAuth part is Authlib's; these modules make it as strict as a careful EHR. What deliberately
goes wrong for a test is in `switches` (what is set), `faults` (what it does to an answer) and
`wire` (delays and cut connections), so that the honest server reads without it.
"""

import os

# Authlib refuses plain http otherwise. This server listens on loopback only.
os.environ.setdefault("AUTHLIB_INSECURE_TRANSPORT", "1")
