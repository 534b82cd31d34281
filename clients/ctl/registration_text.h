// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "smartkey/types.h"

namespace smartkey::ctl {

// "working", "needs you: renew", ...: the daemon's words, or its state's name if it sent none.
std::string StateText(const client::Registration& registration);

// "user:bob: token for patient/*.rs until 2026-03-01 14:05:06 UTC".
std::string ShareText(const client::Share& share);

// "alice", or "uid:1000" for a login without a name.
std::string OwnerText(const client::User& owner);

// A sentence for a warning's name, such as SAME_APP_SAME_SERVER; the name itself if it is a new
// one.
std::string WarningText(absl::string_view warning);

// "fixedtpm fixedparent sign !decrypt": a mark before what the hardware says is not so.
std::string AttributesText(const client::Key& key);

// A name as it has to be typed: of an administered registration with its owner before it.
std::string NameToType(const client::Registration& registration);

// When it will probably end and who says so; empty: not known.
std::string ExpectedEndText(const client::Registration& registration);

// Everything that there is to show of one.
std::string RegistrationText(const client::Registration& registration);

// What is shown after an enrollment.
std::string EnrolledText(const client::Registration& registration);

}  // namespace smartkey::ctl
