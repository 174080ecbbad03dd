# Finds LibTorch under TORCH_ROOT (cache or environment variable; launch/setup prints the folder) and makes
#   torch::cpu     libtorch_cpu and libc10
#   torch::cuda    libtorch_cuda and libc10_cuda, where LibTorch has them
# LibTorch's own find_package(Torch) is not used: on a wheel it insists on a CUDA toolkit.
set(TORCH_ROOT "$ENV{TORCH_ROOT}" CACHE PATH "folder holding LibTorch's include/ and lib/")

find_path(LibTorch_INCLUDE torch/csrc/api/include/torch/torch.h HINTS "${TORCH_ROOT}/include" NO_DEFAULT_PATH)
foreach(library torch_cpu c10 torch_cuda c10_cuda)
  find_library(LibTorch_${library} ${library} HINTS "${TORCH_ROOT}/lib" NO_DEFAULT_PATH)
endforeach()
if(LibTorch_INCLUDE)
  file(STRINGS "${LibTorch_INCLUDE}/torch/headeronly/version.h" version REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" version "${version}")
  string(REPLACE ";" "." LibTorch_VERSION "${version}")
endif()

get_filename_component(LibTorch_FOLDER "${LibTorch_torch_cpu}" DIRECTORY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_torch_cpu LibTorch_c10 LibTorch_INCLUDE VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "(set TORCH_ROOT to LibTorch's folder, launch/setup fetches one and prints it)")

function(largo_import_torch name library)
  if(LibTorch_${library} AND NOT TARGET ${name})
    add_library(${name} SHARED IMPORTED)
    set_target_properties(${name} PROPERTIES
      IMPORTED_LOCATION "${LibTorch_${library}}"
      INTERFACE_COMPILE_FEATURES cxx_std_20
      INTERFACE_INCLUDE_DIRECTORIES "${LibTorch_INCLUDE};${LibTorch_INCLUDE}/torch/csrc/api/include")
    target_link_libraries(${name} INTERFACE ${ARGN})
  endif()
endfunction()
largo_import_torch(torch::c10 c10)
largo_import_torch(torch::cpu torch_cpu torch::c10)
largo_import_torch(torch::c10_cuda c10_cuda torch::c10)
largo_import_torch(torch::cuda torch_cuda torch::cpu torch::c10_cuda)
