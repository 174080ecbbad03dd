#include "trainer/data/folder_scan.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "comm/base/error.h"

namespace largo::data {

namespace {

namespace fs = std::filesystem;

bool is_hidden(const std::string& name) { return name.starts_with('.'); }

bool is_image_name(const std::string& name) {
  std::string ending = fs::path(name).extension().string();
  for (char& c : ending) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return ending == ".jpg" || ending == ".jpeg" || ending == ".png";
}

[[noreturn]] void fail_to_read(const fs::path& path, const std::string& reason) {
  fail(ExitCode::kInputMissing, path.string(), ": cannot be read: ", reason);
}

// The entries of a folder, told apart after following links.
struct Entries {
  std::vector<std::string> folders;
  std::vector<std::string> files;  // regular ones
  std::vector<std::string> others;
};

Entries list(const fs::path& folder) {
  Entries entries;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    // Neither asks the system again about what is no link.
    const bool is_file = entry->is_regular_file(error);
    const bool is_folder = !error && entry->is_directory(error);
    if (error == std::errc::no_such_file_or_directory) {
      fail_to_read(entry->path(), "it is a link to something that is not there");
    }
    if (error) fail_to_read(entry->path(), error.message());
    std::vector<std::string>& names = is_file     ? entries.files
                                      : is_folder ? entries.folders
                                                  : entries.others;
    names.push_back(entry->path().filename().string());
  }
  if (error) fail_to_read(folder, error.message());
  for (auto* names : {&entries.folders, &entries.files, &entries.others}) {
    std::sort(names->begin(), names->end());
  }
  return entries;
}

struct stat status_of(const fs::path& folder) {
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) fail_to_read(folder, std::strerror(errno));
  return status;
}

uint64_t nanoseconds(const timespec& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

struct Found {
  uint32_t folder = 0;
  std::string name;
};

class ClassWalk {
 public:
  ClassWalk(const fs::path& root, std::vector<FolderFiles::Folder>& folders, LeftOut& left_out)
      : root_(root), folders_(folders), left_out_(left_out) {}

  std::vector<Found> walk(const std::string& name, uint32_t label) {
    label_ = label;
    found_.clear();
    visit(name);
    return std::move(found_);
  }

 private:
  // `path` is below the root.
  void visit(const std::string& path) {
    const fs::path folder = root_ / path;
    const struct stat status = status_of(folder);  // before its entries are read: they may change
    const auto identity = std::pair(status.st_dev, status.st_ino);
    if (std::find(above_.begin(), above_.end(), identity) != above_.end()) {
      fail(ExitCode::kBadData, folder.string(), ": is a link to a folder that it lies in");
    }
    above_.push_back(identity);
    const auto number = static_cast<uint32_t>(folders_.size());
    folders_.push_back({.path = path, .label = label_, .changed = nanoseconds(status.st_mtim)});
    Entries entries = list(folder);
    for (std::string& name : entries.files) {
      if (is_hidden(name) || !is_image_name(name)) {
        left_out_.add(folder / name);
      } else {
        found_.push_back({number, std::move(name)});
      }
    }
    for (const std::string& name : entries.others) left_out_.add(folder / name);
    for (const std::string& name : entries.folders) {
      if (is_hidden(name)) {
        left_out_.add(folder / name);
      } else {
        visit(concat(path, '/', name));
      }
    }
    above_.pop_back();
  }

  const fs::path& root_;
  std::vector<FolderFiles::Folder>& folders_;
  LeftOut& left_out_;
  uint32_t label_ = 0;
  std::vector<Found> found_;
  std::vector<std::pair<dev_t, ino_t>> above_;  // the folder that is visited, and those it lies in
};

}  // namespace

void LeftOut::add(const fs::path& path) {
  if (count++ == 0) example = path.string();
}

std::vector<std::string> list_folders(const fs::path& root) {
  std::vector<std::string> folders = list(root).folders;
  std::erase_if(folders, is_hidden);
  return folders;
}

uint64_t time_of_change(const fs::path& folder) { return nanoseconds(status_of(folder).st_mtim); }

FolderFiles scan_classes(const fs::path& root, const std::vector<std::string>& classes,
                         const std::vector<uint32_t>& labels, LeftOut& left_out) {
  std::vector<FolderFiles::Folder> folders;
  ClassWalk walk(root, folders, left_out);
  std::vector<std::vector<Found>> found;
  for (size_t i = 0; i < classes.size(); ++i) found.push_back(walk.walk(classes[i], labels[i]));
  FolderFiles files(std::move(folders));
  bool any = true;
  for (size_t round = 0; any; ++round) {
    any = false;
    for (const std::vector<Found>& of_class : found) {
      if (round >= of_class.size()) continue;
      files.add(of_class[round].folder, of_class[round].name);
      any = true;
    }
  }
  return files;
}

}  // namespace largo::data
