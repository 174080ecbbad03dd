#include "trainer/data/index_bytes.h"

#include <cstring>
#include <utility>

#include "comm/base/error.h"

namespace largo::data {

void append_number(std::string& bytes, uint64_t number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}

void append_text(std::string& bytes, std::string_view text) {
  append_number(bytes, text.size());
  bytes += text;
}

IndexReader::IndexReader(std::string_view bytes, std::string what)
    : bytes_(bytes), rest_(bytes), what_(std::move(what)) {}

std::string_view IndexReader::take(uint64_t count) {
  if (count > rest_.size()) refuse("it ends early");
  const std::string_view taken = rest_.substr(0, count);
  rest_.remove_prefix(count);
  return taken;
}

uint64_t IndexReader::number(uint64_t most) {
  uint64_t value = 0;
  std::memcpy(&value, take(sizeof value).data(), sizeof value);
  if (value > most) refuse("a number is too large");
  return value;
}

std::string_view IndexReader::text(uint64_t most_bytes) { return take(number(most_bytes)); }

size_t IndexReader::count(size_t bytes_each) { return number(rest_.size() / bytes_each); }

void IndexReader::check_end() const {
  if (!rest_.empty()) refuse("it goes on behind its end");
}

void IndexReader::refuse(const char* why) const {
  fail(ExitCode::kBadData, what_, " is damaged at byte ", bytes_.size() - rest_.size(), ": ", why);
}

}  // namespace largo::data
