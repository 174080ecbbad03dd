// Must fail (see CMakeLists.txt): shows that a failure on a rank that does not print is a failure.
#include <gtest/gtest.h>

#include "tests/support/mpi_main.h"

TEST(TestMain, SeesTheFailureOfRankOne) { EXPECT_NE(largo::test::mpi_session().rank(), 1); }
