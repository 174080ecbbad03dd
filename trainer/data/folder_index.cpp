#include "trainer/data/folder_index.h"

#include <filesystem>
#include <utility>

#include "trainer/data/decode.h"
#include "trainer/data/index_bytes.h"

namespace largo::data {

namespace {

constexpr std::string_view kMagic = "largo folder index 1\n";
constexpr uint64_t kMostPathBytes = 4096;
constexpr uint64_t kMostNumber = ~uint64_t{0};

bool stays_inside(std::string_view path) {
  const std::filesystem::path parts(path);
  if (path.empty() || path.find('\0') != std::string_view::npos || parts.is_absolute())
    return false;
  for (const auto& part : parts) {
    if (part == "..") return false;
  }
  return true;
}

bool is_plain_name(std::string_view name) {
  return stays_inside(name) && name != "." && name.find('/') == std::string_view::npos;
}

std::string_view read_path(IndexReader& reader) {
  const std::string_view path = reader.text(kMostPathBytes);
  if (!stays_inside(path)) reader.refuse("a path leads elsewhere");
  return path;
}

FolderFiles read_files(IndexReader& reader, size_t classes) {
  constexpr size_t kFolderBytes = 3 * sizeof(uint64_t), kFileBytes = 2 * sizeof(uint64_t);
  std::vector<FolderFiles::Folder> folders(reader.count(kFolderBytes));
  for (FolderFiles::Folder& folder : folders) {
    folder.path = read_path(reader);
    folder.label = static_cast<uint32_t>(reader.number(classes - 1));
    folder.changed = reader.number(kMostNumber);
  }
  FolderFiles files(std::move(folders));
  for (size_t left = reader.count(kFileBytes); left > 0; --left) {
    if (files.folders().empty()) reader.refuse("a file has no folder");
    const auto folder = static_cast<uint32_t>(reader.number(files.folders().size() - 1));
    const std::string_view name = reader.text(kMostPathBytes);
    if (!is_plain_name(name)) reader.refuse("a file's name is none");
    files.add(folder, name);
  }
  if (files.size() == 0) reader.refuse("a part has no files");
  return files;
}

}  // namespace

void FolderFiles::add(uint32_t folder, std::string_view name) {
  names_ += name;
  name_ends_.push_back(names_.size());
  folder_of_.push_back(folder);
}

std::string_view FolderFiles::name(int64_t index) const {
  const auto at = static_cast<size_t>(index);
  const uint64_t begin = at == 0 ? 0 : name_ends_[at - 1];
  return std::string_view(names_).substr(begin, name_ends_[at] - begin);
}

std::string FolderFiles::path(int64_t index) const {
  std::string path = folder(index).path;
  path += '/';
  path += name(index);
  return path;
}

std::string encode(const FolderIndex& index) {
  std::string bytes(kMagic);
  append_number(bytes, index.classes.size());
  for (const std::string& name : index.classes) append_text(bytes, name);
  for (const int64_t length : {index.shape.channels, index.shape.height, index.shape.width}) {
    append_number(bytes, static_cast<uint64_t>(length));
  }
  append_text(bytes, index.train_root);
  append_text(bytes, index.val_root);
  append_number(bytes, index.left_out);
  append_text(bytes, index.left_out_example);
  append_number(bytes, index.val ? 2 : 1);
  for (const FolderFiles* files : {&index.train, index.val ? &*index.val : nullptr}) {
    if (files == nullptr) continue;
    append_number(bytes, files->folders().size());
    for (const FolderFiles::Folder& folder : files->folders()) {
      append_text(bytes, folder.path);
      append_number(bytes, folder.label);
      append_number(bytes, folder.changed);
    }
    append_number(bytes, files->folder_of_.size());
    for (int64_t i = 0; i < files->size(); ++i) {
      append_number(bytes, files->folder_of_[static_cast<size_t>(i)]);
      append_text(bytes, files->name(i));
    }
  }
  return bytes;
}

FolderIndex parse_folder_index(std::string_view bytes) {
  IndexReader reader(bytes, "the index of image folders");
  if (reader.take(kMagic.size()) != kMagic) reader.refuse("it does not start like one");
  FolderIndex index;
  index.classes.resize(reader.count(sizeof(uint64_t)));
  if (index.classes.empty()) reader.refuse("it has no classes");
  for (std::string& name : index.classes) name = reader.text(kMostPathBytes);
  for (int64_t* length : {&index.shape.channels, &index.shape.height, &index.shape.width}) {
    *length = static_cast<int64_t>(reader.number(kLongestSide));
  }
  if (index.shape.values() == 0 || (index.shape.channels != 1 && index.shape.channels != 3)) {
    reader.refuse("no images have this shape");
  }
  for (std::string* root : {&index.train_root, &index.val_root}) {
    *root = reader.text(kMostPathBytes);
    if (!root->empty() && !is_plain_name(*root)) reader.refuse("a part's folder lies elsewhere");
  }
  index.left_out = reader.number(kMostNumber);
  index.left_out_example = reader.text(kMostPathBytes);
  const uint64_t parts = reader.number(2);
  if (parts == 0) reader.refuse("it has no parts");
  index.train = read_files(reader, index.classes.size());
  if (parts == 2) index.val = read_files(reader, index.classes.size());
  reader.check_end();
  return index;
}

}  // namespace largo::data
