#include "trainer/data/tar_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/tar_bytes.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using Type = TarEntry::Type;

const std::string kLongName = std::string(150, 'd') + "/" + std::string(120, 'n') + ".jpg";

struct Archive {
  std::vector<TarEntry> entries;
  std::vector<std::string> data;
  bool end_was_marked = false;

  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const TarEntry& entry : entries) all.push_back(entry.name);
    return all;
  }
};

std::span<const uint8_t> as_bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

Archive read(const std::string& bytes) {
  const MemoryBytes source(as_bytes(bytes), "made-up.tar");
  TarReader reader(source);
  Archive archive;
  while (const auto entry = reader.next()) {
    archive.entries.push_back(*entry);
    const std::vector<uint8_t> data = reader.data(*entry);
    archive.data.emplace_back(data.begin(), data.end());
  }
  archive.end_was_marked = reader.end_was_marked();
  return archive;
}

std::string refusal(const std::string& bytes) {
  try {
    read(bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData) << error.what();
    EXPECT_THAT(error.what(), StartsWith("made-up.tar: byte "));
    return error.what();
  }
  return "";
}

std::string seed(const std::string& name) {
  const auto file = std::filesystem::path(LARGO_SOURCE_DIR) / "tests/data/fuzz_corpus/tar" / name;
  std::ifstream in(file, std::ios::binary);
  EXPECT_TRUE(in) << file;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST(TarFile, ReportsWhereEntriesAre) {
  const std::string large(20'000, 'x');  // more than the window
  const Archive archive = read(tar_member("a.jpg", "abc") + tar_member("b/c.cls", "") +
                               tar_member("large", large) + tar_member("d", "d") + tar_end());
  EXPECT_THAT(archive.names(), ElementsAre("a.jpg", "b/c.cls", "large", "d"));
  EXPECT_THAT(archive.data, ElementsAre("abc", "", large, "d"));
  EXPECT_EQ(archive.entries[0].header_offset, 0u);
  EXPECT_EQ(archive.entries[0].data_offset, 512u);
  EXPECT_EQ(archive.entries[0].size, 3u);
  EXPECT_EQ(archive.entries[1].header_offset, 1024u);
  EXPECT_EQ(archive.entries[2].data_offset, 2048u);
  EXPECT_EQ(archive.entries[3].header_offset, 2048u + 20'480u);
  EXPECT_TRUE(archive.end_was_marked);
}

TEST(TarFile, StartsAnywhere) {
  const std::string bytes = tar_member("a", "1") + tar_member("b", "2") + tar_end();
  const MemoryBytes source(as_bytes(bytes), "made-up.tar");
  TarReader reader(source, 1024);
  EXPECT_EQ(reader.next()->name, "b");
  EXPECT_FALSE(reader.next());
  EXPECT_FALSE(reader.next());
  EXPECT_THROW(TarReader(source, 512).next(), Error);
  EXPECT_THROW(TarReader(source, 1 << 20).next(), Error);
}

TEST(TarFile, ReadsUstarPrefixesOfUstarOnly) {
  EXPECT_THAT(read(tar_member("n", "", {.prefix = "p/q"})).names(), ElementsAre("p/q/n"));
  EXPECT_THAT(
      read(tar_member("n", "", {.format = TarFormat::kGnu, .prefix = "not a prefix"})).names(),
      ElementsAre("n"));
  const std::string full(100, 'n');
  EXPECT_THAT(read(tar_member(full, "")).names(), ElementsAre(full));
}

TEST(TarFile, ReadsOldHeaders) {
  const TarField v7 = {.format = TarFormat::kV7, .type = '\0'};
  const Archive archive = read(tar_member("d/", "", v7) + tar_member("d/n", "abc", v7) + tar_end());
  EXPECT_THAT(archive.names(), ElementsAre("d/n"));
  EXPECT_EQ(archive.entries[0].type, Type::kFile);
}

TEST(TarFile, ReadsPaxHeaders) {
  const std::string records = pax_record("mtime", "1.5") + pax_record("path", kLongName) +
                              pax_record("SCHILY.xattr.user", std::string("a=b\n\0c", 6));
  const std::string bytes = tar_extension('g', pax_record("comment", "c")) + tar_member("a", "1") +
                            tar_extension('x', records) + tar_member("cut", "22") +
                            tar_member("b", "3") + tar_end();
  const Archive archive = read(bytes);
  EXPECT_THAT(archive.names(), ElementsAre("a", kLongName, "b"));
  EXPECT_THAT(archive.data, ElementsAre("1", "22", "3"));
  EXPECT_EQ(archive.entries[0].header_offset, 0u);
  EXPECT_EQ(archive.entries[1].header_offset, 2048u);
  EXPECT_EQ(archive.entries[1].data_offset, 2048u + 3 * 512u);
}

TEST(TarFile, PaxSizesCountInPlaceOfTheHeaders) {
  const std::string size = tar_extension('x', pax_record("size", "3"));
  const std::string data = tar_member("n", "abc", {.size = std::string(12, '\0')});
  EXPECT_THAT(read(size + data + tar_member("m", "d")).data, ElementsAre("abc", "d"));
  const std::string taken_back =
      tar_extension('x', pax_record("size", "9999") + pax_record("size", "") +
                             pax_record("path", "x") + pax_record("path", ""));
  const Archive archive = read(taken_back + tar_member("n", "abc"));
  EXPECT_THAT(archive.data, ElementsAre("abc"));
  EXPECT_THAT(archive.names(), ElementsAre("n"));
}

TEST(TarFile, ReadsGnuLongNames) {
  const Archive archive = read(tar_extension('K', "target") + tar_extension('L', kLongName) +
                               tar_member("cut", "1") + tar_member("b", "2"));
  EXPECT_THAT(archive.names(), ElementsAre(kLongName, "b"));
  EXPECT_EQ(archive.entries[0].header_offset, 0u);
  EXPECT_THAT(archive.data, ElementsAre("1", "2"));
}

TEST(TarFile, ReadsBase256Sizes) {
  const std::string three = std::string("\x80\0\0\0\0\0\0\0\0\0\0\x03", 12);
  EXPECT_THAT(read(tar_member("n", "abc", {.size = three})).data, ElementsAre("abc"));
  EXPECT_THAT(read(tar_member("n", "abc", {.size = "          3 "})).data, ElementsAre("abc"));
}

TEST(TarFile, AcceptsChecksumsOfSignedBytes) {
  std::string member = tar_member("caf\xe9", "1");
  int sum = 0;
  for (size_t i = 0; i < 512; ++i) {
    sum += i >= 148 && i < 156 ? ' ' : static_cast<signed char>(member[i]);
  }
  char digits[9];
  snprintf(digits, sizeof digits, "%06o", sum);
  member.replace(148, 6, digits, 6);
  EXPECT_THAT(read(member).names(), ElementsAre("caf\xe9"));
}

TEST(TarFile, PassesOverFoldersAndLabels) {
  const std::string bytes = tar_member("label", "", {.format = TarFormat::kGnu, .type = 'V'}) +
                            tar_member("d", "", {.type = '5', .size = "00000002000"}) +
                            tar_member("e", "Yx", {.format = TarFormat::kGnu, .type = 'D'}) +
                            tar_member("n", "1") + tar_end();
  EXPECT_THAT(read(bytes).names(), ElementsAre("n"));
}

TEST(TarFile, NamesTypesThatAreNotRead) {
  const std::string bytes =
      tar_member("h", "", {.type = '1', .size = "00000002000"}) +
      tar_member("s", "", {.type = '2'}) + tar_member("c", "", {.type = '3'}) +
      tar_member("b", "", {.type = '4'}) + tar_member("p", "", {.type = '6'}) +
      tar_member("z", "zz", {.format = TarFormat::kGnu, .type = 'S'}) +
      tar_extension('x', pax_record("GNU.sparse.major", "1")) + tar_member("y", "yy") +
      tar_member("m", "mm", {.format = TarFormat::kGnu, .type = 'M'}) +
      tar_member("contiguous", "1", {.type = '7'}) + tar_end();
  const Archive archive = read(bytes);
  std::vector<Type> types;
  for (const TarEntry& entry : archive.entries) types.push_back(entry.type);
  EXPECT_THAT(types,
              ElementsAre(Type::kHardLink, Type::kSymbolicLink, Type::kDevice, Type::kDevice,
                          Type::kDevice, Type::kSparse, Type::kSparse, Type::kOther, Type::kFile));
  for (size_t i = 0; i < types.size(); ++i) {
    EXPECT_EQ(why_refused(archive.entries[i]).has_value(), i + 1 < types.size()) << i;
  }
}

TEST(TarFile, FollowsTheBlocksOfSparseHeaders) {
  std::string header = tar_header("s", 3, {.format = TarFormat::kGnu, .type = 'S'});
  header[482] = 1;
  header[153] += 1;  // the checksum's last digit, which was below 7
  std::string more(1024, '\0');
  more[504] = 1;
  EXPECT_THAT(read(header + more + std::string(512, 'x') + tar_member("n", "1")).names(),
              ElementsAre("s", "n"));
}

TEST(TarFile, RefusesNamesThatLeadElsewhere) {
  const auto why = [](const std::string& name) {
    return why_refused(TarEntry{.name = name}).value_or("fine");
  };
  EXPECT_THAT(why("/etc/passwd"), HasSubstr("absolute"));
  for (const char* name : {"..", "../a", "a/..", "a/../b", "./.."}) {
    EXPECT_THAT(why(name), HasSubstr("..")) << name;
  }
  for (const char* name : {"a", "./a", "...", "a..b/c", "a/..b", "a/b.."}) {
    EXPECT_EQ(why(name), "fine") << name;
  }
  EXPECT_THAT(why(""), HasSubstr("no name"));
  EXPECT_THAT(why(std::string("a\0b", 3)), HasSubstr("zero byte"));
  EXPECT_THAT(why(std::string(5000, 'a')), HasSubstr("4096"));
}

TEST(TarFile, EndsAtZeroBlocksOrExactlyBehindAnEntry) {
  const std::string member = tar_member("a", "1");
  EXPECT_FALSE(read(member).end_was_marked);
  EXPECT_TRUE(read(member + std::string(512, '\0')).end_was_marked);
  EXPECT_TRUE(read(member + std::string(10'240 - 1024 + 100, '\0')).end_was_marked);
  EXPECT_THAT(read(tar_end()).entries, IsEmpty());
}

TEST(TarFile, RefusesWhatStandsBehindTheEnd) {
  const std::string member = tar_member("a", "1");
  EXPECT_THAT(refusal(member + tar_end() + member),
              AllOf(HasSubstr("byte 2048: "), HasSubstr("end mark at byte 1024"),
                    HasSubstr("tar --concatenate")));
  EXPECT_THAT(refusal(member + std::string(200'000, '\0') + "x"), HasSubstr("byte 201024: "));
}

TEST(TarFile, RefusesEveryTruncation) {
  const std::string bytes = tar_extension('x', pax_record("path", kLongName)) +
                            tar_member("a", std::string(700, 'x')) + tar_member("b", "");
  for (size_t length = 0; length < bytes.size(); ++length) {
    if (length == bytes.size() - 512) continue;  // exactly behind the first entry
    EXPECT_NE(refusal(bytes.substr(0, length)), "") << length;
  }
  EXPECT_THAT(read(bytes.substr(0, bytes.size() - 512)).names(), ElementsAre(kLongName));
  EXPECT_THAT(refusal(""), HasSubstr("empty"));
  EXPECT_THAT(refusal(tar_header("a", 1) + "x"), HasSubstr("1 bytes of data, but the file has 1"));
  EXPECT_THAT(refusal(bytes.substr(0, 2100)),
              AllOf(HasSubstr("byte 0: "), HasSubstr("700 bytes of data"), HasSubstr("truncated")));
}

TEST(TarFile, RefusesDamagedHeaders) {
  const std::string member = tar_member("a", "1");
  EXPECT_THAT(refusal(tar_member("a", "1", {.checksum_off_by = 1})),
              AllOf(HasSubstr("byte 0: "), HasSubstr("no tar archive")));
  EXPECT_THAT(refusal(member + tar_member("b", "2", {.checksum_off_by = -1})),
              AllOf(HasSubstr("byte 1024: "), HasSubstr("damaged")));
  EXPECT_THAT(refusal(std::string(2048, 'x')), HasSubstr("checksum is not an octal number"));
  for (size_t i = 0; i < 512; ++i) {
    std::string flipped = member;
    flipped[i] ^= 1;
    // A changed blank behind the checksum's digits changes nothing.
    if (i == 155) continue;
    EXPECT_NE(refusal(flipped), "") << "bit of byte " << i;
  }
}

TEST(TarFile, RefusesSizesThatCannotBe) {
  const auto with_size = [](const std::string& size) {
    return refusal(tar_header("a", 0, {.size = size}));
  };
  EXPECT_THAT(with_size("00000001000"), HasSubstr("512 bytes of data, but the file has 0 left"));
  EXPECT_THAT(with_size("77777777777"), HasSubstr("truncated"));
  EXPECT_THAT(with_size(std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12)),
              HasSubstr("size is negative"));
  EXPECT_THAT(with_size(std::string("\x80\0\0\0\x40\0\0\0\0\0\0\x01", 12)),
              HasSubstr("bytes of data, but"));
  EXPECT_THAT(with_size(std::string("\x80\0\0\x01\0\0\0\0\0\0\0\0", 12)), HasSubstr("above 2^62"));
  EXPECT_THAT(with_size("0000000012x"), HasSubstr("size is not an octal number"));
  EXPECT_THAT(with_size("00000000-10"), HasSubstr("size is not an octal number"));
  EXPECT_THAT(with_size("000000000 9"), HasSubstr(""));
}

TEST(TarFile, RefusesExtendedHeadersThatCannotBe) {
  const auto with_pax = [](const std::string& records, char type = 'x') {
    return refusal(tar_extension(type, records) + tar_member("a", "1") + tar_end());
  };
  for (const char* records : {"5", "x", "99 path=a\n", "9 path=a", "3 a\n", "4 a\n", "-9 path=a\n",
                              "0 \n", "5 a=x", "99999999999999999999 path=a\n", "10path=aa\n"}) {
    EXPECT_THAT(with_pax(records), HasSubstr("wrong length")) << records;
  }
  EXPECT_THAT(with_pax("7 path\n" + pax_record("a", "b")), HasSubstr("without key"));
  EXPECT_THAT(with_pax("6 =ab\n"), HasSubstr("without key"));
  for (const char* size : {"-1", "x", "1x", "99999999999999999999", "9000000000000000000"}) {
    EXPECT_THAT(with_pax(pax_record("size", size)), HasSubstr("not a number of bytes")) << size;
  }
  EXPECT_THAT(with_pax(pax_record("size", "4000000000000000000")), HasSubstr("truncated"));
  EXPECT_THAT(with_pax(pax_record("path", "b"), 'g'), HasSubstr("to all entries"));
  EXPECT_THAT(refusal(tar_extension('x', pax_record("path", "b"))), HasSubstr("without entry"));
  EXPECT_THAT(refusal(tar_extension('L', "b") + tar_end()), HasSubstr("without entry"));
  EXPECT_THAT(refusal(tar_header("x", (1 << 20) + 1, {.type = 'x'})),
              HasSubstr("legal: at most 1048576"));
}

TEST(TarFile, NamesTheCureForCompressedArchives) {
  const std::vector<std::pair<std::string, std::string>> formats = {
      {"\x1f\x8b", "gunzip made-up.tar"},
      {"\x28\xb5\x2f\xfd", "zstd -d made-up.tar"},
      {"\xfd\x37zXZ", "unxz"},
      {"BZh91AY&SY", "bunzip2"},
      {"\x04\x22\x4d\x18", "lz4 -d"}};
  for (const auto& [magic, cure] : formats) {
    EXPECT_THAT(refusal(magic + std::string(600, 'x')),
                AllOf(HasSubstr("is compressed"), HasSubstr(cure)));
  }
  EXPECT_THAT(refusal(seed("gzip")), HasSubstr("gunzip"));
}

TEST(TarFile, KeepsControlCharactersOutOfMessages) {
  EXPECT_EQ(printable("a\033[31m\nb\x7f"), "a?[31m?b?");
  EXPECT_EQ(printable(std::string(300, 'a')), std::string(200, 'a') + "...");
  const std::string text = refusal(tar_header("a\033b", 100));
  EXPECT_THAT(text, HasSubstr("a?b"));
}

// Made by Python's tarfile and by GNU tar: see make_seeds.py.
TEST(TarFile, ReadsWhatOtherProgramsWrite) {
  const std::vector<std::string> samples = {"a/001.jpg", "a/001.cls", "a/002.png", "a/002.json",
                                            "a/002.txt"};
  EXPECT_EQ(read(seed("two_samples")).names(), samples);
  EXPECT_EQ(read(seed("two_samples")).data[1], "7\n");
  EXPECT_EQ(read(seed("ustar")).names()[0],
            std::string(90, 'p') + "/" + std::string(90, 'n') + ".jpg");
  for (const char* name : {"gnu_long", "pax_long"}) {
    const Archive archive = read(seed(name));
    EXPECT_EQ(archive.names().size(), 2u) << name;
    EXPECT_THAT(archive.names()[0], AllOf(StartsWith("d/d/"), HasSubstr("003.jpeg"))) << name;
  }
  EXPECT_THAT(read(seed("v7")).names(), ElementsAre("a/001.jpg"));
  EXPECT_THAT(refusal(seed("big_gnu")), HasSubstr("8589934592 bytes of data"));
  EXPECT_THAT(refusal(seed("big_pax")), HasSubstr("8589934592 bytes of data"));
  const std::string long_name = "gnu/" + std::string(120, 'n');
  for (const char* name : {"gnu_tar", "gnu_tar_pax"}) {
    const Archive archive = read(seed(name));
    EXPECT_THAT(archive.names(), testing::SizeIs(5)) << name;
    EXPECT_EQ(archive.names()[3], long_name + ".cls") << name;
    EXPECT_EQ(archive.data[4], "P") << name;
    EXPECT_EQ(archive.entries[2].type, Type::kSparse) << name;
  }
}

}  // namespace
}  // namespace largo::data
