#include "trainer/data/index_bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/data/data_test_util.h"

namespace largo::data {
namespace {

using testing::HasSubstr;

std::string refusal(const std::function<void()>& action) {
  return failure(ExitCode::kBadData, action);
}

TEST(IndexReader, ReadsWhatWasAppended) {
  std::string bytes;
  append_number(bytes, 7);
  append_text(bytes, std::string("a\0b", 3));
  append_number(bytes, ~uint64_t{0});
  append_text(bytes, "");
  IndexReader reader(bytes, "it");
  EXPECT_EQ(reader.number(7), 7u);
  EXPECT_EQ(reader.text(3), std::string("a\0b", 3));
  EXPECT_EQ(reader.number(~uint64_t{0}), ~uint64_t{0});
  EXPECT_EQ(reader.text(0), "");
  reader.check_end();
}

TEST(IndexReader, RefusesWhatIsNotThere) {
  const std::string bytes = "12345678abc";
  EXPECT_EQ(IndexReader(bytes, "it").take(11), bytes);
  EXPECT_THAT(refusal([&] { IndexReader(bytes, "it").take(12); }),
              HasSubstr("it is damaged at byte 0: it ends early"));
  EXPECT_THAT(refusal([&] { IndexReader(bytes, "it").number(6); }), HasSubstr("too large"));
  EXPECT_THAT(refusal([&] { IndexReader(bytes, "it").text(~uint64_t{0}); }), HasSubstr("early"));
  EXPECT_THAT(refusal([&] { IndexReader("1234567", "it").number(~uint64_t{0}); }),
              HasSubstr("early"));
  EXPECT_THAT(refusal([&] { IndexReader(bytes, "it").check_end(); }), HasSubstr("behind its end"));
}

// However large the number, no memory is taken for more than can follow.
TEST(IndexReader, CountsNoMoreThanCanFollow) {
  std::string bytes;
  append_number(bytes, 3);
  bytes += "abcdef";
  EXPECT_EQ(IndexReader(bytes, "it").count(2), 3u);
  EXPECT_THAT(refusal([&] { IndexReader(bytes, "it").count(5); }), HasSubstr("too large"));
}

}  // namespace
}  // namespace largo::data
