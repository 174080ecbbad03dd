// A value of a YAML text changed where it stands.
#pragma once

#include <string>

#include "trainer/config/diagnostic.h"

namespace largo::config {

// The text with `value` at the key (a full path such as lr.policy.k1); every other byte, comments
// and layout included, is as it was. A key that is not there is put before the first of its
// section, a section into the one around it; a section written as one word (policy: triangular)
// becomes a map with that word as its kind. `value` goes in as it is.
// Throws Error{kConfig} where the file has something else at the key, or is no map.
std::string with_value(const SourceText& file, const std::string& key, const std::string& value);

}  // namespace largo::config
