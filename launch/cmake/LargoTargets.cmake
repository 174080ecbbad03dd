# largo_library(NAME FOLDER dir [PLAIN a.cpp …] [EXCEPT b.cpp …] [LINK target …] [PLAIN_LINK target …])
#
# The library of one folder: NAME from every source in FOLDER but EXCEPT. Sources named PLAIN see no LibTorch; they
# become NAME_plain (linking PLAIN_LINK), which NAME links, and which the sanitizer builds build too.
function(largo_library name)
  cmake_parse_arguments(arg "" "FOLDER" "PLAIN;EXCEPT;LINK;PLAIN_LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}/${arg_FOLDER}" "${PROJECT_SOURCE_DIR}/${arg_FOLDER}/*.cpp")
  list(REMOVE_ITEM sources ${arg_PLAIN} ${arg_EXCEPT} "")
  list(TRANSFORM sources PREPEND "${arg_FOLDER}/")
  list(TRANSFORM arg_PLAIN PREPEND "${arg_FOLDER}/")

  if(arg_PLAIN)
    add_library(${name}_plain STATIC ${arg_PLAIN})
    target_link_libraries(${name}_plain PUBLIC largo_flags ${arg_PLAIN_LINK})
  endif()
  if(LARGO_TORCH AND sources)
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC largo_torch ${arg_LINK})
    target_precompile_headers(${name} REUSE_FROM largo_torch_pch)
    if(arg_PLAIN)
      target_link_libraries(${name} PUBLIC ${name}_plain)
    endif()
  endif()
endfunction()

# largo_add_test(NAME SOURCES a.cpp … LINK target … LABELS unit|mpi|slow|serial|cuda|gpu [RANKS n] [TORCH] [TIMEOUT s])
#
# Label cuda: differs in builds with CUDA, and needs no GPU; gpu: needs one. The target cuda_tests builds both. serial:
# long, and of one thread, so that ThreadSanitizer has nothing to see.
# A GoogleTest executable and its ctest entry. With RANKS it runs as that many MPI processes: rank 0 prints, and the
# test fails if it failed on any rank. TORCH gives it the precompiled header.
function(largo_add_test name)
  cmake_parse_arguments(arg "TORCH" "RANKS;TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
  if(arg_TORCH AND NOT LARGO_TORCH)
    return()
  endif()
  if(NOT TARGET ${name})
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE largo_flags GTest::gmock ${arg_LINK})
    target_compile_definitions(${name} PRIVATE LARGO_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    if(arg_TORCH)
      target_link_libraries(${name} PRIVATE largo_torch)
      target_precompile_headers(${name} REUSE_FROM largo_torch_pch)
    endif()
    if("cuda" IN_LIST arg_LABELS OR "gpu" IN_LIST arg_LABELS)
      add_dependencies(cuda_tests ${name})
    endif()
    if(arg_RANKS)
      target_link_libraries(${name} PRIVATE largo_mpi_test_main)
    else()
      target_link_libraries(${name} PRIVATE GTest::gtest_main)
    endif()
  endif()
  if(arg_RANKS)
    largo_add_command_test(${name}_${arg_RANKS} RANKS ${arg_RANKS} LABELS ${arg_LABELS} TIMEOUT "${arg_TIMEOUT}"
      COMMAND ${MPIEXEC_EXECUTABLE} -n ${arg_RANKS} --bind-to none $<TARGET_FILE:${name}>)
  else()
    largo_add_command_test(${name} LABELS ${arg_LABELS} TIMEOUT "${arg_TIMEOUT}" COMMAND $<TARGET_FILE:${name}>)
  endif()
endfunction()

# largo_add_fuzz(NAME SOURCES a.cpp … LINK target … SEEDS folder MUTATIONS n)
#
# A fuzz target, which defines LLVMFuzzerTestOneInput. The test NAME_smoke runs it on the seeds and on n mutations of
# them, whatever the compiler; with LARGO_FUZZ there also is the libFuzzer executable NAME, for launch/fuzz.
function(largo_add_fuzz name)
  cmake_parse_arguments(arg "" "SEEDS;MUTATIONS" "SOURCES;LINK" ${ARGN})
  add_executable(${name}_smoke ${arg_SOURCES} "${PROJECT_SOURCE_DIR}/tests/support/fuzz_driver.cpp")
  target_link_libraries(${name}_smoke PRIVATE largo_flags ${arg_LINK})
  largo_add_command_test(${name}_smoke LABELS unit
    COMMAND $<TARGET_FILE:${name}_smoke> "${CMAKE_CURRENT_SOURCE_DIR}/${arg_SEEDS}" ${arg_MUTATIONS})
  if(LARGO_FUZZ)
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE largo_flags ${arg_LINK})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  endif()
endfunction()

# largo_add_command_test(NAME COMMAND … LABELS … [RANKS n] [TIMEOUT s] [ENVIRONMENT A=b …]): any command, with what
# Open MPI needs to run as root and with more ranks than cores. Exit code 77 means skipped.
function(largo_add_command_test name)
  cmake_parse_arguments(arg "" "RANKS;TIMEOUT" "COMMAND;LABELS;ENVIRONMENT" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  if(NOT arg_RANKS)
    set(arg_RANKS 1)
  endif()
  if(arg_RANKS GREATER 2)
    set(arg_RANKS 2)  # of the processors that ctest -j shares out: more ranks than two share two
  endif()
  add_test(NAME ${name} COMMAND ${arg_COMMAND})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT} PROCESSORS ${arg_RANKS}
    SKIP_RETURN_CODE 77
    ENVIRONMENT "OMP_NUM_THREADS=1;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_rmaps_base_oversubscribe=1;${arg_ENVIRONMENT}")
endfunction()
