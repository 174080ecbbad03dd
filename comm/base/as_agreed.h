// Errors of work that all ranks do alike.
#pragma once

#include "comm/base/error.h"

namespace largo {

// For work without collectives under way that every rank does on the same bytes: what one throws,
// all throw, so an Error leaves as an AgreedError.
template <class Work>
auto as_agreed(const Work& work) {
  try {
    return work();
  } catch (const AgreedError&) {
    throw;
  } catch (const Error& error) {
    throw AgreedError(error.code(), error.what());
  }
}

}  // namespace largo
