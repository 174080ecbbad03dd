#include "trainer/data/folder_indexing.h"

#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "trainer/data/decode.h"
#include "trainer/data/file_bytes.h"
#include "trainer/data/folder_scan.h"
#include "trainer/data/index_cache.h"

namespace largo::data {

namespace {

namespace fs = std::filesystem;

// The folders that hold the folders of the classes.
struct Roots {
  std::string train;               // below data.path
  std::optional<std::string> val;  // below data.path, or "" for data.val_path
};

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

Roots find_roots(const DataOptions& options) {
  const fs::path path = options.path;
  if (!is_folder(path)) {
    fail(ExitCode::kInputMissing, "data.path ", options.path,
         ": there is no such folder; give data.path a folder that holds one folder per class, or "
         "train/ and val/ with one per class");
  }
  // A class may be called train: its folder then holds images, not folders.
  const bool has_parts = is_folder(path / "train") && !list_folders(path / "train").empty();
  Roots roots{.train = has_parts ? "train" : "", .val = {}};
  if (options.val_fraction > 0) return roots;
  if (!options.val_path.empty()) {
    if (!is_folder(options.val_path)) {
      fail(ExitCode::kInputMissing, "data.val_path ", options.val_path,
           ": there is no such folder");
    }
    roots.val = "";
    return roots;
  }
  for (const char* name : {"val", "valid", "validation", "test"}) {
    if (!has_parts || roots.val || !is_folder(path / name)) continue;
    roots.val = name;
  }
  return roots;
}

// A part, as far as its folder alone shows it.
struct Part {
  fs::path root;
  std::vector<std::string> classes;

  explicit Part(fs::path folder) : root(std::move(folder)), classes(list_folders(root)) {
    if (classes.empty()) {
      fail(ExitCode::kInputMissing, root.string(), ": holds no folders; expected one per class");
    }
  }

  std::string stamp() const {
    std::string stamp;
    for (const std::string& name : classes) {
      stamp += concat(name, '/', time_of_change(root / name), '\n');
    }
    return stamp;
  }
};

std::vector<uint32_t> labels_of(const Part& part, const std::vector<std::string>& classes) {
  std::vector<uint32_t> labels;
  for (const std::string& name : part.classes) {
    const auto found = std::lower_bound(classes.begin(), classes.end(), name);
    if (found == classes.end() || *found != name) {
      fail(ExitCode::kBadData, (part.root / name).string(),
           ": is a class that the training part does not have; expected one of its ",
           classes.size());
    }
    labels.push_back(static_cast<uint32_t>(found - classes.begin()));
  }
  return labels;
}

FolderFiles scan(const Part& part, const std::vector<std::string>& classes, LeftOut& left_out) {
  FolderFiles files = scan_classes(part.root, part.classes, labels_of(part, classes), left_out);
  if (files.size() == 0) {
    fail(ExitCode::kBadData, part.root.string(), ": its folders hold no .jpg, .jpeg or .png files");
  }
  return files;
}

// The first readable image of each class; damaged ones are only passed over where they may be
// skipped later, too.
std::vector<ImageHeader> first_headers(const Part& part, const FolderFiles& files,
                                       OnBadSample on_bad) {
  std::vector<std::optional<ImageHeader>> headers(part.classes.size());
  std::vector<std::string> damage(headers.size());
  std::vector<uint8_t> bytes;
  size_t missing = headers.size();
  for (int64_t i = 0; i < files.size() && missing > 0; ++i) {
    const auto label = static_cast<size_t>(files.label(i));
    if (headers[label]) continue;
    const fs::path path = part.root / files.path(i);
    try {
      read_file_bytes(path, "the folder was changed just now", kMostImageFileBytes, bytes);
      headers[label] = read_image_header(bytes, path.string());
      --missing;
    } catch (const Error& error) {
      if (error.code() != ExitCode::kBadData || on_bad == OnBadSample::kError) throw;
      damage[label] = error.what();
    }
  }
  std::vector<ImageHeader> all;
  for (size_t label = 0; label < headers.size(); ++label) {
    if (!headers[label]) {
      fail(ExitCode::kBadData, (part.root / part.classes[label]).string(),
           ": is the folder of a class and holds no ",
           damage[label].empty() ? ".jpg, .jpeg or .png files"
                                 : concat("image that can be read; the last one: ", damage[label]));
    }
    all.push_back(*headers[label]);
  }
  return all;
}

FolderIndex make_index(const Roots& roots, const Part& train, const std::optional<Part>& val,
                       OnBadSample on_bad) {
  FolderIndex index;
  index.train_root = roots.train;
  index.val_root = roots.val.value_or("");
  LeftOut left_out;
  index.classes = train.classes;
  index.train = scan(train, index.classes, left_out);
  if (val) index.val = scan(*val, index.classes, left_out);
  index.left_out = left_out.count;
  index.left_out_example = left_out.example;
  const std::vector<ImageHeader> headers = first_headers(train, index.train, on_bad);
  const auto grey = [](const ImageHeader& header) { return header.grey; };
  index.shape = {std::all_of(headers.begin(), headers.end(), grey) ? 1 : 3, headers.front().height,
                 headers.front().width};
  return index;
}

// Whether no folder inside that of a class was changed; those of the classes are in the stamp.
bool is_current(const FolderFiles& files, const fs::path& root) {
  return std::all_of(files.folders().begin(), files.folders().end(), [&](const auto& folder) {
    return folder.path.find('/') == std::string::npos ||
           time_of_change(root / folder.path) == folder.changed;
  });
}

// File systems may tell times of change no finer than in seconds: what happens to a folder right
// after it was read could be missed.
bool is_settled(const FolderFiles& files) {
  constexpr uint64_t kSettled = 2'000'000'000;
  const auto now = static_cast<uint64_t>(
      std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count());
  return std::all_of(files.folders().begin(), files.folders().end(),
                     [&](const auto& folder) { return folder.changed + kSettled < now; });
}

std::optional<FolderIndex> load_kept(const IndexCache& cache, const std::string& stamp,
                                     const Part& train, const std::optional<Part>& val) {
  const std::optional<std::string> bytes = cache.load(stamp);
  if (!bytes) return {};
  try {
    FolderIndex index = parse_folder_index(*bytes);
    if (index.val.has_value() != val.has_value() || !is_current(index.train, train.root) ||
        (val && !is_current(*index.val, val->root))) {
      return {};
    }
    return index;
  } catch (const Error&) {
    return {};  // damaged: as if it were not there
  }
}

IndexCache cache_of(const DataOptions& options, const Part& train, const std::optional<Part>& val,
                    const fs::path& fallback) {
  const auto full = [](const fs::path& path) { return fs::absolute(path).lexically_normal(); };
  std::string key = full(train.root).string();
  if (val) key += '\n' + full(val->root).string();
  const uLong number = crc32_z(0, reinterpret_cast<const Bytef*>(key.data()), key.size());
  return {{options.path, fallback}, concat(".largo_folder_index_", number)};
}

void warn_of_left_out(const FolderIndex& index, const DataOptions& options,
                      const IndexContext& context) {
  if (index.left_out == 0) return;
  context.warn(concat("data.path ", options.path, ": left out, being hidden or no .jpg, .jpeg or ",
                      ".png: ", index.left_out, " (as ", index.left_out_example, ")"));
}

}  // namespace

fs::path train_root(const DataOptions& options, const FolderIndex& index) {
  return fs::path(options.path) / index.train_root;
}

fs::path val_root(const DataOptions& options, const FolderIndex& index) {
  return options.val_path.empty() ? fs::path(options.path) / index.val_root
                                  : fs::path(options.val_path);
}

FolderIndex index_folders(const DataOptions& options, const IndexContext& context) {
  const Roots roots = find_roots(options);
  const Part train(fs::path(options.path) / roots.train);
  std::optional<Part> val;
  if (roots.val) {
    val.emplace(roots.val->empty() ? fs::path(options.val_path)
                                   : fs::path(options.path) / *roots.val);
  }
  const std::string stamp =
      concat("image_folder, on_bad_sample ", static_cast<int>(options.on_bad_sample), '\n',
             train.stamp(), '\n', val ? val->stamp() : std::string());
  const IndexCache cache = cache_of(options, train, val, context.fallback_folder);
  std::optional<FolderIndex> kept = load_kept(cache, stamp, train, val);
  FolderIndex index =
      kept ? std::move(*kept) : make_index(roots, train, val, options.on_bad_sample);
  warn_of_left_out(index, options, context);
  const bool settled = is_settled(index.train) && (!index.val || is_settled(*index.val));
  if (!kept && settled && !cache.store(stamp, encode(index))) {
    context.warn(concat("the index of data.path ", options.path, " can be written neither there ",
                        "nor into ", context.fallback_folder.string(),
                        "; the next run makes it again"));
  }
  return index;
}

}  // namespace largo::data
