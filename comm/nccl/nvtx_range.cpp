#include <nvtx3/nvToolsExt.h>

#include "comm/trace_range.h"

namespace largo::comm {

TraceRange::TraceRange(const char* name) { nvtxRangePushA(name); }
TraceRange::~TraceRange() { nvtxRangePop(); }

}  // namespace largo::comm
