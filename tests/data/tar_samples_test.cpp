#include "trainer/data/tar_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/tar_bytes.h"
#include "trainer/data/label_text.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

std::span<const uint8_t> as_bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

struct Found {
  std::vector<TarSample> samples;
  std::vector<std::string> bad;
  std::vector<std::string> described;

  std::vector<int64_t> labels() const {
    std::vector<int64_t> all;
    for (const TarSample& sample : samples) all.push_back(sample.label);
    return all;
  }
};

Found find(const std::string& members, std::optional<int64_t> classes = {}) {
  const std::string bytes = members + tar_end();
  const MemoryBytes shard(as_bytes(bytes), "s.tar");
  Found found;
  TarSamples result = find_samples(
      shard, classes, [&](const std::string& message) { found.bad.push_back(message); });
  EXPECT_TRUE(result.end_was_marked);
  found.samples = std::move(result.samples);
  for (const TarSample& sample : found.samples) {
    found.described.push_back(describe_sample(shard, sample));
  }
  return found;
}

// The one complaint about these members; good samples around them must stay.
std::string flaw(const std::string& members, std::optional<int64_t> classes = {}) {
  const std::string before = tar_member("before.jpg", "j") + tar_member("before.cls", "1");
  const std::string after = tar_member("x/after.cls", "2") + tar_member("x/after.png", "p");
  const Found found = find(before + members + after, classes);
  EXPECT_THAT(found.labels(), ElementsAre(1, 2));
  EXPECT_THAT(found.bad, SizeIs(1));
  return found.bad.empty() ? "" : found.bad.front();
}

const std::string kImage = tar_member("a/7.jpg", "jpeg");
const std::string kLabel = tar_member("a/7.cls", "3");

TEST(TarSamples, AreEntriesOfOneKey) {
  const Found found =
      find(tar_member("a/", "", {.type = '5'}) + tar_member("a/1.jpg", "12345") +
           tar_member("a/1.cls", "7\n") + tar_member("a/1.txt", "caption") +
           tar_member("b.c/1.json", R"({"label": 9})") + tar_member("b.c/1.PNG", "123") +
           tar_member("2.cls", " 0 ") + tar_member("2.JPeg", "1"));
  EXPECT_THAT(found.bad, IsEmpty());
  EXPECT_THAT(found.labels(), ElementsAre(7, 9, 0));
  EXPECT_EQ(found.samples[0],
            (TarSample{.header_block = 1, .data_block = 2, .image_bytes = 5, .label = 7}));
  EXPECT_EQ(found.samples[1].data_block, 10u);
  EXPECT_EQ(found.samples[1].image_bytes, 3u);
  EXPECT_THAT(found.described,
              ElementsAre("s.tar: sample a/1 at byte 512", "s.tar: sample b.c/1 at byte 4608",
                          "s.tar: sample 2 at byte 6656"));
}

TEST(TarSamples, OffsetsCountExtendedHeaders) {
  const std::string name = std::string(300, 'k') + "/1.jpg";
  const Found found = find(tar_extension('x', pax_record("path", name)) + tar_member("cut", "j") +
                           tar_extension('x', pax_record("path", name.substr(0, 303) + "cls")) +
                           tar_member("cut", "4"));
  EXPECT_THAT(
      found.samples,
      ElementsAre(TarSample{.header_block = 0, .data_block = 3, .image_bytes = 1, .label = 4}));
  EXPECT_THAT(found.described[0], HasSubstr(std::string(200, 'k') + "... at byte 0"));
}

TEST(TarSamples, PassOverWhatIsNeitherImageNorLabel) {
  const Found found =
      find(tar_member("README", "x") + tar_member(".hidden.jpg", "x") +
           tar_member("notes.txt", "x") + tar_member("meta.json", R"({"version": 1})") +
           tar_member("a/1.jpg", "j") + tar_member("a/._1.cls", "x") + tar_member("a/1.cls", "1") +
           tar_member("a/1.seg.png", "x") + tar_member("a/.1.cls", "x"));
  EXPECT_THAT(found.bad, IsEmpty());
  EXPECT_THAT(found.labels(), ElementsAre(1));
}

TEST(TarSamples, NeedOneImageAndALabel) {
  EXPECT_THAT(flaw(kImage),
              AllOf(StartsWith("s.tar: sample a/7 at byte 2048: has no label"), HasSubstr("cls")));
  EXPECT_THAT(flaw(kLabel), HasSubstr("has no image"));
  EXPECT_THAT(flaw(kImage + tar_member("a/7.png", "p") + kLabel),
              AllOf(HasSubstr("sample a/7 at byte 2048: "), HasSubstr("a/7.png at byte 3072 "),
                    HasSubstr("second image")));
  EXPECT_THAT(flaw(tar_member("a/7.jpg", "") + kLabel), HasSubstr("image of 0 bytes"));
  // The same key elsewhere is another sample.
  EXPECT_THAT(find(kImage + tar_member("b.cls", "1") + kLabel).bad, SizeIs(3));
}

TEST(TarSamples, LabelsAgree) {
  const auto json = [](const std::string& text) { return tar_member("a/7.json", text); };
  EXPECT_THAT(find(kImage + kLabel + json(R"({"label": 3, "cls": 3, "text": "cat"})")).labels(),
              ElementsAre(3));
  EXPECT_THAT(find(kImage + kLabel + json("[1]")).labels(), ElementsAre(3));
  EXPECT_THAT(find(kImage + json(R"({"cls": 5})")).labels(), ElementsAre(5));
  EXPECT_THAT(flaw(kImage + kLabel + json(R"({"label": 4})")),
              AllOf(HasSubstr("a/7.json at byte 4096 "), HasSubstr("says label 4, after 3")));
  EXPECT_THAT(flaw(kImage + json(R"({"label": 4, "cls": 5})")), HasSubstr("says label 5, after 4"));
  EXPECT_THAT(flaw(kImage + kLabel + tar_member("a/7.CLS", "4")), HasSubstr("label 4, after 3"));
}

TEST(TarSamples, LabelsAreIntegersBelowTheClasses) {
  const auto with_cls = [](const std::string& text, std::optional<int64_t> classes = {}) {
    return flaw(kImage + tar_member("a/7.cls", text), classes);
  };
  EXPECT_THAT(with_cls("cat"), HasSubstr("a/7.cls at byte 3072 \"cat\" is not an integer"));
  EXPECT_THAT(with_cls(""), HasSubstr("\"\" is not an integer"));
  EXPECT_THAT(with_cls("3.0"), HasSubstr("is not an integer"));
  EXPECT_THAT(with_cls("3 4"), HasSubstr("is not an integer"));
  EXPECT_THAT(with_cls("-1"), HasSubstr("says label -1; legal: 0 to 999999"));
  EXPECT_THAT(with_cls("10", 10), HasSubstr("says label 10; legal: 0 to 9"));
  EXPECT_THAT(with_cls("1000000"), HasSubstr("says label 1000000; legal: 0 to 999999"));
  EXPECT_THAT(with_cls("99999999999999999999"), HasSubstr("; legal: 0 to 999999"));
  EXPECT_THAT(with_cls("-99999999999999999999"), HasSubstr("says label -1"));
  EXPECT_THAT(with_cls(std::string(65, ' ')), HasSubstr("has 65 bytes; legal: at most 64"));
  EXPECT_THAT(find(kImage + tar_member("a/7.cls", "999999")).labels(), ElementsAre(999'999));
  EXPECT_THAT(find(kImage + tar_member("a/7.cls", "9"), 10).labels(), ElementsAre(9));
}

TEST(TarSamples, EntriesThatAreRefusedSpoilTheirSample) {
  EXPECT_THAT(flaw(kImage + tar_member("a/7.cls", "", {.type = '2'})),
              AllOf(HasSubstr("sample a/7 at byte 2048: "), HasSubstr("a/7.cls at byte 3072 "),
                    HasSubstr("symbolic link")));
  EXPECT_THAT(flaw(tar_member("../7.jpg", "j") + tar_member("../7.cls", "1")),
              HasSubstr("../7.jpg at byte 2048 has a path with .."));
  EXPECT_THAT(flaw(tar_member("/7.jpg", "j") + tar_member("/7.cls", "1")), HasSubstr("absolute"));
  EXPECT_THAT(flaw(tar_member("pipe", "", {.type = '6'})), HasSubstr("sample pipe at byte 2048"));
}

TEST(TarSamples, FindingStopsWhereTheCallerThrows) {
  const std::string bytes = kImage + kLabel + tar_member("b.jpg", "j") + tar_member("c.jpg", "j");
  const MemoryBytes shard(as_bytes(bytes), "s.tar");
  int calls = 0;
  EXPECT_THROW(find_samples(shard, {},
                            [&](const std::string&) {
                              ++calls;
                              throw std::runtime_error("stop");
                            }),
               std::runtime_error);
  EXPECT_EQ(calls, 1);
}

TEST(TarSamples, BrokenArchivesAreErrorsAlways) {
  const std::string bytes = kImage + kLabel + "x";
  const MemoryBytes shard(as_bytes(bytes), "s.tar");
  EXPECT_THROW(find_samples(shard, {}, [](const std::string&) {}), Error);
}

TEST(TarSamples, AreDescribedWithoutKeyWhereTheHeaderIsGone) {
  const std::string bytes(4096, 'x');
  const MemoryBytes shard(as_bytes(bytes), "s.tar");
  EXPECT_EQ(describe_sample(shard, {.header_block = 2}), "s.tar: sample at byte 1024");
  EXPECT_EQ(describe_sample(shard, {.header_block = 9}), "s.tar: sample at byte 4608");
}

LabelText json(const std::string& text) { return parse_json_labels(as_bytes(text)); }

TEST(LabelText, ReadsIntegersOfJsonObjects) {
  EXPECT_THAT(json(R"({"label": 1, "cls": -2, "x": {"label": 3}})").labels, ElementsAre(1, -2));
  EXPECT_THAT(json(R"({"label": 18446744073709551615})").labels,
              ElementsAre(std::numeric_limits<int64_t>::max()));
  for (const char* text : {"{}", "[]", "3", "\"label\"", R"({"name": "x"})"}) {
    EXPECT_THAT(json(text).labels, IsEmpty()) << text;
    EXPECT_EQ(json(text).flaw, "") << text;
  }
  for (const char* text : {R"({"label": 1.0})", R"({"label": "1"})", R"({"label": null})",
                           R"({"label": true})", R"({"label": [1]})", R"({"label": 1e999})"}) {
    EXPECT_THAT(json(text).flaw, AnyOf(HasSubstr("is not an integer"), HasSubstr("is not JSON")))
        << text;
  }
  for (const char* text : {"", "{", R"({"label": 1)", R"({"label": 1} x)", "{'label': 1}"}) {
    EXPECT_EQ(json(text).flaw, "is not JSON") << text;
  }
}

TEST(LabelText, ShowsTheStartOfStrangeText) {
  const std::string text = "\033" + std::string(100, 'a');
  EXPECT_EQ(parse_cls(as_bytes(text)).flaw,
            "\"?" + std::string(23, 'a') + "...\" is not an integer");
}

}  // namespace
}  // namespace largo::data
