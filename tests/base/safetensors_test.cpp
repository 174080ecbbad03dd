#include "trainer/base/safetensors.h"

#include <gmock/gmock.h>

#include <cstring>
#include <numeric>

#include "comm/base/error.h"
#include "trainer/base/keyed_random.h"

namespace largo {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string joined(const SafetensorsFile& file) {
  std::string text = file.header;
  for (const TensorBytes& tensor : file.tensors) {
    text.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  }
  return text;
}

// A file with any header and `data` bytes of data.
std::string with_header(const std::string& json, size_t data = 0) {
  std::string text(8, '\0');
  const uint64_t length = json.size();
  std::memcpy(text.data(), &length, 8);
  return text + json + std::string(data, 'x');
}

SafetensorsView parse(const std::string& file) { return parse_safetensors(bytes_of(file), "f.st"); }

std::string error_of(const std::string& file) {
  try {
    parse(file);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    EXPECT_THAT(error.what(), HasSubstr("f.st: "));
    return error.what();
  }
  return "accepted";
}

std::string sample_file() {
  static constexpr std::string_view kData = "0123456789abcdefghijklmnopqrstuv";
  const auto data = bytes_of(kData);
  return joined(make_safetensors({{"small", "U8", {3}, data.first(3)},
                                  {"fc.weight", "F32", {2, 1}, data.subspan(3, 8)},
                                  {"count", "I64", {}, data.subspan(11, 8)},
                                  {"fc.bias", "F32", {1}, data.subspan(19, 4)},
                                  {"empty", "F32", {0, 7}, {}},
                                  {"half", "BF16", {2}, data.subspan(23, 4)}},
                                 {{"step", "5"}, {"note \"\\\n", "\xC3\xA9"}}));
}

TEST(Safetensors, RoundTripInTheOfficialOrder) {
  const std::string file = sample_file();
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), 8);
  EXPECT_EQ(header_bytes % 8, 0U);
  EXPECT_EQ(file[8], '{');

  const SafetensorsView view = parse(file);
  std::vector<std::string> names;
  for (const TensorBytes& tensor : view.tensors) names.push_back(tensor.name);
  EXPECT_THAT(names, ElementsAre("count", "empty", "fc.bias", "fc.weight", "half", "small"));
  const TensorBytes& weight = view.tensors[3];
  EXPECT_EQ(weight.dtype, "F32");
  EXPECT_THAT(weight.shape, ElementsAre(2, 1));
  EXPECT_EQ(std::memcmp(weight.bytes.data(), "3456789a", 8), 0);
  EXPECT_TRUE(view.tensors[0].shape.empty());
  EXPECT_EQ(view.metadata.at("step"), "5");
  EXPECT_EQ(view.metadata.at("note \"\\\n"), "\xC3\xA9");
}

TEST(Safetensors, WritesTheseBytes) {
  const std::string two(2, 'x');
  const SafetensorsFile file =
      make_safetensors({{"a", "U8", {2}, bytes_of(two)}}, {{"format", "pt"}});
  EXPECT_EQ(
      joined(file),
      std::string("\x58\0\0\0\0\0\0\0", 8) +
          R"({"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})" +
          "    xx");
}

TEST(Safetensors, ReadsAnyKeyOrderEscapesAndWhiteSpace) {
  const SafetensorsView view =
      parse(with_header("{ \"b\\u00e9\\ud83d\\ude00\" : {\"data_offsets\":[ 0 , 1 "
                        "],\n\"shape\":[],\"dtype\":\"U8\"} }  ",
                        1));
  EXPECT_EQ(view.tensors.at(0).name, "b\xC3\xA9\xF0\x9F\x98\x80");
  EXPECT_TRUE(parse(with_header("{}")).tensors.empty());
}

TEST(Safetensors, WriterRefusesWhatNoReaderWouldTake) {
  const std::string four(4, 'x');
  EXPECT_THROW(make_safetensors({{"a", "F32", {2}, bytes_of(four)}}, {}), Error);
  EXPECT_THROW(make_safetensors({{"a", "F31", {1}, bytes_of(four)}}, {}), Error);
  EXPECT_THROW(make_safetensors({{"a", "F32", {1}, bytes_of(four)}, {"a", "F32", {0}, {}}}, {}),
               Error);
  EXPECT_THROW(make_safetensors({{"__metadata__", "F32", {1}, bytes_of(four)}}, {}), Error);
}

TEST(Safetensors, RefusesEveryTruncationAndAnyTail) {
  const std::string file = sample_file();
  for (size_t length = 0; length < file.size(); ++length) {
    EXPECT_NE(error_of(file.substr(0, length)), "accepted") << length;
  }
  EXPECT_THAT(error_of(file + "x"), HasSubstr("tensors end at"));
}

TEST(Safetensors, RefusesHeaderLengths) {
  EXPECT_THAT(error_of(std::string(8, '\xFF') + "{}"), HasSubstr("18446744073709551615 bytes"));
  std::string over_cap = with_header("{}");
  const uint64_t length = 100'000'001;
  std::memcpy(over_cap.data(), &length, 8);
  over_cap.resize(8 + length, ' ');
  EXPECT_THAT(error_of(over_cap), HasSubstr("at most 100000000"));
  EXPECT_THAT(error_of(with_header("")), HasSubstr("starts with {"));
}

// What is wrong with a file that is right but for its offsets, shape or dtype.
TEST(Safetensors, RefusesWrongSpans) {
  const auto one = [](const std::string& fields) {
    return with_header("{\"w\":{" + fields + "}}", 8);
  };
  EXPECT_THAT(error_of(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])")), "accepted");
  EXPECT_THAT(error_of(one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])")),
              HasSubstr("\"w\" of F32 [3] has 8 bytes"));
  EXPECT_THAT(error_of(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])")),
              HasSubstr("(gap)"));
  EXPECT_THAT(error_of(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])")),
              HasSubstr("tensors end at 4"));
  EXPECT_THAT(error_of(one(R"("dtype":"F32","shape":[4],"data_offsets":[0,16])")),
              HasSubstr("ends at byte 16"));
  EXPECT_THAT(error_of(one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])")),
              HasSubstr("(gap)"));
  EXPECT_THAT(error_of(one(R"("dtype":"F99","shape":[2],"data_offsets":[0,8])")),
              HasSubstr("unknown dtype \"F99\""));
  EXPECT_THAT(
      error_of(one(R"("dtype":"U8","shape":[4611686018427387904,0,4],"data_offsets":[0,0])")),
      HasSubstr("has 0 bytes"));
  // 2^61 * 8 bytes are 2^64, which is 0 in 64 bits.
  EXPECT_THAT(error_of(one(R"("dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0])")),
              HasSubstr("has 0 bytes"));
  EXPECT_THAT(
      error_of(one(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0])")),
      HasSubstr("has 0 bytes"));
  EXPECT_THAT(error_of(with_header(R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},)"
                                   R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                                   8)),
              HasSubstr("(overlap)"));
}

TEST(Safetensors, RefusesWhatIsNotAHeader) {
  const std::string good = R"("dtype":"U8","shape":[1],"data_offsets":[0,1])";
  const auto refused = [](const std::string& json) { return error_of(with_header(json, 1)); };
  EXPECT_EQ(refused("{\"w\":{" + good + "}}"), "accepted");
  EXPECT_THAT(refused("{\"w\":{" + good + "},\"w\":{" + good + "}}"),
              HasSubstr("\"w\" comes twice"));
  EXPECT_THAT(refused("{\"w\":{" + good + ",\"dtype\":\"U8\"}}"),
              HasSubstr("\"dtype\" comes twice"));
  EXPECT_THAT(refused("{\"w\":{" + good + ",\"x\":1}}"), HasSubstr("unknown key \"x\""));
  EXPECT_THAT(refused("{\"w\":{\"dtype\":\"U8\",\"shape\":[1]}}"), HasSubstr("needs dtype, shape"));
  EXPECT_THAT(refused("{\"__metadata__\":{\"a\":1},\"w\":{" + good + "}}"),
              HasSubstr("not the \""));
  for (const char* json :
       {" {}",
        "[]",
        "{",
        "{}}",
        "{},",
        "{\"w\"}",
        "{\"w\":1}",
        "{,}",
        "{\"a\":{}}",
        "{\"\\x\":{}}",
        "{\"\\ud800\":{}}",
        "{\"\\u12g4\":{}}",
        "{\"\xC0\xAF\":{}}",
        "{\"\x01\":{}}",
        R"({"w":{"dtype":"U8","shape":[1,],"data_offsets":[0,1]}})",
        R"({"w":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}})",
        R"({"w":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})",
        R"({"w":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})",
        R"({"w":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}})",
        R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}})",
        R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},})"}) {
    EXPECT_NE(refused(json), "accepted") << json;
  }
  EXPECT_NE(error_of(with_header(std::string("{}\0", 3))), "accepted");
}

// Whatever one byte or a few become, a file is refused or its tensors fill exactly its data.
TEST(Safetensors, MutationsNeverYieldBytesOutsideOfTheFile) {
  const std::string original = sample_file();
  KeyedRandom random(1, Purpose::kSynthetic, 0, 0);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string file = original;
    for (uint64_t flips = 1 + random.below(3); flips > 0; --flips) {
      file[random.below(file.size())] = static_cast<char>(random.below(256));
    }
    try {
      const SafetensorsView view = parse(file);
      const auto* next = reinterpret_cast<const std::byte*>(file.data());
      next = view.tensors.empty() ? next + file.size() : view.tensors.front().bytes.data();
      for (const TensorBytes& tensor : view.tensors) {
        ASSERT_EQ(tensor.bytes.data(), next);
        next += tensor.bytes.size();
        const int64_t elements = std::accumulate(tensor.shape.begin(), tensor.shape.end(),
                                                 int64_t{1}, std::multiplies<>());
        ASSERT_EQ(static_cast<size_t>(elements * safetensors_element_bytes(tensor.dtype)),
                  tensor.bytes.size());
      }
      ASSERT_EQ(next, reinterpret_cast<const std::byte*>(file.data()) + file.size());
      ++accepted;
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ExitCode::kBadData);
    }
  }
  EXPECT_GT(accepted, 100);    // mutations of names and data
  EXPECT_LT(accepted, 19000);  // and of structure
}

}  // namespace
}  // namespace largo
