#include "comm/nccl/setup_report.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <fstream>
#include <memory>
#include <set>
#include <string_view>

#include "comm/base/error.h"

namespace largo::comm {

namespace {

constexpr size_t kLogsShown = 3;

// "rank 3", "ranks 0-2, 5"
std::string rank_list(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size();) {
    size_t end = i + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    if (i > 0) text += ", ";
    text += std::to_string(ranks[i]);
    if (end - i > 1) text += concat(end - i > 2 ? "-" : ", ", ranks[end - 1]);
    i = end;
  }
  return text;
}

// Groups ranks by a text that each has, in order of the first rank.
class ByText {
 public:
  void add(const std::string& text, int rank) {
    for (auto& [known, ranks] : groups_) {
      if (known == text) return ranks.push_back(rank);
    }
    groups_.push_back({text, {rank}});
  }
  const std::vector<std::pair<std::string, std::vector<int>>>& groups() const { return groups_; }

 private:
  std::vector<std::pair<std::string, std::vector<int>>> groups_;
};

void write(std::string& bytes, std::string_view text) { bytes += concat(text.size(), ":", text); }

std::string_view read(std::string_view& bytes) {
  const size_t colon = bytes.find(':');
  LARGO_CHECK(colon != std::string_view::npos, "bytes of a set-up end too early");
  const size_t size = std::stoul(std::string(bytes.substr(0, colon)));
  LARGO_CHECK(bytes.size() - colon > size, "bytes of a set-up end too early");
  const std::string_view text = bytes.substr(colon + 1, size);
  bytes.remove_prefix(colon + 1 + size);
  return text;
}

std::string address_of(const sockaddr& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes = nullptr;
  if (address.sa_family == AF_INET) {
    bytes = &reinterpret_cast<const sockaddr_in&>(address).sin_addr;
  } else if (address.sa_family == AF_INET6) {
    bytes = &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  } else {
    return {};
  }
  return inet_ntop(address.sa_family, bytes, text.data(), text.size()) ? text.data() : "";
}

std::string describe_errors(const std::vector<RankSetup>& ranks) {
  ByText errors;
  for (const RankSetup& setup : ranks) {
    if (setup.error.empty()) continue;
    const std::string own = concat("rank ", setup.rank, ": ");  // said by the list
    errors.add(setup.error.starts_with(own) ? setup.error.substr(own.size()) : setup.error,
               setup.rank);
  }
  std::string text;
  for (const auto& [error, whose] : errors.groups()) {
    text += concat("\n  ", rank_list(whose), ": ", error);
  }
  return text;
}

std::string describe_interfaces(const std::vector<RankSetup>& ranks) {
  std::string text;
  std::set<std::string> hosts;
  for (const RankSetup& setup : ranks) {
    if (!hosts.insert(setup.host).second) continue;
    text += concat("\n  ", setup.host, ": ");
    for (size_t i = 0; i < setup.interfaces.size(); ++i) {
      text += (i > 0 ? ", " : "") + setup.interfaces[i];
    }
    if (setup.interfaces.empty()) text += "none";
  }
  return text;
}

std::string describe_differences(const std::vector<RankSetup>& ranks) {
  std::set<std::string> names;
  for (const RankSetup& setup : ranks) {
    for (const auto& [name, value] : setup.variables) names.insert(name);
  }
  std::string text;
  for (const std::string& name : names) {
    ByText values;
    for (const RankSetup& setup : ranks) {
      const auto found = setup.variables.find(name);
      values.add(found == setup.variables.end() ? "not set" : found->second, setup.rank);
    }
    if (values.groups().size() < 2) continue;
    text += concat("\n  ", name, ":");
    const char* separator = " ";
    for (const auto& [value, whose] : values.groups()) {
      text += concat(separator, value, " on ", rank_list(whose));
      separator = "; ";
    }
  }
  return text.empty() ? "\n  none" : text;
}

std::string describe_logs(const std::vector<RankSetup>& ranks) {
  std::string text;
  std::set<std::string> hosts;
  for (const RankSetup& setup : ranks) {
    if (setup.error.empty() || setup.log_tail.empty() || hosts.size() == kLogsShown) continue;
    if (!hosts.insert(setup.host).second) continue;
    text += concat("\nThe end of NCCL's log of rank ", setup.rank, " @ ", setup.host, " (",
                   setup.log_file, "):");
    std::string_view rest = setup.log_tail;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      text += concat("\n  ", rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return text;
}

}  // namespace

std::vector<std::string> network_interfaces() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, freeifaddrs);
  std::vector<std::string> found;
  std::set<std::string> with_address;
  const auto add = [&](const ifaddrs& entry, const std::string& address) {
    const bool up = entry.ifa_flags & IFF_UP;
    found.push_back(concat(entry.ifa_name, " ", address, up ? "" : " (down)"));
  };
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const std::string address = address_of(*entry->ifa_addr);
    if (address.empty()) continue;
    add(*entry, address);
    with_address.insert(entry->ifa_name);
  }
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (with_address.insert(entry->ifa_name).second) add(*entry, "without address");
  }
  return found;
}

std::map<std::string, std::string> nccl_variables() {
  std::map<std::string, std::string> found;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (!text.starts_with("NCCL_") || equals == std::string_view::npos) continue;
    found.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return found;
}

void read_nccl_log(const std::filesystem::path& folder, int lines, RankSetup& setup) {
  namespace fs = std::filesystem;
  const std::string ending = concat(".", getpid(), ".log");
  const std::string host = setup.host.substr(0, setup.host.find('.'));
  std::error_code error;
  fs::path file;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("nccl.") || !name.ends_with(ending)) continue;
    // Other hosts write to the same folder, and have the same process numbers.
    if (file.empty() || name == concat("nccl.", host, ending)) file = entry.path();
  }
  if (file.empty()) return;
  setup.log_file = file;
  std::ifstream input(file);
  std::deque<std::string> last;
  for (std::string line; std::getline(input, line);) {
    last.push_back(line);
    if (static_cast<int>(last.size()) > lines) last.pop_front();
  }
  for (const std::string& line : last) setup.log_tail += line + "\n";
}

std::string to_bytes(const RankSetup& setup) {
  std::string bytes;
  write(bytes, std::to_string(setup.rank));
  for (const auto* text : {&setup.host, &setup.error, &setup.log_file, &setup.log_tail}) {
    write(bytes, *text);
  }
  write(bytes, std::to_string(setup.interfaces.size()));
  for (const std::string& interface : setup.interfaces) write(bytes, interface);
  for (const auto& [name, value] : setup.variables) {
    write(bytes, name);
    write(bytes, value);
  }
  return bytes;
}

RankSetup rank_setup_from_bytes(const std::string& bytes) {
  std::string_view rest = bytes;
  RankSetup setup;
  setup.rank = std::stoi(std::string(read(rest)));
  for (auto* text : {&setup.host, &setup.error, &setup.log_file, &setup.log_tail}) {
    *text = read(rest);
  }
  setup.interfaces.resize(std::stoul(std::string(read(rest))));
  for (std::string& interface : setup.interfaces) interface = read(rest);
  while (!rest.empty()) {
    const std::string name(read(rest));
    setup.variables[name] = read(rest);
  }
  return setup;
}

bool any_failed(const std::vector<RankSetup>& ranks) {
  return std::any_of(ranks.begin(), ranks.end(),
                     [](const RankSetup& setup) { return !setup.error.empty(); });
}

std::string describe_failed_setup(const std::vector<RankSetup>& ranks) {
  const auto failed = std::count_if(ranks.begin(), ranks.end(),
                                    [](const RankSetup& setup) { return !setup.error.empty(); });
  return concat("NCCL could not connect the ranks; ", failed, " of ", ranks.size(),
                " failed:", describe_errors(ranks),
                "\nNetwork interfaces:", describe_interfaces(ranks),
                "\nNCCL settings that differ between ranks:", describe_differences(ranks),
                describe_logs(ranks));
}

}  // namespace largo::comm
