// SPDX-License-Identifier: Apache-2.0
#include "base/secret.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

namespace smartkey {
namespace {

template <typename T, typename = void>
struct IsPrintable : std::false_type {};
template <typename T>
struct IsPrintable<T, std::void_t<decltype(std::declval<std::ostream&>() << std::declval<T>())>>
    : std::true_type {};

template <typename T, typename = void>
struct IsComparable : std::false_type {};
template <typename T>
struct IsComparable<T, std::void_t<decltype(std::declval<T>() == std::declval<T>())>>
    : std::true_type {};

TEST(Secret, CannotBePrintedComparedOrCopiedByAccident) {
  static_assert(IsPrintable<std::string>::value && IsComparable<std::string>::value);
  static_assert(!IsPrintable<const Secret&>::value);
  static_assert(!IsComparable<const Secret&>::value);
  static_assert(!std::is_copy_constructible_v<Secret>);
  static_assert(!std::is_copy_assignable_v<Secret>);
  static_assert(!std::is_convertible_v<const Secret&, std::string>);
  static_assert(!IsPrintable<const Identifying&>::value);
}

TEST(Secret, TakesTheBytesAndWipesWhereTheyCameFrom) {
  std::string source = "a token that is longer than any small string buffer";
  const std::string copy = source;
  const char* const buffer = source.data();
  const size_t size = source.size();
  const Secret secret(std::move(source));
  EXPECT_EQ(secret.RevealSecret(), copy);
  EXPECT_TRUE(source.empty());
  // The string still owns its buffer, so looking at it is allowed.
  EXPECT_EQ(source.data(), buffer);
  EXPECT_GE(source.capacity(), size);
  for (size_t i = 1; i < size; ++i) EXPECT_EQ(buffer[i], '\0') << i;
}

TEST(Secret, MovedFrom_IsEmpty) {
  Secret first = Secret::CopyOf("one");
  Secret second(std::move(first));
  EXPECT_TRUE(first.empty());
  EXPECT_EQ(second.RevealSecret(), "one");
  Secret third = Secret::CopyOf("three");
  third = std::move(second);
  EXPECT_TRUE(second.empty());
  EXPECT_EQ(third.RevealSecret(), "one");
}

TEST(Secret, Clone_IsACopyOfItsOwn) {
  Secret first = Secret::CopyOf("one");
  const Secret second = first.Clone();
  first = Secret::CopyOf("two");
  EXPECT_EQ(second.RevealSecret(), "one");
}

TEST(Secret, Equal_ComparesBytesAndLength) {
  const Secret secret = Secret::CopyOf("state");
  EXPECT_TRUE(Secret::Equal(secret, "state"));
  EXPECT_FALSE(Secret::Equal(secret, "statf"));
  EXPECT_FALSE(Secret::Equal(secret, "stat"));
  EXPECT_FALSE(Secret::Equal(secret, ""));
  EXPECT_TRUE(Secret::Equal(Secret(), ""));
}

TEST(WipeString, OverwritesTheWholeBuffer) {
  std::string value = "something that is longer than a small string buffer";
  const char* const buffer = value.data();
  const size_t size = value.size();
  value.resize(10);  // the rest stays in the buffer
  WipeString(value);
  EXPECT_TRUE(value.empty());
  ASSERT_EQ(value.data(), buffer);
  for (size_t i = 1; i < size; ++i) EXPECT_EQ(buffer[i], '\0') << i;
}

TEST(Identifying, IsComparedByValue) {
  EXPECT_TRUE(Identifying("a") == Identifying("a"));
  EXPECT_TRUE(Identifying("a") != Identifying("b"));
  EXPECT_TRUE(Identifying().empty());
  EXPECT_EQ(Identifying("a").RevealIdentifying(), "a");
}

}  // namespace
}  // namespace smartkey
