#include "comm/doing.h"

namespace largo::comm {

const char* to_string(Doing doing) {
  switch (doing) {
    case Doing::kStarting:
      return "starts";
    case Doing::kFirstStep:
      return "is in its first step";
    case Doing::kData:
      return "waits for data";
    case Doing::kComputing:
      return "computes";
    case Doing::kSumming:
      return "waits for sums";
    case Doing::kUpdating:
      return "updates the weights";
    case Doing::kRecording:
      return "writes a record";
    case Doing::kEvaluation:
      return "evaluates";
    case Doing::kCheckpoint:
      return "saves a checkpoint";
    case Doing::kEnding:
      return "ends";
  }
  return "";
}

bool may_take_long(Doing doing) {
  switch (doing) {
    case Doing::kStarting:
    case Doing::kFirstStep:
    case Doing::kEvaluation:
    case Doing::kCheckpoint:
    case Doing::kEnding:
      return true;
    default:
      return false;
  }
}

}  // namespace largo::comm
