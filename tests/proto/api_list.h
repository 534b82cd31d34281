// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/descriptor.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"

namespace smartkey {

// What of the API is a promise, a line each: fields with number, type and label, values of enums,
// methods with their messages. Of the files that `pool` has been given.
class ApiList {
 public:
  static std::set<std::string> Of(const google::protobuf::FileDescriptor& file) {
    ApiList list;
    for (int i = 0; i < file.message_type_count(); ++i) list.Add(*file.message_type(i));
    for (int i = 0; i < file.enum_type_count(); ++i) list.Add(*file.enum_type(i));
    for (int i = 0; i < file.service_count(); ++i) list.Add(*file.service(i));
    return list.lines_;
  }

 private:
  void Add(const google::protobuf::Descriptor& message) {
    lines_.insert(absl::StrCat("message ", message.full_name()));
    for (int i = 0; i < message.field_count(); ++i) {
      const google::protobuf::FieldDescriptor& field = *message.field(i);
      std::string type = field.type_name();
      if (field.message_type() != nullptr) type = field.message_type()->full_name();
      if (field.enum_type() != nullptr) type = field.enum_type()->full_name();
      lines_.insert(absl::StrCat("field ", field.full_name(), " = ", field.number(), " ",
                                 field.is_repeated() ? "repeated " : "",
                                 field.has_optional_keyword() ? "optional " : "", type));
    }
    for (int i = 0; i < message.nested_type_count(); ++i) Add(*message.nested_type(i));
    for (int i = 0; i < message.enum_type_count(); ++i) Add(*message.enum_type(i));
  }
  void Add(const google::protobuf::EnumDescriptor& values) {
    for (int i = 0; i < values.value_count(); ++i) {
      lines_.insert(absl::StrCat("value ", values.full_name(), ".", values.value(i)->name(), " = ",
                                 values.value(i)->number()));
    }
  }
  void Add(const google::protobuf::ServiceDescriptor& service) {
    for (int i = 0; i < service.method_count(); ++i) {
      const google::protobuf::MethodDescriptor& method = *service.method(i);
      lines_.insert(absl::StrCat("method ", method.full_name(), "(",
                                 method.input_type()->full_name(), ") ",
                                 method.server_streaming() ? "stream " : "",
                                 method.output_type()->full_name()));
    }
  }

  std::set<std::string> lines_;
};

}  // namespace smartkey
