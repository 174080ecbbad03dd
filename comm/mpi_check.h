// The MPI handle and the one way MPI calls are checked. For comm/*.cpp only.
#pragma once

#include <mpi.h>

#include <exception>
#include <string>
#include <type_traits>

#include "comm/base/error.h"

namespace largo::comm {

inline std::string mpi_error_text(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) return concat("MPI error ", code);
  return std::string(text, length);
}

// Throws Error{kUnavailable} naming the call.
inline void mpi_check(int code, const char* call) {
  if (code != MPI_SUCCESS) fail(ExitCode::kUnavailable, call, ": ", mpi_error_text(code));
}

// Owns an MPI communicator. Freed unless an error is unwinding: MPI_Comm_free is a collective.
class MpiComm {
 public:
  MpiComm() = default;
  explicit MpiComm(MPI_Comm comm) : comm_(comm) {
    mpi_check(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }
  MpiComm(MpiComm&& other) noexcept : comm_(other.release()) {}
  MpiComm& operator=(MpiComm&& other) noexcept {
    if (this != &other) {
      free();
      comm_ = other.release();
    }
    return *this;
  }
  ~MpiComm() { free(); }

  MPI_Comm get() const { return comm_; }
  int rank() const {
    int rank = 0;
    mpi_check(MPI_Comm_rank(comm_, &rank), "MPI_Comm_rank");
    return rank;
  }
  int size() const {
    int size = 0;
    mpi_check(MPI_Comm_size(comm_, &size), "MPI_Comm_size");
    return size;
  }

  MpiComm duplicate() const {
    MPI_Comm copy = MPI_COMM_NULL;
    mpi_check(MPI_Comm_dup(comm_, &copy), "MPI_Comm_dup");
    return MpiComm(copy);
  }

 private:
  MPI_Comm release() noexcept {
    const MPI_Comm comm = comm_;
    comm_ = MPI_COMM_NULL;
    return comm;
  }
  void free() noexcept {
    if (comm_ != MPI_COMM_NULL && std::uncaught_exceptions() == 0) MPI_Comm_free(&comm_);
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
};

}  // namespace largo::comm
