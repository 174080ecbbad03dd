// Damage to any byte of any file of a real checkpoint.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <fstream>

#include "comm/self_communicator.h"
#include "tests/checkpoint/temporary_folder.h"
#include "trainer/base/atomic_file.h"
#include "trainer/checkpoint/checkpointer.h"

namespace largo::checkpoint {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

void put(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// Cut off after every byte, and every byte changed: named when it is asked for, and passed over for
// the older one when it is not.
TEST(DamagedFiles, AreNamedAndNeverLoaded) {
  const TemporaryFolder folder;
  comm::SelfCommunicator self;
  std::FILE* const log_file = std::tmpfile();
  Log log(log_file);
  Checkpointer checkpointer({}, folder.path(), self, log);
  for (const int64_t step : {1, 2}) {
    checkpointer.save(step, {.model = {{"fc.weight", at::full({2, 3}, step)},
                                       {"bn.count", at::full({}, step, at::kLong)}},
                             .optimizer = {{"momentum", at::full({6}, 0.5)}},
                             .json = concat("{\"step\": ", step, '}'),
                             .config = "run: {seed: 1}\n"});
  }
  checkpointer.finish();
  const Store store(folder.path());
  int damages = 0;
  const auto expect_refusal = [&](const fs::path& path) {
    EXPECT_THAT(error_of(ExitCode::kBadData, [&] { checkpointer.load(store.path_of(2)); }),
                HasSubstr(path.string()));
    if (++damages % 7 != 0) return;
    const auto loaded = checkpointer.load_newest();
    ASSERT_TRUE(loaded);
    EXPECT_EQ(loaded->path, store.path_of(1));
    EXPECT_TRUE(loaded->model.at("fc.weight").equal(at::full({2, 3}, 1)));
  };
  for (const char* name : {"model.safetensors", "optimizer.safetensors", "state.json",
                           "config.yaml", "manifest.json", "DONE"}) {
    const fs::path path = store.path_of(2) / name;
    const std::vector<std::byte> bytes = read_file(path, 1 << 20);
    const std::string whole(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    for (size_t at = 0; at < whole.size(); ++at) {
      put(path, whole.substr(0, at));
      expect_refusal(path);
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ (1 << at % 8));
      put(path, changed);
      expect_refusal(path);
    }
    put(path, whole);
    EXPECT_EQ(checkpointer.load_newest()->path, store.path_of(2));
  }
  EXPECT_GT(damages, 1000);
  std::fclose(log_file);
}

}  // namespace
}  // namespace largo::checkpoint
