// What there is to say when NCCL cannot connect the ranks.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace largo::comm {

// One rank's part in a set-up, and what its host looks like.
struct RankSetup {
  int rank = 0;
  std::string host;
  std::string error;                             // empty: it went well
  std::vector<std::string> interfaces;           // "eth0 10.1.2.3"; " (down)" behind those that are
  std::map<std::string, std::string> variables;  // NCCL_*, and the version of NCCL
  std::string log_file;                          // of NCCL itself
  std::string log_tail;                          // its last lines
};

// What this process can say of itself; throws nothing.
std::vector<std::string> network_interfaces();
std::map<std::string, std::string> nccl_variables();

// The newest file of `folder` that NCCL names after this process, and its last `lines` lines.
void read_nccl_log(const std::filesystem::path& folder, int lines, RankSetup& setup);

std::string to_bytes(const RankSetup& setup);
RankSetup rank_setup_from_bytes(const std::string& bytes);

bool any_failed(const std::vector<RankSetup>& ranks);

// The error text for a set-up in which any rank failed: the errors and whose they are; the network
// interfaces of every host; NCCL's variables that differ between ranks; the end of NCCL's own log
// of a failed rank on each of the first hosts.
std::string describe_failed_setup(const std::vector<RankSetup>& ranks);

}  // namespace largo::comm
