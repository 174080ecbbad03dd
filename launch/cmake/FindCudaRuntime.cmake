# Finds what the GPU half is compiled with and linked to, and makes
#   cuda::headers    cuda_runtime_api.h and nccl.h, as system headers
#   cuda::runtime    libcudart        cuda::nccl    libnccl
#
# They come from the Python wheels beside LibTorch (TORCH_ROOT/../nvidia/*), which libtorch_cuda itself loads; no
# version stands in a path. Where those lack headers (a machine whose torch came without nvidia-cuda-crt and
# nvidia-cuda-cccl), or where LibTorch came as an archive, CUDA_HOME supplies them, else /usr/local/cuda: the status
# message says so, because such a build leans on the toolkit.
get_filename_component(site "${TORCH_ROOT}/.." REALPATH)
file(GLOB wheel_includes "${site}/nvidia/*/include" "${site}/nvidia/*/include/cccl")
file(GLOB wheel_libraries "${site}/nvidia/*/lib")
set(toolkit "$ENV{CUDA_HOME}")
if(NOT toolkit)
  set(toolkit /usr/local/cuda)
endif()

foreach(header cuda_runtime_api.h nccl.h crt/host_defines.h nv/target nvtx3/nvToolsExt.h)
  string(MAKE_C_IDENTIFIER "${header}" name)
  find_path(CudaRuntime_${name} ${header} HINTS ${wheel_includes} NO_DEFAULT_PATH)
  if(NOT CudaRuntime_${name})
    find_path(CudaRuntime_${name} ${header} HINTS "${toolkit}/include" "${toolkit}/include/cccl" /usr/include NO_DEFAULT_PATH)
    if(CudaRuntime_${name})
      message(STATUS "${header} comes from ${CudaRuntime_${name}}, not from LibTorch's own packages")
    endif()
  endif()
  list(APPEND CudaRuntime_INCLUDES "${CudaRuntime_${name}}")
endforeach()
list(REMOVE_DUPLICATES CudaRuntime_INCLUDES)

# The wheels have no names without a version: the file itself is named.
foreach(library cudart nccl)
  if(NOT CudaRuntime_${library})
    set(found)
    foreach(folder ${wheel_libraries} "${TORCH_ROOT}/lib" "${toolkit}/lib64" /usr/lib/x86_64-linux-gnu)
      file(GLOB found "${folder}/lib${library}.so.[0-9]*" "${folder}/lib${library}-*.so.[0-9]*")
      if(found)
        break()
      endif()
    endforeach()
    if(found)
      list(GET found 0 found)
      set(CudaRuntime_${library} "${found}" CACHE FILEPATH "the library lib${library}")
    endif()
  endif()
endforeach()

if(CudaRuntime_nccl_h)
  file(STRINGS "${CudaRuntime_nccl_h}/nccl.h" version REGEX "define NCCL_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" version "${version}")
  string(REPLACE ";" "." CudaRuntime_NCCL_VERSION "${version}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CudaRuntime
  REQUIRED_VARS CudaRuntime_cudart CudaRuntime_nccl CudaRuntime_cuda_runtime_api_h CudaRuntime_nccl_h
  CudaRuntime_crt_host_defines_h CudaRuntime_nv_target CudaRuntime_nvtx3_nvToolsExt_h
  REASON_FAILURE_MESSAGE "(launch/setup --cuda fetches them beside LibTorch, or set CUDA_HOME to a toolkit with NCCL)")

if(CudaRuntime_FOUND AND NOT TARGET cuda::headers)
  add_library(cuda::headers INTERFACE IMPORTED)
  target_include_directories(cuda::headers SYSTEM INTERFACE ${CudaRuntime_INCLUDES})
  foreach(pair "runtime cudart" "nccl nccl")
    separate_arguments(pair)
    list(GET pair 0 name)
    list(GET pair 1 library)
    add_library(cuda::${name} SHARED IMPORTED)
    get_filename_component(file_name "${CudaRuntime_${library}}" NAME)
    set_target_properties(cuda::${name} PROPERTIES IMPORTED_LOCATION "${CudaRuntime_${library}}" IMPORTED_SONAME "${file_name}")
    get_filename_component(folder "${CudaRuntime_${library}}" DIRECTORY)
    list(APPEND CudaRuntime_FOLDERS "${folder}")
  endforeach()
endif()
