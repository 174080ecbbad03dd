// Numbers and strings in the bytes of an index, as this machine stores them: indexes do not travel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace largo::data {

void append_number(std::string& bytes, uint64_t number);
void append_text(std::string& bytes, std::string_view text);  // its length first

// Takes such bytes apart. Throws Error{kBadData} for bytes that cannot be right; memory is never
// taken for more than there is. The bytes must outlive the reader.
class IndexReader {
 public:
  // `what` is for messages: "the index of …".
  IndexReader(std::string_view bytes, std::string what);

  std::string_view take(uint64_t count);
  uint64_t number(uint64_t most);
  std::string_view text(uint64_t most_bytes);

  // How many things of at least `bytes_each` follow.
  size_t count(size_t bytes_each);

  void check_end() const;
  [[noreturn]] void refuse(const char* why) const;

 private:
  std::string_view bytes_;
  std::string_view rest_;
  std::string what_;
};

}  // namespace largo::data
