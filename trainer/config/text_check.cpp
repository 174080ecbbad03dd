#include "trainer/config/text_check.h"

#include <iomanip>
#include <sstream>

#include "comm/base/error.h"

namespace largo::config {

namespace {

std::string hex(unsigned char byte) {
  std::ostringstream out;
  out << "0x" << std::hex << std::setw(2) << std::setfill('0') << static_cast<int>(byte);
  return out.str();
}

// Length of the UTF-8 character at the start of `bytes`; 0 where there is none (overlong forms,
// surrogates and code points above U+10FFFF are none).
size_t utf8_length(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(0);
  const size_t length = lead < 0x80   ? 1
                        : lead < 0xc2 ? 0
                        : lead < 0xe0 ? 2
                        : lead < 0xf0 ? 3
                        : lead < 0xf5 ? 4
                                      : 0;
  if (length == 0 || length > bytes.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) >= 0xa0) ||
      (lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) >= 0x90)) {
    return 0;
  }
  return length;
}

}  // namespace

std::optional<TextProblem> check_text(std::string_view bytes, size_t max_bytes) {
  if (bytes.size() > max_bytes) {
    return TextProblem{
        0, concat("the file holds ", bytes.size(), " bytes; legal: at most ", max_bytes)};
  }
  if (bytes.starts_with("\xff\xfe") || bytes.starts_with("\xfe\xff")) {
    return TextProblem{0, "the file is UTF-16; legal: UTF-8"};
  }
  if (bytes.starts_with("\xef\xbb\xbf")) {
    return TextProblem{0, "the file starts with a byte-order mark; legal: UTF-8 without one"};
  }
  bool in_indentation = true;
  for (size_t i = 0; i < bytes.size();) {
    if (bytes[i] == '\t' && in_indentation) {
      return TextProblem{i, "a tab in the indentation; legal: spaces"};
    }
    in_indentation = bytes[i] == '\n' || (in_indentation && bytes[i] == ' ');
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if (byte == 0) {
      return TextProblem{i, "the file holds a NUL byte (is it UTF-16 or binary?); legal: UTF-8"};
    }
    if (byte == '\r' && (i + 1 == bytes.size() || bytes[i + 1] != '\n')) {
      return TextProblem{i, "a carriage return without a line feed after it"};
    }
    if ((byte < 0x20 && byte != '\n' && byte != '\r' && byte != '\t') || byte == 0x7f) {
      return TextProblem{i, concat("the control character ", hex(byte), "; legal: printable text")};
    }
    const size_t length = utf8_length(bytes.substr(i));
    if (length == 0) return TextProblem{i, concat("the byte ", hex(byte), " is not UTF-8 here")};
    i += length;
  }
  return std::nullopt;
}

}  // namespace largo::config
