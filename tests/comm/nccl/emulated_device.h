// A GPU and NCCL for tests, inside one process: the functions of both that comm/nccl's core calls,
// put in the place of libcudart and libnccl by the linker.
//
// A stream is a thread that runs what was put on it in order; an event knows its records; ranks are
// threads that meet in the k-th collective of their communicator and compare count, type, root and
// kind. Memory is host memory. Signatures come from the real headers, and a function that is
// missing here fails the link. Locks belong to one stream, event or group, so that ThreadSanitizer
// sees only the orderings that the code under test asked for.
//
// What it claims about NCCL follows nccl.h and NCCL's user guide. It is stricter than the real
// library where that helps: a mismatch between ranks is an error with a text, a call at the wrong
// time or from two threads at once is a violation. Never to be linked beside LibTorch, which would
// bind to it.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace largo::test::emulated {

// Puts a kernel on the stream.
void launch(cudaStream_t stream, std::function<void()> kernel);

// How the device behaves; for all ranks. Set while nothing runs.
struct Behaviour {
  bool detect_mismatch = true;  // off: as on a GPU, ranks that disagree wait for ever
  bool abort_hangs = false;     // ncclCommAbort does not return (until the behaviour changes)
  int polls_to_launch = 2;      // ncclCommGetAsyncError calls until a collective is launched
  std::chrono::microseconds collective_time{0};
};
void set_behaviour(const Behaviour& behaviour);

// From now on ncclCommGetAsyncError reports `error` on one rank of the group that was made with
// `id`, or on all (-1), and its collectives no longer complete.
void inject_error(const ncclUniqueId& id, int rank, ncclResult_t error);

// Rules of the two libraries that were broken since the last call.
std::vector<std::string> take_violations();

// Streams, events and communicators that have not been destroyed.
int live_objects();

// Destroys the streams and events among these, which the code under test has left on purpose.
void destroy_leaked();

// Waits until streams that were destroyed have run out of work, which may use the test's buffers.
void join_streams();

}  // namespace largo::test::emulated
