#include "trainer/base/safetensors_header.h"

#include <optional>
#include <set>
#include <utility>

#include "comm/base/error.h"

namespace largo {

namespace {

// Length of the UTF-8 character at the start of `text`; 0 if there is none (RFC 3629: neither
// overlong forms nor surrogates nor anything above U+10FFFF).
size_t utf8_length(std::string_view text) {
  const auto at = [&](size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const auto continues = [&](size_t i) { return (at(i) & 0xC0U) == 0x80; };
  if (at(0) < 0x80) return 1;
  if (at(0) >= 0xC2 && at(0) <= 0xDF) return continues(1) ? 2 : 0;
  if (at(0) >= 0xE0 && at(0) <= 0xEF) {
    const unsigned low = at(0) == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = at(0) == 0xED ? 0x9F : 0xBF;
    return at(1) >= low && at(1) <= high && continues(2) ? 3 : 0;
  }
  if (at(0) >= 0xF0 && at(0) <= 0xF4) {
    const unsigned low = at(0) == 0xF0 ? 0x90 : 0x80;
    const unsigned high = at(0) == 0xF4 ? 0x8F : 0xBF;
    return at(1) >= low && at(1) <= high && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

void append_utf8(std::string& out, uint32_t code) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  const auto tail = [&](int shift) { put(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    tail(6);
    tail(0);
  } else {
    put(0xF0 | (code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

// Strict JSON, of the few shapes that a header can have.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& source) : text_(text), source_(source) {}

  SafetensorsHeader parse() {
    SafetensorsHeader header;
    if (peek() != '{') fail_here("a header starts with {");
    parse_object([&](const std::string& name) {
      if (name == kSafetensorsMetadata) {
        parse_object([&](const std::string& key) { header.metadata[key] = parse_string(); });
      } else {
        header.tensors.push_back(parse_entry(name));
      }
    });
    skip_space();
    if (at_ != text_.size()) fail_here("the header goes on after its object");
    return header;
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail_here(const Parts&... parts) const {
    fail(ExitCode::kBadData, source_, ": byte ", kHeaderLengthBytes + at_, ": ", parts...);
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    while (peek() == ' ' || peek() == '\n' || peek() == '\t' || peek() == '\r') ++at_;
  }
  void expect(char c) {
    skip_space();
    if (peek() != c || at_ == text_.size()) fail_here("not the ", c, " that must be here");
    ++at_;
  }
  // Whether another item follows in a list or object that `close` ends; eats the comma or the end.
  bool next_item(char close, bool first) {
    skip_space();
    if (peek() == close) {
      ++at_;
      return false;
    }
    if (!first) expect(',');
    return true;
  }

  // Calls value(key) where each value starts.
  template <class Value>
  void parse_object(Value value) {
    std::set<std::string> keys;
    expect('{');
    for (bool first = true; next_item('}', first); first = false) {
      const std::string key = parse_string();
      if (!keys.insert(key).second) fail_here("key ", json_quoted(key), " comes twice");
      expect(':');
      value(key);
    }
  }

  SafetensorsHeader::Entry parse_entry(const std::string& name) {
    SafetensorsHeader::Entry entry;
    entry.name = name;
    std::optional<std::vector<int64_t>> shape, offsets;
    bool has_dtype = false;
    parse_object([&](const std::string& key) {
      if (key == "dtype") {
        entry.dtype = parse_string();
        has_dtype = true;
      } else if (key == "shape") {
        shape = parse_integers();
      } else if (key == "data_offsets") {
        offsets = parse_integers();
      } else {
        fail_here("tensor ", json_quoted(name), " has the unknown key ", json_quoted(key));
      }
    });
    if (!has_dtype || !shape || !offsets || offsets->size() != 2) {
      fail_here("tensor ", json_quoted(name), " needs dtype, shape and two data_offsets");
    }
    entry.shape = std::move(*shape);
    entry.begin = static_cast<uint64_t>((*offsets)[0]);
    entry.end = static_cast<uint64_t>((*offsets)[1]);
    return entry;
  }

  std::vector<int64_t> parse_integers() {
    std::vector<int64_t> numbers;
    expect('[');
    for (bool first = true; next_item(']', first); first = false) {
      numbers.push_back(parse_integer());
    }
    return numbers;
  }

  int64_t parse_integer() {
    skip_space();
    const size_t start = at_;
    int64_t number = 0;
    while (peek() >= '0' && peek() <= '9') {
      const int64_t digit = peek() - '0';
      if (__builtin_mul_overflow(number, 10, &number) ||
          __builtin_add_overflow(number, digit, &number)) {
        fail_here("a number above 2^63 - 1");
      }
      ++at_;
    }
    if (at_ == start) fail_here("not the whole number >= 0 that must be here");
    if (at_ - start > 1 && text_[start] == '0') fail_here("a number with a leading zero");
    return number;
  }

  std::string parse_string() {
    expect('"');
    std::string out;
    while (peek() != '"') {
      if (at_ == text_.size()) fail_here("a string without an end");
      if (static_cast<unsigned char>(peek()) < 0x20) fail_here("a control character in a string");
      if (peek() == '\\') {
        ++at_;
        append_utf8(out, parse_escape());
        continue;
      }
      const size_t length = utf8_length(text_.substr(at_));
      if (length == 0) fail_here("not UTF-8");
      out += text_.substr(at_, length);
      at_ += length;
    }
    ++at_;
    return out;
  }

  uint32_t parse_escape() {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const char letter = peek();
    if (const size_t i = kLetters.find(letter); i != std::string_view::npos) {
      ++at_;
      return static_cast<unsigned char>(kMeanings[i]);
    }
    if (letter != 'u') fail_here("an unknown escape");
    const uint32_t code = parse_hex4();
    if (code < 0xD800 || code > 0xDFFF) return code;
    if (code > 0xDBFF || text_.substr(at_, 2) != "\\u") fail_here("half of a surrogate pair");
    ++at_;
    const uint32_t low = parse_hex4();
    if (low < 0xDC00 || low > 0xDFFF) fail_here("half of a surrogate pair");
    return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }

  // The four digits after the u that at_ is on.
  uint32_t parse_hex4() {
    ++at_;
    uint32_t code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      uint32_t digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<uint32_t>(c - '0');
      } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        digit = static_cast<uint32_t>((c | 0x20) - 'a' + 10);
      } else {
        fail_here("\\u needs four hexadecimal digits");
      }
      code = code * 16 + digit;
    }
    return code;
  }

  std::string_view text_;
  const std::string& source_;
  size_t at_ = 0;
};

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, const std::string& source) {
  return HeaderParser(json, source).parse();
}

// As a JSON string, quotes included.
std::string json_quoted(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace largo
