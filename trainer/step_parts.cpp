#include "trainer/step_parts.h"

#include <c10/core/AutogradState.h>

namespace largo {

Stretch::Stretch(const char* name) : range_(name), record_(at::RecordScope::USER_SCOPE) {
  if (record_.isActive()) record_.before(name);
}

BackwardHere::BackwardHere()
    : was_(c10::AutogradState::get_tls_state().get_multithreading_enabled()) {
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
}

BackwardHere::~BackwardHere() {
  c10::AutogradState::get_tls_state().set_multithreading_enabled(was_);
}

}  // namespace largo
